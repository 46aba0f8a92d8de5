//! Modules that are meant to choke the compiler, and what its process is allowed.

use std::{fs, time::Duration};

use weir_isolation::{Bench, Guest};
use weir_wire::{
    attempt::{Command, ModuleFile},
    task::Reason,
    units::MemBytes,
};

const MIB: u64 = 1 << 20;
const SMALL: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
/// Writes "ready", then spins.
const SPIN: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 512) "\00\04\00\00\05\00\00\00")
    (data (i32.const 1024) "ready")
    (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 520)))
        (loop $more (br $more))))"#;

/// One function that keeps many values alive across many blocks: within the structural limits, and far more than its
/// size to compile.
fn bomb(locals: usize, blocks: usize) -> Vec<u8> {
    let sets: String =
        (1..=locals).map(|n| format!("(local.set {n} (i32.add (local.get 0) (i32.const {n})))")).collect();
    let ifs = "(if (local.get 0) (then (local.set 1 (i32.add (local.get 1) (local.get 2)))))".repeat(blocks);
    let sum: String = (1..=locals).map(|n| format!("(local.set 0 (i32.xor (local.get 0) (local.get {n})))")).collect();
    format!(
        r#"(module (func $f (param i32) (result i32) (local {}) {sets} {ifs} {sum} (local.get 0))
            (func (export "_start") (drop (call $f (i32.const 7)))))"#,
        "i32 ".repeat(locals)
    )
    .into_bytes()
}

#[test]
fn a_module_that_takes_too_much_memory_to_compile_is_refused_once_and_for_all() {
    let mut bench = Bench::configured(|config| config.compile.memory = MemBytes(192 * MIB));
    let neighbour = bench.start(&Guest::new(SPIN).fuel(u64::MAX / 2));
    assert_eq!(bench.wait_for_output(neighbour), b"ready");
    let before = resident();
    let refused = bench.prepare(&bomb(1_000, 3_000));
    let words = refused.refused.clone().expect("refused");
    assert!(words.contains("192.0 MiB of memory that `compile_memory` allows"), "{words}");
    assert!(!refused.machine_fault);
    assert!(resident() < before + 64 * MIB, "this process has grown from {before} to {} bytes", resident());
    // Another file under that digest would be compiled, if anything was.
    let path = bench.path().join(format!("{}.wasm", refused.digest.to_hex()));
    fs::write(&path, wat::parse_str(SMALL).unwrap()).unwrap();
    let path = path.to_str().unwrap().to_owned();
    bench.send(vec![Command::Prepare(ModuleFile { digest: refused.digest, path })]);
    let again = bench.ready(refused.digest);
    assert_eq!((again.refused, again.compile_time), (Some(words), Duration::ZERO));
    assert_eq!(bench.prepare(SMALL.as_bytes()).refused, None, "what is small still compiles");
    bench.cancel(neighbour, Reason::Cancelled);
    assert_eq!(bench.end(neighbour).reason(), Some(Reason::Cancelled));
}

#[test]
fn a_module_that_takes_too_long_to_compile_is_refused_by_the_clock_and_by_the_cpu() {
    let bomb = bomb(1_500, 12_000);
    let mut bench = Bench::configured(|config| config.compile.timeout = Duration::from_millis(300));
    let words = bench.prepare(&bomb).refused.expect("refused");
    assert!(words.contains("300 ms that `compile_timeout` allows"), "{words}");
    let mut bench = Bench::configured(|config| config.compile.cpu = Duration::from_secs(1));
    let words = bench.prepare(&bomb).refused.expect("refused");
    assert!(words.contains("1 s of CPU time that `compile_cpu` allows"), "{words}");
    bench.run_among_neighbours(&Guest::new(SMALL));
}

#[test]
fn a_module_that_is_asked_for_again_while_it_compiles_is_compiled_once() {
    let mut bench = Bench::new();
    let wasm = bomb(50, 200);
    let digest = bench.order(&wasm);
    let path = bench.path().join(format!("{}.wasm", digest.to_hex())).to_str().unwrap().to_owned();
    let again = || Command::Prepare(ModuleFile { digest, path: path.clone() });
    bench.send(vec![again(), again(), again()]);
    let first = bench.ready(digest);
    assert!(first.refused.is_none() && !first.compile_time.is_zero(), "{first:?}");
    // The other requests got no answer of their own: the next one is that to a later request.
    bench.send(vec![again()]);
    assert_eq!(bench.ready(digest).compile_time, Duration::ZERO);
}

#[test]
fn stopping_does_not_wait_for_a_compile() {
    let mut bench = Bench::new();
    bench.order(&bomb(1_500, 12_000));
    // Ends the test by its own time limit, if it waits.
    drop(bench);
}

/// What this process holds of the machine's memory, bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
