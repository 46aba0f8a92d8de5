//! A granted range and the runs and modules it needs.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};

use weir_wire::{
    id::{AttemptId, GrantSeq, TaskId, Term},
    message::{Grant, HeldGrant},
    outcome::Outcome,
    units::Instant,
    work::WorkSpec,
};

use crate::{ahead::PutOff, ledger::Booking, stop::Grace};

/// What tells one grant from another.
pub(crate) type RangeKey = (Term, GrantSeq);

/// A grant that is held: one lane.
#[derive(Debug)]
pub(crate) struct Range {
    pub(crate) grant: Grant,
    /// First task that has not ended.
    pub(crate) next: u32,
    /// First task that is not to be run here.
    pub(crate) end: u32,
    pub(crate) booking: Booking,
    pub(crate) priority: u8,
    /// Neither begins nor goes on without a lease.
    pub(crate) fenced: bool,
    /// Does not go on without a lease.
    pub(crate) tied: bool,
    /// When the running task is to be ended.
    pub(crate) grace: Option<Grace>,
    /// Tasks behind the running one that the sandbox may start, and may have started, without being told.
    pub(crate) ahead: u32,
    /// What is to be done with the range once it is known which task runs.
    pub(crate) put_off: Vec<PutOff>,
    pub(crate) phase: Phase,
}

/// What the lane does.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Waits for its module or payload.
    Waiting,
    /// Waits for room in the outbox.
    Parked,
    /// Task `next` runs.
    Running(Running),
    /// Task `next` has ended, and its captures are being uploaded.
    Uploading(Box<Upload>),
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Running {
    pub(crate) since: Instant,
    pub(crate) reported: bool,
    pub(crate) cancelled: bool,
    /// Cancelled by this executor, to make room.
    pub(crate) evicted: bool,
    pub(crate) throttled: bool,
}

#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) outcome: Outcome,
    pub(crate) result: Transfer,
    pub(crate) log: Transfer,
    pub(crate) tries: u32,
}

/// Where a capture is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// In the outcome.
    Done,
    /// To be uploaded.
    Wanted(Box<[u8]>),
    /// On its way.
    Sent,
}

impl Range {
    pub(crate) const fn key(&self) -> RangeKey {
        (self.grant.term, self.grant.grant)
    }

    /// The attempt of task `next`.
    pub(crate) const fn attempt(&self) -> AttemptId {
        AttemptId {
            task: TaskId { run: self.grant.run, index: self.next },
            term: self.grant.term,
            grant: self.grant.grant,
        }
    }

    /// Whether task `next` was started.
    pub(crate) const fn is_started(&self) -> bool {
        matches!(self.phase, Phase::Running(_) | Phase::Uploading(_))
    }

    /// The first task that cannot have been started.
    pub(crate) fn unstarted(&self) -> u32 {
        if self.is_started() { self.next + 1 + self.ahead } else { self.next }
    }

    pub(crate) const fn held(&self) -> HeldGrant {
        HeldGrant { grant: self.grant, next: self.next, end: self.end, running: self.is_started() }
    }
}

/// A defined run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) spec: Arc<WorkSpec>,
    /// Held ranges of it.
    pub(crate) ranges: u32,
    pub(crate) forgotten: bool,
    pub(crate) payload: Supply,
    /// The task of it that ended last succeeded at once, so that the next ones may be started ahead.
    pub(crate) quick: bool,
}

/// The module of one or more defined runs. It is forgotten with the last of them: the sandbox may unload what no run
/// names.
#[derive(Debug)]
pub(crate) struct ModuleEntry {
    pub(crate) module: Module,
    /// Defined runs that name it.
    pub(crate) runs: u32,
}

/// How far a module is.
#[derive(Debug)]
pub(crate) enum Module {
    /// Not on this machine yet.
    Fetch(Supply),
    /// In the hands of the sandbox.
    Preparing,
    /// Compiled; counts how many were before.
    Ready(u64),
    /// The sandbox cannot run it.
    Refused(String),
}

/// Something that has to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Supply {
    /// Nobody asked for it.
    Idle,
    /// To be asked for, after this many tries.
    Wanted(u32),
    /// Asked for, after this many tries.
    Asked(u32),
    Here,
    /// Cannot be had.
    Failed(String),
}
