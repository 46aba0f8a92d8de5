//! What is refused whoever asks: specs and submissions that contradict themselves, their job or the limits.

use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};

use weir_wire::{
    id::JobName,
    kind::{Condition, Kind, Upstream},
    work::{Capabilities, Input, JobRecord, RunRecord},
};

use crate::{input::Submit, job_state::Name, limits, output::RequestError, scheduler::Leading};

/// Most places that a job connects to.
const NETS_MAX: usize = 16;

/// Checks what must hold of a spec.
///
/// # Errors
/// A sentence that says which rule it breaks.
pub(crate) fn spec(job: &JobRecord) -> Result<(), RequestError> {
    let rules = [
        (job.priority > 100, "a priority is from 0 to 100"),
        (job.retry.attempts == 0, "a task has at least one attempt"),
        (job.after.len() > weir_wire::limits::DEPENDENCIES_MAX, "a job depends on at most 16 others"),
        (
            repeats(&job.after.iter().map(|dependency| &dependency.job).collect::<Vec<_>>()),
            "a job depends on another once",
        ),
        (job.after.iter().any(|dependency| dependency.job == job.job), "a job does not depend on itself"),
    ];
    first_broken(&rules)?;
    check_execution(job)?;
    check_capabilities(job)?;
    if let Some(from) = &job.input_from {
        let holds = job.after.iter().any(|dep| dep.job == *from && dep.condition == Condition::Success);
        if !holds {
            return Err(invalid_spec(format!("the input comes from {from}, so the job has to depend on its success")));
        }
    }
    let count = 1..=weir_wire::limits::TASKS_PER_RUN_MAX;
    match &job.kind {
        Kind::Batch => first_broken(&[(!count.contains(&job.count), "a job has 1 to 10,000,000 tasks")]),
        Kind::Cron(cron) => first_broken(&[
            (!count.contains(&job.count), "a job has 1 to 10,000,000 tasks"),
            (cron.schedule.is_empty() || cron.schedule.len() > limits::SCHEDULE_LEN_MAX, "a cron job has a schedule"),
            (cron.time_zone.len() > limits::SCHEDULE_LEN_MAX, "the time zone is too long"),
        ]),
        Kind::Service(_) => {
            first_broken(&[(job.count > limits::SERVICE_TASKS_MAX, "a service has at most 100,000 tasks")])?;
            long_running(job)
        }
        Kind::System => {
            first_broken(&[(job.max_running != 0, "a system job runs on all nodes that match")])?;
            long_running(job)
        }
        Kind::Function => first_broken(&[
            (job.count != 1, "a function has one task"),
            (!job.after.is_empty(), "a function waits for no other job"),
        ]),
    }
}

fn long_running(job: &JobRecord) -> Result<(), RequestError> {
    first_broken(&[
        (job.max_failed.is_some(), "tasks of a long-running job do not fail for good: there is no max_failed"),
        (job.start_deadline.is_some(), "a long-running job has no start deadline"),
    ])
}

fn first_broken(rules: &[(bool, &str)]) -> Result<(), RequestError> {
    match rules.iter().find(|(broken, _)| *broken) {
        Some((_, rule)) => Err(invalid_spec((*rule).to_string())),
        None => Ok(()),
    }
}

const fn invalid_spec(text: String) -> RequestError {
    RequestError::InvalidSpec(text)
}

const fn invalid(text: String) -> RequestError {
    RequestError::Invalid(text)
}

fn repeats<T: Ord>(items: &[T]) -> bool {
    items.iter().collect::<BTreeSet<_>>().len() < items.len()
}

/// Refuses what would execute a task twice that may be executed once only.
fn check_execution(spec: &JobRecord) -> Result<(), RequestError> {
    let why = if !spec.execution.at_most_once {
        return Ok(());
    } else if spec.retry.attempts != 1 {
        "a job that executes at most once has one attempt; set `attempts` to 1"
    } else if spec.kind.is_long_running() {
        "tasks of this kind are started again whenever they end, so they cannot execute at most once; use `fenced`"
    } else {
        return Ok(());
    };
    Err(invalid_spec(why.into()))
}

