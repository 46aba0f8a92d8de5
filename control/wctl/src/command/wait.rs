use std::time::{Duration, Instant};

use weir_api::{FoundKind, RunQuery, RunState, Task, TaskState, Until, units};

use super::{deploy, task};
use crate::{
    args::{WaitArgs, WaitFor},
    exit::Exit,
    failure::{Failure, Result},
    follow,
    resolve::{self, Target},
    session::{Session, deadline},
};

/// How long one read blocks; any change of the run answers it.
const WAIT: Duration = Duration::from_secs(30);

/// `wctl wait`.
pub(crate) async fn wait(session: &Session, args: &WaitArgs) -> Result<Exit> {
    let deadline = deadline("timeout", args.timeout.as_deref())?;
    let mut targets = Vec::with_capacity(args.targets.len());
    for text in &args.targets {
        let target = async || resolve::target(session, text, &[FoundKind::Job, FoundKind::Run]).await;
        targets.push(follow::patiently(target).await?);
    }
    let mut worst = Ok(Exit::Ok);
    for target in targets {
        let one = one(session, target, args.until, deadline).await;
        match one {
            // Those that failed do not keep the others from being waited for.
            Err(failure) if failure.exit() == Exit::TasksFailed => worst = Err(failure),
            Err(failure) => return Err(failure),
            Ok(_) => {}
        }
    }
    worst
}

async fn one(session: &Session, target: Target, until: WaitFor, deadline: Option<Instant>) -> Result<Exit> {
    let run = match target {
        Target::Task(run, index) => return one_task(session, &run, index, until, deadline).await,
        Target::Run(run) => run,
        Target::Job(job) => follow::patiently(async || resolve::latest_run(session, &job).await).await?,
        Target::Node(node) => return Err(Failure::usage(format!("`{node}` is a node"))),
    };
    self::run(session, &run, until, deadline).await
}

/// Waits for a run and shows it.
pub(crate) async fn run(session: &Session, run: &str, until: WaitFor, deadline: Option<Instant>) -> Result<Exit> {
    let stage = match until {
        WaitFor::Running => Until::Running,
        WaitFor::Healthy => Until::Healthy,
        WaitFor::Succeeded | WaitFor::Terminal => Until::Terminal,
    };
    let Some(state) = follow::run(session, run, stage, deadline).await? else {
        return Err(follow::timed_out(session, run).await);
    };
    session.out.object(&state)?;
    match until {
        WaitFor::Succeeded if state.state != RunState::Succeeded => deploy::outcome(session, &state).await,
        // What is meant to run for ever has not come so far when it has ended.
        WaitFor::Running | WaitFor::Healthy if lasts(&state.kind) && state.state.is_terminal() => {
            deploy::outcome(session, &state).await
        }
        WaitFor::Succeeded | WaitFor::Running | WaitFor::Healthy | WaitFor::Terminal => Ok(Exit::Ok),
    }
}

/// Waits for the end of a task that was stopped, and shows it. One of a service or system job is started again: what ends
/// is its attempt.
pub(crate) async fn stopped_task(session: &Session, run: &str, index: u32, deadline: Option<Instant>) -> Result<Exit> {
    let kind =
        follow::patiently(async || Ok(session.client.run(&session.namespace, run, &RunQuery::default()).await?.kind));
    let restarts = lasts(&kind.await?);
    let ended = |task: &Task| {
        let still = matches!(task.state, TaskState::Stopping | TaskState::Unknown);
        task.state.is_terminal() || (restarts && !still)
    };
    session.out.object(&until_task(session, run, index, ended, deadline).await?)?;
    Ok(Exit::Ok)
}

/// Whether tasks of a kind are started again whenever they end.
pub(super) fn lasts(kind: &str) -> bool {
    matches!(kind, "service" | "system")
}

/// Waits for a task and shows it.
async fn one_task(session: &Session, run: &str, index: u32, until: WaitFor, deadline: Option<Instant>) -> Result<Exit> {
    let state = until_task(session, run, index, |task| has_come(task, until), deadline).await?;
    session.out.object(&state)?;
    if until == WaitFor::Succeeded && state.state != TaskState::Succeeded {
        let message = format!("task {} {}", state.id, state.state);
        return Err(Failure::new(Exit::TasksFailed, message).hint(task::explain(&state)));
    }
    Ok(Exit::Ok)
}

async fn until_task(
    session: &Session,
    run: &str,
    index: u32,
    has_come: impl Fn(&Task) -> bool,
    deadline: Option<Instant>,
) -> Result<Task> {
    loop {
        let (revision, state) = follow::patiently(async || read_task(session, run, index).await).await?;
        if has_come(&state) {
            return Ok(state);
        }
        let left = deadline.map_or(WAIT, |deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Err(Failure::new(
                Exit::TimedOut,
                format!("task {run}.{index} has not come so far in time; it goes on"),
            ));
        }
        let wait_ms = u64::try_from(left.min(WAIT).as_millis()).unwrap_or(1).max(1);
        let wait = Some(units::format_duration_ms(wait_ms));
        let query = RunQuery { min_revision: Some(revision + 1), wait, until: None };
        follow::patiently(async || Ok(session.client.run(&session.namespace, run, &query).await?)).await?;
    }
}

/// Reads a task and, before it, the revision of its run, so that no change between the two is missed.
async fn read_task(session: &Session, run: &str, index: u32) -> Result<(u64, Task)> {
    let revision = session.client.run(&session.namespace, run, &RunQuery::default()).await?.revision;
    Ok((revision, session.client.task(&session.namespace, run, index).await?))
}

fn has_come(task: &Task, until: WaitFor) -> bool {
    match until {
        WaitFor::Running | WaitFor::Healthy => task.state.is_terminal() || task.state == TaskState::Running,
        WaitFor::Succeeded | WaitFor::Terminal => task.state.is_terminal(),
    }
}
