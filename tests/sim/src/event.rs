//! The heap of things to come, ordered by time and then by the order of their making.

use core::cmp::Ordering;
use std::collections::BinaryHeap;

use weir_agent::Part;
use weir_wire::{
    id::{AttemptId, Digest, RunId, Term},
    task::Reason,
};

/// What an endpoint of a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Node,
    Control,
}

/// What travels on a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Message(Vec<u8>),
    /// The control plane closes.
    Close,
}

/// A fault to inject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    NodeCrash,
    NodeFreeze,
    Partition,
    ControlCrash,
    ControlFreeze,
    StoreCut,
}

/// What a guest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    End,
    Cancelled(Reason),
    Progress,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Deliver {
        session: u64,
        to: Side,
        frame: Frame,
    },
    /// The connection has broken: messages under way are lost.
    Break {
        session: u64,
    },
    /// One side notices.
    Lost {
        session: u64,
        side: Side,
    },
    Connect {
        node: usize,
        epoch: u64,
    },
    NodeTick {
        node: usize,
        epoch: u64,
        due: u64,
    },
    NodeRestart {
        node: usize,
    },
    Guest {
        node: usize,
        epoch: u64,
        id: AttemptId,
        act: Act,
    },
    Module {
        node: usize,
        epoch: u64,
        session: Option<u64>,
        digest: Digest,
    },
    Prepared {
        node: usize,
        epoch: u64,
        digest: Digest,
    },
    Payload {
        node: usize,
        epoch: u64,
        session: Option<u64>,
        run: RunId,
        digest: Digest,
    },
    Upload {
        node: usize,
        epoch: u64,
        session: Option<u64>,
        id: AttemptId,
        part: Part,
        bytes: Box<[u8]>,
    },
    ControlTick {
        replica: usize,
        epoch: u64,
        due: u64,
    },
    ControlRestart {
        replica: usize,
    },
    Campaign,
    Loaded {
        replica: usize,
        epoch: u64,
        term: Term,
    },
    KeepAlive {
        replica: usize,
        epoch: u64,
        term: Term,
    },
    Apply {
        call: u64,
    },
    Answer {
        call: u64,
    },
    Wish {
        wish: usize,
    },
    Fault(Fault),
    Heal,
    /// Looks whether all is done.
    Probe,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: u64,
    seq: u64,
    pub(crate) kind: Kind,
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives the greatest first, and the earliest is wanted.
        (other.at, other.seq).cmp(&(self.at, self.seq))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The heap.
#[derive(Debug, Default)]
pub(crate) struct Events {
    heap: BinaryHeap<Event>,
    made: u64,
}

impl Events {
    pub(crate) fn push(&mut self, at: u64, kind: Kind) {
        self.made += 1;
        self.heap.push(Event { at, seq: self.made, kind });
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.heap.pop()
    }

    pub(crate) const fn made(&self) -> u64 {
        self.made
    }
}
