//! What the attempts on this machine use, from two looks at the sandbox's counters.

use core::time::Duration;

use weir_sandbox::Used;
use weir_wire::{
    resources::Resources,
    units::{CpuMillis, Instant},
};

/// Remembers the last look.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    last: Option<(Instant, Duration)>,
}

impl Sampler {
    /// Memory at this moment, and the CPU rate since the last look; nothing at the first one.
    pub(crate) fn sample(&mut self, now: Instant, used: Used) -> Option<Resources> {
        let (then, cpu_then) = self.last.replace((now, used.cpu))?;
        let wall = now.since(then).as_micros().max(1);
        let rate = used.cpu.saturating_sub(cpu_then).as_micros() * 1000 / wall;
        Some(Resources { cpu: CpuMillis(u32::try_from(rate).unwrap_or(u32::MAX)), memory: used.memory })
    }
}

#[cfg(test)]
mod tests {
    use weir_wire::units::MemBytes;

    use super::*;

    #[test]
    fn the_rate_is_that_since_the_last_look() {
        let mut sampler = Sampler::default();
        let used = |ms, memory| Used { memory: MemBytes(memory), cpu: Duration::from_millis(ms) };
        let at = |ms: u64| Instant(ms * 1_000_000);
        assert_eq!(sampler.sample(at(1000), used(700, 5)), None);
        let sample = sampler.sample(at(1250), used(1075, 6));
        assert_eq!(sample, Some(Resources { cpu: CpuMillis(1500), memory: MemBytes(6) }));
        assert_eq!(sampler.sample(at(1500), used(1075, 0)).map(|used| used.cpu), Some(CpuMillis(0)));
    }
}
