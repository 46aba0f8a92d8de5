//! The clocks of machines: each starts somewhere else and runs a little fast or slow.

use weir_wire::units::{Instant, Now};

/// By how much two clocks may differ in rate, parts per million: what the cores allow for. Half of it each way.
pub(crate) const EPSILON_PPM: u32 = weir_wire::limits::CLOCK_DRIFT_PERMILLE * 1000 / 2;
/// When the world begins, Unix milliseconds.
const EPOCH_MS: u64 = 1_700_000_000_000;
const MILLION: i128 = 1_000_000;

/// A clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    /// What it shows at the beginning, nanoseconds.
    pub(crate) offset: u64,
    /// By how much it is fast, parts per million.
    pub(crate) fast_ppm: i32,
    /// By how much its wall clock is ahead, milliseconds.
    pub(crate) wall_ahead_ms: u64,
}

impl Clock {
    /// What it shows at a time of the world.
    pub(crate) fn now(&self, world: u64) -> Now {
        Now { mono: self.mono(world), wall_ms: EPOCH_MS + self.wall_ahead_ms + world / 1_000_000 }
    }

    pub(crate) fn mono(&self, world: u64) -> Instant {
        if self.fast_ppm == 0 {
            return Instant(self.offset + world);
        }
        let shift = i128::from(world) * i128::from(self.fast_ppm) / MILLION;
        let shown = i128::from(self.offset) + i128::from(world) + shift;
        Instant(u64::try_from(shown).unwrap_or(0))
    }

    /// The first time of the world at which it shows `at` or more.
    pub(crate) fn due(&self, at: Instant) -> u64 {
        let passed = at.0.saturating_sub(self.offset);
        if self.fast_ppm == 0 {
            return passed;
        }
        let rate = MILLION + i128::from(self.fast_ppm);
        let mut world = u64::try_from(i128::from(passed) * MILLION / rate).unwrap_or(u64::MAX);
        // The division is off by one at most, either way.
        while world > 0 && self.mono(world - 1) >= at {
            world -= 1;
        }
        while self.mono(world) < at {
            world += 1;
        }
        world
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_due_when_the_clock_shows_it_and_not_before() {
        for fast_ppm in [-300_000, -10_000, -1, 0, 1, 9_999, 500_000] {
            let clock = Clock { offset: 77, fast_ppm, wall_ahead_ms: 0 };
            for at in [77, 78, 1_000, 3_600_000_000_077, 1 << 50] {
                let due = clock.due(Instant(at));
                assert!(clock.mono(due) >= Instant(at), "{fast_ppm} {at}");
                assert!(due == 0 || clock.mono(due - 1) < Instant(at), "{fast_ppm} {at}");
            }
        }
    }
}
