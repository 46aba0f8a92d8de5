//! The two books: what is reserved, and what is really used.
//!
//! The first one keeps the limits of attempts that are not revocable within the capacity. The second one keeps what these
//! really use, a margin, and the limits of the revocable ones within it: revocable work runs on what its owners have
//! reserved and leave idle. Without a measurement, what is reserved counts as used.

use weir_wire::{
    resources::Resources,
    units::{CpuMillis, MemBytes},
};

use crate::limits::MEASURED_MARGIN_PERCENT;

/// What is booked of a capacity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ledger {
    capacity: Resources,
    /// Limits of what is not revocable.
    firm: Resources,
    /// Of these, of what was booked since the last measurement: it has not begun to grow.
    fresh: Resources,
    /// Limits of what is revocable.
    revocable: Resources,
    measured: Option<Resources>,
    measurements: u64,
}

/// What one lane has booked, to be given to [`Ledger::release`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Booking {
    pub(crate) resources: Resources,
    pub(crate) revocable: bool,
    measurements: u64,
}

impl Ledger {
    pub(crate) fn new(capacity: Resources) -> Self {
        let none = Resources::default();
        Self { capacity, firm: none, fresh: none, revocable: none, measured: None, measurements: 0 }
    }

    /// Limits of what is not revocable.
    pub(crate) const fn reserved(&self) -> Resources {
        self.firm
    }

    /// Limits of what is revocable.
    pub(crate) const fn revocable(&self) -> Resources {
        self.revocable
    }

    pub(crate) const fn capacity(&self) -> Resources {
        self.capacity
    }

    pub(crate) const fn measured(&self) -> Option<Resources> {
        self.measured
    }

    /// What is left for revocable attempts, all of them together.
    pub(crate) fn slack(&self) -> Resources {
        let used = self.measured.map_or(self.firm, |measured| {
            // The same sums as in the scheduler's book: one that is stricter would send back what the other one grants.
            let percent = 100 + MEASURED_MARGIN_PERCENT;
            let cpu = u64::from(measured.cpu.0) * u64::from(percent) / 100;
            let cpu = u32::try_from(cpu).unwrap_or(u32::MAX).saturating_add(self.fresh.cpu.0);
            let memory = (measured.memory.0 / 100).saturating_mul(u64::from(percent));
            let memory = memory.saturating_add(self.fresh.memory.0);
            Resources { cpu: CpuMillis(cpu.min(self.firm.cpu.0)), memory: MemBytes(memory.min(self.firm.memory.0)) }
        });
        Resources {
            cpu: CpuMillis(self.capacity.cpu.0.saturating_sub(used.cpu.0)),
            memory: MemBytes(self.capacity.memory.0.saturating_sub(used.memory.0)),
        }
    }

    /// Books a lane, by the first book or, for what is revocable, by the second one.
    pub(crate) fn book(&mut self, resources: Resources, revocable: bool) -> Option<Booking> {
        if revocable {
            self.revocable = self.revocable.checked_add(&resources).filter(|sum| sum.fits(&self.slack()))?;
        } else {
            self.firm = self.firm.checked_add(&resources).filter(|sum| sum.fits(&self.capacity))?;
            self.fresh = self.fresh.checked_add(&resources).unwrap_or(self.firm);
        }
        Some(Booking { resources, revocable, measurements: self.measurements })
    }

    pub(crate) fn release(&mut self, booking: Booking) {
        let Booking { resources, revocable, measurements } = booking;
        let book = if revocable { &mut self.revocable } else { &mut self.firm };
        let rest = book.checked_sub(&resources);
        assert!(rest.is_some(), "released {resources} of {book} booked");
        *book = rest.unwrap_or_default();
        if !revocable && measurements == self.measurements {
            self.fresh = self.fresh.checked_sub(&resources).unwrap_or_default();
        }
        assert!(self.firm.fits(&self.capacity));
    }

    /// Takes in what attempts that are not revocable use.
    pub(crate) fn measure(&mut self, used: Resources) {
        self.measured = Some(used);
        self.measurements += 1;
        self.fresh = Resources::default();
    }
}
