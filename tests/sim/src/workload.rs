//! Jobs, submissions and stops, drawn from the seed.

use core::time::Duration;

use weir_wire::{
    id::{Digest, JobName, JobVersion, Namespace},
    kind::{Execution, Kind, Tier},
    outcome::BlobRef,
    placement::{Constraint, Placement},
    resources::Resources,
    units::{CpuMillis, Fuel, MemBytes},
    work::{Budgets, Input, JobRecord, RetryPolicy, RunRecord},
};

use crate::{
    operator::{self, Operation},
    options::Options,
    rng::{Purpose, Rng},
};

/// How long an attempt may take.
pub(crate) const SPIN_TIMEOUT: Duration = Duration::from_secs(30);
/// The smallest node of any world.
pub(crate) const NODE_CPU_MIN: u32 = 2000;
pub(crate) const NODE_MEMORY_MIN: u64 = 1 << 30;
/// Zones that every world with enough nodes has.
pub(crate) const ZONES: [&str; 3] = ["a", "b", "c"];

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
}

#[derive(Debug, Clone)]
pub(crate) struct Submission {
    pub(crate) job: usize,
    pub(crate) counts: Vec<u32>,
    pub(crate) key: Option<String>,
    pub(crate) input: Input,
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
        let zones = ZONES.len().min(options.nodes);
        let (mut jobs, mut wishes) = (Vec::new(), Vec::new());
        for at in 0..options.work.jobs {
            let mut rng = stream(Purpose::Job, at);
            wishes.push((rng.duration(Duration::ZERO, options.safety / 4), Wish::Job(at)));
            jobs.push(job(options, &mut rng, at, zones));
        }
        let mut submissions = Vec::new();
        for at in 0..options.work.submissions {
            if !options.keeps(&format!("submission-{at}")) {
                continue;
            }
            let mut rng = stream(Purpose::Submission, at);
            let runs = if rng.chance(100_000) { rng.range(2, 5) } else { 1 };
            let submission = Submission {
                job: rng.index(jobs.len()),
                counts: (0..runs).map(|_| rng.range_u32(1, options.work.count_max)).collect(),
                key: rng.chance(800_000).then(|| format!("default/k{at}")),
                input: input(&mut rng),
            };
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
        Self { jobs, wishes }
    }

    /// The run records of a submission.
    pub(crate) fn records(&self, submission: &Submission, version: JobVersion) -> Vec<RunRecord> {
        let job = &self.jobs[submission.job];
        let record = |count: &u32| RunRecord {
            namespace: job.namespace.clone(),
            job: job.job.clone(),
            version,
            count: *count,
            args: None,
            input: submission.input.clone(),
            meta: Vec::new(),
            after: Vec::new(),
            input_from: None,
            scheduled_ms: None,
            submitted_ms: 1,
        };
        submission.counts.iter().map(record).collect()
    }
}

/// Whether a job asks for more than any node has, or for one that does not exist.
pub(crate) fn is_feasible(job: &JobRecord) -> bool {
    job.budgets.resources.cpu.0 <= NODE_CPU_MIN && job.placement.constraints.iter().all(|c| c.values != ["nowhere"])
}

fn job(options: &Options, rng: &mut Rng, at: usize, zones: usize) -> JobRecord {
    let text = |text: &str| text.to_owned();
    let constraints = match rng.below(8) {
        0 => vec![Constraint::equal("zone", "nowhere")],
        1 | 2 => vec![Constraint::equal("zone", *rng.pick::<&str>(&ZONES[..zones.max(1)]))],
        _ => Vec::new(),
    };
    let cpu = if rng.chance(60_000) { 1_000_000 } else { rng.range_u32(10, NODE_CPU_MIN) };
    let resources = Resources { cpu: CpuMillis(cpu), memory: MemBytes(rng.range(1, NODE_MEMORY_MIN >> 20) << 20) };
    let execution = Execution {
        fenced: rng.chance(options.work.fenced),
        at_most_once: rng.chance(options.work.once),
        stop_on_disconnect: rng.chance(200_000),
    };
    JobRecord {
        kind: Kind::Batch,
        tier: Tier::Preemptible,
        max_failed: None,
        start_deadline: None,
        after: Vec::new(),
        input_from: None,
        execution,
        namespace: "default".parse::<Namespace>().expect("a valid name"),
        job: format!("job-{at}").parse::<JobName>().expect("a valid name"),
        version: JobVersion(0),
        module: Digest([u8::try_from(at % 250).unwrap_or(0); 32]),
        args: vec![text("x")],
        env: Vec::new(),
        budgets: Budgets { resources, fuel: Fuel(1_000_000), timeout: Some(SPIN_TIMEOUT), output: 1 << 20 },
        dirs: Vec::new(),
        count: 1,
        max_running: if rng.chance(300_000) { rng.range_u32(1, 6) } else { 0 },
        priority: u8::try_from(rng.range(0, 100)).unwrap_or(50),
        retry: RetryPolicy {
            attempts: if execution.at_most_once { 1 } else { rng.range_u32(1, 4) },
            backoff_min: rng.duration(Duration::from_millis(1), Duration::from_secs(1)),
            backoff_max: rng.duration(Duration::from_secs(1), Duration::from_secs(5)),
            retry_deterministic: rng.chance(200_000),
        },
        placement: Placement { constraints, ..Placement::default() },
        created_ms: 0,
        message: String::new(),
    }
}

fn input(rng: &mut Rng) -> Input {
    let blob = BlobRef { digest: Digest([0xee; 32]), len: 100 };
    match rng.below(5) {
        0 => Input::Inline(Box::from(&b"payload"[..])),
        1 => Input::Blob(blob),
        2 => Input::Items(blob),
        _ => Input::None,
    }
}