/// Refuses capabilities that take each other's meaning.
fn check_capabilities(spec: &JobRecord) -> Result<(), RequestError> {
    let Capabilities { deterministic, scratch, ref nets } = spec.capabilities;
    first_broken(&[
        (deterministic && !nets.is_empty(), "a deterministic job has no network"),
        (nets.len() > NETS_MAX, "a job connects to at most 16 places"),
        (
            nets.iter().any(|net| !(1..=65_535).contains(&net.port) || net.host.len() > 253),
            "a place has a name and a port",
        ),
        (deterministic && scratch > 0, "a deterministic job has no scratch directory, whose files have real times"),
        (scratch >= spec.budgets.resources.memory.0, "the memory of a job is more than its scratch directory"),
        (deterministic && spec.kind.is_long_running(), "tasks that are started again for ever are not deterministic"),
        (deterministic && spec.dirs.iter().any(|dir| dir.writable), "a deterministic job changes no directory"),
    ])
}

impl Leading {
    /// Refuses a spec whose dependencies lead back to it.
    ///
    /// # Errors
    /// The way round.
    pub(crate) fn check_cycle(&self, job: &JobRecord) -> Result<(), RequestError> {
        let mut seen: BTreeSet<JobName> = BTreeSet::new();
        let mut open: Vec<(JobName, Vec<JobName>)> = Vec::new();
        let step = |spec: &JobRecord, way: &[JobName], open: &mut Vec<(JobName, Vec<JobName>)>| {
            for dependency in &spec.after {
                let mut way = way.to_vec();
                way.push(dependency.job.clone());
                open.push((dependency.job.clone(), way));
            }
        };
        step(job, core::slice::from_ref(&job.job), &mut open);
        while let Some((name, way)) = open.pop() {
            if name == job.job {
                let way: Vec<&str> = way.iter().map(JobName::as_str).collect();
                let way = way.join(" after ");
                return Err(invalid_spec(format!(
                    "job.after: the dependencies go in a circle: {way}; take one of them out of its `after`"
                )));
            }
            if !seen.insert(name.clone()) {
                continue;
            }
            let name: Name = (job.namespace.clone(), name);
            let staged = self.staged_jobs.get(&name).map(|(_, spec)| spec);
            if let Some(spec) = staged.or_else(|| self.newest_spec(&name)) {
                step(spec, &way, &mut open);
            }
        }
        Ok(())
    }

    /// Checks a submission, also against quotas and what is open.
    pub(crate) fn admit(&self, runs: &[RunRecord], key: Option<&String>) -> Result<(), RequestError> {
        if runs.is_empty() || runs.len() > limits::SUBMISSION_ITEMS_MAX {
            return Err(RequestError::Limit("a submission has 1 to 1000 runs"));
        }
        if key.is_some_and(|key| key.len() > limits::IDEMPOTENCY_KEY_LEN_MAX) {
            return Err(RequestError::Limit("an idempotency key has at most 256 bytes"));
        }
        let mut jobs = Vec::with_capacity(runs.len());
        for (item, run) in runs.iter().enumerate() {
            let versions = self.jobs.get(&(run.namespace.clone(), run.job.clone()));
            let job = versions.and_then(|versions| versions.iter().find(|job| job.version == run.version));
            let job = job.ok_or_else(|| RequestError::NoSuchJob { job: run.job.clone(), version: run.version })?;
            check_run(job, run)?;
            self.check_upstreams(job, run, item)?;
            jobs.push(job.as_ref());
        }
        if runs.iter().map(run_size).sum::<usize>() > weir_wire::limits::TXN_BYTES_MAX / 2 {
            return Err(RequestError::Limit("a submission's payloads have at most 512 KiB; upload larger ones first"));
        }
        self.check_open(self.runs_ask(jobs.into_iter().zip(runs)))?;
        if self.open_runs + runs.len() > limits::OPEN_RUNS_MAX {
            return Err(RequestError::Busy("1,000,000 runs are open; wait for some to end"));
        }
        if self.runs.len() + runs.len() > limits::RUNS_MAX {
            return Err(RequestError::Busy("2,000,000 runs are kept; those that have ended go after some minutes"));
        }
        Ok(())
    }

