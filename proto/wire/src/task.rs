//! The life of a task: states, reasons, sources.

use core::{fmt, str::FromStr};

use crate::wire_enum;

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskState {
    /// Waits for a place, or for its back-off to pass.
    Pending,
    /// Granted to a node, not seen running.
    Assigned,
    /// Reported running by its node.
    Running,
    /// Asked to stop.
    Stopping,
    /// Its node has not answered for too long.
    Unknown,
    /// Ended well.
    Succeeded,
    /// Ended badly, and is not tried again.
    Failed,
    /// Ended by request.
    Killed,
    /// Its node is gone and it may not be tried again.
    Lost,
    /// Could not be run at all.
    Rejected,
}

impl TaskState {
    /// All states, in the order of a task's life.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Assigned,
        Self::Running,
        Self::Stopping,
        Self::Unknown,
        Self::Succeeded,
        Self::Failed,
        Self::Killed,
        Self::Lost,
        Self::Rejected,
    ];

    /// Whether the state is final.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Killed | Self::Lost | Self::Rejected)
    }

    /// The word for it in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Unknown => "unknown",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Killed => "killed",
            Self::Lost => "lost",
            Self::Rejected => "rejected",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for TaskState {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(())
    }
}

/// A terminal status as it is recorded; the numbers are part of the store format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Status {
    /// See [`TaskState::Succeeded`].
    Succeeded = 1,
    /// See [`TaskState::Failed`].
    Failed = 2,
    /// See [`TaskState::Killed`].
    Killed = 3,
    /// See [`TaskState::Lost`].
    Lost = 4,
    /// See [`TaskState::Rejected`].
    Rejected = 5,
}
wire_enum!(Status { 1 => Succeeded, 2 => Failed, 3 => Killed, 4 => Lost, 5 => Rejected });

impl Status {
    /// All statuses.
    pub const ALL: [Self; 5] = [Self::Succeeded, Self::Failed, Self::Killed, Self::Lost, Self::Rejected];

    /// The status with a recorded number.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Succeeded),
            2 => Some(Self::Failed),
            3 => Some(Self::Killed),
            4 => Some(Self::Lost),
            5 => Some(Self::Rejected),
            _ => None,
        }
    }

    /// The state that people see.
    #[must_use]
    pub const fn state(self) -> TaskState {
        match self {
            Self::Succeeded => TaskState::Succeeded,
            Self::Failed => TaskState::Failed,
            Self::Killed => TaskState::Killed,
            Self::Lost => TaskState::Lost,
            Self::Rejected => TaskState::Rejected,
        }
    }
}

/// Why an attempt or a task ended the way it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The guest said that it failed.
    ExitNonzero,
    /// The guest trapped.
    Trap,
    /// The fuel budget is used up.
    FuelExhausted,
    /// The memory limit was reached.
    MemoryLimit,
    /// A table limit was reached.
    TableLimit,
    /// The guest's stack is used up.
    StackOverflow,
    /// The wall-clock timeout passed.
    WallTimeout,
    /// More output than allowed.
    OutputLimit,
    /// The module cannot be compiled or linked.
    ModuleInvalid,
    /// A granted thing does not exist on the node, or is not allowed there.
    CapabilityDenied,
    /// Not started in time.
    StartDeadline,
    /// Made room for more important work.
    Preempted,
    /// The node was drained.
    Drained,
    /// The node has been silent for too long.
    NodeLost,
    /// The executor was started anew.
    ExecutorRestarted,
    /// The executor failed.
    HostError,
    /// Stopped by request.
    Cancelled,
    /// Something it depends on did not succeed.
    DependencyFailed,
}
wire_enum!(Reason {
    1 => ExitNonzero, 2 => Trap, 3 => FuelExhausted, 4 => MemoryLimit, 5 => TableLimit, 6 => StackOverflow,
    7 => WallTimeout, 8 => OutputLimit, 9 => ModuleInvalid, 10 => CapabilityDenied, 11 => StartDeadline,
    12 => Preempted, 13 => Drained, 14 => NodeLost, 15 => ExecutorRestarted, 16 => HostError, 17 => Cancelled,
    18 => DependencyFailed,
});

/// How a failure counts against the retry budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// The platform's doing: tried again without using up an attempt.
    Free,
    /// The guest's doing, and may go better: uses up an attempt.
    Counted,
    /// Would end the same way again: not retried unless the job asks for it.
    Deterministic,
    /// Never tried again.
    Final,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 18] = [
        Self::ExitNonzero,
        Self::Trap,
        Self::FuelExhausted,
        Self::MemoryLimit,
        Self::TableLimit,
        Self::StackOverflow,
        Self::WallTimeout,
        Self::OutputLimit,
        Self::ModuleInvalid,
        Self::CapabilityDenied,
        Self::StartDeadline,
        Self::Preempted,
        Self::Drained,
        Self::NodeLost,
        Self::ExecutorRestarted,
        Self::HostError,
        Self::Cancelled,
        Self::DependencyFailed,
    ];

    /// The word for it in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExitNonzero => "exit_nonzero",
            Self::Trap => "trap",
            Self::FuelExhausted => "fuel_exhausted",
            Self::MemoryLimit => "memory_limit",
            Self::TableLimit => "table_limit",
            Self::StackOverflow => "stack_overflow",
            Self::WallTimeout => "wall_timeout",
            Self::OutputLimit => "output_limit",
            Self::ModuleInvalid => "module_invalid",
            Self::CapabilityDenied => "capability_denied",
            Self::StartDeadline => "start_deadline",
            Self::Preempted => "preempted",
            Self::Drained => "drained",
            Self::NodeLost => "node_lost",
            Self::ExecutorRestarted => "executor_restarted",
            Self::HostError => "host_error",
            Self::Cancelled => "cancelled",
            Self::DependencyFailed => "dependency_failed",
        }
    }

    /// How a failure for this reason counts.
    #[must_use]
    pub const fn retry_class(self) -> RetryClass {
        match self {
            Self::Preempted | Self::Drained | Self::NodeLost | Self::ExecutorRestarted | Self::HostError => {
                RetryClass::Free
            }
            Self::ExitNonzero | Self::WallTimeout => RetryClass::Counted,
            Self::Trap
            | Self::FuelExhausted
            | Self::MemoryLimit
            | Self::TableLimit
            | Self::StackOverflow
            | Self::OutputLimit
            | Self::ModuleInvalid
            | Self::CapabilityDenied => RetryClass::Deterministic,
            Self::StartDeadline | Self::Cancelled | Self::DependencyFailed => RetryClass::Final,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who decided that an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The control plane.
    Control,
    /// The executor.
    Executor,
    /// The guest itself.
    Guest,
}
wire_enum!(Source { 1 => Control, 2 => Executor, 3 => Guest });

impl Source {
    /// The word for it in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Executor => "executor",
            Self::Guest => "guest",
        }
    }
}
