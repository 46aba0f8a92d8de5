//! Scratch directories: no trick takes more than was asked for, and nothing stays.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use weir_isolation::{Bench, Guest};
use weir_wire::task::{Reason, Status};

const LIMIT: u64 = 1 << 20;
/// The error number of preview 1 for a full disk, and for a bad descriptor.
const NO_SPACE: i32 = 51;
const BAD_DESCRIPTOR: i32 = 8;

/// A guest with what it takes to fill a directory. A call that is refused ends it with the error number, but one that says
/// that there is no space has it say so and wait, if `HOLD` is 1.
const GUEST: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pwrite" (func $fd_pwrite (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_renumber" (func $fd_renumber (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $set_size (param i32 i64) (result i32)))
    (import "wasi_snapshot_preview1" "path_unlink_file" (func $path_unlink (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_create_directory" (func $path_mkdir (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_rename"
        (func $path_rename (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_symlink" (func $path_symlink (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 3)
    (global $dir (mut i32) (i32.const 3))
    (data (i32.const 116) "full")
    (func $check (param $number i32)
        (if (i32.eqz (local.get $number)) (then (return)))
        (if (i32.and (i32.eq (local.get $number) (i32.const 51)) (i32.const HOLD)) (then
            (i32.store (i32.const 0) (i32.const 116))
            (i32.store (i32.const 4) (i32.const 4))
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (i32.store (i32.const 1016) (i32.const 1))
            (i64.store (i32.const 1024) (i64.const 3600000000000))
            (drop (call $poll (i32.const 1000) (i32.const 1100) (i32.const 1) (i32.const 560)))))
        (call $exit (local.get $number)))
    ;; four letters at 100, and others at 104
    (func $name (param $i i32) (local $at i32)
        (local.set $at (i32.const 100))
        (loop $more
            (i32.store8 (local.get $at) (i32.add (i32.const 97) (i32.and (local.get $i) (i32.const 15))))
            (i32.store8 offset=4 (local.get $at) (i32.add (i32.const 65) (i32.and (local.get $i) (i32.const 15))))
            (local.set $i (i32.shr_u (local.get $i) (i32.const 4)))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $at) (i32.const 104)))))
    (func $open (param $i i32) (result i32)
        (call $name (local.get $i))
        (call $check (call $path_open (global.get $dir) (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 1)
            (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 12)))
        (i32.load (i32.const 12)))
    (func $close (param $fd i32) (call $check (call $fd_close (local.get $fd))))
    (func $unlink (param $i i32)
        (call $name (local.get $i))
        (call $check (call $path_unlink (global.get $dir) (i32.const 100) (i32.const 4))))
    (func $buffer (param $len i32)
        (i32.store (i32.const 0) (i32.const 65536))
        (i32.store (i32.const 4) (local.get $len)))
    (func $write (param $fd i32) (param $len i32)
        (call $buffer (local.get $len))
        (call $check (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
    (func $mkdir (param $i i32)
        (call $name (local.get $i))
        (call $check (call $path_mkdir (global.get $dir) (i32.const 100) (i32.const 4))))
    (func (export "_start") (local $fd i32) (local $i i32)
        (memory.fill (i32.const 65536) (i32.const 120) (i32.const 131072))
        (loop $again
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            BODY
            (br_if $again (i32.lt_u (local.get $i) (i32.const TIMES))))))"#;

fn guest(hold: bool, times: u32, body: &str) -> Guest {
    let text = GUEST.replace("HOLD", if hold { "1" } else { "0" }).replace("TIMES", &times.to_string());
    Guest::new(text.replace("BODY", body)).scratch(LIMIT)
}

fn bench() -> (Bench, PathBuf) {
    let mut root = PathBuf::new();
    let bench = Bench::configured(|config| {
        root = config.cache_dir.with_file_name("scratch");
        config.scratch = Some(root.clone());
    });
    (bench, root)
}

/// What a directory takes on the disk, and how many entries it has.
fn taken(dir: &Path) -> (u64, u64) {
    let mut sum = (0, 0);
    for entry in fs::read_dir(dir).expect("it can be looked at") {
        let entry = entry.expect("it can be looked at");
        let meta = entry.metadata().expect("it can be looked at");
        sum = (sum.0 + meta.blocks() * 512, sum.1 + 1);
        if meta.is_dir() {
            let below = taken(&entry.path());
            sum = (sum.0 + below.0, sum.1 + below.1);
        }
    }
    sum
}

/// What files take that have no name any more and are open in a process.
fn nameless(bench: &Bench, root: &Path) -> u64 {
    let mut sum = 0;
    for pid in bench.guest_pids() {
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).expect("it can be looked at").flatten() {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            let (Some(text), Ok(meta)) = (target.to_str(), fs::metadata(entry.path())) else { continue };
            if text.starts_with(root.to_str().expect("it can be looked at")) && meta.nlink() == 0 {
                sum += meta.blocks() * 512;
            }
        }
    }
    sum
}

/// The directories that attempts left.
fn left(root: &Path) -> usize {
    fs::read_dir(root)
        .expect("it can be looked at")
        .map(|part| fs::read_dir(part.expect("it can be looked at").path()).expect("it can be looked at").count())
        .sum()
}

/// What fills a directory, and whether it does so with bytes.
const TRICKS: &[(&str, &str, bool)] = &[
    (
        "one file",
        "(if (i32.eqz (local.get $fd)) (then (local.set $fd (call $open (i32.const 0)))))
        (call $write (local.get $fd) (i32.const 16384))",
        true,
    ),
    ("files that stay open", "(call $write (call $open (local.get $i)) (i32.const 16384))", true),
    (
        "files without a name",
        "(local.set $fd (call $open (local.get $i))) (call $unlink (local.get $i))
        (call $write (local.get $fd) (i32.const 16384))",
        true,
    ),
    (
        "replaced files",
        "(local.set $fd (call $open (i32.const 0))) (call $write (local.get $fd) (i32.const 16384))
        (call $name (i32.const 0))
        (call $check (call $path_rename (i32.const 3) (i32.const 100) (i32.const 4)
            (i32.const 3) (i32.const 104) (i32.const 4)))",
        true,
    ),
    (
        "tiny writes far apart",
        "(if (i32.eqz (local.get $fd)) (then (local.set $fd (call $open (i32.const 0)))))
        (call $buffer (i32.const 1))
        (call $check (call $fd_pwrite (local.get $fd) (i32.const 0) (i32.const 1)
            (i64.mul (i64.extend_i32_u (local.get $i)) (i64.const 65536)) (i32.const 8)))",
        true,
    ),
    (
        "another number",
        "(if (i32.eqz (local.get $fd)) (then (local.set $fd (call $open (i32.const 0)))
            (call $check (call $fd_renumber (local.get $fd) (call $open (i32.const 1))))
            (local.set $fd (i32.add (local.get $fd) (i32.const 1)))))
        (call $write (local.get $fd) (i32.const 16384))",
        true,
    ),
    ("empty files", "(call $close (call $open (local.get $i)))", false),
    (
        "links",
        "(call $name (local.get $i))
        (call $check (call $path_symlink (i32.const 104) (i32.const 4) (i32.const 3) (i32.const 100) (i32.const 4)))",
        false,
    ),
    (
        "directories in directories",
        "(call $mkdir (i32.const 0))
        (call $check (call $path_open (global.get $dir) (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 2)
            (i64.const 0x2200) (i64.const 0x2200) (i32.const 0) (i32.const 12)))
        (if (i32.ne (global.get $dir) (i32.const 3)) (then (call $close (global.get $dir))))
        (global.set $dir (i32.load (i32.const 12)))",
        false,
    ),
];

#[test]
fn no_trick_takes_more_than_the_limit() {
    let (mut bench, root) = bench();
    for (name, body, with_bytes) in TRICKS {
        let id = bench.start(&guest(true, 1_000_000, body).fuel(u64::MAX >> 8));
        assert!(bench.output_or_end(id), "{name}: {:?}", bench.end(id));
        let ((bytes, entries), nameless) = (taken(&root), nameless(&bench, &root));
        assert!(bytes + nameless <= LIMIT + (16 << 10), "{name}: {bytes} bytes and {nameless} without a name");
        assert!(entries <= 4096 + 2, "{name}: {entries} entries");
        assert!(!with_bytes || bytes + nameless >= LIMIT / 4, "{name}: {bytes} bytes are not much");
        bench.cancel(id, Reason::Cancelled);
        assert_eq!(bench.end(id).status(), Status::Killed, "{name}");
        assert_eq!(left(&root), 0, "{name}");
    }
}

#[test]
fn a_file_is_as_large_as_the_directory_at_most() {
    let (mut bench, root) = bench();
    for (size, ends) in
        [(LIMIT / 2, None), (LIMIT * 2, Some(NO_SPACE)), (1 << 50, Some(NO_SPACE)), (u64::MAX, Some(NO_SPACE))]
    {
        let body =
            format!("(call $check (call $set_size (call $open (i32.const 0)) (i64.const {})))", size.cast_signed());
        let end = bench.run_among_neighbours(&guest(false, 1, &body));
        assert_eq!(end.exit_code(), ends, "{size}: {end:?}");
    }
    assert_eq!(left(&root), 0);
}

#[test]
fn space_that_is_given_back_is_there_again() {
    let (mut bench, root) = bench();
    // A hundred times three quarters of the limit; and each time at the first try.
    let body = "(local.set $fd (call $open (local.get $i)))
        (call $write (local.get $fd) (i32.const 131072)) (call $write (local.get $fd) (i32.const 131072))
        (call $write (local.get $fd) (i32.const 131072)) (call $write (local.get $fd) (i32.const 131072))
        (call $write (local.get $fd) (i32.const 131072)) (call $write (local.get $fd) (i32.const 131072))
        (call $close (local.get $fd)) (call $unlink (local.get $i))";
    let end = bench.run_among_neighbours(&guest(false, 100, body));
    assert_eq!((end.status(), end.exit_code()), (Status::Succeeded, None), "{end:?}");
    assert_eq!(left(&root), 0);
}

#[test]
fn it_is_there_only_where_it_is_asked_for_and_offered() {
    let (mut bench, root) = bench();
    let body = "(call $write (call $open (i32.const 0)) (i32.const 10))";
    let mut without = guest(false, 1, body);
    without.capabilities.scratch = 0;
    assert_eq!(bench.run(&without).exit_code(), Some(BAD_DESCRIPTOR));
    // The second attempt finds nothing of the first one: it may not exist where it is made.
    let exclusive = "(call $name (i32.const 0))
        (call $check (call $path_open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 5)
            (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 12)))";
    for _ in 0..2 {
        let end = bench.run(&guest(false, 1, exclusive));
        assert_eq!(end.status(), Status::Succeeded, "{end:?}");
    }
    assert_eq!(left(&root), 0);
    let end = Bench::new().run(&guest(false, 1, body));
    assert_eq!(end.reason(), Some(Reason::CapabilityDenied), "{end:?}");
}

#[test]
fn a_full_directory_can_be_emptied() {
    let (mut bench, _) = bench();
    // Nearly a MiB in one file: that is opened again, made shorter, and replaced by another one.
    let body = "
        (local.set $fd (call $open (i32.const 1)))
        (loop $fill
            (call $write (local.get $fd) (i32.const 131072))
            (br_if $fill (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8))))
        (call $write (local.get $fd) (i32.const 118784))
        (call $write (local.get $fd) (i32.const 4096))
        (drop (call $open (i32.const 1)))
        (call $check (call $set_size (local.get $fd) (i64.const 900000)))
        (call $close (call $open (i32.const 2)))
        (call $name (i32.const 2))
        (i32.store (i32.const 200) (i32.load (i32.const 100)))
        (call $name (i32.const 1))
        (call $check (call $path_rename
            (global.get $dir) (i32.const 100) (i32.const 4) (global.get $dir) (i32.const 200) (i32.const 4)))
        (call $check (call $set_size (local.get $fd) (i64.const 0)))";
    let end = bench.run_among_neighbours(&guest(false, 0, body));
    assert_eq!(end.status(), Status::Succeeded, "{end:?}");
}
