use weir_api::{Job, JobVersion};
use weir_scheduler::{RunView, Scheduler};
use weir_wire::{kind::Kind, work::JobRecord};

use crate::api::record;

/// A job as lists show it.
pub(crate) fn summary(scheduler: &Scheduler, record: &JobRecord) -> Job {
    let view = scheduler.job_view(&record.namespace, &record.job);
    let view = view.as_ref();
    let last = last_run(scheduler, record);
    let target =
        last.as_ref().filter(|view| !view.state.is_terminal()).and_then(|view| view.target.or(view.nodes_wanted));
    Job {
        namespace: record.namespace.to_string(),
        name: record.job.to_string(),
        kind: record.kind.as_str().to_owned(),
        version: super::version(record.version),
        module: record.module.to_string(),
        count: target.unwrap_or(record.count),
        updated_ms: record.created_ms,
        paused: view.is_some_and(|view| view.paused),
        schedule: schedule(&record.kind),
        next_ms: view.and_then(|view| view.next_ms).filter(|_| !view.is_some_and(|view| view.paused)),
        last_run: last.as_ref().map(|view| view.run.to_string()),
        last_run_state: last.as_ref().map(super::run::state),
    }
}

/// The run that a job's state is that of: the newest one, or the one that is kept running if the newest was given up.
pub(crate) fn last_run(scheduler: &Scheduler, record: &JobRecord) -> Option<RunView> {
    let newest = scheduler.newest_run(&record.namespace, &record.job).and_then(|run| scheduler.run(run));
    if newest.as_ref().is_some_and(|newest| newest.state.is_terminal())
        && let Some(kept) = scheduler.kept_run(&record.namespace, &record.job)
    {
        return scheduler.run(kept.run);
    }
    newest
}

/// When a cron job fires, in words.
fn schedule(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Cron(cron) => Some(format!("{} {}", cron.schedule, cron.time_zone)),
        Kind::Batch | Kind::Service(_) | Kind::System | Kind::Function => None,
    }
}

/// One version of a job.
pub(crate) fn version(record: &JobRecord, changed: bool) -> JobVersion {
    JobVersion {
        namespace: record.namespace.to_string(),
        name: record.job.to_string(),
        version: super::version(record.version),
        created_ms: record.created_ms,
        message: record.message.clone(),
        changed,
        spec: record::spec(record).to_document(),
    }
}
