//! Worker processes that die, hang or lose their parent while attempts run in them.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    process::{Command as Program, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use weir_isolation::{Bench, Guest, helper};
use weir_sandbox::{Helper, Isolation};
use weir_wire::{
    id::AttemptId,
    task::{Reason, Source, Status},
    units::MemBytes,
};

const FOREVER: u64 = u64::MAX / 2;
/// What no process needs as long.
const HANG: Duration = Duration::from_secs(60);
/// Writes "ready", then spins, with four pages of memory.
const SPIN: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 4)
    (data (i32.const 512) "\00\04\00\00\05\00\00\00")
    (data (i32.const 1024) "ready")
    (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 520)))
        (loop $more (br $more))))"#;
const QUIET: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;

fn bench() -> Bench {
    Bench::configured(|config| {
        config.workers = 2;
        config.isolation = Isolation::Processes { number: 2 };
    })
}

/// Starts guests that spin, and waits until all of them do.
fn spin(bench: &mut Bench, number: usize) -> Vec<AttemptId> {
    let guest = Guest::new(SPIN).fuel(FOREVER);
    let ids: Vec<AttemptId> = (0..number).map(|_| bench.start(&guest)).collect();
    for id in &ids {
        assert_eq!(bench.wait_for_output(*id), b"ready");
    }
    ids
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
    // It may have ended meanwhile, where it is sent more than once.
    let _ended = kill_process(pid, signal);
}

/// Waits for what happens by itself.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < HANG, "{what} does not happen");
        thread::yield_now();
    }
}

/// Sends a signal to one of two processes in which attempts run; the message of those that end by that.
fn lose(bench: &mut Bench, number: Signal) -> String {
    let ids = spin(bench, 4);
    let pids = bench.worker_pids();
    assert_eq!(pids.len(), 2);
    if number == Signal::SEGV {
        // The first one that no instruction caused is taken for somebody else's; after it the default holds.
        until("the end of the process", || {
            let lives = bench.worker_pids().contains(&pids[0]);
            if lives {
                signal(pids[0], number);
            }
            !lives
        });
    } else {
        signal(pids[0], number);
    }
    let mut ends = vec![bench.any_end()];
    ids.iter().for_each(|id| bench.cancel(*id, Reason::Cancelled));
    ends.extend((1..4).map(|_| bench.any_end()));
    let ended: BTreeSet<AttemptId> = ends.iter().map(|end| end.ended.id).collect();
    assert_eq!(ended, ids.into_iter().collect(), "each ends once");
    assert!(bench.is_quiet(), "and not twice");
    let mut messages = Vec::new();
    for end in &ends {
        let failure = end.failure().expect("a failure");
        if failure.reason != Reason::Cancelled {
            let kind = (end.status(), failure.reason, failure.source);
            assert_eq!(kind, (Status::Failed, Reason::HostError, Source::Executor));
            messages.push(failure.message.clone());
        }
    }
    assert!((1..4).contains(&messages.len()), "the other process went on: {ends:?}");
    messages.remove(0)
}

#[test]
fn attempts_in_a_process_that_dies_end_once_and_the_others_go_on() {
    let mut bench = bench();
    for (number, name) in [(Signal::KILL, "signal 9 (SIGKILL)"), (Signal::SEGV, "signal 11 (SIGSEGV)")] {
        let message = lose(&mut bench, number);
        assert!(message.contains(name), "{message}");
        until("a second process", || bench.worker_pids().len() == 2);
    }
}

#[test]
fn a_process_that_is_started_again_knows_runs_and_modules() {
    let mut bench = bench();
    let ready = bench.prepare(SPIN.as_bytes());
    let before = bench.worker_pids();
    before.iter().for_each(|pid| signal(*pid, Signal::KILL));
    // At once, while none or one of them runs: it waits, or finds the module where it goes.
    let id = bench.start_prepared(&Guest::new(SPIN).fuel(FOREVER), ready.digest);
    let ended_or_ready = bench.output_or_end(id);
    if ended_or_ready {
        assert_eq!(bench.used().memory, MemBytes(4 << 16));
        bench.cancel(id, Reason::Cancelled);
    }
    let end = bench.end(id);
    assert!(matches!(end.reason(), Some(Reason::Cancelled | Reason::HostError)), "{end:?}");
    until("other processes", || {
        let pids = bench.worker_pids();
        pids.len() == 2 && pids.iter().all(|pid| !before.contains(pid))
    });
    let ids: Vec<_> = (0..4).map(|_| bench.start_prepared(&Guest::new(QUIET), ready.digest)).collect();
    for id in ids {
        assert_eq!(bench.wait_for_output(id), b"ready");
        bench.cancel(id, Reason::Cancelled);
        assert_eq!(bench.end(id).reason(), Some(Reason::Cancelled));
    }
    assert_eq!(bench.prepare(QUIET.as_bytes()).refused, None);
}

#[test]
fn a_process_that_hangs_is_killed() {
    let mut bench = bench();
    let message = lose(&mut bench, Signal::STOP);
    assert!(message.contains("did not answer for 10 s"), "{message}");
}

#[test]
fn what_processes_use_is_counted_over_their_ends() {
    let mut bench = bench();
    spin(&mut bench, 2);
    until("use of CPU", || bench.used().cpu >= Duration::from_millis(20));
    assert_eq!(bench.used().memory, MemBytes(2 * (4 << 16)));
    let cpu = bench.used().cpu;
    bench.worker_pids().into_iter().for_each(|pid| signal(pid, Signal::KILL));
    for _ in 0..2 {
        assert_eq!(bench.any_end().reason(), Some(Reason::HostError));
    }
    until("a look at what is left", || bench.used().memory == MemBytes(0));
    assert!(bench.used().cpu >= cpu);
}

#[test]
fn no_process_outlives_the_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let Helper::Program { path, .. } = helper() else { panic!("the suite has a helper") };
    let mut daemon = Program::new(path)
        .args(["host".as_ref(), dir.path().as_os_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pids: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(pids.len(), 2, "{line}");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    // One that nobody has waited for yet has an empty command line.
    let lives = |pid: &&str| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
    until("the end of the processes", || !pids.iter().any(lives));
}

#[test]
fn scratch_directories_are_gone_with_the_process_that_had_them() {
    const FILL: &str = r#"(module
        (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 512) "\00\04\00\00\05\00\00\00")
        (data (i32.const 1024) "ready")
        (func (export "_start")
            (if (call $mkdir (i32.const 3) (i32.const 1024) (i32.const 5)) (then unreachable))
            (drop (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 520)))
            (loop $more (br $more))))"#;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("scratch");
    fs::create_dir_all(root.join("0/of-a-daemon-that-was-killed/deep")).unwrap();
    let mut bench = Bench::configured(|config| {
        config.isolation = Isolation::Processes { number: 1 };
        config.scratch = Some(root.clone());
    });
    let entries =
        |dir: &str| fs::read_dir(root.join(dir)).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    assert!(entries("0").is_empty(), "{:?}", entries("0"));
    let id = bench.start(&Guest::new(FILL).fuel(FOREVER).scratch(1 << 20));
    assert_eq!(bench.wait_for_output(id), b"ready");
    assert!(entries("0").iter().any(|made| made.join("ready").is_dir()), "{:?}", entries("0"));
    bench.worker_pids().into_iter().for_each(|pid| signal(pid, Signal::KILL));
    assert_eq!(bench.end(id).reason(), Some(Reason::HostError));
    assert!(entries("0").is_empty(), "{:?}", entries("0"));
}
