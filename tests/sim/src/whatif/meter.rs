//! Utilisation over time, integrated as tasks start and end.

use weir_wire::{kind::Tier, resources::Resources};

use super::quantity::scale;

/// Most pieces of time; when they are used up, neighbours are joined.
const BINS: usize = 256;
/// The first length of a piece, nanoseconds.
const FIRST_WIDTH: u64 = 1_000_000_000;

/// CPU in cores and memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Amount {
    pub(super) cpu: f64,
    pub(super) memory: f64,
}

impl Amount {
    pub(super) fn of(resources: &Resources) -> Self {
        Self { cpu: f64::from(resources.cpu.0) / 1000.0, memory: scale(resources.memory.0) }
    }

    fn add(&mut self, other: Self, factor: f64) {
        self.cpu += other.cpu * factor;
        self.memory += other.memory * factor;
    }

    fn max(&mut self, other: Self) {
        self.cpu = self.cpu.max(other.cpu);
        self.memory = self.memory.max(other.memory);
    }

    /// Component-wise quotient.
    pub(super) fn over(self, other: Self) -> Self {
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        Self { cpu: share(self.cpu, other.cpu), memory: share(self.memory, other.memory) }
    }
}

/// What is counted at one moment, or summed over a time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Level {
    /// By tier.
    pub(super) reserved: [Amount; 3],
    /// By tier.
    pub(super) used: [Amount; 3],
    /// What is reserved beyond the size of its node.
    pub(super) beyond: Amount,
}

impl Level {
    fn parts_mut(&mut self) -> impl Iterator<Item = &mut Amount> {
        self.reserved.iter_mut().chain(&mut self.used).chain([&mut self.beyond])
    }

    fn parts(&self) -> impl Iterator<Item = &Amount> {
        self.reserved.iter().chain(&self.used).chain([&self.beyond])
    }

    fn add(&mut self, other: &Self, factor: f64) {
        self.parts_mut().zip(other.parts()).for_each(|(part, other)| part.add(*other, factor));
    }

    pub(super) fn reserved_sum(&self) -> Amount {
        sum(&self.reserved)
    }

    pub(super) fn used_sum(&self) -> Amount {
        sum(&self.used)
    }
}

fn sum(parts: &[Amount]) -> Amount {
    parts.iter().fold(Amount::default(), |mut sum, part| {
        sum.add(*part, 1.0);
        sum
    })
}

/// Means of one piece of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) mean: Level,
}

/// The integral of [`Level`] over time.
#[derive(Debug)]
pub(super) struct Meter {
    level: Level,
    /// The highest values of each part.
    pub(super) peak: Level,
    pub(super) peak_reserved: Amount,
    pub(super) peak_used: Amount,
    /// Integrals, in units of the level times nanoseconds.
    bins: Vec<Level>,
    width: u64,
    now: u64,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            level: Level::default(),
            peak: Level::default(),
            peak_reserved: Amount::default(),
            peak_used: Amount::default(),
            bins: Vec::new(),
            width: FIRST_WIDTH,
            now: 0,
        }
    }

    /// A task starts (`sign` is 1) or ends (−1).
    pub(super) fn task(&mut self, now: u64, tier: Tier, reserved: Amount, used: Amount, sign: f64) {
        self.advance(now);
        let at = tier_index(tier);
        self.level.reserved[at].add(reserved, sign);
        self.level.used[at].add(used, sign);
        self.note_peaks();
    }

    /// What one node has reserved beyond its size changes by this.
    pub(super) fn beyond(&mut self, now: u64, change: Amount) {
        self.advance(now);
        self.level.beyond.add(change, 1.0);
        self.note_peaks();
    }

    /// Counts the present level until then.
    pub(super) fn advance(&mut self, now: u64) {
        while self.now < now {
            let at = usize::try_from(self.now / self.width).unwrap_or(usize::MAX);
            if at >= BINS {
                self.join();
                continue;
            }
            if self.bins.len() <= at {
                self.bins.resize(at + 1, Level::default());
            }
            let end = (at as u64 + 1).saturating_mul(self.width).min(now);
            self.bins[at].add(&self.level, scale(end - self.now));
            self.now = end;
        }
    }

    /// Means over pieces of time until `end`, and over all of it.
    pub(super) fn means(&self, end: u64) -> (Vec<Piece>, Level) {
        let mut total = Level::default();
        let mut pieces = Vec::new();
        for (at, bin) in self.bins.iter().enumerate() {
            let from = at as u64 * self.width;
            let to = (from + self.width).min(end);
            if to <= from {
                break;
            }
            let mut bin = *bin;
            // Nothing has changed since the end, although the clock went on.
            let beyond = (from + self.width).min(self.now).saturating_sub(to);
            bin.add(&self.level, -scale(beyond));
            total.add(&bin, 1.0 / scale(end));
            let mut mean = Level::default();
            mean.add(&bin, 1.0 / scale(to - from));
            pieces.push(Piece { from, to, mean });
        }
        (pieces, total)
    }

    fn note_peaks(&mut self) {
        let level = self.level;
        self.peak.parts_mut().zip(level.parts()).for_each(|(peak, part)| peak.max(*part));
        self.peak_reserved.max(level.reserved_sum());
        self.peak_used.max(level.used_sum());
    }

    /// Makes each piece of time twice as long.
    fn join(&mut self) {
        self.width *= 2;
        let pairs = self.bins.chunks(2).map(|pair| {
            let mut sum = Level::default();
            pair.iter().for_each(|bin| sum.add(bin, 1.0));
            sum
        });
        self.bins = pairs.collect();
    }
}

/// The place of a tier in [`Tier::ALL`].
pub(super) const fn tier_index(tier: Tier) -> usize {
    match tier {
        Tier::Production => 0,
        Tier::Preemptible => 1,
        Tier::Revocable => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn what_goes_on_after_the_end_does_not_count() {
        let mut meter = Meter::new();
        let one = Amount { cpu: 1.0, memory: 100.0 };
        meter.task(0, Tier::Production, one, one, 1.0);
        meter.advance(90 * S);
        let (pieces, mean) = meter.means(3 * S);
        assert!((mean.reserved[0].cpu - 1.0).abs() < 1e-6, "{mean:?}");
        assert!(pieces.iter().all(|piece| (piece.mean.reserved[0].cpu - 1.0).abs() < 1e-6), "{pieces:?}");
    }

    #[test]
    fn means_and_peaks_hold_over_any_length() {
        for length in [10 * S, 1000 * S, 100_000 * S] {
            let mut meter = Meter::new();
            let one = Amount { cpu: 1.0, memory: 100.0 };
            let half = Amount { cpu: 0.5, memory: 25.0 };
            meter.task(0, Tier::Production, one, half, 1.0);
            meter.task(length / 2, Tier::Production, one, half, -1.0);
            meter.task(length / 2, Tier::Revocable, one, one, 1.0);
            meter.task(length / 2, Tier::Revocable, one, one, 1.0);
            meter.advance(length);
            let (pieces, mean) = meter.means(length);
            assert!(pieces.len() <= BINS);
            assert_eq!(pieces.last().map(|piece| piece.to), Some(length));
            let close = |found: f64, expected: f64| (found - expected).abs() < 1e-6;
            assert!(close(mean.reserved[0].cpu, 0.5) && close(mean.used[0].cpu, 0.25), "{mean:?}");
            assert!(close(mean.reserved[2].cpu, 1.0) && close(mean.used_sum().memory, 112.5), "{mean:?}");
            assert!(close(meter.peak_reserved.cpu, 2.0) && close(meter.peak.reserved[0].cpu, 1.0));
        }
    }
}
