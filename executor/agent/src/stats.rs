//! What an agent counts.

use weir_wire::{id::Term, resources::Resources, units::Instant};

/// A snapshot for metrics and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Whether a leader accepted the session.
    pub connected: bool,
    /// The highest term seen.
    pub term: Term,
    /// The end of the lease, while it holds.
    pub lease_until: Option<Instant>,
    /// What the node offers.
    pub capacity: Resources,
    /// What the held ranges that are not revocable reserve.
    pub reserved: Resources,
    /// The limits of the revocable ones.
    pub revocable: Resources,
    /// What those that are not revocable used when it was last measured.
    pub measured: Option<Resources>,
    /// Ranges held.
    pub ranges: usize,
    /// Attempts in the sandbox.
    pub running: usize,
    /// Ranges that wait for room in the outbox.
    pub parked: usize,
    /// Outcomes that are not acknowledged.
    pub outbox_len: usize,
    /// Their estimated size.
    pub outbox_bytes: usize,
    /// Runs known.
    pub runs: usize,
    /// Modules known.
    pub modules: usize,
    /// Fuel for each second of CPU time, over the attempts that ended lately.
    pub fuel_per_s: Option<u64>,
    /// What has happened since the start.
    pub totals: Totals,
}

/// Counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Grants accepted.
    pub grants_accepted: u64,
    /// Grants given back whole because they did not fit or could not be run.
    pub grants_returned: u64,
    /// Grants dropped because their term is over.
    pub grants_stale: u64,
    /// Tasks given back without having been started.
    pub tasks_returned: u64,
    /// Attempts started.
    pub attempts_started: u64,
    /// Attempts ended, in the sandbox or without it.
    pub attempts_ended: u64,
    /// Of them, those that succeeded.
    pub attempts_succeeded: u64,
    /// Reports sent.
    pub reports: u64,
    /// Outcomes sent again after a reconnection.
    pub outcomes_resent: u64,
    /// Captures uploaded.
    pub uploads: u64,
    /// Leases that ended without a renewal.
    pub leases_lapsed: u64,
    /// Revocable attempts ended because their memory was needed.
    pub attempts_evicted: u64,
    /// Revocable attempts throttled because their CPU was needed.
    pub throttles: u64,
    /// Sandbox events that fitted nothing held.
    pub events_unexpected: u64,
}
