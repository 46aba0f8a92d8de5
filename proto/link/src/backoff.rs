//! The wait between attempts to connect.

use std::time::Duration;

/// An exponential backoff with jitter: each wait is drawn from the upper half of a range that doubles.
///
/// It has no clock and no randomness of its own, so a simulator can drive it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// Starts at `min`, doubles up to `max`. A `max` below `min` counts as `min`.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), ceiling: min }
    }

    /// Returns how long to wait before the next attempt, between half of the current ceiling and all of it.
    ///
    /// `random` is any uniformly drawn number: nodes that lost the same leader must not return in step.
    pub fn next_wait(&mut self, random: u64) -> Duration {
        let ceiling = self.ceiling;
        self.ceiling = ceiling.saturating_mul(2).min(self.max);
        let half = ceiling / 2;
        let half_nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(random % half_nanos.saturating_add(1))
    }

    /// Starts over, after a connection that worked.
    pub fn reset(&mut self) {
        self.ceiling = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_the_maximum_and_starts_over() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(350));
        let waits: Vec<_> = (0..4).map(|_| backoff.next_wait(0)).collect();
        assert_eq!(waits, [ms(50), ms(100), ms(175), ms(175)]);
        backoff.reset();
        assert_eq!(backoff.next_wait(0), ms(50));
    }

    #[test]
    fn jitter_stays_within_the_upper_half() {
        for random in [0, 1, 49_999_999, 50_000_000, 50_000_001, u64::MAX] {
            let wait = Backoff::new(Duration::from_millis(100), Duration::from_secs(1)).next_wait(random);
            assert!((50..=100).contains(&wait.as_millis()), "{random}: {wait:?}");
        }
    }

    #[test]
    fn extreme_ranges_do_not_overflow() {
        let mut zero = Backoff::new(Duration::ZERO, Duration::ZERO);
        assert_eq!(zero.next_wait(u64::MAX), Duration::ZERO);
        let mut huge = Backoff::new(Duration::MAX, Duration::ZERO);
        assert!(huge.next_wait(u64::MAX) <= Duration::MAX);
        assert!(huge.next_wait(7) >= Duration::MAX / 2);
    }
}
