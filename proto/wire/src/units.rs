//! Quantities with their unit in the type.

use alloc::vec::Vec;
use core::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

use crate::codec::{Error, Reader, Wire};

/// A point on a monotonic clock, nanoseconds since an arbitrary start. Never stored, never sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// The time from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Both clocks, read together. Only `wall_ms` may be persisted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Monotonic: deadlines, leases, back-off.
    pub mono: Instant,
    /// Unix time in milliseconds: what people see.
    pub wall_ms: u64,
}

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl Wire for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }
            fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
                <$inner>::decode(input).map(Self)
            }
        }
    };
}

unit!(
    /// Thousandths of a CPU core, as a rate.
    CpuMillis(u32));
unit!(
    /// Bytes of memory.
    MemBytes(u64));
unit!(
    /// Units of wasmtime fuel, roughly one Wasm instruction each.
    Fuel(u64));

impl fmt::Display for CpuMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

impl fmt::Display for MemBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 >= 1 << shift && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl Wire for Duration {
    /// Whole microseconds: finer parts mean nothing across machines.
    fn encode(&self, out: &mut Vec<u8>) {
        u64::try_from(self.as_micros()).unwrap_or(u64::MAX).encode(out);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        u64::decode(input).map(Self::from_micros)
    }
}