    pub(crate) fn check_submission(&self, submit: &Submit) -> Result<(), RequestError> {
        self.admit(&submit.runs, submit.key.as_ref())?;
        if submit.runs.iter().any(|run| run.scheduled_ms.is_some()) {
            return Err(invalid("only the scheduler fires a cron job".to_string()));
        }
        Ok(())
    }

    fn check_upstreams(&self, job: &JobRecord, run: &RunRecord, item: usize) -> Result<(), RequestError> {
        let conditions = |run: &RunRecord| run.after.iter().map(|dependency| dependency.condition).collect::<Vec<_>>();
        let wanted: Vec<Condition> = job.after.iter().map(|dependency| dependency.condition).collect();
        if conditions(run) != wanted {
            return Err(invalid("a run depends on one run of each job that its job depends on".to_string()));
        }
        for (dependency, wanted) in run.after.iter().zip(&job.after) {
            match dependency.upstream {
                Upstream::Run(upstream) => {
                    let known = self.runs.get(&upstream).filter(|_| !self.retention.is_going(upstream.segment()));
                    let upstream = known.ok_or(RequestError::NoSuchRun)?;
                    if upstream.record.job != wanted.job || upstream.record.namespace != run.namespace {
                        return Err(invalid(format!("run {} is not one of job {}", upstream.id, wanted.job)));
                    }
                }
                Upstream::Item(upstream) if (upstream as usize) < item => {}
                Upstream::Item(_) => return Err(invalid("a run depends on earlier items only".to_string())),
            }
        }
        let from = job.input_from.as_ref().and_then(|from| job.after.iter().position(|dep| dep.job == *from));
        if run.input_from.map(|place| place as usize) != from {
            return Err(invalid("the place of the run whose results are the input is wrong".to_string()));
        }
        Ok(())
    }
}

fn check_run(job: &JobRecord, run: &RunRecord) -> Result<(), RequestError> {
    let count = run.count;
    let wrong = match job.kind {
        Kind::Batch | Kind::Cron(_) => {
            if count == 0 || count > weir_wire::limits::TASKS_PER_RUN_MAX {
                return Err(RequestError::Limit("a run has 1 to 10,000,000 tasks"));
            }
            false
        }
        Kind::Function if count != 1 => return Err(invalid("a function is dispatched with one task".to_string())),
        Kind::Service(_) => count > limits::SERVICE_TASKS_MAX,
        Kind::System | Kind::Function => false,
    };
    if wrong {
        return Err(RequestError::Limit("a service has at most 100,000 tasks"));
    }
    if run.input_from.is_some() && run.input != Input::None {
        return Err(invalid("a run whose input comes from another one brings none".to_string()));
    }
    Ok(())
}

