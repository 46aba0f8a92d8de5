use weir_api::{Run, RunState, RunUsage, TaskCounts, Usage, UsageMax, WaitingFor};
use weir_scheduler::{self as scheduler, Counts, DependencyView, RunView, Scheduler};
use weir_wire::record::UsageSum;

/// A run, with the module of its job's version.
pub(crate) fn run(scheduler: &Scheduler, view: &RunView) -> Run {
    let job = scheduler.job(&view.namespace, &view.job, Some(view.version));
    let record = scheduler.run_record(view.run);
    let tasks = counts(&view.counts);
    Run {
        id: view.run.to_string(),
        namespace: view.namespace.to_string(),
        job: view.job.to_string(),
        version: super::version(view.version),
        state: state(view),
        count: view.count,
        retries: if view.healthy.is_some() {
            view.restarts
        } else {
            view.usage.attempts.saturating_sub(tasks.terminal())
        },
        tasks,
        kind: view.kind.to_owned(),
        tier: view.tier.as_str().to_owned(),
        target: view.target.or(view.nodes_wanted),
        healthy: view.healthy,
        paused: view.paused,
        scheduled_ms: view.scheduled_ms,
        waiting_for: view.waiting_for.iter().map(waiting_for).collect(),
        meta: record.map(|record| record.meta.iter().cloned().collect()).unwrap_or_default(),
        created_ms: view.submitted_ms,
        ended_ms: view.ended_ms,
        failed_too_often: view.failed_too_often,
        usage: usage(&view.usage),
        module: job.map(|job| job.module.to_string()).unwrap_or_default(),
        revision: scheduler.revision(),
    }
}

/// A run that another one waits for.
pub(crate) fn waiting_for(view: &DependencyView) -> WaitingFor {
    WaitingFor {
        run: view.run.to_string(),
        job: view.job.to_string(),
        when: view.condition.as_str().to_owned(),
        state: of(view.state),
    }
}

/// The state of a run; an active one is pending until something of it was seen to run.
pub(crate) fn state(view: &RunView) -> RunState {
    if view.state == scheduler::RunState::Active && started(view) { RunState::Running } else { of(view.state) }
}

/// The state of a run of which nothing else is known.
pub(crate) fn of(state: scheduler::RunState) -> RunState {
    match state {
        scheduler::RunState::Active => RunState::Pending,
        scheduler::RunState::Stopping => RunState::Stopping,
        scheduler::RunState::Succeeded => RunState::Succeeded,
        scheduler::RunState::Failed => RunState::Failed,
        scheduler::RunState::Stopped => RunState::Killed,
    }
}

fn started(view: &RunView) -> bool {
    let waiting = view.counts.pending.saturating_add(view.counts.assigned);
    view.usage.attempts > 0 || waiting < view.count
}

/// Tasks by state.
pub(crate) fn counts(counts: &Counts) -> TaskCounts {
    TaskCounts {
        // What is not wanted does not wait.
        pending: counts.pending.into(),
        assigned: counts.assigned.into(),
        running: counts.running.into(),
        stopping: counts.stopping.into(),
        unknown: counts.unknown.into(),
        succeeded: counts.succeeded.into(),
        failed: counts.failed.into(),
        killed: counts.killed.into(),
        lost: counts.lost.into(),
        rejected: counts.rejected.into(),
    }
}

/// Only the peak of memory is known as a maximum, and it is what the sum shows too: peaks do not add up.
fn usage(sum: &UsageSum) -> RunUsage {
    RunUsage {
        sum: Usage {
            fuel: sum.fuel.0,
            cpu_us: sum.cpu_us,
            wall_us: sum.wall_us,
            peak_memory: sum.peak_memory_max.0,
            output_bytes: sum.output_bytes,
        },
        max: UsageMax { peak_memory: Some(sum.peak_memory_max.0), ..UsageMax::default() },
    }
}

#[cfg(test)]
mod tests {
    use weir_wire::units::{Fuel, MemBytes};

    use super::*;

    #[test]
    fn a_maximum_that_is_not_kept_is_not_shown() {
        let peak_memory_max = MemBytes(65_536);
        let sum =
            UsageSum { fuel: Fuel(7), cpu_us: 5, wall_us: 9, output_bytes: 3, peak_memory_max, ..UsageSum::default() };
        let shown = serde_json::to_value(usage(&sum)).unwrap();
        assert_eq!(shown["max"], serde_json::json!({ "peak_memory": 65_536 }));
        assert_eq!(shown["sum"]["fuel"], 7);
        assert_eq!(serde_json::from_value::<RunUsage>(shown).unwrap(), usage(&sum));
    }
}
