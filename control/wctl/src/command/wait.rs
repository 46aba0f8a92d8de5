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
        targets.push(resolve::target(session, text, &[FoundKind::Job, FoundKind::Run]).await?);
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
        Target::Job(job) => resolve::latest_run(session, &job).await?,
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
        WaitFor::Succeeded | WaitFor::Running | WaitFor::Healthy | WaitFor::Terminal => Ok(Exit::Ok),
    }
}

/// Waits for a task and shows it.
pub(crate) async fn one_task(
    session: &Session,
    run: &str,
    index: u32,
    until: WaitFor,
    deadline: Option<Instant>,
) -> Result<Exit> {
    loop {
        // The revision is read before the task, so that no change between the two is missed.
        let revision = session.client.run(&session.namespace, run, &RunQuery::default()).await?.revision;
        let state = session.client.task(&session.namespace, run, index).await?;
        if has_come(&state, until) {
            session.out.object(&state)?;
            if until == WaitFor::Succeeded && state.state != TaskState::Succeeded {
                let message = format!("task {} {}", state.id, state.state);
                return Err(Failure::new(Exit::TasksFailed, message).hint(task::explain(&state)));
            }
            return Ok(Exit::Ok);
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
        session.client.run(&session.namespace, run, &query).await?;
    }
}

fn has_come(task: &Task, until: WaitFor) -> bool {
    match until {
        WaitFor::Running | WaitFor::Healthy => task.state.is_terminal() || task.state == TaskState::Running,
        WaitFor::Succeeded | WaitFor::Terminal => task.state.is_terminal(),
    }
}
