//! How fast attempts are here: the fuel that a second of CPU time is worth.

use weir_wire::{
    message::{Speed, ToControl},
    outcome::Usage,
    units::Instant,
};

use crate::{agent::Agent, limits, output::Output};

/// Sums over the attempts that ended lately, each weighing what it used.
#[derive(Debug, Default)]
pub(crate) struct Speedometer {
    fuel: u64,
    cpu_us: u64,
    /// What was said last, and when.
    said: Option<(u64, Instant)>,
}

impl Speedometer {
    /// Takes in what an attempt used.
    pub(crate) fn add(&mut self, usage: &Usage) {
        self.fuel = self.fuel.saturating_add(usage.fuel.0);
        self.cpu_us = self.cpu_us.saturating_add(usage.cpu_us);
        // What was before counts half as much after each window, however long one attempt was.
        let window_us = u64::try_from(limits::SPEED_WINDOW.as_micros()).unwrap_or(u64::MAX);
        while self.cpu_us > window_us {
            self.fuel /= 2;
            self.cpu_us /= 2;
        }
    }

    /// Fuel for each second of CPU time, once enough of it was used to tell.
    pub(crate) fn fuel_per_s(&self) -> Option<u64> {
        let enough = u128::from(self.cpu_us) >= limits::SPEED_CPU_MIN.as_micros();
        let per_s = u128::from(self.fuel) * 1_000_000 / u128::from(self.cpu_us.max(1));
        enough.then(|| u64::try_from(per_s).unwrap_or(u64::MAX))
    }

    /// What is to be said now: nothing that was said already, or was hardly different lately.
    fn news(&mut self, now: Instant) -> Option<u64> {
        let speed = self.fuel_per_s()?;
        if let Some((said, at)) = self.said {
            let near = speed.abs_diff(said) <= said / 100 * limits::SPEED_CHANGE_PERCENT;
            if near || now.since(at) < limits::SPEED_INTERVAL {
                return None;
            }
        }
        self.said = Some((speed, now));
        Some(speed)
    }

    /// A new session knows nothing.
    pub(crate) fn forget_said(&mut self) {
        self.said = None;
    }
}

impl Agent {
    /// Tells the control plane of a speed that has changed.
    pub(crate) fn report_speed(&mut self) {
        if self.session.speaks(limits::WIRE_OF_INSIGHT)
            && let Some(fuel_per_s) = self.speedometer.news(self.now.mono)
        {
            self.emit(Output::Send(ToControl::Speed(Speed { fuel_per_s })));
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use weir_wire::units::Fuel;

    use super::*;

    fn used(fuel: u64, cpu_us: u64) -> Usage {
        Usage { fuel: Fuel(fuel), cpu_us, ..Usage::default() }
    }

    #[test]
    fn the_speed_follows_what_ends_and_is_said_when_it_changes() {
        let mut speed = Speedometer::default();
        let at = |ms: u64| Instant(0) + Duration::from_millis(ms);
        speed.add(&used(99_000, 99));
        assert_eq!(speed.news(at(0)), None, "too little to tell");
        speed.add(&used(1_000_000_000, 1_000_000));
        assert_eq!(speed.news(at(0)), Some(1_000_000_000));
        speed.add(&used(0, 20_000));
        assert_eq!(speed.news(at(9_000)), None, "hardly slower");
        speed.add(&used(0, 1_000_000));
        assert_eq!(speed.news(at(4_999)), None, "too early");
        assert_eq!(speed.news(at(5_000)), Some(495_074_251));
        speed.forget_said();
        assert_eq!(speed.news(at(5_001)), Some(495_074_251), "to a new session");
    }

    #[test]
    fn old_attempts_fade() {
        let mut speed = Speedometer::default();
        speed.add(&used(1 << 40, 59_000_000));
        for _ in 0..20 {
            speed.add(&used(30_000_000, 30_000_000));
        }
        let per_s = speed.fuel_per_s().expect("a speed");
        assert!(per_s < 1_100_000, "{per_s}");
    }
}
