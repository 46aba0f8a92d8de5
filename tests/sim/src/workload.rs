//! Jobs, submissions and stops, drawn from the seed.

use core::time::Duration;

use weir_wire::{
    id::{JobVersion, Namespace, RunId},
    kind::{Kind, RunDependency, Upstream},
    record::Quota,
    units::{CpuMillis, MemBytes},
    work::{Input, JobRecord, RunRecord},
};

use crate::{
    jobs::{self, NODE_CPU_MIN, NODE_MEMORY_MIN},
    lasting::{self, Last},
    operator::{self, Operation},
    options::Options,
    rng::{Purpose, Rng},
};

/// One thing that a user does.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    /// Create a job.
    Job(usize),
    /// Submit runs of a job.
    Submit(Submission),
    /// Stop a run, or one task of it.
    Stop { submission: usize, single: Option<u32> },
    /// Do something with a node.
    Operate(Operation),
    /// Set the quota and weight of a namespace, or remove them.
    Quota(Namespace, Option<Quota>),
    /// Change a job.
    Change(usize, Change),
    /// Asked once nothing else is asked for: what hinders the end of all work is taken away.
    Last(Last),
}

impl Wish {
    /// Whether it may be answered with a refusal, and is settled then.
    pub(crate) const fn is_of_operator(&self) -> bool {
        matches!(self, Self::Operate(_) | Self::Quota(..) | Self::Change(..) | Self::Last(_))
    }
}

/// What is done with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Make another version of it, of this number.
    Update(u32),
    /// Start none of its tasks, or do so again.
    Pause(bool),
    /// Keep so many tasks of a service.
    Scale(u32),
    /// Start the tasks of a long-running job anew.
    Restart,
}

#[derive(Debug, Clone)]
pub(crate) struct Submission {
    pub(crate) job: usize,
    pub(crate) counts: Vec<u32>,
    pub(crate) key: Option<String>,
    pub(crate) input: Input,
    /// The run that it waits for, if its job waits for another one.
    pub(crate) after: Option<After>,
}

/// A run that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// The first one of an earlier submission.
    Wish(usize),
    /// One that is submitted with it, of a job by number.
    Item(usize),
}

/// What the users of a world want, by time.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) jobs: Vec<JobRecord>,
    pub(crate) wishes: Vec<(Duration, Wish)>,
}

impl Workload {
    pub(crate) fn draw(options: &Options) -> Self {
        let stream = |purpose, number: usize| Rng::new(options.seed, purpose, number as u64);
        let (mut jobs, mut wishes) = (Vec::new(), Vec::new());
        for at in 0..options.work.jobs {
            let mut rng = stream(Purpose::Job, at);
            wishes.push((rng.duration(Duration::ZERO, options.safety / 4), Wish::Job(at)));
            let job = jobs::draw(options, &mut rng, at, &jobs);
            jobs.push(job);
        }
        let mut submissions: Vec<usize> = Vec::new();
        for at in 0..options.work.submissions {
            if !options.keeps(&format!("submission-{at}")) {
                continue;
            }
            let mut rng = stream(Purpose::Submission, at);
            let runs = if rng.chance(100_000) { rng.range(2, 5) } else { 1 };
            let job = rng.index(jobs.len());
            let mut submission = Submission {
                job,
                counts: (0..runs).map(|_| rng.range_u32(1, options.work.count_max)).collect(),
                key: rng.chance(800_000).then(|| format!("{}/k{at}", jobs[job].namespace)),
                input: jobs::input(&mut rng),
                after: upstream(&jobs, &jobs[job], &submissions, &wishes),
            };
            submission.fit(&jobs[job]);
            wishes.push((rng.duration(Duration::ZERO, options.safety), Wish::Submit(submission)));
            submissions.push(wishes.len() - 1);
        }
        for at in 0..options.work.stops {
            if submissions.is_empty() || !options.keeps(&format!("stop-{at}")) {
                continue;
            }
            let mut rng = stream(Purpose::Stop, at);
            let submission = *rng.pick(&submissions);
            let single = rng.chance(400_000).then(|| rng.range_u32(0, options.work.count_max));
            let at = wishes[submission].0 + rng.duration(Duration::ZERO, Duration::from_secs(10));
            wishes.push((at, Wish::Stop { submission, single }));
        }
        let operations = operator::draw(options).into_iter();
        wishes.extend(operations.map(|(at, operation)| (at, Wish::Operate(operation))));
        wishes.extend(quotas(options));
        wishes.extend(changes(options, &jobs));
        wishes.extend(lasting::draw(options, &jobs));
        Self { jobs, wishes }
    }

    /// Whether a namespace has a quota at any time.
    pub(crate) fn has_quota(&self, namespace: &Namespace) -> bool {
        self.wishes.iter().any(|(_, wish)| matches!(wish, Wish::Quota(name, Some(_)) if name == namespace))
    }

