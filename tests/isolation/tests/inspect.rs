//! Looking into guests that run: what is shown of each, and that none can hold the answer back.

use std::time::Duration;

use weir_isolation::{Bench, Guest};
use weir_wire::{
    inspect::{Moment, Profile, Seen},
    task::Reason,
};

const SPIN: &str = r#"(module (memory (export "memory") 1)
    (func $inner (loop $more (br $more)))
    (func $outer (call $inner))
    (func (export "_start") (call $outer)))"#;
const HOST_CALLS: &str = r#"(module
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (memory (export "memory") 1)
    (func $asks (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 8))))
    (func (export "_start") (loop $more (call $asks) (br $more))))"#;
const SLEEP: &str = r#"(module
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 3)
    (func $sleeps (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256))))
    (func (export "_start")
        (i32.store (i32.const 16) (i32.const 1))
        (i64.store (i32.const 24) (i64.const 31536000000000000))
        (call $sleeps)))"#;
const RECURSE: &str = r#"(module (memory (export "memory") 1)
    (func $deep (param i32) (result i32)
        (if (result i32) (i32.eqz (local.get 0)) (then (loop $more (br $more)) (i32.const 0))
            (else (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1)))))))
    (func (export "_start") (drop (call $deep (i32.const 5000)))))"#;

const FOREVER: u64 = u64::MAX / 2;

fn guest(wat: &str) -> Guest {
    Guest::new(wat).fuel(FOREVER)
}

fn moment(seen: Seen) -> Moment {
    match seen {
        Seen::Moment(moment) => *moment,
        Seen::Profile(_) | Seen::Nothing(_) => panic!("no moment: {seen:?}"),
    }
}

fn profile(seen: Seen) -> Profile {
    match seen {
        Seen::Profile(profile) => *profile,
        Seen::Moment(_) | Seen::Nothing(_) => panic!("no profile: {seen:?}"),
    }
}

fn assert_names(backtrace: &[String], names: &[&str]) {
    for (frame, name) in backtrace.iter().zip(names) {
        assert!(frame.contains(name), "{backtrace:?}");
    }
    assert!(backtrace.len() >= names.len(), "{backtrace:?}");
}

#[test]
fn a_guest_that_computes_shows_where_it_is() {
    let mut bench = Bench::new();
    let id = bench.start(&guest(SPIN));
    let first = moment(bench.inspect(id, None));
    assert_names(&first.backtrace, &["inner", "outer"]);
    assert_eq!((first.host_call, first.memory.map(|bytes| bytes.0)), (None, Some(65_536)));
    let second = moment(bench.inspect(id, None));
    assert!(second.fuel > first.fuel && second.cpu_us >= first.cpu_us && second.wall_us > first.wall_us);
    let calls = bench.start(&guest(HOST_CALLS));
    assert_names(&moment(bench.inspect(calls, None)).backtrace, &["asks"]);
    bench.cancel(id, Reason::Cancelled);
    bench.cancel(calls, Reason::Cancelled);
}

#[test]
fn a_guest_that_sleeps_shows_in_which_call() {
    let mut bench = Bench::new();
    let id = bench.start(&guest(SLEEP));
    // The first look may come before it sleeps.
    let seen = (0..1000).map(|_| moment(bench.inspect(id, None))).find(|moment| moment.host_call.is_some());
    let seen = seen.expect("it sleeps");
    assert_names(&seen.backtrace, &["sleeps"]);
    let call = seen.host_call.clone().expect("a host call");
    assert_eq!(call.name.as_deref(), Some("wasi_snapshot_preview1.poll_oneoff"));
    let again = moment(bench.inspect(id, None)).host_call.expect("a host call");
    assert!(again.for_us > call.for_us && seen.fuel.is_some_and(|fuel| fuel.0 > 0), "{seen:?}");
    assert_eq!(seen.memory.map(|bytes| bytes.0), Some(3 << 16));
    bench.cancel(id, Reason::Cancelled);
}

#[test]
fn a_profile_shows_where_the_time_goes() {
    let mut bench = Bench::new();
    let id = bench.start(&guest(SPIN));
    let profile = profile(bench.inspect(id, Some(Duration::from_millis(200))));
    assert!(profile.is_sound() && profile.wall_us >= 200_000, "{profile:?}");
    let cpu: u64 = profile.samples.iter().map(|sample| u64::from(sample.cpu_us)).sum();
    assert!(profile.samples.len() > 1 && cpu > 0 && cpu <= profile.wall_us, "{} samples", profile.samples.len());
    let top = &profile.stacks[profile.samples[0].stack as usize];
    assert!(profile.frames[top.frame as usize].function.contains("inner"), "{profile:?}");
    bench.cancel(id, Reason::Cancelled);
}

#[test]
fn a_profile_ends_in_time_although_the_guest_sleeps_and_with_it() {
    let mut bench = Bench::new();
    let id = bench.start(&guest(SLEEP));
    assert!(profile(bench.inspect(id, Some(Duration::from_millis(50)))).wall_us >= 50_000);
    let short = bench.start(&guest(SPIN).timeout(Duration::from_millis(300)));
    let cut = profile(bench.inspect(short, Some(Duration::from_secs(60))));
    assert!(cut.wall_us < 60_000_000 && !cut.samples.is_empty());
    assert_eq!(bench.end(short).reason(), Some(Reason::WallTimeout));
    bench.cancel(id, Reason::Cancelled);
}

#[test]
fn a_deep_stack_is_cut_to_its_innermost_frames() {
    let mut bench = Bench::new();
    let id = bench.start(&guest(RECURSE));
    let seen = (0..1000).map(|_| moment(bench.inspect(id, None))).find(|moment| !moment.backtrace.is_empty());
    let seen = seen.expect("it computes");
    assert_eq!(seen.backtrace.len(), weir_wire::limits::BACKTRACE_FRAMES_MAX);
    bench.cancel(id, Reason::Cancelled);
}
