//! Large pages for guests that use much memory.
//!
//! The kernel clears a guest's memory when it is first touched: page after page, 4,096 of them for 16 MiB, in one step of
//! the guest that nothing interrupts and that its neighbours on the worker wait for. In pages of 2 MiB it is eight.

use rustix::mm::{Advice, madvise};
use wasmtime::{Engine, Instance, Memory, Module, Store};

/// The beginning of each memory that stays in small pages: most guests need no more, and are to take no more.
///
/// A free slot keeps the first [`MEMORY_KEEP_RESIDENT_BYTES`](crate::limits::MEMORY_KEEP_RESIDENT_BYTES), of which a large
/// page would make as much as the whole of it.
const SMALL_BYTES: usize = 2 << 20;
/// The smallest module that has a memory: a memory that the host makes for itself is not in a slot.
const ONE_MEMORY: &[u8] = b"\0asm\x01\0\0\0\x05\x03\x01\0\0\x07\x05\x01\x01m\x02\0";
/// Most memory slots of a process that are cared for: each is two mappings then in place of one, and the kernel allows a
/// process 65,530 of them by default (`vm.max_map_count`).
const SLOTS_MAX: u64 = 4096;

/// Whether a process with so many memory slots can afford the mappings.
pub(crate) const fn affordable(slots: u64) -> bool {
    slots <= SLOTS_MAX
}

/// Lets the kernel use large pages in all memory slots of an engine that has not run anything, beyond their beginning.
///
/// What a guest may use does not change, and no page is taken beyond the end of what it has. Without large pages in the
/// kernel, or where the operator has switched them off, nothing changes at all.
///
/// # Errors
/// The engine has fewer slots.
pub(crate) fn allow(engine: &Engine, slots: u32, memory_max: usize) -> wasmtime::Result<()> {
    let Some(len) = memory_max.checked_sub(SMALL_BYTES).filter(|len| *len > 0) else { return Ok(()) };
    let module = Module::new(engine, ONE_MEMORY)?;
    // The engine tells where a slot is only through a memory in it, so that each gets one for a moment.
    let mut store = Store::new(engine, ());
    for _ in 0..slots {
        let memory = memory_of(&module, &mut store)?;
        let beyond = memory.data_ptr(&store).wrapping_add(SMALL_BYTES);
        #[expect(unsafe_code, reason = "advice about a range of addresses")]
        // SAFETY: the range is within the slot, which reserves `memory_max` bytes; the advice changes neither what is
        // mapped there nor what it holds.
        let advised = unsafe { madvise(beyond.cast(), len, Advice::LinuxHugepage) };
        if advised.is_err() {
            break;
        }
    }
    Ok(())
}

fn memory_of(module: &Module, store: &mut Store<()>) -> wasmtime::Result<Memory> {
    let instance = Instance::new(&mut *store, module, &[])?;
    instance.get_memory(store, "m").ok_or_else(|| wasmtime::Error::msg("the module has no memory"))
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;
    use crate::engine;

    #[test]
    fn each_memory_has_large_pages_beyond_its_beginning() {
        const SLOTS: u32 = 4;
        if fs::metadata("/sys/kernel/mm/transparent_hugepage").is_err() {
            return skip("each_memory_has_large_pages_beyond_its_beginning", "a kernel without large pages");
        }
        let engine = engine::running(2, 64 << 20).unwrap();
        allow(&engine, SLOTS, 64 << 20).unwrap();
        // All at once, so that each of them is in another slot, and after `allow` has used all of them.
        let module = Module::new(&engine, ONE_MEMORY).unwrap();
        let mut store = Store::new(&engine, ());
        for _ in 0..SLOTS {
            let memory = memory_of(&module, &mut store).unwrap();
            let base = memory.data_ptr(&store) as usize;
            memory.grow(&mut store, 1024).unwrap();
            assert!(!is_advised(base) && !is_advised(base + SMALL_BYTES - 1));
            assert!(is_advised(base + SMALL_BYTES) && is_advised(base + (64 << 20) - 1));
            assert!(!is_advised(base + (64 << 20)), "the guard");
        }
    }

    #[test]
    fn small_memories_are_left_alone() {
        let engine = engine::running(1, 1 << 20).unwrap();
        allow(&engine, 2, 1 << 20).unwrap();
        assert!(allow(&engine, 3, 4 << 20).is_err(), "more slots than there are");
    }

    /// Whether the mapping that holds an address is marked for large pages.
    fn is_advised(address: usize) -> bool {
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            let range = line.split_whitespace().next().and_then(|word| word.split_once('-'));
            let range = range.and_then(|(from, to)| {
                Some(usize::from_str_radix(from, 16).ok()?..usize::from_str_radix(to, 16).ok()?)
            });
            if let Some(range) = range {
                inside = range.contains(&address);
            } else if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| inside) {
                return flags.split_whitespace().any(|flag| flag == "hg");
            }
        }
        panic!("{address:#x} is not mapped");
    }

    fn skip(test: &str, why: &str) {
        let line = format!("SKIPPED: {test}: {why}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        if let Some(path) = std::env::var_os("WEIR_SKIP_LOG") {
            let mut log = fs::File::options().append(true).create(true).open(path).unwrap();
            log.write_all(line.as_bytes()).unwrap();
        }
    }
}