/// About how many bytes a run adds to a transaction.
pub(crate) fn run_size(run: &RunRecord) -> usize {
    let input = match &run.input {
        Input::Inline(bytes) => bytes.len(),
        Input::None => 0,
        Input::Blob(_) | Input::Items(_) => 40,
    };
    let args: usize = run.args.iter().flatten().map(String::len).sum();
    let meta: usize = run.meta.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    192 + input + args + meta + run.after.len() * 12
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use core::time::Duration;

    use weir_wire::{
        id::{Digest, JobVersion},
        kind::{Cron, Dependency, Execution, Overlap, Service, Tier},
        placement::Placement,
        resources::Resources,
        units::{CpuMillis, Fuel, MemBytes},
        work::{Budgets, DirGrant, NetGrant, RetryPolicy},
    };

    use super::*;

    fn job(kind: Kind) -> JobRecord {
        let resources = Resources { cpu: CpuMillis(100), memory: MemBytes(1 << 20) };
        JobRecord {
            namespace: "default".parse().expect("a valid name"),
            job: "j".parse().expect("a valid name"),
            version: JobVersion(1),
            kind,
            module: Digest([0; 32]),
            args: Vec::new(),
            env: Vec::new(),
            budgets: Budgets { resources, fuel: Fuel(1), timeout: None, output: 1 },
            dirs: Vec::new(),
            capabilities: Capabilities::NONE,
            count: 1,
            max_running: 0,
            priority: 50,
            tier: Tier::Preemptible,
            max_failed: None,
            start_deadline: None,
            after: Vec::new(),
            input_from: None,
            execution: Execution::default(),
            retry: RetryPolicy {
                attempts: 1,
                backoff_min: Duration::from_secs(1),
                backoff_max: Duration::from_secs(30),
                retry_deterministic: false,
            },
            placement: Placement::default(),
            created_ms: 0,
            message: String::new(),
        }
    }

    fn service() -> Kind {
        Kind::Service(Service { healthy_after: Duration::from_secs(10) })
    }

    fn cron(schedule: &str) -> Kind {
        Kind::Cron(Cron {
            schedule: schedule.into(),
            time_zone: "UTC".into(),
            overlap: Overlap::Forbid,
            start_deadline: Duration::from_secs(60),
        })
    }

    fn after(job: &str, condition: Condition) -> Dependency {
        Dependency { job: job.parse().expect("a valid name"), condition }
    }

    type Change = fn(&mut JobRecord);

    #[test]
    fn what_every_kind_may_have_is_taken() {
        for kind in [Kind::Batch, service(), Kind::System, Kind::Function, cron("@hourly")] {
            assert_eq!(spec(&job(kind.clone())), Ok(()), "{kind:?}");
        }
        let changes: [(Kind, Change); 5] = [
            (Kind::Batch, |job| job.count = weir_wire::limits::TASKS_PER_RUN_MAX),
            (Kind::Batch, |job| job.execution.at_most_once = true),
            (Kind::Function, |job| job.start_deadline = Some(Duration::from_secs(1))),
            (service(), |job| job.execution.fenced = true),
            (service(), |job| job.count = 0),
        ];
        for (kind, change) in changes {
            let mut job = job(kind);
            change(&mut job);
            assert_eq!(spec(&job), Ok(()), "{job:?}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let changes: [(Kind, Change); 26] = [
            (Kind::Batch, |job| job.capabilities.nets.push(NetGrant { host: "a".into(), port: 0 })),
            (Kind::Batch, |job| {
                job.capabilities.deterministic = true;
                job.capabilities.nets.push(NetGrant { host: "a".into(), port: 1 });
            }),
            (Kind::Batch, |job| job.capabilities.scratch = job.budgets.resources.memory.0),
            (Kind::Batch, |job| job.capabilities = Capabilities { deterministic: true, scratch: 1, nets: Vec::new() }),
            (service(), |job| job.capabilities.deterministic = true),
            (Kind::Batch, |job| {
                job.capabilities.deterministic = true;
                job.dirs.push(DirGrant { name: "d".into(), guest_path: "/d".into(), writable: true });
            }),
            (Kind::Batch, |job| job.priority = 101),
            (Kind::Batch, |job| job.retry.attempts = 0),
            (Kind::Batch, |job| job.count = 0),
            (Kind::Batch, |job| job.count = weir_wire::limits::TASKS_PER_RUN_MAX + 1),
            (Kind::Batch, |job| (job.execution.at_most_once, job.retry.attempts) = (true, 2)),
            (Kind::Batch, |job| job.after = vec![after("j", Condition::Any)]),
            (Kind::Batch, |job| job.after = vec![after("a", Condition::Any), after("a", Condition::Success)]),
            (Kind::Batch, |job| job.after = (0..17).map(|n| after(&format!("a{n}"), Condition::Any)).collect()),
            (Kind::Batch, |job| job.input_from = "a".parse().ok()),
            (Kind::Batch, |job| {
                job.after = vec![after("a", Condition::Any)];
                job.input_from = "a".parse().ok();
            }),
            (service(), |job| job.execution.at_most_once = true),
            (service(), |job| job.max_failed = Some(1)),
            (service(), |job| job.start_deadline = Some(Duration::from_secs(1))),
            (service(), |job| job.count = limits::SERVICE_TASKS_MAX + 1),
            (Kind::System, |job| job.max_running = 1),
            (Kind::System, |job| job.max_failed = Some(1)),
            (Kind::Function, |job| job.count = 2),
            (Kind::Function, |job| job.after = vec![after("a", Condition::Any)]),
            (cron(""), |_| ()),
            (cron("@hourly"), |job| job.count = 0),
        ];
        for (kind, change) in changes {
            let mut job = job(kind);
            change(&mut job);
            assert!(matches!(spec(&job), Err(RequestError::InvalidSpec(_))), "{job:?}");
        }
    }
}
