use weir_api::{Reason, Source, Task, TaskState, Trap, Usage};
use weir_scheduler::{RunView, TaskView};
use weir_wire::{
    outcome::{self, Failure},
    segment::Entry,
    task,
    units::Now,
};

/// A task without what is in its entry.
pub(crate) fn task(now: Now, run: &RunView, view: &TaskView) -> Task {
    // Of an open task it is the newest failure so far; a task that succeeded has none, whatever came before.
    let failure = view.failure.as_ref().filter(|_| view.state != task::TaskState::Succeeded);
    Task {
        id: weir_wire::id::TaskId { run: run.run, index: view.index }.to_string(),
        run: run.run.to_string(),
        job: run.job.to_string(),
        namespace: run.namespace.to_string(),
        index: view.index,
        state: state(view.state),
        reason: failure.map(|failure| reason(failure.reason)),
        source: failure.map(|failure| source(failure.source)),
        attempt: view.attempt,
        exit_code: exit_code(view),
        node: view.node.as_ref().map(ToString::to_string),
        usage: None,
        trap: failure.and_then(trap),
        message: failure.map(|failure| failure.message.clone()).filter(|text| !text.is_empty()),
        result_size: None,
        log_size: None,
        progress: view.progress,
        next_retry_ms: view.next_retry_ms.map(|delay| now.wall_ms.saturating_add(delay)),
        dormant: view.dormant.map(str::to_owned),
    }
}

/// Adds what the entry of an ended task says.
pub(crate) fn add_entry(task: &mut Task, entry: &Entry) {
    task.usage = Some(usage(&entry.usage));
    task.result_size = Some(entry.result.len());
    task.log_size = Some(entry.log.len());
}

pub(crate) fn usage(usage: &outcome::Usage) -> Usage {
    Usage {
        fuel: usage.fuel.0,
        cpu_us: usage.cpu_us,
        wall_us: usage.wall_us,
        peak_memory: usage.peak_memory.0,
        output_bytes: usage.output_bytes,
    }
}

/// A guest that succeeded ended with 0, whatever was recorded of earlier attempts.
fn exit_code(view: &TaskView) -> Option<i32> {
    match view.state {
        task::TaskState::Succeeded => Some(0),
        task::TaskState::Pending
        | task::TaskState::Assigned
        | task::TaskState::Running
        | task::TaskState::Stopping
        | task::TaskState::Unknown
        | task::TaskState::Failed
        | task::TaskState::Killed
        | task::TaskState::Lost
        | task::TaskState::Rejected => view.failure.as_ref().and_then(|failure| failure.exit_code),
    }
}

fn trap(failure: &Failure) -> Option<Trap> {
    (failure.reason == task::Reason::Trap || !failure.backtrace.is_empty())
        .then(|| Trap { message: failure.message.clone(), backtrace: failure.backtrace.clone() })
}

pub(crate) fn state(state: task::TaskState) -> TaskState {
    match state {
        task::TaskState::Pending => TaskState::Pending,
        task::TaskState::Assigned => TaskState::Assigned,
        task::TaskState::Running => TaskState::Running,
        task::TaskState::Stopping => TaskState::Stopping,
        task::TaskState::Unknown => TaskState::Unknown,
        task::TaskState::Succeeded => TaskState::Succeeded,
        task::TaskState::Failed => TaskState::Failed,
        task::TaskState::Killed => TaskState::Killed,
        task::TaskState::Lost => TaskState::Lost,
        task::TaskState::Rejected => TaskState::Rejected,
    }
}

pub(crate) fn asked_state(state: TaskState) -> task::TaskState {
    match state {
        TaskState::Pending => task::TaskState::Pending,
        TaskState::Assigned => task::TaskState::Assigned,
        TaskState::Running => task::TaskState::Running,
        TaskState::Stopping => task::TaskState::Stopping,
        TaskState::Unknown => task::TaskState::Unknown,
        TaskState::Succeeded => task::TaskState::Succeeded,
        TaskState::Failed => task::TaskState::Failed,
        TaskState::Killed => task::TaskState::Killed,
        TaskState::Lost => task::TaskState::Lost,
        TaskState::Rejected => task::TaskState::Rejected,
    }
}

fn source(source: task::Source) -> Source {
    match source {
        task::Source::Control => Source::Control,
        task::Source::Executor => Source::Executor,
        task::Source::Guest => Source::Guest,
    }
}

fn reason(reason: task::Reason) -> Reason {
    match reason {
        task::Reason::ExitNonzero => Reason::ExitNonzero,
        task::Reason::Trap => Reason::Trap,
        task::Reason::FuelExhausted => Reason::FuelExhausted,
        task::Reason::MemoryLimit => Reason::MemoryLimit,
        task::Reason::TableLimit => Reason::TableLimit,
        task::Reason::StackOverflow => Reason::StackOverflow,
        task::Reason::WallTimeout => Reason::WallTimeout,
        task::Reason::OutputLimit => Reason::OutputLimit,
        task::Reason::ModuleInvalid => Reason::ModuleInvalid,
        task::Reason::CapabilityDenied => Reason::CapabilityDenied,
        task::Reason::StartDeadline => Reason::StartDeadline,
        task::Reason::Preempted => Reason::Preempted,
        task::Reason::Drained => Reason::Drained,
        task::Reason::NodeLost => Reason::NodeLost,
        task::Reason::ExecutorRestarted => Reason::ExecutorRestarted,
        task::Reason::HostError => Reason::HostError,
        task::Reason::Cancelled => Reason::Cancelled,
        task::Reason::DependencyFailed => Reason::DependencyFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_on_both_sides() {
        for one in task::TaskState::ALL {
            assert_eq!(state(one).as_str(), one.as_str());
            assert_eq!(asked_state(state(one)), one);
            assert_eq!(state(one).is_terminal(), one.is_terminal());
        }
        for one in task::Reason::ALL {
            assert_eq!(reason(one).as_str(), one.as_str());
        }
        for one in [task::Source::Control, task::Source::Executor, task::Source::Guest] {
            assert_eq!(source(one).as_str(), one.as_str());
        }
    }
}
