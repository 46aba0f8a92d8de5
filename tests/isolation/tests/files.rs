//! Guests that look for files: only what was published and granted, and only to read.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::Path,
};

use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;
use weir_isolation::{Bench, End, Guest};
use weir_wire::task::{Reason, Source, Status};

/// Opens the path in its payload below the first directory and writes what is in there, or exits with the error number.
/// `LOOKUP`, `OFLAGS` and `RIGHTS` are the arguments of `path_open`; afterwards it does what stands in place of `THEN`.
const OPEN: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_link"
        (func $link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 100) "new")
    (func $check (param i32) (if (local.get 0) (then (call $exit (local.get 0)))))
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 1024))
        (i32.store (i32.const 4) (i32.const 4096))
        (call $check (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        THEN))"#;
const READ: &str = r"
    (call $check (call $open (i32.const 3) (i32.const 1) (i32.const 1024) (i32.load (i32.const 8))
        (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 12)))
    (call $check (call $read (i32.load (i32.const 12)) (i32.const 0) (i32.const 1) (i32.const 4)))
    (call $check (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))";
const CREATE: &str = r"
    (call $check (call $open (i32.const 3) (i32.const 1) (i32.const 1024) (i32.load (i32.const 8))
        (i32.const 9) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 12)))";
const OVERWRITE: &str = r"
    (call $check (call $open (i32.const 3) (i32.const 1) (i32.const 1024) (i32.load (i32.const 8))
        (i32.const 0) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 12)))
    (call $check (call $write (i32.load (i32.const 12)) (i32.const 0) (i32.const 1) (i32.const 8)))";
const MAKE_DIRECTORY: &str = "(call $check (call $mkdir (i32.const 3) (i32.const 100) (i32.const 3)))";
const UNLINK: &str = "(call $check (call $unlink (i32.const 3) (i32.const 1024) (i32.load (i32.const 8))))";
const RENAME: &str = "(call $check (call $rename (i32.const 3) (i32.const 1024) (i32.load (i32.const 8))
    (i32.const 3) (i32.const 100) (i32.const 3)))";
const SYMLINK: &str = "(call $check (call $symlink (i32.const 1024) (i32.load (i32.const 8))
    (i32.const 3) (i32.const 100) (i32.const 3)))";
const LINK: &str = "(call $check (call $link (i32.const 3) (i32.const 0) (i32.const 1024) (i32.load (i32.const 8))
    (i32.const 3) (i32.const 100) (i32.const 3)))";
/// Opens the same file until it may not any more.
const EXHAUST: &str = r"
    (loop $more
        (call $check (call $open (i32.const 3) (i32.const 1) (i32.const 1024) (i32.load (i32.const 8))
            (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 12)))
        (br $more))";

/// The error number of what is not to be had.
const NOT_SUPPORTED: i32 = 58;

/// A published directory with a secret beside it, and ways that lead there.
fn world() -> (TempDir, Bench) {
    let world = directories();
    let published = world.path().join("published");
    let bench = Bench::with(4, BTreeMap::from([("corpus".to_owned(), published)]));
    (world, bench)
}

/// The same directory, published so that it may be changed.
fn writable_world() -> (TempDir, Bench) {
    let world = directories();
    let published = BTreeMap::from([("corpus".to_owned(), world.path().join("published"))]);
    let bench = Bench::configured(|config| config.published_writable = published);
    (world, bench)
}

fn directories() -> TempDir {
    let world = tempfile::tempdir().expect("a writable world");
    let (published, outside) = (world.path().join("published"), world.path().join("outside"));
    fs::create_dir_all(published.join("inner")).expect("a writable world");
    fs::create_dir(&outside).expect("a writable world");
    fs::write(published.join("open.txt"), "for all").expect("a writable world");
    fs::write(published.join("inner/deep.txt"), "deep").expect("a writable world");
    fs::write(outside.join("secret.txt"), "secret").expect("a writable world");
    symlink("open.txt", published.join("inside-link")).expect("a writable world");
    symlink("../outside/secret.txt", published.join("relative-link")).expect("a writable world");
    symlink(outside.join("secret.txt"), published.join("absolute-link")).expect("a writable world");
    symlink("../outside", published.join("directory-link")).expect("a writable world");
    symlink("/", published.join("root-link")).expect("a writable world");
    symlink("/proc/self", published.join("proc-link")).expect("a writable world");
    world
}

fn act(bench: &mut Bench, then: &str, path: &str) -> End {
    bench.run(&Guest::new(OPEN.replace("THEN", then)).payload(path.as_bytes()).dir("corpus", false))
}

