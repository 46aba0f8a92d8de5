//! The one clock of the daemon.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use weir_wire::units::{Instant, Now};

/// Both clocks. The monotonic one counts suspended time too: a lease does not wait for a machine that sleeps.
pub(crate) fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { mono: mono(), wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
}

/// The monotonic clock alone.
pub(crate) fn mono() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    let fraction = Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0));
    Instant::default() + (seconds + fraction)
}