    /// The run records of a submission, with versions of jobs by their numbers, and the run of the wish that it waits for.
    pub(crate) fn records(
        &self,
        submission: &Submission,
        (versions, wall_ms): (&[u64], u64),
        upstream: Option<RunId>,
    ) -> Vec<RunRecord> {
        let record = |at: usize, count: u32| RunRecord {
            namespace: self.jobs[at].namespace.clone(),
            job: self.jobs[at].job.clone(),
            version: JobVersion(versions[at]),
            count,
            args: None,
            input: submission.input.clone(),
            meta: Vec::new(),
            after: Vec::new(),
            input_from: None,
            scheduled_ms: None,
            submitted_ms: wall_ms,
        };
        let job = &self.jobs[submission.job];
        let first = match submission.after {
            Some(After::Item(at)) => Some(record(at, submission.counts[0])),
            Some(After::Wish(_)) | None => None,
        };
        let mut records: Vec<RunRecord> = first.into_iter().collect();
        let upstream = upstream.map_or(Upstream::Item(0), Upstream::Run);
        for count in &submission.counts {
            let conditions = job.after.iter().map(|dependency| dependency.condition);
            records.push(RunRecord {
                after: conditions.map(|condition| RunDependency { upstream, condition }).collect(),
                input_from: job.input_from.as_ref().map(|_| 0),
                ..record(submission.job, *count)
            });
        }
        records
    }
}

impl Submission {
    /// Makes it one that a job takes.
    fn fit(&mut self, job: &JobRecord) {
        if matches!(job.kind, Kind::Function) {
            self.counts.fill(1);
            self.input = Input::Inline(Box::from(&b"payload"[..]));
        }
        if job.kind.is_long_running() {
            self.counts = vec![job.count];
        }
        if job.input_from.is_some() {
            self.input = Input::None;
        }
    }
}

/// The run that a submission of a job waits for: of an earlier submission if there is one.
fn upstream(jobs: &[JobRecord], job: &JobRecord, submissions: &[usize], wishes: &[(Duration, Wish)]) -> Option<After> {
    let name = &job.after.first()?.job;
    let of_it = |at: &&usize| matches!(&wishes[**at].1, Wish::Submit(one) if jobs[one.job].job == *name);
    match submissions.iter().rev().find(of_it) {
        Some(at) => Some(After::Wish(*at)),
        None => jobs.iter().position(|one| one.job == *name).map(After::Item),
    }
}

/// Changes of jobs while all else goes wrong.
fn changes(options: &Options, jobs: &[JobRecord]) -> Vec<(Duration, Wish)> {
    let mut wishes = Vec::new();
    for at in 0..options.work.changes {
        if !options.keeps(&format!("change-{at}")) {
            continue;
        }
        let mut rng = Rng::new(options.seed, Purpose::Change, at as u64);
        let job = rng.index(jobs.len());
        let change = match (rng.below(4), &jobs[job].kind) {
            (0, _) => Change::Pause(rng.chance(600_000)),
            (1, Kind::Service(_)) => Change::Scale(rng.range_u32(0, jobs::LONG_TASKS_MAX)),
            (2, Kind::Service(_) | Kind::System) => Change::Restart,
            (_, _) => Change::Update(u32::try_from(at).unwrap_or(0)),
        };
        wishes.push((rng.duration(Duration::ZERO, options.safety), Wish::Change(job, change)));
    }
    wishes
}

/// Quotas and weights that are set and removed while all else goes wrong.
fn quotas(options: &Options) -> Vec<(Duration, Wish)> {
    let mut wishes = Vec::new();
    for at in 0..options.work.quotas {
        if !options.keeps(&format!("quota-{at}")) {
            continue;
        }
        let mut rng = Rng::new(options.seed, Purpose::Quota, at as u64);
        let namespace = jobs::namespace(rng.index(options.work.namespaces.max(1)));
        let mut limit = |low: u64, high: u64| Some(rng.range(low, high)).filter(|_| rng.chance(500_000));
        let (cpu, memory) = (limit(100, u64::from(NODE_CPU_MIN) * 4), limit(NODE_MEMORY_MIN >> 4, NODE_MEMORY_MIN * 4));
        let quota = Quota {
            namespace: namespace.clone(),
            cpu: cpu.and_then(|cpu| u32::try_from(cpu).ok()).map(CpuMillis),
            memory: memory.map(MemBytes),
            running: limit(1, 20).and_then(|number| u32::try_from(number).ok()),
            weight: rng.range_u32(1, 1000),
        };
        let quota = Some(quota).filter(|_| !rng.chance(200_000));
        wishes.push((rng.duration(Duration::ZERO, options.safety), Wish::Quota(namespace, quota)));
    }
    wishes
}