#[test]
fn what_is_published_can_be_read() {
    let (_world, mut bench) = world();
    for (path, content) in [
        ("open.txt", "for all"),
        ("inner/deep.txt", "deep"),
        ("inner/../open.txt", "for all"),
        ("./inner/.././open.txt", "for all"),
        ("inside-link", "for all"),
    ] {
        let end = act(&mut bench, READ, path);
        assert_eq!((end.status(), &*end.text()), (Status::Succeeded, content), "{path}: {end:?}");
    }
}

#[test]
fn nothing_outside_can_be_read() {
    let (world, mut bench) = world();
    let secret = world.path().join("outside/secret.txt");
    let absolute = secret.to_str().unwrap();
    for path in [
        "../outside/secret.txt",
        "inner/../../outside/secret.txt",
        "./../outside/secret.txt",
        absolute,
        "/etc/passwd",
        "//etc/passwd",
        "relative-link",
        "relative-link/",
        "absolute-link",
        "absolute-link/",
        "absolute-link/.",
        "directory-link/secret.txt",
        "directory-link/",
        "directory-link/../outside/secret.txt",
        "root-link/etc/passwd",
        "root-link/",
        "proc-link/environ",
        "proc-link/root/etc/passwd",
        "..",
        "../",
        "inner/../..",
        "",
    ] {
        let end = act(&mut bench, READ, path);
        assert_eq!((end.reason(), &*end.text()), (Some(Reason::ExitNonzero), ""), "{path}: {end:?}");
    }
}

#[test]
fn a_named_pipe_is_refused_and_keeps_no_thread() {
    let (world, mut bench) = world();
    let published = world.path().join("published");
    mkfifoat(CWD, published.join("pipe"), Mode::RWXU).expect("a writable world");
    symlink("pipe", published.join("pipe-link")).expect("a writable world");
    let _socket = UnixListener::bind(published.join("socket")).expect("a writable world");
    // More often than there are threads for files.
    for path in ["pipe", "pipe-link", "inner/../pipe", "socket", "pipe", "pipe"] {
        let end = act(&mut bench, READ, path);
        assert_eq!(end.failure().and_then(|failure| failure.exit_code), Some(NOT_SUPPORTED), "{path}: {end:?}");
    }
    assert_eq!(&*act(&mut bench, READ, "open.txt").text(), "for all");
}

#[test]
fn nothing_published_can_be_changed() {
    let (world, mut bench) = world();
    for (then, path) in [
        (CREATE, "new"),
        (CREATE, "open.txt"),
        (CREATE, "relative-link"),
        (CREATE, "../outside/new"),
        (OVERWRITE, "open.txt"),
        (OVERWRITE, "inside-link"),
        (MAKE_DIRECTORY, ""),
        (UNLINK, "open.txt"),
        (UNLINK, "inside-link"),
        (RENAME, "open.txt"),
        (RENAME, "inner/"),
        (SYMLINK, "open.txt"),
        (LINK, "open.txt"),
    ] {
        let end = act(&mut bench, then, path);
        assert_eq!(end.reason(), Some(Reason::ExitNonzero), "{then} {path}: {end:?}");
    }
    let published = world.path().join("published");
    let mut names: Vec<_> = fs::read_dir(&published).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let expected = [
        "absolute-link",
        "directory-link",
        "inner",
        "inside-link",
        "open.txt",
        "proc-link",
        "relative-link",
        "root-link",
    ];
    assert_eq!(names, expected);
    assert_eq!(fs::read_to_string(published.join("open.txt")).unwrap(), "for all");
    assert_eq!(fs::read_dir(world.path().join("outside")).unwrap().count(), 1);
}

#[test]
fn without_a_grant_there_is_no_directory() {
    let (_world, mut bench) = world();
    let end = bench.run(&Guest::new(OPEN.replace("THEN", READ)).payload(b"open.txt"));
    assert_eq!((end.reason(), &*end.text()), (Some(Reason::ExitNonzero), ""));
}

#[test]
fn what_is_not_published_or_not_writable_is_denied_by_name() {
    let (_world, mut bench) = world();
    for (name, writable, words) in [("secrets", false, "\"secrets\""), ("corpus", true, "read-only")] {
        let guest = Guest::new(OPEN.replace("THEN", READ)).payload(b"open.txt").dir(name, writable);
        let end = bench.run_among_neighbours(&guest);
        assert_eq!((end.status(), end.reason()), (Status::Failed, Some(Reason::CapabilityDenied)), "{end:?}");
        let failure = end.failure().unwrap();
        assert!(failure.source == Source::Executor && failure.message.contains(words), "{failure:?}");
    }
}

fn change(bench: &mut Bench, then: &str, path: &str) -> End {
    bench.run(&Guest::new(OPEN.replace("THEN", then)).payload(path.as_bytes()).dir("corpus", true))
}

