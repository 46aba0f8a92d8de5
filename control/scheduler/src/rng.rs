//! Seeded randomness, one stream per purpose, so that drawing for one purpose never changes another.

use core::time::Duration;

/// A stream of pseudo-random numbers: `SplitMix64`, enough for jitter and ids.
#[derive(Debug, Clone)]
pub(crate) struct Rng {
    state: u64,
}

impl Rng {
    /// The stream of `seed` for one purpose.
    pub(crate) const fn new(seed: u64, purpose: u64) -> Self {
        Self { state: seed ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93) }
    }

    /// The next number.
    pub(crate) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let wide = u128::from(self.next()) * end as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// A duration between half of `upper` and `upper`.
    pub(crate) fn jitter(&mut self, upper: Duration) -> Duration {
        let half = u64::try_from(upper.as_micros() / 2).unwrap_or(u64::MAX / 2);
        Duration::from_micros(half + self.next() % (half + 1))
    }
}
