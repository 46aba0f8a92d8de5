//! Namespaces that are kept apart: their guests are in processes of their own, which begin and end with the need.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant as Clock},
};

use rustix::process::{Pid, Signal, kill_process};
use weir_isolation::{Bench, Guest};
use weir_sandbox::{Apart, Isolation};
use weir_wire::{
    id::AttemptId,
    task::Reason,
    units::{Instant, MemBytes},
};

const FOREVER: u64 = u64::MAX / 2;
/// What no process needs as long.
const HANG: Duration = Duration::from_secs(60);
/// How many namespaces have processes of their own at a time, at the most.
const GROUPS: usize = 32;
/// Writes "ready", then sleeps for a year.
const GUEST: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 512) "\00\04\00\00\05\00\00\00")
    (data (i32.const 1024) "ready")
    (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 520)))
        (i32.store (i32.const 16) (i32.const 1))
        (i64.store (i32.const 24) (i64.const 30000000000000000))
        (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256)))))"#;

fn bench(apart: &[&str]) -> Bench {
    let texts: Vec<String> = apart.iter().map(|text| (*text).to_owned()).collect();
    Bench::configured(|config| {
        config.workers = 2;
        config.isolation = Isolation::Processes { number: 1 };
        config.apart = Apart::new(&texts).expect("usable");
    })
}

fn pids(bench: &Bench) -> BTreeSet<u32> {
    bench.worker_pids().into_iter().collect()
}

/// Starts a guest of a namespace that sleeps, and waits until it does.
fn sleeper(bench: &mut Bench, namespace: &str) -> AttemptId {
    let id = bench.start(&Guest::new(GUEST).of(namespace).fuel(FOREVER));
    assert_eq!(bench.wait_for_output(id), b"ready", "{namespace}");
    id
}

fn cancel(bench: &mut Bench, id: AttemptId) {
    bench.cancel(id, Reason::Cancelled);
    assert_eq!(bench.end(id).reason(), Some(Reason::Cancelled));
}

/// Waits for what happens by itself.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Clock::now();
    while !holds() {
        assert!(began.elapsed() < HANG, "{what} does not happen");
        thread::yield_now();
    }
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).expect("a process id"), Signal::KILL).expect("killed");
}

fn at(minutes: u64) -> Instant {
    Instant::default() + Duration::from_secs(1 + 60 * minutes)
}

#[test]
fn guests_of_namespaces_that_are_apart_are_in_processes_of_their_own() {
    let mut bench = bench(&["payments", "team-*"]);
    let shared = pids(&bench);
    assert_eq!(shared.len(), 1, "none begins before it is needed");
    sleeper(&mut bench, "default");
    sleeper(&mut bench, "other");
    assert_eq!(pids(&bench), shared, "they share");
    let mut owners = vec![shared.clone()];
    for namespace in ["payments", "team-a", "team-b"] {
        let before = pids(&bench);
        sleeper(&mut bench, namespace);
        let own: BTreeSet<u32> = pids(&bench).difference(&before).copied().collect();
        assert_eq!(own.len(), 1, "{namespace}");
        owners.push(own);
        sleeper(&mut bench, namespace);
        assert_eq!(pids(&bench).len(), before.len() + 1, "a second guest of {namespace} is where the first is");
    }
    // That they run there, and nowhere else: the end of the process is the end of them alone.
    let own = owners[2].first().copied().expect("a process");
    kill(own);
    for _ in 0..2 {
        let end = bench.any_end();
        assert_eq!(end.reason(), Some(Reason::HostError));
        // Runs are counted from one: these are those of team-a.
        assert!((5..=6).contains(&end.ended.id.task.run.0), "{end:?}");
    }
    assert!(bench.is_quiet(), "the attempts of the others go on");
    until("another process", || pids(&bench).len() == 4);
    let now = pids(&bench);
    assert!(!now.contains(&own) && owners[0].is_subset(&now) && owners[1].is_subset(&now) && owners[3].is_subset(&now));
    sleeper(&mut bench, "team-a");
    assert_eq!(pids(&bench), now, "the next guest is in the next process");
}

