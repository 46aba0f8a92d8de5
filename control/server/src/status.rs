//! The state of affairs that everybody may ask for without the driver: who leads, and how the store is doing.

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use weir_api::StoreKind;
use weir_wire::id::{ClusterName, Term};

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
    /// Who leads, as far as known; this process when `leading`.
    pub(crate) leader: Option<Advertised>,
    /// What kind of store this is.
    pub(crate) store_kind: StoreKind,
    /// Its version, once it has answered.
    pub(crate) store_version: Option<String>,
    /// How it is doing.
    pub(crate) store: Health,
    /// Why this process does not campaign, if it does not.
    pub(crate) held_back: Option<String>,
    /// Where the HTTP API listens.
    pub(crate) http: SocketAddr,
    /// Where the link to executors listens.
    pub(crate) link: SocketAddr,
}

/// The value of the leader key: where the leader is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Advertised {
    /// The URL of its HTTP API.
    pub(crate) http: String,
    /// Host and port of its link.
    pub(crate) link: String,
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

/// Where parts of the process write what they know of [`ClusterStatus`].
#[derive(Debug, Clone)]
pub(crate) struct StatusBoard {
    status: Arc<RwLock<ClusterStatus>>,
}

impl StatusBoard {
    pub(crate) fn new(status: ClusterStatus) -> Self {
        Self {
            status: Arc::new(RwLock::new(status)),
        }
    }

    /// Everything as it is known at the moment.
    pub(crate) fn read(&self) -> ClusterStatus {
        self.status.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The store answered.
    pub(crate) fn store_answered(&self) {
        let before = self.change(|status| std::mem::replace(&mut status.store, Health::Ok));
        if let Health::Retrying { since_ms, .. } = before {
            let away_ms = unix_ms().saturating_sub(since_ms);
            tracing::info!(store.away_ms = away_ms, "the store answers again");
        }
    }

    /// The store did not answer, or refused.
    pub(crate) fn store_failed(&self, error: &str) {
        let error: String = error.chars().take(ERROR_LEN_MAX).collect();
        let first = self.change(|status| {
            let first = !matches!(status.store, Health::Retrying { .. });
            let since_ms = match status.store {
                Health::Retrying { since_ms, .. } => since_ms,
                Health::Unknown | Health::Ok => unix_ms(),
            };
            let error = error.clone();
            status.store = Health::Retrying { since_ms, error };
            first
        });
        if first {
            tracing::warn!(error, "the store does not answer; it is asked again until it does");
        }
    }

    /// The store said which version it is.
    pub(crate) fn store_version(&self, version: &str) {
        self.change(|status| status.store_version = Some(version.to_owned()));
    }

    /// This process leads in `term`, or leads no more.
    pub(crate) fn leading(&self, term: Option<Term>) {
        self.change(|status| {
            status.leading = term.is_some();
            status.term = term;
        });
    }

    /// Somebody leads, or nobody is known to.
    pub(crate) fn leader(&self, leader: Option<Advertised>) {
        self.change(|status| status.leader = leader);
    }

    /// This process does not campaign for this reason, or does.
    pub(crate) fn held_back(&self, reason: Option<String>) {
        self.change(|status| status.held_back = reason);
    }

    fn change<R>(&self, change: impl FnOnce(&mut ClusterStatus) -> R) -> R {
        change(&mut self.status.write().unwrap_or_else(PoisonError::into_inner))
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
