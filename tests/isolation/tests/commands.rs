//! What an ordinary command gets: arguments, environment, payload, exit codes, output.

use weir_isolation::{Bench, Guest};
use weir_wire::{
    log::Stream,
    task::{Reason, Source, Status},
};

/// A command that ends with the code in place of `CODE`.
const EXIT: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start") (call $exit (i32.const CODE))))"#;

/// Copies its payload to standard output, then writes "warn" to standard error.
const COPY: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (data (i32.const 32) "warn")
    (func (export "_start")
        (block $end (loop $more
            (i32.store (i32.const 0) (i32.const 1024))
            (i32.store (i32.const 4) (i32.const 65536))
            (br_if $end (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
            (br_if $end (i32.eqz (i32.load (i32.const 4))))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (br $more)))
        (i32.store (i32.const 0) (i32.const 32))
        (i32.store (i32.const 4) (i32.const 4))
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// Writes what the pair of functions in place of `WHAT` gives: arguments or environment, each ended by a zero byte.
const DUMP: &str = r#"(module
    (import "wasi_snapshot_preview1" "WHAT_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "WHAT_get" (func $get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (drop (call $sizes (i32.const 0) (i32.const 4)))
        (drop (call $get (i32.const 1024) (i32.const 8192)))
        (i32.store (i32.const 0) (i32.const 8192))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

fn dump(bench: &mut Bench, what: &str, guest: impl FnOnce(Guest) -> Guest) -> Vec<String> {
    let end = bench.run(&guest(Guest::new(DUMP.replace("WHAT", what))));
    assert_eq!(end.status(), Status::Succeeded, "{end:?}");
    let mut entries: Vec<String> = end.text().split_terminator('\0').map(ToOwned::to_owned).collect();
    entries.sort();
    entries
}

#[test]
fn exit_codes_survive() {
    let mut bench = Bench::new();
    for code in [0, 1, 42, 125, 126, 255] {
        let end = bench.run(&Guest::new(EXIT.replace("CODE", &code.to_string())));
        let failed = code != 0;
        assert_eq!(end.reason(), failed.then_some(Reason::ExitNonzero), "{end:?}");
        assert_eq!(end.exit_code(), failed.then_some(code));
        assert_eq!(end.status(), if failed { Status::Failed } else { Status::Succeeded });
        let usage = end.ended.outcome.usage;
        assert!(usage.fuel.0 > 0 && usage.fuel.0 < 100 && usage.cpu_us > 0, "{usage:?}");
    }
}

#[test]
fn payload_is_standard_input_and_standard_output_the_result() {
    let mut bench = Bench::new();
    for len in [0, 1, 1024, 1025, 300_000] {
        let payload: Vec<u8> = (0..len).map(|i: u32| i.to_le_bytes()[0]).collect();
        let end = bench.run(&Guest::new(COPY).payload(&payload));
        assert_eq!((end.status(), &end.result), (Status::Succeeded, &payload));
        let last = end.log.last().unwrap();
        assert_eq!((last.stream, &*last.bytes), (Stream::Stderr, &b"warn"[..]));
        let stdout: Vec<u8> = end
            .log
            .iter()
            .filter(|record| record.stream == Stream::Stdout)
            .flat_map(|record| record.bytes.to_vec())
            .collect();
        assert_eq!(stdout, payload);
        assert_eq!(end.ended.outcome.usage.output_bytes, u64::from(len) + 4);
        assert_eq!(end.ended.large_result.is_empty(), len <= 1024);
    }
}

#[test]
fn the_environment_is_the_jobs_and_nothing_of_the_hosts() {
    let mut bench = Bench::new();
    let environment = dump(&mut bench, "environ", |guest| guest.env("COLOUR", "red").env("WEIR_ATTEMPT", "forged"));
    let run = weir_wire::id::RunId(1);
    let expected = [
        "COLOUR=red".to_owned(),
        "WEIR_ATTEMPT=2".to_owned(),
        "WEIR_JOB=guest".to_owned(),
        "WEIR_NAMESPACE=isolation".to_owned(),
        format!("WEIR_RUN={run}"),
        "WEIR_TASK_COUNT=9".to_owned(),
        "WEIR_TASK_INDEX=4".to_owned(),
    ];
    assert_eq!(environment, expected);
}

#[test]
fn arguments_begin_with_the_jobs_name() {
    let mut bench = Bench::new();
    let arguments = dump(&mut bench, "args", |guest| Guest { args: vec!["x".to_owned(), "y z".to_owned()], ..guest });
    assert_eq!(arguments, ["guest", "x", "y z"]);
}

#[test]
fn an_attempt_of_an_unprepared_module_is_the_hosts_error() {
    let mut bench = Bench::new();
    let id = bench.start_prepared(&Guest::new(EXIT), weir_wire::id::Digest([99; 32]));
    let end = bench.end(id);
    assert_eq!(end.reason(), Some(Reason::HostError));
    assert_eq!(end.failure().unwrap().source, Source::Executor);
}
