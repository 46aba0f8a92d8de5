//! Modules that are damaged, hostile or not what they seem, and the cache of compiled ones.

use std::{fs, path::Path, time::Duration};

use weir_isolation::{Bench, Guest};
use weir_sandbox::{Error, Sandbox, SandboxConfig};
use weir_wire::{
    attempt::{AttemptEvent, Command, ModuleFile, ModuleReady},
    id::Digest,
    task::{Reason, Status},
};

const SMALL: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\04\00\00\00")
    (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

#[test]
fn what_is_not_a_runnable_module_is_refused_in_words() {
    let mut bench = Bench::new();
    for (module, words) in [
        (&b""[..], "empty"),
        (b"#!/bin/sh\n", "script"),
        (b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0", "program"),
        (b"\0asm\x02\0\0\0", "version"),
        (b"(module)", "_start"),
        (br#"(module (func (export "_start") (param i32)))"#, "_start"),
        (br#"(module (import "env" "nobody" (func)) (func (export "_start")))"#, "nobody"),
        (br#"(module (import "wasi_snapshot_preview1" "fd_fly" (func)) (func (export "_start")))"#, "fd_fly"),
        (
            br#"(module (import "wasi_snapshot_preview1" "fd_close" (func (param i64))) (func (export "_start")))"#,
            "fd_close",
        ),
    ] {
        let ready = bench.prepare(module);
        let refused = ready.refused.unwrap_or_else(|| panic!("accepted, but expected {words:?}"));
        assert!(refused.contains(words), "expected {words:?}: {refused}");
    }
}

#[test]
fn a_module_cut_within_a_section_is_refused() {
    let mut bench = Bench::new();
    let wasm = wat::parse_str(SMALL).unwrap();
    let accepted: Vec<usize> = (1..wasm.len()).filter(|len| bench.prepare(&wasm[..*len]).refused.is_none()).collect();
    // Before the data and before the names, a cut leaves a valid module; anywhere else it does not.
    assert!(accepted.len() <= 2 && accepted.iter().all(|len| *len > wasm.len() / 2), "{accepted:?}");
}

#[test]
fn a_module_with_flipped_bits_is_refused_or_runs_within_its_budgets() {
    let mut bench = Bench::new();
    let wasm = wat::parse_str(SMALL).unwrap();
    let mut accepted = 0;
    for at in 0..wasm.len() {
        let mut wasm = wasm.clone();
        wasm[at] ^= 1 << (at % 8);
        let ready = bench.prepare(&wasm);
        if ready.refused.is_none() {
            accepted += 1;
            let guest = Guest::new(&wasm).fuel(1_000_000).timeout(Duration::from_secs(10));
            let id = bench.start_prepared(&guest, ready.digest);
            let end = bench.end(id);
            assert!(matches!(end.status(), Status::Succeeded | Status::Failed), "{at}: {end:?}");
        }
    }
    assert!(accepted > 0);
    bench.run_among_neighbours(&Guest::new(SMALL));
}

/// Modules that are small and cost a compiler gigabytes.
#[test]
fn a_module_that_would_choke_the_compiler_is_refused_and_the_worker_goes_on() {
    let mut bench = Bench::new();
    let start = r#"(func (export "_start"))"#;
    let functions = format!("(module {start} {})", "(func)".repeat(200_000));
    let locals = format!(
        "(module {start} (func (local {}) {}))",
        "i32 ".repeat(20_000),
        "(if (i32.const 0) (then))".repeat(60_000)
    );
    let memories = format!("(module {start} {})", "(memory 1)".repeat(100));
    let tables = format!("(module {start} {})", "(table 1 funcref)".repeat(100));
    for (bomb, words) in [(functions, "functions"), (locals, "locals"), (memories, "memor"), (tables, "table")] {
        let refused = bench.prepare(bomb.as_bytes()).refused.unwrap();
        assert!(refused.contains(words), "expected {words:?}: {refused}");
    }
    bench.run_among_neighbours(&Guest::new(SMALL));
}

#[test]
fn a_large_data_segment_is_loaded_only_within_the_memory_limit() {
    let mut bench = Bench::new();
    let data = "x".repeat(4 << 20);
    let module =
        format!(r#"(module (memory (export "memory") 64) (data (i32.const 0) "{data}") (func (export "_start")))"#);
    let guest = Guest::new(module).memory(4 << 20);
    assert_eq!(bench.run_among_neighbours(&guest).status(), Status::Succeeded);
    assert_eq!(bench.run_among_neighbours(&guest.memory(1 << 20)).reason(), Some(Reason::MemoryLimit));
}

#[test]
fn a_refusal_is_remembered_and_answered_again() {
    let bench = &mut Bench::new();
    let first = bench.prepare(b"nothing");
    let path = bench.path().join(format!("{}.wasm", first.digest.to_hex())).to_str().unwrap().to_owned();
    fs::write(&path, wat::parse_str(SMALL).unwrap()).unwrap();
    bench.send(vec![Command::Prepare(ModuleFile { digest: first.digest, path })]);
    assert_eq!(bench.wait(ready), ModuleReady { compile_time: Duration::ZERO, ..first });
}

#[test]
fn an_artefact_is_used_again_only_with_its_seal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("small.wasm");
    fs::write(&path, wat::parse_str(SMALL).unwrap()).unwrap();
    assert!(compiles(dir.path(), [1; 32], &path));
    assert!(!compiles(dir.path(), [1; 32], &path), "the artefact is used again");
    assert!(compiles(dir.path(), [2; 32], &path), "another node's artefact is not used");
    assert!(!compiles(dir.path(), [2; 32], &path));
    for extension in ["cwasm", "seal"] {
        let damaged = files(dir.path(), extension).pop().unwrap();
        let mut bytes = fs::read(&damaged).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&damaged, bytes).unwrap();
        assert!(compiles(dir.path(), [2; 32], &path), "a damaged artefact is not used");
    }
    fs::remove_file(files(dir.path(), "seal").pop().unwrap()).unwrap();
    assert!(compiles(dir.path(), [2; 32], &path), "an artefact without a seal is not used");
}

#[test]
fn the_cache_keeps_within_its_size() {
    let mut bench = Bench::new();
    let wasm = wat::parse_str(SMALL).unwrap();
    drop(bench.prepare(&wasm));
    let cache = bench.path().join("cache");
    let len = fs::metadata(files(&cache, "cwasm").pop().unwrap()).unwrap().len();
    let dir = tempfile::tempdir().unwrap();
    let (sender, events) = tokio::sync::mpsc::unbounded_channel();
    let config = SandboxConfig { cache_bytes_max: 3 * len, ..config(dir.path(), [1; 32]) };
    let sandbox = Sandbox::start(config, sender).unwrap();
    let mut events = events;
    for n in 0..8 {
        let path = dir.path().join(format!("{n}.wasm"));
        fs::write(&path, &wasm).unwrap();
        let path = path.to_str().unwrap().to_owned();
        sandbox.send(Command::Prepare(ModuleFile { digest: Digest([n; 32]), path }));
        drop(events.blocking_recv().unwrap());
    }
    let cache = dir.path().join("cache");
    assert_eq!((files(&cache, "cwasm").len(), files(&cache, "seal").len()), (3, 3));
    sandbox.shutdown();
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let good = || config(dir.path(), [1; 32]);
    let missing = [("x".to_owned(), dir.path().join("missing"))].into();
    for (config, words) in [
        (SandboxConfig { workers: 0, ..good() }, "worker"),
        (SandboxConfig { lanes_per_worker: 0, ..good() }, "lane"),
        (SandboxConfig { lanes_per_worker: 1_000_000, ..good() }, "address space"),
        (SandboxConfig { cache_key: [0; 32], ..good() }, "key"),
        (SandboxConfig { cache_dir: "".into(), ..good() }, "cache"),
        (SandboxConfig { cache_dir: "/dev/null/cache".into(), ..good() }, "/dev/null/cache"),
        (SandboxConfig { published: missing, ..good() }, "missing"),
    ] {
        let (sender, _events) = tokio::sync::mpsc::unbounded_channel();
        let error: Error = Sandbox::start(config, sender).unwrap_err();
        assert!(error.to_string().contains(words), "expected {words:?}: {error}");
    }
}

/// Whether a module had to be compiled.
fn compiles(dir: &Path, key: [u8; 32], path: &Path) -> bool {
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let sandbox = Sandbox::start(config(dir, key), sender).expect("a working bench");
    let path = path.to_str().expect("a working bench").to_owned();
    sandbox.send(Command::Prepare(ModuleFile { digest: Digest([5; 32]), path }));
    let batch = events.blocking_recv().expect("a working bench");
    sandbox.shutdown();
    let ready = batch.iter().find_map(ready).expect("a working bench");
    assert_eq!(ready.refused, None);
    !ready.compile_time.is_zero()
}

fn config(dir: &Path, cache_key: [u8; 32]) -> SandboxConfig {
    SandboxConfig {
        workers: 2,
        lanes_per_worker: 2,
        cache_dir: dir.join("cache"),
        cache_key,
        isolation: weir_isolation::isolation(),
        helper: weir_isolation::helper(),
        ..SandboxConfig::default()
    }
}

fn files(dir: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let dir = if dir.ends_with("cache") { dir.to_owned() } else { dir.join("cache") };
    let paths = fs::read_dir(dir).expect("a working bench").map(|entry| entry.expect("a working bench").path());
    paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

fn ready(event: &AttemptEvent) -> Option<ModuleReady> {
    match event {
        AttemptEvent::Module(ready) => Some(ready.clone()),
        AttemptEvent::Output(_)
        | AttemptEvent::Progress(_)
        | AttemptEvent::Ended(_)
        | AttemptEvent::Seen(_)
        | AttemptEvent::Settled(_) => None,
    }
}
