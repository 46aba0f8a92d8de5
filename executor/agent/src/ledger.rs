//! The book of reserved resources.

use weir_wire::resources::Resources;

/// What is reserved of a capacity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ledger {
    capacity: Resources,
    reserved: Resources,
}

impl Ledger {
    pub(crate) fn new(capacity: Resources) -> Self {
        Self { capacity, reserved: Resources::default() }
    }

    pub(crate) const fn reserved(&self) -> Resources {
        self.reserved
    }

    pub(crate) const fn capacity(&self) -> Resources {
        self.capacity
    }

    /// Takes `resources` if they are free.
    pub(crate) fn reserve(&mut self, resources: Resources) -> bool {
        let Some(sum) = self.reserved.checked_add(&resources).filter(|sum| sum.fits(&self.capacity)) else {
            return false;
        };
        self.reserved = sum;
        true
    }

    pub(crate) fn release(&mut self, resources: Resources) {
        let rest = self.reserved.checked_sub(&resources);
        assert!(rest.is_some(), "released {resources} of {} reserved", self.reserved);
        self.reserved = rest.unwrap_or_default();
        assert!(self.reserved.fits(&self.capacity));
    }
}
