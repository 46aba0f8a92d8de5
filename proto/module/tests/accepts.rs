//! Guests that are accepted, and what is reported of them.

use weir_module::{Export, Import, ItemKind, Kind, Limits, Memory, Table, Unrunnable, inspect, validate};

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the test module is valid")
}

const COMMAND: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
    (memory (export "memory") 2 10)
    (table 3 funcref)
    (data (i32.const 0) "hello")
    (func (export "_start") (call 1 (i32.const 0))))"#;

fn component(imports: &str, export: &str) -> Vec<u8> {
    wasm(&format!(
        r#"(component {imports}
            (core module $m (memory 1) (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $run (export "run" (func $f)))
            (export "{export}" (instance $run)))"#
    ))
}

#[test]
fn a_command_is_described() {
    let bytes = wasm(COMMAND);
    let report = validate(&bytes, &Limits::default()).unwrap();
    assert_eq!(report.kind, Kind::CoreCommandP1);
    assert_eq!(report.imports.len(), 2);
    assert_eq!(
        report.imports[0],
        Import {
            interface: "wasi_snapshot_preview1".to_owned(),
            item: "fd_write".to_owned(),
            kind: ItemKind::Function
        }
    );
    assert_eq!(report.imports[0].to_string(), "wasi_snapshot_preview1.fd_write");
    assert_eq!(report.exports[1], Export { name: "_start".to_owned(), kind: ItemKind::Function });
    assert_eq!(
        report.memories,
        [Memory { initial_bytes: 2 << 16, maximum_bytes: Some(10 << 16), imported: false, shared: false, wide: false }]
    );
    assert_eq!(report.tables, [Table { initial: 3, maximum: None, imported: false }]);
    assert_eq!(report.size_bytes, bytes.len() as u64);
    assert_eq!((report.functions, report.data_bytes, report.core_modules), (1, 5, 1));
    assert_eq!(report.memory_initial_bytes(), 2 << 16);
    assert_eq!(inspect(&bytes).unwrap(), report);
}

#[test]
fn components_are_told_apart_by_their_exports() {
    let stdin = r#"(import "wasi:cli/stdin@0.2.3" (instance))"#;
    let host = r#"(import "weir:task/host@0.1.0" (instance))"#;
    for (imports, export, kind) in [
        ("", "wasi:cli/run@0.2.0", Kind::CommandComponent),
        (stdin, "wasi:cli/run@0.2.12", Kind::CommandComponent),
        (host, "weir:task/run@0.1.0", Kind::TaskComponent),
    ] {
        let report = validate(&component(imports, export), &Limits::default()).unwrap();
        assert_eq!(report.kind, kind, "{export}");
        assert_eq!((report.core_modules, report.functions, report.memories.len()), (1, 1, 1));
    }
}

#[test]
fn what_does_not_run_is_still_described() {
    for (bytes, why) in [
        (wasm("(module)"), Unrunnable::NoStart),
        (wasm(r#"(module (func (export "_initialize")))"#), Unrunnable::Reactor),
        (wasm("(component)"), Unrunnable::NoRun),
        (component("", "wasi:http/incoming-handler@0.2.0"), Unrunnable::HttpService),
        (component("", "wasi:cli/run@0.3.0"), Unrunnable::OtherWasiVersion),
        (component("", "weir:task/run@0.2.0"), Unrunnable::OtherTaskVersion),
    ] {
        assert_eq!(inspect(&bytes).unwrap().kind, Kind::Unrunnable(why));
    }
}

#[test]
fn standard_exceptions_and_simd_are_allowed() {
    let bytes = wasm(
        r#"(module (tag $t) (func (export "_start")
            (block $caught (try_table (catch $t $caught) (throw $t)))
            (drop (i32x4.add (v128.const i32x4 1 2 3 4) (v128.const i32x4 1 2 3 4)))))"#,
    );
    assert_eq!(validate(&bytes, &Limits::default()).unwrap().kind, Kind::CoreCommandP1);
}

#[test]
fn producers_are_listed_once() {
    // One field "language" with one value "Rust" of version "1.95".
    let section = b"\x00\x1f\x09producers\x01\x08language\x01\x04Rust\x041.95";
    let mut bytes = wasm("(module)");
    for _ in 0..2 {
        bytes.extend_from_slice(section);
    }
    let producers = inspect(&bytes).unwrap().producers;
    assert_eq!(producers.len(), 1);
    assert_eq!((producers[0].field.as_str(), producers[0].name.as_str()), ("language", "Rust"));
    assert_eq!(producers[0].version, "1.95");
}

#[test]
fn the_memory_of_a_task_is_estimated() {
    let estimate = |text: &str| {
        let report = inspect(&wasm(text)).unwrap();
        (report.memory_min_bytes(), report.memory_max_bytes())
    };
    assert_eq!(estimate("(module)"), (0, Some(0)));
    assert_eq!(estimate("(module (memory 2 10) (table 100 200 funcref))"), ((2 << 16) + 800, Some((10 << 16) + 1_600)));
    assert_eq!(estimate("(module (memory 2 10) (table 100 funcref))"), ((2 << 16) + 800, None));
    assert_eq!(estimate("(module (memory 2))"), (2 << 16, None));
    // What one core module of a component takes from another is counted where it is defined.
    let component = r#"(component
        (core module $a (memory (export "m") 3 4))
        (core module $b (import "a" "m" (memory 1)) (table 10 10 funcref))
        (core instance $i (instantiate $a))
        (core instance (instantiate $b (with "a" (instance $i)))))"#;
    assert_eq!(estimate(component), ((3 << 16) + 80, Some((4 << 16) + 80)));
    // Sums do not wrap, whatever is claimed.
    let (least, most) = estimate("(module (memory i64 0xffff_ffff_ffff) (table i64 0xffff_ffff_ffff_ffff funcref))");
    assert_eq!((least, most), (u64::MAX, None));
}

#[test]
fn the_version_of_the_sdk_is_that_of_its_interface() {
    for (export, version) in
        [("weir:task/run@0.1.0", Some("0.1.0")), ("weir:task/run@0.9.0", Some("0.9.0")), ("wasi:cli/run@0.2.3", None)]
    {
        assert_eq!(inspect(&component("", export)).unwrap().task_interface.as_deref(), version, "{export}");
    }
}
