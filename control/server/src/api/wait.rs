//! Blocking reads: an answer once the state has come far enough, or at the end of the wait.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use weir_api::{Run, RunQuery, Until, units};
use weir_wire::id::{Namespace, RunId};

use super::{Api, refusal::Refusal, runs};

/// The longest wait of one request.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(60);
/// A waiting request looks again at once the first time, then this much later each time: many waiters of a busy run
/// must not keep the scheduler from its work.
const PAUSE_STEP: Duration = Duration::from_millis(1);
/// The longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// How often a run that is to become healthy is looked at: that takes time, and no change of what is stored.
const HEALTH_LOOK: Duration = Duration::from_millis(200);

/// Wakes when something changed, ever more lazily.
pub(super) struct Changes {
    revision: watch::Receiver<u64>,
    closing: CancellationToken,
    pause: Duration,
}

/// Why a wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// Something may have changed.
    Changed,
    /// The time has come.
    Deadline,
    /// The process shuts down.
    Closed,
}

impl Changes {
    /// Changes from here on count; look at the state after this.
    pub(super) fn new(api: &Api) -> Self {
        let mut revision = api.handle.revision();
        revision.mark_unchanged();
        Self { revision, closing: api.closing.clone(), pause: Duration::ZERO }
    }

    /// Waits for a change after the last call.
    pub(super) async fn next(&mut self, deadline: Instant) -> Woken {
        let earliest = Instant::now() + self.pause;
        self.pause = (self.pause + PAUSE_STEP).min(PAUSE_MAX);
        let changed = tokio::select! {
            changed = self.revision.changed() => changed.is_ok(),
            () = self.closing.cancelled() => false,
            () = tokio::time::sleep_until(deadline) => return Woken::Deadline,
        };
        if !changed {
            return Woken::Closed;
        }
        tokio::time::sleep_until(earliest.min(deadline)).await;
        self.revision.borrow_and_update();
        Woken::Changed
    }
}

/// Reads a run, once it is as far as the query wants it.
pub(super) async fn run(api: &Api, namespace: &Namespace, id: RunId, query: &RunQuery) -> Result<(u64, Run), Refusal> {
    run_for(api, namespace, id, query, wait(query.wait.as_deref())?).await
}

/// As [`run`], for another time than the query's.
pub(super) async fn run_for(
    api: &Api,
    namespace: &Namespace,
    id: RunId,
    query: &RunQuery,
    longest: Duration,
) -> Result<(u64, Run), Refusal> {
    let deadline = Instant::now() + longest;
    let mut changes = Changes::new(api);
    loop {
        let (revision, found) = runs::find(api, namespace.clone(), id).await?;
        let new_enough = query.min_revision.is_none_or(|wanted| revision >= wanted);
        let far_enough = match &found {
            Some(run) => query.until.is_none_or(|until| has_come(run, until)),
            None => true,
        };
        if (new_enough && far_enough) || Instant::now() >= deadline {
            return Ok((revision, found.ok_or_else(|| runs::missing(namespace, id))?));
        }
        let look = if query.until == Some(Until::Healthy) { Instant::now() + HEALTH_LOOK } else { deadline };
        if changes.next(look.min(deadline)).await == Woken::Closed {
            return Ok((revision, found.ok_or_else(|| runs::missing(namespace, id))?));
        }
    }
}

fn has_come(run: &Run, until: Until) -> bool {
    match until {
        Until::Terminal => run.state.is_terminal(),
        Until::Running => run.is_running(),
        Until::Healthy => run.is_healthy(),
    }
}

/// The longest wait that a query asks for.
pub(super) fn wait(text: Option<&str>) -> Result<Duration, Refusal> {
    let Some(text) = text else { return Ok(Duration::ZERO) };
    let allowed = || Some(format!("a duration of at most {} s, such as `30s`", WAIT_MAX.as_secs()));
    let wait = units::parse_duration_ms(text)
        .map(Duration::from_millis)
        .map_err(|error| Refusal::invalid_key("wait", error.to_string(), allowed()))?;
    if wait > WAIT_MAX {
        return Err(Refusal::invalid_key("wait", format!("`{text}` is too long"), allowed()));
    }
    Ok(wait)
}
