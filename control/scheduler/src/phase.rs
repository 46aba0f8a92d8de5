//! The state of one task in one byte.

use weir_wire::task::{Status, TaskState};

/// Where a task stands inside the scheduler: finer than [`TaskState`], because an outcome is staged before it is
/// recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits for a place.
    Pending,
    /// Waits for its back-off.
    Backoff,
    /// In a live grant.
    Granted,
    /// In a live grant, and seen running.
    Running,
    /// In a live grant, and asked to stop.
    Stopping,
    /// In a fenced grant of a node that does not answer.
    Unknown,
    /// Of a long-running job: not wanted, until its service is scaled up or its node is back.
    Dormant,
    /// Ended; the commit that says so is not confirmed.
    Staged(Status),
    /// Ended for ever.
    Recorded(Status),
}

/// Five bits say which; the numbers are dense, since every run counts its tasks by them.
const STAGED: u8 = 0x08;
const RECORDED: u8 = 0x10;
const KIND: u8 = 0x18;
const STATUS: u8 = 0x07;
/// One above the highest code.
pub(crate) const CODES: usize = 0x16;

impl Phase {
    /// The byte for it.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Backoff => 1,
            Self::Granted => 2,
            Self::Running => 3,
            Self::Stopping => 4,
            Self::Unknown => 5,
            Self::Dormant => 6,
            Self::Staged(status) => STAGED | status as u8,
            Self::Recorded(status) => RECORDED | status as u8,
        }
    }

    /// The phase of a byte written by [`Phase::code`].
    ///
    /// # Panics
    /// On any other byte: the table belongs to this crate alone.
    pub(crate) fn from_code(code: u8) -> Self {
        let status = || Status::from_code(code & STATUS).expect("phase bytes are written by `code`");
        match code {
            0 => Self::Pending,
            1 => Self::Backoff,
            2 => Self::Granted,
            3 => Self::Running,
            4 => Self::Stopping,
            5 => Self::Unknown,
            6 => Self::Dormant,
            code if code & KIND == STAGED => Self::Staged(status()),
            code => {
                assert!(code & KIND == RECORDED, "phase byte {code:#x} was never written");
                Self::Recorded(status())
            }
        }
    }

    /// Whether an outcome would change something.
    pub(crate) const fn is_open(self) -> bool {
        !matches!(self, Self::Staged(_) | Self::Recorded(_))
    }

    /// Whether a grant holds the task.
    pub(crate) const fn is_granted(self) -> bool {
        matches!(self, Self::Granted | Self::Running | Self::Stopping)
    }

    /// Whether an attempt may be running somewhere.
    pub(crate) const fn is_busy(self) -> bool {
        self.is_granted() || matches!(self, Self::Unknown)
    }

    /// What people see; staged tasks count as running until their end is durable.
    pub(crate) const fn state(self) -> TaskState {
        match self {
            Self::Pending | Self::Backoff | Self::Dormant => TaskState::Pending,
            Self::Granted => TaskState::Assigned,
            Self::Running | Self::Staged(_) => TaskState::Running,
            Self::Stopping => TaskState::Stopping,
            Self::Unknown => TaskState::Unknown,
            Self::Recorded(status) => status.state(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_round_trip() {
        let mut phases = alloc::vec![Phase::Pending, Phase::Backoff, Phase::Granted, Phase::Running, Phase::Stopping];
        phases.push(Phase::Unknown);
        phases.push(Phase::Dormant);
        for status in Status::ALL {
            phases.extend([Phase::Staged(status), Phase::Recorded(status)]);
        }
        for (at, phase) in phases.iter().enumerate() {
            assert_eq!(Phase::from_code(phase.code()), *phase);
            assert!(usize::from(phase.code()) < CODES);
            assert!(phases[..at].iter().all(|other| other.code() != phase.code()));
        }
    }
}
