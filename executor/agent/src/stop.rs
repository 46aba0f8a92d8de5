//! Why attempts end early: somebody asks for it, at once or after a grace, or the lease does not cover them any more.

use alloc::vec::Vec;
use core::time::Duration;

use weir_wire::{message, task::Reason, units::Instant};

use crate::{
    agent::Agent,
    ahead::PutOff,
    range::{Range, RangeKey},
};

/// A running attempt that may go on until then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grace {
    pub(crate) until: Instant,
    pub(crate) reason: Reason,
}

impl Agent {
    /// Ends what runs, at once or after the grace; what was not started goes back, and the control plane knows what
    /// becomes of it.
    pub(crate) fn stop(&mut self, stop: &message::Stop) {
        let concerned =
            |range: &&Range| range.grant.run == stop.run && stop.grant.is_none_or(|grant| grant == range.grant.grant);
        let keys: Vec<RangeKey> = self.ranges.values().filter(concerned).map(Range::key).collect();
        keys.into_iter().for_each(|key| self.stop_range(key, stop));
    }

    pub(crate) fn stop_range(&mut self, key: RangeKey, stop: &message::Stop) {
        let Some(range) = self.ranges.get(&key) else { return };
        let (unstarted, end, started) = (range.unstarted(), range.end, range.is_started());
        let current = range.next;
        if stop.index.is_none_or(|index| (current..unstarted).contains(&index))
            && self.puts_off(key, PutOff::Stop(*stop))
        {
            return;
        }
        match stop.index {
            None => {
                self.cancel_after(key, stop.reason, stop.grace);
                self.give_back(key, unstarted);
            }
            Some(index) if started && index == current => self.cancel_after(key, stop.reason, stop.grace),
            // Only the tail of a range can be given back.
            Some(index) if (unstarted..end).contains(&index) => self.give_back(key, index),
            Some(_) => {}
        }
    }

    /// Ends the running task of a range once a grace has passed; the shortest of several counts.
    fn cancel_after(&mut self, key: RangeKey, reason: Reason, grace: Duration) {
        if grace.is_zero() {
            return self.cancel(key, reason);
        }
        let until = self.now.mono + grace;
        let Some(range) = self.ranges.get_mut(&key).filter(|range| range.is_started()) else {
            return;
        };
        if range.grace.is_some_and(|known| known.until <= until) {
            return;
        }
        if let Some(longer) = range.grace.replace(Grace { until, reason }) {
            self.graces.remove(&(longer.until, key));
        }
        self.graces.insert((until, key));
    }

    /// The task of a range has ended: nothing of it is left to be ended.
    pub(crate) fn end_grace(&mut self, key: RangeKey) {
        if self.graces.is_empty() {
            return;
        }
        let grace = self.ranges.get_mut(&key).and_then(|range| range.grace.take());
        if let Some(grace) = grace {
            self.graces.remove(&(grace.until, key));
        }
    }

    /// Ends what has had its grace.
    pub(crate) fn graces_passed(&mut self) {
        while let Some(&(until, key)) = self.graces.first()
            && until <= self.now.mono
        {
            self.graces.pop_first();
            if let Some(grace) = self.ranges.get_mut(&key).and_then(|range| range.grace.take()) {
                self.cancel(key, grace.reason);
            }
        }
    }

    /// Looks at the lease before anything else is done: after a freeze, what it does not cover must not go on.
    pub(crate) fn check_lease(&mut self) {
        if self.lease.lapse(self.now.mono) {
            self.stats.leases_lapsed += 1;
            tracing::warn!(node.id = %self.config.node, running = self.running, "lease lapsed");
            self.stop_uncovered();
        }
    }

    /// Ends what may run under a lease only. For the control plane this node is lost, and that is the reason given.
    pub(crate) fn stop_uncovered(&mut self) {
        let tied = |range: &&Range| range.fenced || range.tied;
        let keys: Vec<(RangeKey, u32)> =
            self.ranges.values().filter(tied).map(|range| (range.key(), range.unstarted())).collect();
        for (key, unstarted) in keys {
            self.cancel(key, Reason::NodeLost);
            self.give_back(key, unstarted);
        }
    }
}
