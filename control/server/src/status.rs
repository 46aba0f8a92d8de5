//! The state of affairs that everybody may ask for without the driver: who leads, and how the store is doing.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;
use weir_api::StoreKind;
use weir_wire::{
    id::{ClusterName, Term},
    record::Leader,
    units::Instant,
};

use crate::clock;

/// Longest error kept, bytes.
const ERROR_LEN_MAX: usize = 1024;

/// What a replica knows of its cluster.
#[derive(Debug, Clone)]
pub(crate) struct ClusterStatus {
    /// The cluster.
    pub(crate) cluster: ClusterName,
    /// Whether this process leads and has loaded its state.
    pub(crate) leading: bool,
    /// The term, while this process leads.
    pub(crate) term: Option<Term>,
    /// Since when this process leads.
    pub(crate) leading_since: Option<Instant>,
    /// Who leads, as far as known; this process when `leading`.
    pub(crate) leader: Option<Leader>,
    /// Since when nobody is known to lead, Unix milliseconds.
    pub(crate) leaderless_since_ms: Option<u64>,
    /// What kind of store this is.
    pub(crate) store_kind: StoreKind,
    /// Its version, once it has answered.
    pub(crate) store_version: Option<String>,
    /// How it is doing.
    pub(crate) store: Health,
    /// Whether the store answers but takes nothing more: until a transaction is carried out, nothing new is accepted.
    pub(crate) store_full: bool,
    /// Why this process does not campaign, if it does not.
    pub(crate) held_back: Option<String>,
}

/// How the store is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    /// Nothing has been asked of it yet.
    Unknown,
    /// It answers.
    Ok,
    /// It does not, and is asked again and again.
    Retrying {
        /// Since when, Unix milliseconds.
        since_ms: u64,
        /// The newest error.
        error: String,
    },
}

/// What can fail by itself, though people see it as one store. In the order of what they are told first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Transactions become durable.
    Commits,
    /// Objects become durable.
    Blobs,
    /// The store answers.
    Store,
}

const PARTS: usize = 3;

/// Where parts of the process write what they know of [`ClusterStatus`].
#[derive(Debug, Clone)]
pub(crate) struct StatusBoard {
    board: Arc<watch::Sender<Board>>,
}

#[derive(Debug)]
struct Board {
    /// Everything but the health.
    status: ClusterStatus,
    health: [Health; PARTS],
    /// Until when this process is certain to lead, while it does.
    certain_until: Option<Instant>,
    /// Parts whose failure was put down to that time having passed.
    excused: [bool; PARTS],
}

impl StatusBoard {
    pub(crate) fn new(status: ClusterStatus) -> Self {
        let health = [const { Health::Unknown }; PARTS];
        let board = Board { status, health, certain_until: None, excused: [false; PARTS] };
        Self { board: Arc::new(watch::Sender::new(board)) }
    }

    /// Everything as it is known at the moment.
    pub(crate) fn read(&self) -> ClusterStatus {
        self.board.borrow().summary()
    }

    /// Waits until the state of affairs is one of those wanted.
    pub(crate) async fn wait_for(&self, wanted: impl Fn(&ClusterStatus) -> bool) {
        let mut board = self.board.subscribe();
        // Fails only when the sender is gone, but this is a handle on it.
        drop(board.wait_for(|board| wanted(&board.summary())).await);
    }

    /// A part did what was asked of it.
    pub(crate) fn answered(&self, part: Part) {
        if part == Part::Commits && self.board.borrow().status.store_full {
            self.change(|board| board.status.store_full = false);
            tracing::info!("the store has room again");
        }
        if self.board.borrow().health[part as usize] == Health::Ok {
            return;
        }
        let before = self.change(|board| std::mem::replace(&mut board.health[part as usize], Health::Ok));
        if let Health::Retrying { since_ms, .. } = before {
            let away_ms = unix_ms().saturating_sub(since_ms);
            tracing::info!(store.part = ?part, store.away_ms = away_ms, "the store works again");
        }
    }

