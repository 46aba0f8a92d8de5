//! Components: WASI preview 2 commands, and tasks made with the SDK's interface.

use std::time::Duration;

use weir_isolation::{Bench, Guest};
use weir_wire::{
    attempt::AttemptEvent,
    log::{Level, Stream},
    task::{Reason, Source, Status},
};

/// A preview 2 command whose `run` is the body in place of `BODY`.
const COMMAND: &str = r#"(component
    (core module $code (memory (export "memory") 1) (func (export "run") (result i32) BODY))
    (core instance $code (instantiate $code))
    (func $run (result (result)) (canon lift (core func $code "run")))
    (instance $interface (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $interface)))"#;

/// A preview 2 command that exits through the host.
const EXIT: &str = r#"(component
    (import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
    (core func $exit (canon lower (func $exit "exit")))
    (core module $code
        (import "host" "exit" (func $exit (param i32)))
        (func (export "run") (result i32) (call $exit (i32.const STATUS)) unreachable))
    (core instance $code (instantiate $code (with "host" (instance (export "exit" (func $exit))))))
    (func $run (result (result)) (canon lift (core func $code "run")))
    (instance $interface (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $interface)))"#;

/// A preview 2 command that writes 4 KiB to its standard output `TIMES` times.
const WRITER: &str = r#"(component
    (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type (sub resource)))))
    (alias export $errors "error" (type $error))
    (import "wasi:io/streams@0.2.0" (instance $streams
        (alias outer 1 $error (type $error'))
        (export "error" (type $error (eq $error')))
        (export "output-stream" (type $stream (sub resource)))
        (type $failed' (variant (case "last-operation-failed" (own $error)) (case "closed")))
        (export "stream-error" (type $failed (eq $failed')))
        (export "[method]output-stream.blocking-write-and-flush"
            (func (param "self" (borrow $stream)) (param "contents" (list u8)) (result (result (error $failed)))))))
    (alias export $streams "output-stream" (type $stream))
    (import "wasi:cli/stdout@0.2.0" (instance $stdout
        (alias outer 1 $stream (type $stream'))
        (export "output-stream" (type $stream (eq $stream')))
        (export "get-stdout" (func (result (own $stream))))))
    (core module $memory (memory (export "memory") 1))
    (core instance $memory (instantiate $memory))
    (alias core export $memory "memory" (core memory $bytes))
    (core func $get (canon lower (func $stdout "get-stdout")))
    (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $bytes)))
    (core module $code
        (import "memory" "memory" (memory 1))
        (import "host" "get" (func $get (result i32)))
        (import "host" "write" (func $write (param i32 i32 i32 i32)))
        (func (export "run") (result i32) (local $out i32) (local $i i32)
            (local.set $out (call $get))
            (memory.fill (i32.const 4096) (i32.const 121) (i32.const 4096))
            (loop $more
                (call $write (local.get $out) (i32.const 4096) (i32.const 4096) (i32.const 16))
                (if (i32.load8_u (i32.const 16)) (then unreachable))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $more (i32.lt_u (local.get $i) (i32.const TIMES))))
            (i32.const 0)))
    (core instance $code (instantiate $code
        (with "memory" (instance $memory))
        (with "host" (instance (export "get" (func $get)) (export "write" (func $write))))))
    (func $run (result (result)) (canon lift (core func $code "run")))
    (instance $interface (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $interface)))"#;

/// A task. `BODY` gets the payload as `$at` and `$len` and returns the address of its result: a byte for ok or err, four
/// bytes further the address and length of the bytes or the message.
const TASK: &str = r#"(component
    (type $level' (enum "trace" "debug" "info" "warn" "error"))
    (import "weir:task/host@0.1.0" (instance $host
        (type $level'' (enum "trace" "debug" "info" "warn" "error"))
        (export "level" (type $level (eq $level'')))
        (export "log" (func (param "level" $level) (param "message" string)))
        (export "progress" (func (param "done" u64) (param "total" u64)))))
    (core module $memory
        (memory (export "memory") 4)
        (global $free (mut i32) (i32.const 4096))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            global.get $free
            (global.set $free (i32.and
                (i32.add (i32.add (global.get $free) (local.get 3)) (i32.const 7)) (i32.const -8)))))
    (core instance $memory (instantiate $memory))
    (alias core export $memory "memory" (core memory $bytes))
    (alias core export $memory "realloc" (core func $realloc))
    (core func $log (canon lower (func $host "log") (memory $bytes)))
    (core func $progress (canon lower (func $host "progress")))
    (core module $code
        (import "memory" "memory" (memory 1))
        (import "host" "log" (func $log (param i32 i32 i32)))
        (import "host" "progress" (func $progress (param i64 i64)))
        (data (i32.const 64) "a line")
        (func (export "run") (param $at i32) (param $len i32) (result i32) BODY))
    (core instance $code (instantiate $code
        (with "memory" (instance $memory))
        (with "host" (instance (export "log" (func $log)) (export "progress" (func $progress))))))
    (type $failure' (record (field "message" string) (field "retryable" bool)))
    (func $run (param "input" (list u8)) (result (result (list u8) (error $failure')))
        (canon lift (core func $code "run") (memory $bytes) (realloc $realloc)))
    (component $shim
        (type $inner (record (field "message" string) (field "retryable" bool)))
        (import "failure-type" (type $failure (eq $inner)))
        (import "run-func" (func $run (param "input" (list u8)) (result (result (list u8) (error $failure)))))
        (export $failure' "failure" (type $failure))
        (export "run" (func $run) (func (param "input" (list u8)) (result (result (list u8) (error $failure'))))))
    (instance $interface (instantiate $shim (with "failure-type" (type $failure')) (with "run-func" (func $run))))
    (export "weir:task/run@0.1.0" (instance $interface)))"#;

/// Returns the payload as the result (0) or as the message of a failure (1).
fn echo(discriminant: u8) -> String {
    format!(
        "(i32.store8 (i32.const 16) (i32.const {discriminant}))
        (i32.store (i32.const 20) (local.get $at))
        (i32.store (i32.const 24) (local.get $len))
        (i32.store (i32.const 28) (i32.const 0))
        (i32.const 16)"
    )
}

fn task(body: &str) -> Guest {
    Guest::new(TASK.replace("BODY", body))
}

#[test]
fn a_preview_2_command_succeeds_or_fails() {
    let mut bench = Bench::new();
    for (guest, code) in [
        (COMMAND.replace("BODY", "(i32.const 0)"), 0),
        (COMMAND.replace("BODY", "(i32.const 1)"), 1),
        (EXIT.replace("STATUS", "0"), 0),
        (EXIT.replace("STATUS", "1"), 1),
    ] {
        let end = bench.run(&Guest::new(guest));
        assert_eq!(end.reason(), (code != 0).then_some(Reason::ExitNonzero), "{end:?}");
        assert_eq!(end.exit_code(), (code != 0).then_some(code));
    }
}

#[test]
fn a_command_components_large_result_is_whole_and_so_is_its_log() {
    let mut bench = Bench::new();
    for mib in [2, 10, 64] {
        let writer = WRITER.replace("TIMES", &(mib * 256).to_string());
        let end = bench.run(&Guest::new(writer).output(64 << 20));
        assert_eq!((end.reason(), end.result.len()), (None, mib << 20), "{:?}", end.failure());
        assert!(end.result.iter().all(|byte| *byte == b'y'));
        assert_eq!(end.log.iter().map(|record| record.bytes.len()).sum::<usize>(), mib << 20);
    }
}

#[test]
fn a_command_component_keeps_to_its_budgets() {
    let mut bench = Bench::new();
    let cases = [
        ("(loop $more (br $more)) unreachable", Reason::FuelExhausted),
        ("unreachable", Reason::Trap),
        ("(drop (memory.grow (i32.const 10000))) unreachable", Reason::MemoryLimit),
    ];
    for (body, reason) in cases {
        let end = bench.run_among_neighbours(&Guest::new(COMMAND.replace("BODY", body)).fuel(50_000_000));
        assert_eq!((end.status(), end.reason()), (Status::Failed, Some(reason)), "{end:?}");
    }
    let spin = COMMAND.replace("BODY", "(loop $more (br $more)) unreachable");
    let guest = Guest::new(spin).fuel(u64::MAX / 2).timeout(Duration::from_millis(100));
    assert_eq!(bench.run_among_neighbours(&guest).reason(), Some(Reason::WallTimeout));
}

#[test]
fn handles_are_bounded() {
    // Takes its standard output again and again, and gives none of it back.
    let take = WRITER.replace("(local.set $out (call $get))", "(loop $more (local.set $out (call $get)) (br $more))");
    let end = Bench::new().run_among_neighbours(&Guest::new(take.replace("TIMES", "1")));
    assert_eq!((end.status(), end.reason()), (Status::Failed, Some(Reason::Trap)), "{end:?}");
    assert!(end.ended.outcome.usage.fuel.0 < 10_000_000, "{end:?}");
}

#[test]
fn a_task_returns_bytes() {
    let mut bench = Bench::new();
    for len in [0, 5, 1024, 1025, 200_000] {
        let payload: Vec<u8> = (0..len).map(|i: u32| i.to_le_bytes()[0]).collect();
        let end = bench.run(&task(&echo(0)).payload(&payload));
        assert_eq!((end.status(), &end.result), (Status::Succeeded, &payload), "{:?}", end.failure());
        assert!(end.log.is_empty() && end.ended.outcome.usage.fuel.0 > 0);
    }
}

#[test]
fn a_tasks_error_is_its_message() {
    let end = Bench::new().run_among_neighbours(&task(&echo(1)).payload(b"no luck today"));
    assert_eq!((end.status(), end.reason(), end.exit_code()), (Status::Failed, Some(Reason::ExitNonzero), Some(1)));
    let failure = end.failure().unwrap();
    assert_eq!((failure.source, &*failure.message), (Source::Guest, "no luck today"));
}

#[test]
fn only_a_failure_that_may_be_tried_again_is_not_permanent() {
    let mut bench = Bench::new();
    for (retryable, permanent) in [(1, false), (0, true)] {
        let body = echo(1).replace("(i32.const 28) (i32.const 0)", &format!("(i32.const 28) (i32.const {retryable})"));
        let end = bench.run(&task(&body).payload(b"no luck"));
        let failure = end.failure().unwrap();
        assert_eq!((failure.reason, failure.permanent), (Reason::ExitNonzero, permanent), "{end:?}");
    }
    // Whatever else ends a task may go better another time.
    let end = bench.run(&task("unreachable"));
    assert_eq!(end.failure().map(|failure| (failure.reason, failure.permanent)), Some((Reason::Trap, false)));
}

#[test]
fn a_task_logs_lines_and_reports_progress() {
    let mut bench = Bench::new();
    let line = |level| format!("(call $log (i32.const {level}) (i32.const 64) (i32.const 6))");
    let body = format!("{}{}(call $progress (i64.const 3) (i64.const 9)){}", line(1), line(4), echo(0));
    let end = bench.run(&task(&body));
    let log: Vec<_> = end.log.iter().map(|record| (record.stream, &*record.bytes)).collect();
    assert_eq!(log, [(Stream::Log(Level::Debug), &b"a line"[..]), (Stream::Log(Level::Error), b"a line")]);
    let progress = bench.wait(|event| match event {
        AttemptEvent::Progress(progress) => Some((progress.done, progress.total)),
        AttemptEvent::Ended(_)
        | AttemptEvent::Module(_)
        | AttemptEvent::Output(_)
        | AttemptEvent::Seen(_)
        | AttemptEvent::Settled(_) => None,
    });
    assert_eq!(progress, (3, 9));
}

#[test]
fn a_task_keeps_to_its_budgets() {
    let mut bench = Bench::new();
    let flood = "(loop $more (call $log (i32.const 0) (i32.const 64) (i32.const 6)) (br $more)) unreachable";
    let chatter = "(loop $more (call $progress (i64.const 1) (i64.const 2)) (br $more)) unreachable";
    for (body, reason) in [
        (flood, Reason::OutputLimit),
        (chatter, Reason::FuelExhausted),
        ("(loop $more (br $more)) unreachable", Reason::FuelExhausted),
        ("unreachable", Reason::Trap),
    ] {
        let end = bench.run_among_neighbours(&task(body).fuel(20_000_000).output(10_000));
        assert_eq!((end.status(), end.reason()), (Status::Failed, Some(reason)), "{end:?}");
    }
    let end = bench.run_among_neighbours(&task(&echo(0)).payload(&[7; 10_001]).output(10_000));
    assert_eq!((end.reason(), end.result.len()), (Some(Reason::OutputLimit), 0), "{end:?}");
}

#[test]
fn a_result_outside_of_memory_is_the_guests_trap() {
    let body = "(i32.store8 (i32.const 16) (i32.const 0))
        (i32.store (i32.const 20) (i32.const 0xffff0000))
        (i32.store (i32.const 24) (i32.const 0x7fffffff))
        (i32.const 16)";
    let end = Bench::new().run_among_neighbours(&task(body));
    assert_eq!((end.status(), end.reason()), (Status::Failed, Some(Reason::Trap)), "{end:?}");
}

#[test]
fn a_component_without_a_known_export_or_with_an_unknown_import_is_refused() {
    let mut bench = Bench::new();
    for (component, words) in [
        ("(component)", "export"),
        (r#"(component (import "wasi:http/types@0.2.0" (instance)))"#, "wasi:http"),
        (r#"(component (import "weir:task/host@9.0.0" (instance (export "fly" (func)))))"#, "weir:task"),
    ] {
        let refused = bench.prepare(component.as_bytes()).refused.unwrap();
        assert!(refused.contains(words), "expected {words:?}: {refused}");
    }
}
