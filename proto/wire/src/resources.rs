//! The resource vector that admission and placement count with.

use core::fmt;

use crate::{
    units::{CpuMillis, MemBytes},
    wire_struct,
};

/// What a task reserves and a node offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Resources {
    /// CPU rate.
    pub cpu: CpuMillis,
    /// Memory.
    pub memory: MemBytes,
}
wire_struct!(Resources { cpu, memory });

impl Resources {
    /// Whether `self` can be taken out of `free`.
    #[must_use]
    pub const fn fits(&self, free: &Self) -> bool {
        self.cpu.0 <= free.cpu.0 && self.memory.0 <= free.memory.0
    }

    /// Component-wise sum, or `None` on overflow.
    #[must_use]
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        Some(Self {
            cpu: CpuMillis(self.cpu.0.checked_add(other.cpu.0)?),
            memory: MemBytes(self.memory.0.checked_add(other.memory.0)?),
        })
    }

    /// Component-wise difference, or `None` where it would be negative.
    #[must_use]
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        Some(Self {
            cpu: CpuMillis(self.cpu.0.checked_sub(other.cpu.0)?),
            memory: MemBytes(self.memory.0.checked_sub(other.memory.0)?),
        })
    }

    /// How many times `self` fits into `free`; a component of zero does not limit.
    #[must_use]
    pub fn times_in(&self, free: &Self) -> u64 {
        let cpu = u64::from(free.cpu.0).checked_div(u64::from(self.cpu.0)).unwrap_or(u64::MAX);
        let memory = free.memory.0.checked_div(self.memory.0).unwrap_or(u64::MAX);
        cpu.min(memory)
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cpu, {}", self.cpu, self.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cpu: u32, memory: u64) -> Resources {
        Resources { cpu: CpuMillis(cpu), memory: MemBytes(memory) }
    }

    #[test]
    fn arithmetic_is_checked() {
        assert_eq!(of(1, 2).checked_add(&of(3, 4)), Some(of(4, 6)));
        assert_eq!(of(1, 0).checked_sub(&of(2, 0)), None);
        assert_eq!(of(u32::MAX, 0).checked_add(&of(1, 0)), None);
        assert!(of(1, 2).fits(&of(1, 2)) && !of(1, 3).fits(&of(9, 2)));
        assert_eq!(of(500, 64).times_in(&of(2000, 100)), 1);
        assert_eq!(of(0, 0).times_in(&of(1, 1)), u64::MAX);
    }
}