    /// A part failed, and is tried again.
    pub(crate) fn failed(&self, part: Part, error: &str) {
        let error: String = error.chars().take(ERROR_LEN_MAX).collect();
        if let Some(lapsed) = self.change(|board| board.excuse(part, clock::mono())) {
            let lapsed_ms = u64::try_from(lapsed.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(
                lease.lapsed_ms = lapsed_ms,
                error,
                "this process stood still until its lease had lapsed, so another replica may lead; it asks the store"
            );
            return;
        }
        let first = self.change(|board| {
            let health = &mut board.health[part as usize];
            let (first, since_ms) = match health {
                Health::Retrying { since_ms, .. } => (false, *since_ms),
                Health::Unknown | Health::Ok => (true, unix_ms()),
            };
            let error = error.clone();
            *health = Health::Retrying { since_ms, error };
            first
        });
        if first {
            tracing::warn!(store.part = ?part, error, "the store does not work; it is tried again until it does");
        }
    }

    /// This process is certain to lead until then, or does not lead.
    pub(crate) fn certain_until(&self, until: Option<Instant>) {
        self.change(|board| (board.certain_until, board.excused) = (until, [false; PARTS]));
    }

    /// The store takes nothing more.
    pub(crate) fn full(&self) {
        if !self.board.borrow().status.store_full {
            self.change(|board| board.status.store_full = true);
            tracing::error!("the store is full: nothing new is accepted, and what ends is recorded when it has room");
        }
    }

    /// The store said which version it is.
    pub(crate) fn store_version(&self, version: &str) {
        self.change(|board| board.status.store_version = Some(version.to_owned()));
    }

    /// This process leads in `term`, or leads no more.
    pub(crate) fn leading(&self, term: Option<Term>) {
        self.change(|board| {
            board.status.leading = term.is_some();
            board.status.leading_since = term.map(|_| clock::mono());
            board.status.term = term;
        });
    }

    /// Somebody leads, or nobody is known to.
    pub(crate) fn leader(&self, leader: Option<Leader>) {
        self.change(|board| {
            let status = &mut board.status;
            let since_ms = status.leaderless_since_ms.unwrap_or_else(unix_ms);
            status.leaderless_since_ms = leader.is_none().then_some(since_ms);
            status.leader = leader;
        });
    }

    /// This process does not campaign for this reason, or does.
    pub(crate) fn held_back(&self, reason: Option<String>) {
        self.change(|board| board.status.held_back = reason);
    }

    fn change<R>(&self, change: impl FnOnce(&mut Board) -> R) -> R {
        let mut result = None;
        self.board.send_modify(|board| result = Some(change(board)));
        result.expect("a watch calls the function that modifies it")
    }
}

impl Board {
    /// For how long the lease had lapsed already when a failure of the store was seen first; nothing where the store is to
    /// blame. A leader that is awake sees the store fail before its lease lapses, since it renews that often. Each part
    /// is excused once: a store that has gone as well fails again.
    fn excuse(&mut self, part: Part, now: Instant) -> Option<Duration> {
        let until = self.certain_until.filter(|until| part != Part::Blobs && *until < now)?;
        let seen = self.health.iter().any(|health| matches!(health, Health::Retrying { .. }));
        let again = std::mem::replace(&mut self.excused[part as usize], true);
        (!seen && !again).then(|| now.since(until))
    }

    fn summary(&self) -> ClusterStatus {
        let failing = self.health.iter().find(|health| matches!(health, Health::Retrying { .. }));
        let mut status = self.status.clone();
        status.store = failing.unwrap_or(&self.health[Part::Store as usize]).clone();
        status
    }
}

/// The wall clock.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::board;

    fn works(board: &StatusBoard) -> bool {
        !matches!(board.read().store, Health::Retrying { .. })
    }

    #[test]
    fn what_fails_first_after_the_lease_is_not_put_down_to_the_store() {
        let board = board();
        board.answered(Part::Store);
        board.certain_until(Some(Instant(1)));
        board.failed(Part::Store, "no answer");
        board.failed(Part::Commits, "no answer");
        assert!(works(&board), "it was this process that stood still");
        board.failed(Part::Blobs, "the disk is full");
        assert!(!works(&board), "the blob store knows no lease");
        board.answered(Part::Blobs);
        board.failed(Part::Store, "no answer");
        assert!(!works(&board), "it fails again");
    }

    #[test]
    fn a_store_that_fails_while_the_lease_lasts_is_to_blame_for_what_follows() {
        let board = board();
        board.certain_until(Some(Instant(u64::MAX)));
        board.failed(Part::Store, "no answer");
        assert!(!works(&board));
        board.certain_until(Some(Instant(1)));
        board.failed(Part::Commits, "no answer");
        board.answered(Part::Store);
        assert!(!works(&board), "its transactions fail as well");
        board.answered(Part::Commits);
        board.certain_until(None);
        board.failed(Part::Store, "no answer");
        assert!(!works(&board), "a standby has no lease");
    }
}
