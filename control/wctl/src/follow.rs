//! Waiting for runs.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use weir_api::{Run, RunQuery, RunState, Until, units};

use crate::{
    exit::Exit,
    failure::{Failure, Result},
    output::terminal,
    session::Session,
};

/// How long one read blocks where somebody watches a bar.
const WATCHED_WAIT: Duration = Duration::from_millis(500);
/// How long one read blocks where nobody does.
const UNWATCHED_WAIT: Duration = Duration::from_secs(30);
/// How long a cluster that cannot be reached is tried again while a run is followed: a restart of the control plane.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The wait between two tries.
pub(crate) const RETRY_WAIT: Duration = Duration::from_secs(1);

/// Asks until the cluster can be reached, for as long as a restart of the control plane takes.
pub(crate) async fn patiently<T>(ask: impl AsyncFn() -> Result<T>) -> Result<T> {
    let since = Instant::now();
    loop {
        match ask().await {
            Err(failure) if failure.exit() == Exit::Unreachable && since.elapsed() < PATIENCE => {
                terminal::note(&format!("{}; trying again", failure.message()));
                tokio::time::sleep(RETRY_WAIT).await;
            }
            done => return done,
        }
    }
}

/// Waits until a run has come as far as `until`; `None` when the deadline passes first.
pub(crate) async fn run(session: &Session, run: &str, until: Until, deadline: Option<Instant>) -> Result<Option<Run>> {
    let mut bar: Option<ProgressBar> = None;
    let mut unreachable_since: Option<Instant> = None;
    let result = loop {
        let left = deadline.map_or(UNWATCHED_WAIT, |deadline| deadline.saturating_duration_since(Instant::now()));
        let step = if terminal::is_watched() { WATCHED_WAIT } else { UNWATCHED_WAIT };
        let wait_ms = u64::try_from(left.min(step).as_millis()).unwrap_or(0);
        let query = RunQuery { wait: Some(units::format_duration_ms(wait_ms)), until: Some(until), min_revision: None };
        match session.client.run(&session.namespace, run, &query).await {
            Ok(state) => {
                unreachable_since = None;
                show(bar.get_or_insert_with(|| terminal::progress(state.count.into())), &state);
                if has_come(&state, until) {
                    break Ok(Some(state));
                }
            }
            Err(error) => {
                let failure = Failure::from(error);
                if failure.exit() != Exit::Unreachable {
                    break Err(failure);
                }
                if unreachable_since.is_none() {
                    terminal::note(&format!("{}; trying again, the run goes on", failure.message()));
                }
                if unreachable_since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
                    break Err(failure);
                }
                tokio::time::sleep(RETRY_WAIT).await;
            }
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            break Ok(None);
        }
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    result
}

/// What to say when the deadline passed: the work goes on, or none of it could even be placed.
pub(crate) async fn timed_out(session: &Session, run: &str) -> Failure {
    // The explanation is a courtesy: without it the time has passed all the same.
    let state = session.client.run(&session.namespace, run, &RunQuery::default()).await.ok();
    let unplaced = state.is_some_and(|state| state.state == RunState::Pending && state.tasks.assigned == 0);
    let why = session.client.why(&session.namespace, run).await.ok();
    match why.filter(|why| unplaced && why.pending > 0 && why.fitting == 0) {
        Some(why) => Failure::new(Exit::NotPlaced, format!("run {run} is accepted but not placed: {}", why.summary))
            .hint(format!("`wctl job why {run}` shows what excludes which nodes; `wctl stop {run}` gives up")),
        None => Failure::new(Exit::TimedOut, format!("run {run} has not come so far in time; it goes on"))
            .hint(format!("`wctl status {run}` shows how far it is, `wctl wait {run}` waits on")),
    }
}

/// Whether a run has come as far as `until`.
pub(crate) fn has_come(run: &Run, until: Until) -> bool {
    match until {
        Until::Terminal => run.state.is_terminal(),
        Until::Running => run.is_running(),
        Until::Healthy => run.is_healthy(),
    }
}

fn show(bar: &ProgressBar, run: &Run) {
    bar.set_position(run.tasks.terminal());
    let bad = run.tasks.terminal() - run.tasks.succeeded;
    let bad = if bad > 0 { format!(", {bad} not succeeded") } else { String::new() };
    bar.set_message(format!("{} running, {} pending{bad}", run.tasks.running, run.tasks.pending));
}
