//! The CPU rate of one attempt: a token bucket of CPU time.

use std::time::{Duration, Instant};

use weir_wire::units::CpuMillis;

/// A whole core: a guest has one thread, so that there is nothing to limit.
const WHOLE: u32 = 1000;
/// How long a guest may have been idle and make up for it: 2 % of the second over which the rate is exact to 5 %.
const SAVED_MAX: Duration = Duration::from_millis(20);

/// CPU time that an attempt may use, in nanoseconds; below zero after a long slice or bulk operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    rate_millis: u32,
    tokens_ns: i64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket; nothing for a rate that needs no limit.
    pub(crate) fn new(rate: CpuMillis, now: Instant) -> Option<Self> {
        let rate_millis = rate.0.max(1);
        let bucket = Self { rate_millis, tokens_ns: 0, filled: now };
        (rate_millis < WHOLE).then(|| Self { tokens_ns: bucket.earned(SAVED_MAX), ..bucket })
    }

    /// Takes CPU time that was used until `now`.
    pub(crate) fn charge(&mut self, used: Duration, now: Instant) {
        let earned = self.earned(now.saturating_duration_since(self.filled));
        self.filled = now;
        self.tokens_ns = self.tokens_ns.saturating_add(earned).min(self.earned(SAVED_MAX)).saturating_sub(nanos(used));
    }

    /// When there is something in it again; nothing while there is.
    pub(crate) fn empty_until(&self) -> Option<Instant> {
        let debt_ns = u64::try_from(self.tokens_ns.checked_neg()?).ok().filter(|debt| *debt > 0)?;
        let wait_ns = debt_ns.saturating_mul(u64::from(WHOLE)) / u64::from(self.rate_millis);
        self.filled.checked_add(Duration::from_nanos(wait_ns))
    }

    fn earned(&self, time: Duration) -> i64 {
        nanos(time).saturating_mul(i64::from(self.rate_millis)) / i64::from(WHOLE)
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Runs in slices whenever the bucket allows it, and is woken late each time; returns the share of the time used.
    fn share(rate: u32, slice: Duration, late: Duration, time: Duration) -> f64 {
        let began = Instant::now();
        let mut bucket = Bucket::new(CpuMillis(rate), began).expect("a limit");
        let (mut now, mut used) = (began, Duration::ZERO);
        while now < began + time {
            now += slice;
            used += slice;
            bucket.charge(slice, now);
            if let Some(until) = bucket.empty_until() {
                now = until.max(now) + late;
            }
        }
        used.as_secs_f64() / (now - began).as_secs_f64()
    }

    #[test]
    fn the_rate_is_kept_although_timers_are_late() {
        for (rate, time_s) in [(100, 1), (250, 1), (500, 1), (900, 1), (50, 10), (10, 10)] {
            for slice in [MS / 3, MS, 2 * MS] {
                let share = share(rate, slice, MS, Duration::from_secs(time_s));
                let error = share * 1000.0 / f64::from(rate) - 1.0;
                assert!(error.abs() < 0.05, "rate {rate}, slices of {slice:?}: {share}");
            }
        }
    }

    #[test]
    fn what_is_saved_while_idle_is_limited_and_debts_are_paid() {
        let began = Instant::now();
        let mut bucket = Bucket::new(CpuMillis(100), began).expect("a limit");
        assert_eq!(bucket.empty_until(), None);
        // An hour of sleep, and then one operation of a second that could not be interrupted.
        let now = began + Duration::from_secs(3600);
        bucket.charge(Duration::from_secs(1), now);
        let until = bucket.empty_until().expect("a debt");
        assert_eq!(until - now, Duration::from_secs(10) - SAVED_MAX);
        assert!(Bucket::new(CpuMillis(1000), began).is_none(), "a whole core is no limit");
    }
}
