//! What a field means when it is not written.

pub(super) const COUNT: u32 = 1;
pub(super) const PRIORITY: u8 = 50;
/// A tenth of a core: ten tasks a core start at once on an idle node, and a job that needs more says so.
pub(super) const CPU_MILLI: u32 = 100;
pub(super) const MEMORY_BYTES: u64 = 64 << 20;
/// About ten seconds of computing on a current machine, so that it ends a runaway before the timeout does.
pub(super) const FUEL: u64 = 10_000_000_000;
pub(super) const TIMEOUT_MS: u64 = 30_000;
pub(super) const OUTPUT_BYTES: u64 = 1 << 20;
pub(super) const ATTEMPTS: u32 = 3;
pub(super) const BACKOFF_MS: (u64, u64) = (1_000, 30_000);
