//! Guests that want more CPU time than their share. All meet on one worker.

use std::time::Duration;

use weir_isolation::{Bench, End, Guest};
use weir_sandbox::FUEL_SLICE;
use weir_wire::{
    attempt::{CancelSpec, Command, ThrottleSpec},
    id::AttemptId,
    kind::Tier,
    task::Reason,
};

const SPIN: &str = r#"(module (memory (export "memory") 1) (func (export "_start") (loop $more (br $more))))"#;
const HOST_CALLS: &str = r#"(module
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (loop $more (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 8))) (br $more))))"#;

/// Looks again and again at a directory whose name is a very long way around.
const FILES: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_create_directory" (func $make (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "a/../")
    (func (export "_start")
        (memory.copy (i32.const 5) (i32.const 0) (i32.const 5))
        (memory.copy (i32.const 10) (i32.const 0) (i32.const 10))
        (memory.copy (i32.const 20) (i32.const 0) (i32.const 20))
        (memory.copy (i32.const 40) (i32.const 0) (i32.const 40))
        (memory.copy (i32.const 80) (i32.const 0) (i32.const 80))
        (memory.copy (i32.const 160) (i32.const 0) (i32.const 160))
        (memory.copy (i32.const 320) (i32.const 0) (i32.const 320))
        (memory.copy (i32.const 640) (i32.const 0) (i32.const 640))
        (memory.copy (i32.const 1280) (i32.const 0) (i32.const 1280))
        (if (call $make (i32.const 3) (i32.const 0) (i32.const 1)) (then (unreachable)))
        (loop $more
            (if (call $stat (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 2556) (i32.const 4096))
                (then (unreachable)))
            (br $more))))"#;

const FOREVER: u64 = u64::MAX / 2;
/// What the first and the last slice may add to a rate, however slow the machine is.
const SLACK_US: u64 = 30_000;

#[test]
fn a_guest_gets_no_more_than_its_rate() {
    let mut bench = Bench::new();
    for wasm in [SPIN, HOST_CALLS] {
        for rate in [50, 100, 500] {
            let guest = Guest::new(wasm).fuel(FOREVER).timeout(Duration::from_secs(1)).cpu(rate);
            let end = bench.run_among_neighbours(&guest);
            assert_eq!(end.reason(), Some(Reason::WallTimeout), "{end:?}");
            let usage = end.ended.outcome.usage;
            let allowed_us = usage.wall_us * u64::from(rate) / 1000;
            assert!(usage.cpu_us <= allowed_us * 105 / 100 + SLACK_US, "rate {rate}: {usage:?}");
        }
    }
}

/// What processes of guests used of the processor so far; nothing where guests run in this process, among other tests.
fn of_processes(bench: &Bench) -> Option<Duration> {
    let pids = bench.guest_pids();
    if pids.contains(&std::process::id()) {
        return None;
    }
    let ticks = pids.into_iter().flat_map(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
        let (_, behind_name) = stat.rsplit_once(") ").expect("a name in brackets");
        let fields = behind_name.split(' ').skip(11).take(2);
        fields.map(|field| field.parse::<u64>().expect("a number")).collect::<Vec<_>>()
    });
    // The kernel tells them in hundredths of a second.
    Some(Duration::from_millis(ticks.sum::<u64>() * 10))
}

#[test]
fn file_operations_count_as_time_of_their_guest() {
    let mut bench = Bench::configured(|config| config.scratch = Some(config.cache_dir.with_file_name("scratch")));
    let guest = Guest::new(FILES).scratch(1 << 20).fuel(FOREVER).timeout(Duration::from_secs(2));
    assert_eq!(bench.run(&guest.clone().fuel(1)).reason(), Some(Reason::FuelExhausted), "it is ready now");
    let before = of_processes(&bench);
    let end = bench.run(&guest.cpu(100));
    assert_eq!(end.reason(), Some(Reason::WallTimeout), "{end:?}");
    let usage = end.ended.outcome.usage;
    let allowed_us = usage.wall_us / 10;
    assert!(usage.cpu_us <= allowed_us * 105 / 100 + SLACK_US, "{usage:?}");
    if let (Some(before), Some(after)) = (before, of_processes(&bench)) {
        let used_us = u64::try_from((after - before).as_micros()).expect("short");
        // The threads that pass events on are not the guest's.
        assert!(used_us <= allowed_us * 2, "{used_us} of {allowed_us} us; {usage:?}");
    }
}

