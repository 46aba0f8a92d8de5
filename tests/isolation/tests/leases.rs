//! What others count on while guests run: fenced ones end with the lease, and what is used is known.

use std::time::Duration;

use weir_isolation::{Bench, Guest};
use weir_wire::{
    attempt::{Command, LeaseSpec},
    kind::{Execution, Tier},
    task::{Reason, Source, Status},
};

/// Writes "ready", then spins, with four pages of memory.
const SPIN: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 4)
    (data (i32.const 512) "\00\04\00\00\05\00\00\00")
    (data (i32.const 1024) "ready")
    (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 520)))
        (loop $more (br $more))))"#;
const MEMORY: u64 = 4 << 16;
const FOREVER: u64 = u64::MAX / 2;

fn spinning(fenced: bool) -> Guest {
    let execution = Execution { fenced, ..Execution::default() };
    Guest { execution, ..Guest::new(SPIN).fuel(FOREVER) }
}

fn lease(until_ns: u64) -> Vec<Command> {
    vec![Command::Lease(LeaseSpec { until_ns })]
}

#[test]
fn a_fenced_guest_ends_with_the_lease_although_nobody_cancels_it() {
    let mut bench = Bench::new();
    bench.send(lease(u64::MAX));
    let (fenced, other) = (bench.start(&spinning(true)), bench.start(&spinning(false)));
    assert_eq!((&*bench.wait_for_output(fenced), &*bench.wait_for_output(other)), (&b"ready"[..], &b"ready"[..]));
    bench.send(lease(1));
    let end = bench.end(fenced);
    assert_eq!((end.status(), end.reason()), (Status::Killed, Some(Reason::NodeLost)));
    assert_eq!(end.failure().map(|failure| failure.source), Some(Source::Executor));
    bench.cancel(other, Reason::Cancelled);
    assert_eq!(bench.end(other).reason(), Some(Reason::Cancelled), "what is not fenced went on");
}

#[test]
fn without_a_lease_a_fenced_guest_does_nothing() {
    let mut bench = Bench::new();
    bench.send(lease(1));
    let end = bench.run(&spinning(true));
    assert_eq!((end.reason(), end.text().as_str()), (Some(Reason::NodeLost), ""));
}

#[test]
fn memory_and_cpu_of_what_is_not_revocable_are_counted() {
    let mut bench = Bench::new();
    let revocable = bench.start(&Guest { tier: Tier::Revocable, ..spinning(false) });
    assert_eq!(bench.wait_for_output(revocable), b"ready");
    assert_eq!(bench.used().memory.0, 0);
    let owner = bench.start(&spinning(false));
    assert_eq!(bench.wait_for_output(owner), b"ready");
    assert_eq!(bench.used().memory.0, MEMORY);
    while bench.used().cpu < Duration::from_millis(5) {
        std::thread::yield_now();
    }
    for id in [owner, revocable] {
        bench.cancel(id, Reason::Preempted);
        bench.end(id);
    }
    assert_eq!(bench.used().memory.0, 0);
}