#[test]
fn what_is_published_writable_can_be_changed() {
    let (world, mut bench) = writable_world();
    let published = world.path().join("published");
    for (then, path, check) in [
        (CREATE, "created", "created"),
        (CREATE, "inner/created", "inner/created"),
        (MAKE_DIRECTORY, "", "new"),
        (LINK, "inner/deep.txt", ""),
        (UNLINK, "inside-link", ""),
    ] {
        // Of those that make `new`, each wants the name for itself.
        if published.join("new").is_dir() {
            fs::remove_dir(published.join("new")).unwrap();
        }
        let end = change(&mut bench, then, path);
        assert_eq!(end.status(), Status::Succeeded, "{then} {path}: {end:?}");
        assert!(check.is_empty() || published.join(check).exists(), "{check}");
    }
    assert_eq!(fs::read_to_string(published.join("new")).unwrap(), "deep");
    assert_eq!(change(&mut bench, OVERWRITE, "open.txt").status(), Status::Succeeded);
    // It writes the whole of its buffer.
    let content = |name: &str| fs::read_to_string(published.join(name)).unwrap().trim_end_matches('\0').to_owned();
    assert_eq!(content("open.txt"), "open.txt");
    assert_eq!(change(&mut bench, RENAME, "open.txt").status(), Status::Succeeded);
    assert_eq!(content("new"), "open.txt");
    assert!(!published.join("open.txt").exists() && !published.join("inside-link").is_symlink());
}

#[test]
fn nothing_outside_of_a_writable_directory_can_be_changed() {
    let (world, mut bench) = writable_world();
    let outside = world.path().join("outside");
    let absolute = outside.join("new");
    for (then, path) in [
        (CREATE, "../outside/new"),
        (CREATE, absolute.to_str().unwrap()),
        (CREATE, "inner/../../outside/new"),
        (CREATE, "directory-link/new"),
        (CREATE, "directory-link/"),
        (CREATE, "relative-link"),
        (CREATE, "absolute-link"),
        (CREATE, "root-link/tmp/new"),
        (OVERWRITE, "relative-link"),
        (OVERWRITE, "absolute-link"),
        (OVERWRITE, "../outside/secret.txt"),
        (UNLINK, "../outside/secret.txt"),
        (UNLINK, "directory-link/secret.txt"),
        (RENAME, "../outside/secret.txt"),
        (RENAME, "directory-link/secret.txt"),
        (LINK, "../outside/secret.txt"),
        (LINK, "directory-link/secret.txt"),
        (SYMLINK, "/etc/passwd"),
    ] {
        let end = change(&mut bench, then, path);
        assert_eq!(end.reason(), Some(Reason::ExitNonzero), "{then} {path}: {end:?}");
    }
    // A link that a guest makes leads it no further than any other.
    assert_eq!(change(&mut bench, SYMLINK, "../outside").status(), Status::Succeeded);
    for (then, path) in [(CREATE, "new/new"), (OVERWRITE, "new/secret.txt"), (UNLINK, "new/secret.txt")] {
        assert_eq!(change(&mut bench, then, path).reason(), Some(Reason::ExitNonzero), "{then} {path}");
    }
    let left: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["secret.txt"]);
    assert_eq!(fs::read_to_string(outside.join("secret.txt")).unwrap(), "secret");
}

#[test]
fn a_directory_that_may_be_changed_is_granted_to_be_read_alone_as_well() {
    let (world, mut bench) = writable_world();
    assert_eq!(act(&mut bench, READ, "open.txt").text(), "for all");
    for then in [CREATE, OVERWRITE, UNLINK] {
        assert_eq!(act(&mut bench, then, "open.txt").reason(), Some(Reason::ExitNonzero), "{then}");
    }
    assert_eq!(fs::read_to_string(world.path().join("published/open.txt")).unwrap(), "for all");
}

#[test]
fn a_name_means_the_directory_that_it_meant_at_the_start() {
    let (world, mut bench) = world();
    let published = world.path().join("published");
    fs::rename(&published, world.path().join("moved")).unwrap();
    symlink(world.path().join("outside"), &published).unwrap();
    assert_eq!(act(&mut bench, READ, "open.txt").text(), "for all");
    assert_eq!(act(&mut bench, READ, "secret.txt").reason(), Some(Reason::ExitNonzero));
}

#[test]
fn open_files_are_bounded_and_closed_with_the_attempt() {
    let (_world, mut bench) = world();
    let open = || fs::read_dir(Path::new("/proc/self/fd")).unwrap().count();
    let guest = Guest::new(OPEN.replace("THEN", EXHAUST)).payload(b"open.txt").dir("corpus", false);
    let before = open();
    for _ in 0..5 {
        let end = bench.run_among_neighbours(&guest);
        assert_eq!(end.status(), Status::Failed, "{end:?}");
        assert!(matches!(end.reason(), Some(Reason::ExitNonzero | Reason::Trap)), "{end:?}");
    }
    // Other tests of this process open and close files too, but five guests' worth would show.
    assert!(open() < before + 2 * 256, "{} after {before}", open());
}
