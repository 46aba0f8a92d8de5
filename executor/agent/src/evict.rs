//! The second book is kept: when the owners of what is reserved need it, revocable attempts make room.
//!
//! A shortage of CPU throttles them, which costs nothing that was done. A shortage of memory ends them, before the growth
//! of an owner would be refused: the cheapest first, by priority, then by age.

use alloc::vec::Vec;
use core::cmp::Reverse;

use weir_wire::{
    attempt::{Command, ThrottleSpec},
    resources::Resources,
    task,
};

use crate::{
    agent::Agent,
    limits::UNTHROTTLE_PERCENT,
    output::Output,
    range::{Phase, Range, RangeKey},
};

impl Agent {
    /// Takes in what the attempts that are not revocable use.
    pub(crate) fn measured(&mut self, used: Resources) {
        self.ledger.measure(used);
        self.news.note_measured(used, self.ledger.capacity(), self.now.mono);
        self.balance();
    }

    /// Brings what revocable attempts may use within what is left for them. Costs nothing as long as all of it is there.
    pub(crate) fn balance(&mut self) {
        if self.cpu_is_short || !self.ledger.revocable().fits(&self.ledger.slack()) {
            self.evict();
            self.throttle();
        }
    }

    fn evict(&mut self) {
        let slack = self.ledger.slack().memory.0;
        let mut victims: Vec<(u8, Reverse<RangeKey>, u64)> = self
            .ranges
            .values()
            .filter(|range| range.booking.revocable && range.is_alive())
            .map(|range| (range.priority, Reverse(range.key()), range.booking.resources.memory.0))
            .collect();
        let mut kept: u64 = victims.iter().map(|(.., memory)| memory).sum();
        if kept <= slack {
            return;
        }
        victims.sort_unstable();
        for (_, Reverse(key), memory) in victims {
            if kept <= slack {
                break;
            }
            kept -= memory;
            self.evict_one(key);
        }
    }

    fn evict_one(&mut self, key: RangeKey) {
        let Some(range) = self.ranges.get_mut(&key).filter(|range| range.is_alive()) else {
            return;
        };
        let unstarted = range.unstarted();
        if let Phase::Running(running) = &mut range.phase {
            running.evicted = true;
            self.stats.attempts_evicted += 1;
            tracing::info!(run.id = %range.grant.run, index = range.next, "revocable attempt ended: its memory is needed");
        }
        self.cancel(key, task::Reason::Preempted);
        self.give_back(key, unstarted);
    }

    /// Throttles those for which no CPU is left, the best kept for last, and lets them go when there is some again.
    fn throttle(&mut self) {
        let mut slack = u64::from(self.ledger.slack().cpu.0);
        // What is let go must not be throttled again at the next tremor.
        let spare = u64::from(self.ledger.capacity().cpu.0) * u64::from(UNTHROTTLE_PERCENT) / 100;
        let mut running: Vec<(Reverse<u8>, RangeKey)> = self
            .ranges
            .values()
            .filter(|range| range.booking.revocable && range.is_alive() && range.is_started())
            .map(|range| (Reverse(range.priority), range.key()))
            .collect();
        running.sort_unstable();
        self.cpu_is_short = false;
        for (_, key) in running {
            let Some(range) = self.ranges.get_mut(&key) else { continue };
            let (id, cpu) = (range.attempt(), u64::from(range.booking.resources.cpu.0));
            let Phase::Running(running) = &mut range.phase else {
                continue;
            };
            let needed = if running.throttled { cpu + spare } else { cpu };
            let on = needed > slack;
            // The first one without room ends it: a smaller one behind it is not served before it.
            slack = if on { 0 } else { slack - cpu };
            self.cpu_is_short |= on;
            if core::mem::replace(&mut running.throttled, on) != on {
                self.stats.throttles += u64::from(on);
                self.emit(Output::Sandbox(Command::Throttle(ThrottleSpec { id, on })));
            }
        }
    }
}

impl Agent {
    /// Throttles a revocable attempt that begins while CPU is short; the next measurement decides what it may have.
    pub(crate) fn throttle_started(&mut self, key: RangeKey) {
        let Some(range) = self.ranges.get_mut(&key).filter(|range| range.booking.revocable) else {
            return;
        };
        let id = range.attempt();
        if let Phase::Running(running) = &mut range.phase
            && !core::mem::replace(&mut running.throttled, true)
        {
            self.stats.throttles += 1;
            self.emit(Output::Sandbox(Command::Throttle(ThrottleSpec { id, on: true })));
        }
    }
}

impl Range {
    /// Whether the range goes on to use what it has booked.
    pub(crate) const fn is_alive(&self) -> bool {
        match &self.phase {
            Phase::Waiting | Phase::Parked => true,
            Phase::Running(running) => !running.cancelled,
            Phase::Uploading(_) => false,
        }
    }
}
