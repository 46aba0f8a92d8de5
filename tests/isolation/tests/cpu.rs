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

/// A preview 2 command that has sixteen streams read a file in the background, again and again, and waits for all of them.
const STREAM: &str = r#"(component
    (import "wasi:io/poll@0.2.0" (instance $poll
        (export "pollable" (type $pollable (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type (sub resource)))))
    (alias export $errors "error" (type $error))
    (import "wasi:io/streams@0.2.0" (instance $streams
        (alias outer 1 $error (type $error'))
        (export "error" (type $error (eq $error')))
        (alias outer 1 $pollable (type $pollable'))
        (export "pollable" (type $pollable (eq $pollable')))
        (export "input-stream" (type $stream (sub resource)))
        (type $failed' (variant (case "last-operation-failed" (own $error)) (case "closed")))
        (export "stream-error" (type $failed (eq $failed')))
        (export "[method]input-stream.skip"
            (func (param "self" (borrow $stream)) (param "len" u64) (result (result u64 (error $failed)))))
        (export "[method]input-stream.subscribe" (func (param "self" (borrow $stream)) (result (own $pollable))))))
    (alias export $streams "input-stream" (type $stream))
    (import "wasi:filesystem/types@0.2.0" (instance $files
        (alias outer 1 $stream (type $stream'))
        (export "input-stream" (type $stream (eq $stream')))
        (type $code' (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist"
            "file-too-large" "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory" "loop"
            "too-many-links" "message-size" "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory"
            "insufficient-space" "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty" "no-such-device"
            "overflow" "not-permitted" "pipe" "read-only" "invalid-seek" "text-file-busy" "cross-device"))
        (export "error-code" (type $code (eq $code')))
        (type $path' (flags "symlink-follow"))
        (export "path-flags" (type $path (eq $path')))
        (type $open' (flags "create" "directory" "exclusive" "truncate"))
        (export "open-flags" (type $open (eq $open')))
        (type $flags' (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync"
            "mutate-directory"))
        (export "descriptor-flags" (type $flags (eq $flags')))
        (export "descriptor" (type $file (sub resource)))
        (export "[method]descriptor.open-at" (func (param "self" (borrow $file)) (param "path-flags" $path)
            (param "path" string) (param "open-flags" $open) (param "flags" $flags)
            (result (result (own $file) (error $code)))))
        (export "[method]descriptor.set-size"
            (func (param "self" (borrow $file)) (param "size" u64) (result (result (error $code)))))
        (export "[method]descriptor.read-via-stream"
            (func (param "self" (borrow $file)) (param "offset" u64) (result (result (own $stream) (error $code)))))))
    (alias export $files "descriptor" (type $file))
    (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
        (alias outer 1 $file (type $file'))
        (export "descriptor" (type $file (eq $file')))
        (export "get-directories" (func (result (list (tuple (own $file) string)))))))
    (core module $memory
        (memory (export "memory") 1)
        (data (i32.const 96) "f")
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (if (i32.gt_u (local.get 3) (i32.const 64)) (then unreachable))
            (global.set $free (i32.add (global.get $free) (i32.const 64)))
            (global.get $free))
        (global $free (mut i32) (i32.const 1024)))
    (core instance $memory (instantiate $memory))
    (alias core export $memory "memory" (core memory $bytes))
    (alias core export $memory "realloc" (core func $realloc))
    (core func $dirs (canon lower (func $preopens "get-directories") (memory $bytes) (realloc $realloc)))
    (core func $open (canon lower (func $files "[method]descriptor.open-at") (memory $bytes)))
    (core func $size (canon lower (func $files "[method]descriptor.set-size") (memory $bytes)))
    (core func $read (canon lower (func $files "[method]descriptor.read-via-stream") (memory $bytes)))
    (core func $skip (canon lower (func $streams "[method]input-stream.skip") (memory $bytes)))
    (core func $subscribe (canon lower (func $streams "[method]input-stream.subscribe")))
    (core func $block (canon lower (func $poll "[method]pollable.block")))
    (core func $drop-pollable (canon resource.drop $pollable))
    (core func $drop-stream (canon resource.drop $stream))
    (core module $code
        (import "memory" "memory" (memory 1))
        (import "host" "dirs" (func $dirs (param i32)))
        (import "host" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
        (import "host" "size" (func $size (param i32 i64 i32)))
        (import "host" "read" (func $read (param i32 i64 i32)))
        (import "host" "skip" (func $skip (param i32 i64 i32)))
        (import "host" "subscribe" (func $subscribe (param i32) (result i32)))
        (import "host" "block" (func $block (param i32)))
        (import "host" "drop-pollable" (func $drop-pollable (param i32)))
        (import "host" "drop-stream" (func $drop-stream (param i32)))
        (global $file (mut i32) (i32.const 0))
        ;; A stream, and behind it its pollable.
        (func $begin (param $at i32)
            (call $read (global.get $file) (i64.const 0) (i32.const 32))
            (if (i32.load8_u (i32.const 32)) (then unreachable))
            (i32.store (local.get $at) (i32.load (i32.const 36)))
            (i32.store offset=4 (local.get $at) (call $subscribe (i32.load (i32.const 36)))))
        (func $go-on (param $at i32)
            (call $skip (i32.load (local.get $at)) (i64.const 0x10000) (i32.const 64))
            ;; What was read is gone, and the next is to be read.
            (if (i32.eqz (i32.load8_u (i32.const 64))) (then
                (if (i64.ne (i64.load (i32.const 72)) (i64.const 0)) (then
                    (call $skip (i32.load (local.get $at)) (i64.const 0x10000) (i32.const 64))))))
            ;; It is at its end.
            (if (i32.load8_u (i32.const 64)) (then
                (call $drop-pollable (i32.load offset=4 (local.get $at)))
                (call $drop-stream (i32.load (local.get $at)))
                (call $begin (local.get $at)))))
        (func (export "run") (result i32) (local $at i32)
            (call $dirs (i32.const 16))
            (call $open (i32.load (i32.load (i32.const 16))) (i32.const 0) (i32.const 96) (i32.const 1)
                (i32.const 1) (i32.const 3) (i32.const 32))
            (if (i32.load8_u (i32.const 32)) (then unreachable))
            (global.set $file (i32.load (i32.const 36)))
            (call $size (global.get $file) (i64.const 0x100000) (i32.const 32))
            (if (i32.load8_u (i32.const 32)) (then unreachable))
            (local.set $at (i32.const 256))
            (loop $each
                (call $begin (local.get $at))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $each (i32.lt_u (local.get $at) (i32.const 384))))
            (loop $again
                (local.set $at (i32.const 256))
                (loop $each
                    (call $go-on (local.get $at))
                    (local.set $at (i32.add (local.get $at) (i32.const 8)))
                    (br_if $each (i32.lt_u (local.get $at) (i32.const 384))))
                (local.set $at (i32.const 256))
                (loop $each
                    (call $block (i32.load offset=4 (local.get $at)))
                    (local.set $at (i32.add (local.get $at) (i32.const 8)))
                    (br_if $each (i32.lt_u (local.get $at) (i32.const 384))))
                (br $again))
            unreachable))
    (core instance $code (instantiate $code (with "memory" (instance $memory)) (with "host" (instance
        (export "dirs" (func $dirs)) (export "open" (func $open)) (export "size" (func $size))
        (export "read" (func $read)) (export "skip" (func $skip)) (export "subscribe" (func $subscribe))
        (export "block" (func $block)) (export "drop-pollable" (func $drop-pollable))
        (export "drop-stream" (func $drop-stream))))))
    (func $run (result (result)) (canon lift (core func $code "run")))
    (instance $interface (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $interface)))"#;

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
    files_count(FILES);
}

#[test]
fn what_streams_do_in_the_background_counts_as_time_of_their_guest() {
    files_count(STREAM);
}

fn files_count(wasm: &str) {
    let mut bench = Bench::configured(|config| config.scratch = Some(config.cache_dir.with_file_name("scratch")));
    let guest = Guest::new(wasm).scratch(4 << 20).fuel(FOREVER).timeout(Duration::from_secs(2));
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
