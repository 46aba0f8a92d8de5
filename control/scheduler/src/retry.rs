//! What becomes of a task whose attempt did not succeed.

use core::time::Duration;

use weir_wire::{
    task::{Reason, RetryClass, Status},
    work::RetryPolicy,
};

use crate::{limits::FREE_RETRY_DELAY_MAX, rng::Rng, run::Tries};

/// The verdict on a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The task ends.
    End(Status),
    /// The task is tried again after a delay; whether the failure counts.
    Again {
        /// The delay.
        delay: Duration,
        /// Whether it uses up an attempt.
        counted: bool,
    },
}

/// What is known about a failure, as far as retries are concerned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cause {
    pub(crate) reason: Reason,
    /// The guest said that another attempt would end the same way.
    pub(crate) permanent: bool,
}

impl Cause {
    const fn class(self) -> RetryClass {
        let class = self.reason.retry_class();
        if self.permanent && matches!(class, RetryClass::Counted) { RetryClass::Deterministic } else { class }
    }
}

/// Judges a failed attempt.
pub(crate) fn judge(policy: &RetryPolicy, tries: Tries, status: Status, cause: Cause, rng: &mut Rng) -> Verdict {
    let left = tries.counted + 1 < policy.attempts;
    match cause.class() {
        RetryClass::Free => {
            let delay = backoff(policy, tries.free).min(FREE_RETRY_DELAY_MAX);
            // The first platform failure says little about the task: place it again at once.
            let delay = if tries.free == 0 { Duration::ZERO } else { rng.jitter(delay) };
            Verdict::Again { delay, counted: false }
        }
        RetryClass::Counted if left => again(policy, tries, rng),
        RetryClass::Deterministic if left && policy.retry_deterministic => again(policy, tries, rng),
        RetryClass::Counted | RetryClass::Deterministic | RetryClass::Final => Verdict::End(status),
    }
}

/// How long a task of a long-running job waits before it is started again, and whether the end counts as a crash.
pub(crate) fn restart(policy: &RetryPolicy, tries: Tries, class: RetryClass, rng: &mut Rng) -> (Duration, bool) {
    match class {
        RetryClass::Free if tries.free == 0 => (Duration::ZERO, false),
        RetryClass::Free => (rng.jitter(backoff(policy, tries.free).min(FREE_RETRY_DELAY_MAX)), false),
        RetryClass::Counted | RetryClass::Deterministic | RetryClass::Final => {
            (rng.jitter(backoff(policy, tries.counted)), true)
        }
    }
}

fn again(policy: &RetryPolicy, tries: Tries, rng: &mut Rng) -> Verdict {
    Verdict::Again { delay: rng.jitter(backoff(policy, tries.counted)), counted: true }
}

/// The delay after `before` earlier failures: doubled each time, up to the maximum.
fn backoff(policy: &RetryPolicy, before: u32) -> Duration {
    policy.backoff_min.saturating_mul(1 << before.min(20)).min(policy.backoff_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        attempts: 3,
        backoff_min: Duration::from_secs(1),
        backoff_max: Duration::from_secs(30),
        retry_deterministic: false,
    };

    const fn said(reason: Reason, permanent: bool) -> Cause {
        Cause { reason, permanent }
    }

    #[test]
    fn a_guest_that_asks_for_no_other_attempt_gets_none() {
        let mut rng = Rng::new(1, 1);
        let cause = said(Reason::ExitNonzero, true);
        assert_eq!(judge(&POLICY, Tries::default(), Status::Failed, cause, &mut rng), Verdict::End(Status::Failed));
    }

    #[test]
    fn reasons_decide() {
        let mut rng = Rng::new(1, 1);
        let mut verdict = |counted, free, reason| {
            judge(&POLICY, Tries { counted, free }, Status::Failed, said(reason, false), &mut rng)
        };
        assert!(matches!(verdict(0, 0, Reason::ExitNonzero), Verdict::Again { counted: true, .. }));
        assert_eq!(verdict(2, 0, Reason::ExitNonzero), Verdict::End(Status::Failed));
        assert_eq!(verdict(0, 0, Reason::Trap), Verdict::End(Status::Failed));
        assert_eq!(verdict(2, 0, Reason::NodeLost), Verdict::Again { delay: Duration::ZERO, counted: false });
        assert!(matches!(verdict(0, 90, Reason::HostError), Verdict::Again { delay, .. } if delay > Duration::ZERO));
    }

    #[test]
    fn crashes_wait_longer_each_time_and_the_platforms_failures_do_not_count() {
        let mut rng = Rng::new(1, 1);
        let mut delay = |counted, free, class| restart(&POLICY, Tries { counted, free }, class, &mut rng);
        let within = |delay: Duration, upper: u64| {
            let upper = Duration::from_secs(upper);
            (upper / 2..=upper).contains(&delay)
        };
        for (crashes, upper) in [(0, 1), (1, 2), (4, 16), (5, 30), (50, 30)] {
            for class in [RetryClass::Counted, RetryClass::Deterministic, RetryClass::Final] {
                let (delay, counted) = delay(crashes, 0, class);
                assert!(counted && within(delay, upper), "{crashes} crashes: {delay:?}");
            }
        }
        assert_eq!(delay(9, 0, RetryClass::Free), (Duration::ZERO, false));
        let (delay, counted) = delay(0, 3, RetryClass::Free);
        assert!(!counted && within(delay, 8), "{delay:?}");
    }

    #[test]
    fn delays_double_up_to_the_maximum_with_jitter() {
        let mut rng = Rng::new(7, 1);
        for (failures, upper) in [(0, 1), (1, 2)] {
            let Verdict::Again { delay, .. } = judge(
                &POLICY,
                Tries { counted: failures, free: 0 },
                Status::Failed,
                said(Reason::ExitNonzero, false),
                &mut rng,
            ) else {
                panic!("retried")
            };
            let upper = Duration::from_secs(upper);
            assert!(delay >= upper / 2 && delay <= upper, "{delay:?}");
        }
        assert_eq!(backoff(&POLICY, 40), Duration::from_secs(30));
    }
}
