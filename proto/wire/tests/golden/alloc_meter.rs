//! Counts what a thread allocates.
#![expect(unsafe_code, reason = "a global allocator is an unsafe trait")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator with a counter per thread.
pub(crate) struct Meter;

// SAFETY: every call is passed on unchanged to the system's allocator; the counter allocates nothing.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|count| count.set(count.get() + layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

/// The bytes that a call allocates, whether or not it frees them.
pub(crate) fn allocated_by(call: impl FnOnce()) -> usize {
    let before = ALLOCATED.get();
    call();
    ALLOCATED.get() - before
}
