//! Guests in the sandbox.

use std::{cell::RefCell, time::Duration};

use weir_isolation::{Bench, End, Guest};
use weir_module::{Kind, Limits};
use weir_wire::task::{Reason, Status};

use crate::{generate, smith};

/// The budgets of every guest: small, so that random ones get there.
const MEMORY_MAX: u64 = 1 << 20;
const FUEL_MAX: u64 = 3_000_000;
const OUTPUT_MAX: u64 = 4 << 10;
/// Nothing that a guest with so little fuel does takes as long, and none sleeps.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Guests of one sandbox: each leaves a file.
const GUESTS_MAX: u32 = 400;

thread_local! {
    /// The sandbox, and how many guests it had.
    static BENCH: RefCell<Option<(Bench, u32)>> = const { RefCell::new(None) };
}

/// A module, or a plan from which one is written.
pub(crate) fn run(input: &[u8]) {
    let is_module = input.starts_with(b"\0asm");
    let wasm = if is_module {
        input.to_vec()
    } else {
        wat::parse_str(generate::module(input)).expect("what is generated is a module")
    };
    // What is generated sees neither clock nor chance.
    run_guest(&wasm, |guest| guest, !is_module);
}

/// Bytes from which wasm-smith makes a module.
pub(crate) fn run_smith(input: &[u8]) {
    if let Some(wasm) = smith::module(input) {
        run_guest(&wasm, Guest::deterministic, true);
    }
}

/// Runs a guest that would be taken, and once more if it has to end alike.
fn run_guest(wasm: &[u8], conditions: impl FnOnce(Guest) -> Guest, twice: bool) {
    let report = match weir_module::validate(wasm, &Limits::default()) {
        Ok(report) if report.kind == Kind::CoreCommandP1 => report,
        // Components and what is refused are the business of another target.
        Ok(_) | Err(_) => return,
    };
    // Taken out meanwhile, so that a sandbox in which something was found is not used again.
    let (mut bench, used) = BENCH.take().filter(|(_, used)| *used < GUESTS_MAX).unwrap_or_else(|| (Bench::new(), 0));
    let guest = Guest::new(wasm).memory(MEMORY_MAX).fuel(FUEL_MAX).output(OUTPUT_MAX).timeout(TIMEOUT);
    let guest = conditions(guest);
    let ready = bench.prepare(wasm);
    assert_eq!(ready.refused, None, "the sandbox refuses what passed the look at it");
    let id = bench.start_prepared(&guest, ready.digest);
    let end = bench.end(id);
    within_limits(&end, guest.capabilities.deterministic);
    if report.memory_min_bytes() > MEMORY_MAX {
        let refused = matches!(end.reason(), Some(Reason::MemoryLimit | Reason::TableLimit));
        assert!(refused, "it takes {} bytes from the start: {end:?}", report.memory_min_bytes());
    }
    if twice {
        let id = bench.start_prepared(&guest, ready.digest);
        let again = bench.end(id);
        let what = |end: &End| (end.status(), end.reason(), end.exit_code(), end.ended.outcome.usage.fuel);
        assert_eq!(what(&end), what(&again), "the second time is another");
        assert_eq!(end.result, again.result, "the second time has another result");
    }
    BENCH.set(Some((bench, used + 1)));
}

/// A guest whose clock is its own may sleep past its timeout.
fn within_limits(end: &End, own_clock: bool) {
    let usage = end.ended.outcome.usage;
    assert!(usage.peak_memory.0 <= MEMORY_MAX, "memory: {end:?}");
    assert!(usage.fuel.0 <= FUEL_MAX, "fuel: {end:?}");
    assert!(end.result.len() as u64 <= OUTPUT_MAX, "a result of {} bytes", end.result.len());
    let logged: usize = end.log.iter().map(|record| record.bytes.len()).sum();
    assert!(logged as u64 <= 2 * OUTPUT_MAX, "a log of {logged} bytes");
    match end.reason() {
        None => assert_eq!(end.status(), Status::Succeeded),
        Some(
            Reason::ExitNonzero
            | Reason::Trap
            | Reason::FuelExhausted
            | Reason::MemoryLimit
            | Reason::TableLimit
            | Reason::StackOverflow
            | Reason::OutputLimit,
        ) => assert_eq!(end.status(), Status::Failed, "{end:?}"),
        Some(Reason::WallTimeout) if own_clock => assert_eq!(end.status(), Status::Failed, "{end:?}"),
        Some(other) => panic!("a guest cannot end by {other}: {end:?}"),
    }
}
