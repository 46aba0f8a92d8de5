//! What an ordinary command gets: arguments, environment, payload, exit codes, output.

use weir_isolation::{Bench, Guest};
use weir_wire::task::{Reason, Status};

/// A command that ends with the code in place of `CODE`.
const EXIT: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start") (call $exit (i32.const CODE))))"#;

#[test]
fn exit_codes_survive() {
    let mut bench = Bench::new();
    for (code, reason) in [
        (0, None),
        (1, Some(Reason::ExitNonzero)),
        (42, Some(Reason::ExitNonzero)),
        (255, Some(Reason::ExitNonzero)),
    ] {
        let end = bench.run(&Guest::new(EXIT.replace("CODE", &code.to_string())));
        assert_eq!(end.reason(), reason, "{end:?}");
        assert_eq!(end.exit_code(), reason.map(|_| code));
        assert_eq!(end.status(), if code == 0 { Status::Succeeded } else { Status::Failed });
        assert!(end.ended.outcome.usage.fuel.0 > 0 && end.ended.outcome.usage.cpu_us > 0);
    }
}
