//! What is refused, and whether the refusal says why.

use weir_module::{Error, Feature, Limits, Looks, Unrunnable, inspect, validate};

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the test module is valid")
}

fn refusal(bytes: &[u8]) -> Error {
    validate(bytes, &Limits::default()).expect_err("it must be refused")
}

#[test]
fn other_files_are_named() {
    let mut tar = vec![b'a'; 300];
    tar[257..262].copy_from_slice(b"ustar");
    let cases: &[(&[u8], Error)] = &[
        (b"", Error::Empty),
        (b"\x1f\x8b\x08\0\0\0", Error::NotWasm(Looks::Gzip)),
        (b"PK\x03\x04rest", Error::NotWasm(Looks::Zip)),
        (b"\x28\xb5\x2f\xfd", Error::NotWasm(Looks::Compressed)),
        (&tar, Error::NotWasm(Looks::Tar)),
        (b"\x7fELF\x02\x01\x01", Error::NotWasm(Looks::Native)),
        (b"\x7fELF\x02\x01\x01\0\0.wasmtime.engine\0", Error::Precompiled),
        (b"MZ\x90\0", Error::NotWasm(Looks::Native)),
        (b"!<arch>\n", Error::NotWasm(Looks::Library)),
        (b"  (module (func))", Error::NotWasm(Looks::Wat)),
        (b"<!DOCTYPE html>", Error::NotWasm(Looks::Html)),
        (b"#!/bin/sh\n", Error::NotWasm(Looks::Script)),
        (b"export function main() {}", Error::NotWasm(Looks::JavaScript)),
        ("schöner Text".as_bytes(), Error::NotWasm(Looks::Text)),
        (b"\x01\x02\x03\x04", Error::NotWasm(Looks::Unknown)),
        (b"\0asm\x01", Error::NotWasm(Looks::Cut)),
        (b"\0asm\x0d\0\0\0", Error::UnknownVersion { version: 13 }),
    ];
    for (bytes, error) in cases {
        assert_eq!(inspect(bytes).as_ref(), Err(error), "{bytes:?}");
        assert_eq!(&refusal(bytes), error);
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn a_cut_file_is_told_from_a_damaged_one() {
    let whole = wasm(r#"(module (func (export "_start") (nop) (nop) (nop)))"#);
    let Error::Truncated { offset, needed, available } = refusal(&whole[..whole.len() - 2]) else {
        panic!("not seen as truncated")
    };
    assert_eq!(needed, available + 2);
    assert_eq!(offset + available, whole.len() as u64 - 2);

    let mut damaged = whole;
    let last = damaged.len() - 2;
    damaged[last] = 0xff;
    assert!(matches!(refusal(&damaged), Error::Malformed(_)));
    assert!(inspect(&damaged).is_ok(), "the code is not looked at");
}

#[test]
fn features_that_are_off_are_named() {
    for (text, feature) in [
        ("(module (memory 1 1 shared))", Feature::Threads),
        ("(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))", Feature::Threads),
        ("(module (memory i64 1))", Feature::Memory64),
        ("(module (memory 1) (memory 1))", Feature::MultiMemory),
        (
            "(module (func (param v128 v128 v128) (result v128)
                (f32x4.relaxed_madd (local.get 0) (local.get 1) (local.get 2))))",
            Feature::RelaxedSimd,
        ),
        ("(module (type (struct)))", Feature::Gc),
        ("(module (type $f (func)) (func (param (ref $f))))", Feature::FunctionReferences),
        ("(module (tag $t) (func try catch $t end))", Feature::LegacyExceptions),
        ("(module (memory 1 (pagesize 1)))", Feature::CustomPageSizes),
        (
            "(module (func (param i64 i64 i64 i64) (result i64 i64)
                (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3))))",
            Feature::WideArithmetic,
        ),
        ("(component (type (func async)))", Feature::ComponentAsync),
    ] {
        let error = refusal(&wasm(text));
        assert!(matches!(&error, Error::Feature { feature: found, .. } if *found == feature), "{text}: {error:?}");
        let message = error.to_string();
        assert!(message.contains(&feature.to_string()) && message.contains(feature.advice()), "{message}");
    }
}

#[test]
fn unknown_imports_are_all_named_with_a_hint() {
    let error = refusal(&wasm(
        r#"(module
            (import "env" "memory" (memory 1))
            (import "env" "emscripten_notify" (func))
            (import "wasi_snapshot_preview1" "fd_wrte" (func))
            (import "wasi_snapshot_preview1" "args_get" (func (param i32 i32) (result i32)))
            (import "wasi_unstable" "fd_write" (func))
            (func (export "_start")))"#,
    ));
    let Error::UnknownImports(unknown) = &error else { panic!("{error:?}") };
    let names: Vec<_> = unknown.iter().map(|unknown| unknown.import.to_string()).collect();
    assert_eq!(
        names,
        ["env.memory", "env.emscripten_notify", "wasi_snapshot_preview1.fd_wrte", "wasi_unstable.fd_write"]
    );
    assert!(unknown[2].hint.as_ref().unwrap().contains("wasi_snapshot_preview1.fd_write"));
    assert!(unknown[3].hint.as_ref().unwrap().contains("before preview 1"));
    assert!(names.iter().all(|name| error.to_string().contains(name)), "{error}");
}

