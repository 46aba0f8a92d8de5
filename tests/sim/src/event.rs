//! The heap of things to come, ordered by time and then by the order of their making.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

use weir_agent::Part;
use weir_wire::{
    attempt::AttemptEvent,
    id::{AttemptId, Digest, RunId, Term},
    task::Reason,
};

use crate::cron::Question;

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

/// What a guest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    End,
    Cancelled(Reason),
    /// It has waited for its place.
    Begins,
    Progress,
}

/// One thing that happens. An epoch is the start of the machine that it belongs to: it does not happen to a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Deliver {
        session: u64,
        to: Side,
        frame: Frame,
    },
    /// The connection has broken.
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
    /// A frozen machine goes on.
    Thaw {
        node: usize,
        epoch: u64,
    },
    Guest {
        node: usize,
        epoch: u64,
        id: AttemptId,
        act: Act,
    },
    /// The sandbox of a machine says something that happened a little earlier.
    Told {
        node: usize,
        epoch: u64,
        event: Box<AttemptEvent>,
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
    /// A machine measures what its attempts use.
    Measure {
        node: usize,
        epoch: u64,
    },
    ControlTick {
        replica: usize,
        epoch: u64,
        due: u64,
    },
    ControlRestart {
        replica: usize,
    },
    /// The daemon has computed an instant.
    Instant {
        replica: usize,
        epoch: u64,
        question: Box<Question>,
    },
    /// The daemon has put the results of a run together, or could not.
    Assembled {
        replica: usize,
        epoch: u64,
        run: RunId,
        well: bool,
    },
    /// A follower tries to become leader.
    Campaign {
        replica: usize,
        epoch: u64,
    },
    /// A leader renews its lease.
    KeepAlive {
        replica: usize,
        epoch: u64,
        term: Term,
    },
    /// The lease of a leader may have ended.
    Expire {
        term: Term,
    },
    /// The store removes a leader key whose lease has ended.
    Remove {
        term: Term,
    },
    /// A request reaches the store.
    Apply {
        call: u64,
    },
    /// Its answer reaches the replica.
    Answer {
        call: u64,
    },
    Wish {
        wish: usize,
    },
    /// The fault of this number in the plan.
    Fault {
        at: usize,
    },
    Heal,
    /// Looks whether all is done.
    Probe,
}

#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) at: u64,
    pub(crate) kind: Kind,
}

/// The heap. It sorts small keys; what happens lies in a slab beside it.
#[derive(Debug, Default)]
pub(crate) struct Events {
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    kinds: Vec<Option<Kind>>,
    free: Vec<u32>,
    made: u64,
}

impl Events {
    pub(crate) fn push(&mut self, at: u64, kind: Kind) {
        self.made += 1;
        let slot = if let Some(slot) = self.free.pop() {
            self.kinds[slot as usize] = Some(kind);
            slot
        } else {
            self.kinds.push(Some(kind));
            u32::try_from(self.kinds.len() - 1).expect("fewer events than fit into memory")
        };
        self.heap.push(Reverse((at, self.made, slot)));
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        let kind = self.kinds[slot as usize].take()?;
        Some(Event { at, kind })
    }

    pub(crate) const fn made(&self) -> u64 {
        self.made
    }
}
