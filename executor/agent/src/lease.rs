//! The lease: how long the leader counts on this node, measured from when a renewal was sent.

use alloc::collections::VecDeque;
use core::time::Duration;

use weir_wire::units::Instant;

use crate::limits;

/// The lease and its renewals.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    length: Duration,
    renew_every: Duration,
    renew_at: Option<Instant>,
    sent: VecDeque<(u64, Instant)>,
    token: u64,
    until: Option<Instant>,
}

impl Lease {
    /// Begins to renew with a leader; the first renewal is due at once.
    pub(crate) fn begin(&mut self, now: Instant, length: Duration, renew_every: Duration) {
        self.renew_every = renew_every.max(limits::RENEW_EVERY_MIN);
        self.length = length.max(self.renew_every);
        self.renew_at = Some(now);
        self.sent.clear();
    }

    /// Stops renewing; the lease itself goes on.
    pub(crate) fn pause(&mut self) {
        self.renew_at = None;
        self.sent.clear();
    }

    pub(crate) const fn length(&self) -> Duration {
        self.length
    }

    pub(crate) const fn renew_at(&self) -> Option<Instant> {
        self.renew_at
    }

    pub(crate) const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether the leader counts on this node.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// The token of a renewal sent now. The next one is due up to an eighth early, so that nodes do not renew in step.
    pub(crate) fn renew(&mut self, now: Instant, random: u64) -> u64 {
        self.token += 1;
        if self.sent.len() == limits::RENEWALS_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((self.token, now));
        let early = u64::try_from(self.renew_every.as_nanos() / 8).unwrap_or(u64::MAX - 1);
        self.renew_at = Some(now + (self.renew_every - Duration::from_nanos(random % (early + 1))));
        self.token
    }

    /// Takes the leader's answer; false when nothing of that token was sent.
    pub(crate) fn renewed(&mut self, now: Instant, token: u64) -> bool {
        let Some(&(_, at)) = self.sent.iter().find(|(sent, _)| *sent == token) else {
            return false;
        };
        self.sent.retain(|(sent, _)| *sent > token);
        // An answer that comes after a freeze may be about a time that is over.
        self.until = self.until.max(Some(at + self.length).filter(|until| *until > now));
        true
    }

    /// Ends the lease if its time is over; true when it ended.
    pub(crate) fn lapse(&mut self, now: Instant) -> bool {
        let over = self.until.is_some_and(|until| until <= now);
        if over {
            self.until = None;
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant(1_000_000_000);

    #[test]
    fn the_lease_runs_from_when_the_renewal_was_sent() {
        let mut lease = Lease::default();
        lease.begin(START, Duration::from_secs(15), Duration::from_secs(4));
        assert_eq!(lease.renew_at(), Some(START));
        let first = lease.renew(START, 0);
        let second = lease.renew(START + Duration::from_secs(4), 0);
        assert!(lease.renewed(START, second));
        assert_eq!(lease.until(), Some(START + Duration::from_secs(19)));
        assert!(!lease.renewed(START, first), "an answer that was overtaken changes nothing");
        assert!(!lease.lapse(START + Duration::from_secs(18)));
        assert!(lease.lapse(START + Duration::from_secs(19)));
        assert_eq!(lease.until(), None);
        let third = lease.renew(START + Duration::from_secs(20), 0);
        assert!(lease.renewed(START + Duration::from_secs(35), third));
        assert_eq!(lease.until(), None, "an answer that was read too late gives nothing");
    }

    #[test]
    fn renewals_in_flight_are_bounded() {
        let mut lease = Lease::default();
        lease.begin(START, Duration::from_secs(15), Duration::from_secs(4));
        let first = lease.renew(START, 7);
        for _ in 0..limits::RENEWALS_MAX {
            lease.renew(START, u64::MAX);
        }
        assert!(!lease.renewed(START, first));
        assert!(lease.renew_at().is_some_and(|at| at > START + Duration::from_secs(3)));
    }
}