#[test]
fn component_imports_are_checked_by_interface_and_version() {
    for (import, hint) in [
        ("wasi:http/types@0.2.0", "HTTP"),
        ("wasi:cli/stdin@0.2.13", "0.2.12"),
        ("wasi:cli/stdin@0.3.0", "WASI 0.3"),
        ("wasi:cli/stdinn@0.2.0", "wasi:cli/stdin"),
        ("weir:task/host@0.2.0", "SDK"),
        ("wasi:clocks/timezone@0.2.0", ""),
        ("acme:db/query@1.0.0", ""),
    ] {
        let error = refusal(&wasm(&format!(r#"(component (import "{import}" (instance)))"#)));
        let Error::UnknownImports(unknown) = &error else { panic!("{import}: {error:?}") };
        assert_eq!(unknown[0].import.to_string(), import);
        let found = unknown[0].hint.as_deref().unwrap_or_default();
        assert!(found.contains(hint), "{import}: {found}");
    }
    let error = refusal(&wasm(r#"(component (import "f" (func)))"#));
    assert!(matches!(error, Error::UnknownImports(_)), "{error:?}");
}

#[test]
fn what_cannot_run_is_refused_with_the_reason() {
    for (text, why) in [
        ("(module)", Unrunnable::NoStart),
        (r#"(module (func (export "_initialize")))"#, Unrunnable::Reactor),
        (r#"(module (memory (export "_start") 1))"#, Unrunnable::NoStart),
        (r#"(module (func (export "_start") (param i32)))"#, Unrunnable::StartNotACommand),
        (r#"(module (func (export "_start") (result i32) (i32.const 0)))"#, Unrunnable::StartNotACommand),
        ("(component)", Unrunnable::NoRun),
    ] {
        assert_eq!(refusal(&wasm(text)), Error::NotRunnable(why), "{text}");
    }
}

#[test]
fn sizes_are_bounded() {
    let limits = Limits {
        size_bytes_max: 4096,
        functions_max: 2,
        function_bytes_max: 2000,
        locals_blocks_max: 1000,
        imports_max: 1,
        core_modules_max: 2,
        memories_max: 1,
        tables_max: 1,
        table_elements_max: 10,
        memory_bytes_max: 1 << 16,
    };
    let start = r#"(func (export "_start"))"#;
    let nops = "nop ".repeat(2001);
    let data = "x".repeat(5000);
    let blocks = "block end ".repeat(20);
    for (text, what) in [
        (format!(r#"(module (memory 1) (data "{data}") {start})"#), "size"),
        (format!("(module {start} (func) (func))"), "functions"),
        (format!("(module {start} (func {nops}))"), "code of one function"),
        (format!("(module {start} (func (local {}) {blocks}))", "i32 ".repeat(60)), "locals × blocks"),
        (format!("(module {start} (func (param {}) {blocks}))", "i32 ".repeat(60)), "locals × blocks"),
        (r#"(module (import "a" "b" (func)) (import "a" "c" (func)))"#.to_owned(), "imports"),
        ("(component (core module) (core module) (core module))".to_owned(), "core modules"),
        ("(component (core module (memory 1)) (core module (memory 1)))".to_owned(), "number of memories"),
        (format!("(module (table 1 funcref) (table 1 funcref) {start})"), "tables"),
        (format!("(module (table 11 funcref) {start})"), "table elements"),
        (format!("(module (memory 2) {start})"), "initial memory"),
    ] {
        let error = validate(&wasm(&text), &limits).unwrap_err();
        let Error::TooLarge(excess) = &error else { panic!("{what}: {error:?}") };
        assert!(excess.what.contains(what), "{what}: {excess}");
        assert!(excess.found > excess.max);
    }
    let few = format!("(module {start} (func (local {}) block end nop nop nop nop))", "i32 ".repeat(200));
    assert!(validate(&wasm(&few), &limits).is_ok(), "many locals and few blocks are cheap");
}

#[test]
fn a_huge_branch_table_counts_as_blocks() {
    let targets = "0 ".repeat(6000);
    let locals = "i32 ".repeat(10_000);
    let text = format!(r#"(module (func (export "_start") (local {locals}) (br_table {targets} (i32.const 0))))"#);
    let error = refusal(&wasm(&text));
    assert!(matches!(&error, Error::TooLarge(excess) if excess.what.contains("locals")), "{error:?}");
}

#[test]
fn what_makes_the_compiler_run_out_of_memory_is_refused() {
    let locals = "i32 ".repeat(20_000);
    let blocks = "block end ".repeat(60_000);
    let functions = "(func)".repeat(200_001);
    for (text, what) in [
        (format!(r#"(module (func (export "_start") (local {locals}) {blocks}))"#), "locals × blocks"),
        (format!("(module {functions})"), "functions"),
    ] {
        let error = refusal(&wasm(&text));
        assert!(matches!(&error, Error::TooLarge(excess) if excess.what.contains(what)), "{what}: {error:?}");
    }
}