#[test]
fn a_guest_that_waits_for_its_rate_is_ended_at_once() {
    let mut bench = Bench::new();
    let guest = Guest::new(SPIN).fuel(FOREVER).cpu(1);
    let id = bench.start(&guest);
    // A first slice makes it wait for more than a hundred times as long.
    let other = bench.run(&Guest::new(SPIN).fuel(10 * FUEL_SLICE));
    assert_eq!(other.reason(), Some(Reason::FuelExhausted));
    let end = cancelled(&mut bench, id);
    assert_eq!(end.reason(), Some(Reason::Cancelled), "{end:?}");
}

fn cancelled(bench: &mut Bench, id: AttemptId) -> End {
    bench.send(vec![Command::Cancel(CancelSpec { id, reason: Reason::Cancelled })]);
    bench.end(id)
}

/// Starts guests that never end, and then one that ends after so many slices; returns the slices that the others got.
fn others_while(guests: &[Guest], measured: &Guest, slices: u64, commands: &[fn(AttemptId) -> Command]) -> Vec<u64> {
    let mut bench = Bench::new();
    let module = bench.prepare(SPIN.as_bytes()).digest;
    let others: Vec<_> = guests.iter().map(|guest| bench.start_prepared(guest, module)).collect();
    for (id, command) in others.iter().zip(commands) {
        bench.send(vec![command(*id)]);
    }
    let measured = bench.start_prepared(&measured.clone().fuel(slices * FUEL_SLICE), module);
    assert_eq!(bench.end(measured).reason(), Some(Reason::FuelExhausted));
    let mut got = Vec::new();
    for id in others {
        got.push(cancelled(&mut bench, id).ended.outcome.usage.fuel.0 / FUEL_SLICE);
    }
    got
}

#[test]
fn production_comes_first() {
    let guest = Guest::new(SPIN).fuel(FOREVER);
    let others = [guest.clone(), guest.clone().tier(Tier::Revocable)];
    let got = others_while(&others, &guest.clone().tier(Tier::Production), 400, &[]);
    // Those that they got before it was there, and while they are ended.
    assert!(got.iter().all(|slices| *slices < 100), "{got:?}");
    let got = others_while(&others[1..], &guest, 400, &[]);
    assert!(got[0] < 100, "{got:?}");
}

#[test]
fn a_guest_that_others_keep_waiting_is_ended_in_time() {
    let mut bench = Bench::new();
    let spin = Guest::new(SPIN).fuel(FOREVER);
    let busy = bench.start(&spin.clone().tier(Tier::Production));
    let starved = spin.tier(Tier::Revocable).timeout(Duration::from_millis(200));
    let end = bench.run(&starved);
    assert_eq!(end.reason(), Some(Reason::WallTimeout), "{end:?}");
    assert_eq!(cancelled(&mut bench, busy).reason(), Some(Reason::Cancelled));
}

#[test]
fn neighbours_share_a_core_by_their_rates() {
    let guest = Guest::new(SPIN).fuel(FOREVER);
    let got = others_while(&[guest.clone().cpu(250)], &guest, 400, &[]);
    assert!((50..=150).contains(&got[0]), "a fifth of the time for a fifth of the weight: {got:?}");
}

#[test]
fn a_throttled_guest_waits_while_others_want_to_run() {
    let guest = Guest::new(SPIN).fuel(FOREVER).tier(Tier::Revocable);
    let throttle = |id| Command::Throttle(ThrottleSpec { id, on: true });
    let got = others_while(&[guest.clone(), guest.clone()], &guest, 400, &[throttle]);
    assert!(got[0] < 100 && got[1] > 200, "{got:?}");
}
