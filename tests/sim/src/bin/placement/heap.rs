//! An allocator that counts what is alive.
#![expect(unsafe_code, reason = "an allocator is an unsafe trait; this one only counts on the way to another")]

use std::{
    alloc::{GlobalAlloc, Layout},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use mimalloc::MiMalloc;

/// The allocator of the daemons, and a counter.
pub(crate) struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Bytes that are allocated.
pub(crate) fn live() -> usize {
    LIVE.load(Relaxed)
}

/// The program has one thread, so that a load and a store do; a locked addition would be measured too.
fn count(more: usize, less: usize) {
    LIVE.store(LIVE.load(Relaxed).wrapping_add(more).wrapping_sub(less), Relaxed);
}

// SAFETY: every call goes to an allocator that keeps the contract, with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as required of the caller.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as required of the caller.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as required of the caller.
        unsafe { MiMalloc.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size, layout.size());
        // SAFETY: as required of the caller.
        unsafe { MiMalloc.realloc(ptr, layout, new_size) }
    }
}
