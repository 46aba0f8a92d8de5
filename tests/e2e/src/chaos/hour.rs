//! The wall clock of the daemons, which is an hour wrong now and then.

use std::time::Duration;

use anyhow::Result;

use super::history::ClockSet;
use crate::faked_clock::FakedClock;

const HOUR_S: i64 = 3_600;

/// The clock of all daemons. A step ahead stays, as a machine that was wrong is put right; one back is taken back, as that
/// of a time server that is wrong.
#[derive(Debug)]
pub(super) struct Hours {
    clock: FakedClock,
    ahead: i64,
    back: i64,
    /// Every setting with its real time.
    pub(super) settings: Vec<ClockSet>,
}

impl Hours {
    /// An hour ahead: certificates that are minutes old have to be valid also when the clock is set back.
    pub(super) fn new(clock: FakedClock) -> Result<Self> {
        let mut hours = Self { clock, ahead: 1, back: 0, settings: Vec::new() };
        hours.set(Duration::ZERO)?;
        Ok(hours)
    }

    pub(super) fn environment(&self) -> Vec<(String, String)> {
        self.clock.environment()
    }

    pub(super) fn step_ahead(&mut self, now: Duration) -> Result<()> {
        self.ahead += 1;
        self.set(now)
    }

    /// Gives whether it was done; it is not where it was already.
    pub(super) fn step_back(&mut self, now: Duration) -> Result<bool> {
        let free = self.back == 0;
        if free {
            self.back = 1;
            self.set(now)?;
        }
        Ok(free)
    }

    pub(super) fn take_back(&mut self, now: Duration) -> Result<()> {
        self.back = 0;
        self.set(now)
    }

    fn set(&mut self, at: Duration) -> Result<()> {
        let offset_s = (self.ahead - self.back) * HOUR_S;
        self.clock.set(offset_s)?;
        self.settings.push(ClockSet { at, offset_ms: offset_s * 1_000 });
        Ok(())
    }
}