#[test]
fn a_group_that_nobody_needs_ends_and_another_begins() {
    let mut bench = bench(&["*"]);
    bench.tick(at(0));
    let shared = pids(&bench);
    let (a, b) = (sleeper(&mut bench, "a"), sleeper(&mut bench, "b"));
    let of_both = pids(&bench);
    assert_eq!(of_both.len(), 3);
    until("use of CPU", || bench.used().cpu > Duration::ZERO);
    cancel(&mut bench, a);
    let cpu = bench.used().cpu;
    bench.tick(at(1));
    until("the end of a process", || pids(&bench).len() == 2);
    let of_b = pids(&bench);
    assert!(shared.is_subset(&of_b) && of_b.is_subset(&of_both));
    bench.tick(at(100));
    assert_eq!(pids(&bench), of_b, "it has an attempt, or all share it");
    assert!(bench.used().cpu >= cpu, "what was used stays counted");
    assert_eq!(bench.used().memory, MemBytes(1 << 16));
    let again = sleeper(&mut bench, "a");
    let new: BTreeSet<u32> = pids(&bench).difference(&of_b).copied().collect();
    assert!(new.len() == 1 && new.is_disjoint(&of_both), "it is another one");
    cancel(&mut bench, again);
    cancel(&mut bench, b);
    bench.tick(at(200));
    until("the end of both", || pids(&bench) == shared);
}

#[test]
fn groups_are_bounded_and_one_without_attempts_makes_room() {
    let mut bench = Bench::configured(|config| {
        config.lanes_per_worker = 2;
        config.isolation = Isolation::Processes { number: 1 };
        config.apart = Apart::new(&["*".to_owned()]).expect("usable");
    });
    let ready = bench.prepare(GUEST.as_bytes());
    let guest = |number: usize| Guest::new(GUEST).of(&format!("n{number}")).fuel(FOREVER);
    let ids: Vec<_> = (0..GROUPS).map(|number| bench.start_prepared(&guest(number), ready.digest)).collect();
    for id in &ids {
        assert_eq!(bench.wait_for_output(*id), b"ready");
    }
    assert_eq!(pids(&bench).len(), 1 + GROUPS);
    let refused = bench.start_prepared(&guest(GROUPS), ready.digest);
    let end = bench.end(refused);
    assert_eq!(end.reason(), Some(Reason::HostError));
    assert!(end.failure().expect("a failure").message.contains("32 namespaces"), "{end:?}");
    let before = pids(&bench);
    cancel(&mut bench, ids[7]);
    let taken_in = bench.start_prepared(&guest(GROUPS), ready.digest);
    assert_eq!(bench.wait_for_output(taken_in), b"ready");
    until("the end of a process", || pids(&bench).len() == 1 + GROUPS);
    assert_eq!(pids(&bench).difference(&before).count(), 1, "it is in a new process, and an old one has ended");
    assert!(bench.is_quiet());
}

#[test]
fn scratch_directories_of_a_group_are_gone_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("scratch");
    fs::create_dir_all(root.join("77/of-a-daemon-that-was-killed/deep")).unwrap();
    let mut bench = Bench::configured(|config| {
        config.isolation = Isolation::Processes { number: 1 };
        config.apart = Apart::new(&["*".to_owned()]).expect("usable");
        config.scratch = Some(root.clone());
    });
    let dirs = |root: &Path| fs::read_dir(root).unwrap().count();
    assert_eq!(dirs(&root), 1, "that of the processes which all share");
    bench.tick(at(0));
    let id = bench.start(&Guest::new(GUEST).of("a").fuel(FOREVER).scratch(1 << 20));
    assert_eq!(bench.wait_for_output(id), b"ready");
    assert_eq!(dirs(&root), 2);
    cancel(&mut bench, id);
    bench.tick(at(1));
    until("the end of the directory", || dirs(&root) == 1);
}
