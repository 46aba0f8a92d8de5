//! What a field means when it is not written.

use super::{Kind, limits};

pub(super) const COUNT: u32 = 1;
pub(super) const PRIORITY: u8 = 50;
/// A tenth of a core: ten tasks a core start at once on an idle node, and a job that needs more says so.
pub(super) const CPU_MILLI: u32 = 100;
pub(super) const MEMORY_BYTES: u64 = 64 << 20;
pub(super) const OUTPUT_BYTES: u64 = 1 << 20;
pub(super) const ATTEMPTS: u32 = 3;
pub(super) const BACKOFF_MS: (u64, u64) = (1_000, 30_000);
pub(super) const TIME_ZONE: &str = "UTC";
pub(super) const CRON_START_DEADLINE_MS: u64 = 3_600_000;
pub(super) const HEALTHY_AFTER_MS: u64 = 5_000;

/// Work that is meant to end has a time; what serves has none unless its owner says so.
pub(super) const fn timeout_ms(kind: Kind) -> Option<u64> {
    match kind {
        Kind::Batch | Kind::Cron => Some(30_000),
        Kind::Service | Kind::System | Kind::Function => None,
    }
}

/// About ten seconds of computing on a current machine, so that it ends a runaway before the timeout does. A default
/// that is smaller than no timeout would be one in disguise.
pub(super) const fn fuel(kind: Kind) -> u64 {
    match kind {
        Kind::Batch | Kind::Cron => 10_000_000_000,
        Kind::Service | Kind::System | Kind::Function => *limits::FUEL.end(),
    }
}
