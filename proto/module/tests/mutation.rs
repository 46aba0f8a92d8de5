//! Damaged binaries: every one gives a report or an error, and the same one each time.

use weir_module::{Limits, inspect, validate};

const SEED: u64 = 0x7765_6972;
const ROUNDS_PER_MODULE: usize = 4_000;

/// A generator that needs no crate: xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).expect("below a usize")
    }
}

fn modules() -> Vec<Vec<u8>> {
    let texts = [
        r#"(module
            (type $t (func (param i32 i64 f32 f64) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1 16) (table 4 8 funcref) (global $g (mut i32) (i32.const 7)) (tag $e)
            (elem (i32.const 0) func $a $b) (data (i32.const 8) "some data") (data "passive")
            (func $a (type $t) (local i32 i32 v128)
                (block $l (loop $m (br_if $l (local.get 0)) (br_table $l $m $l (local.get 0))))
                (if (result i32) (local.get 0) (then (i32.const 1)) (else (call_indirect (type $t)
                    (local.get 0) (local.get 1) (local.get 2) (local.get 3) (i32.const 0)))))
            (func $b (try_table (catch_all 0) (throw $e)) (memory.fill (i32.const 0) (i32.const 0) (i32.const 9)))
            (func (export "_start") (global.set $g (i32.const 1))))"#,
        r#"(component
            (import "wasi:cli/stdin@0.2.3" (instance $in (export "get" (func (result u32)))))
            (alias export $in "get" (func $get))
            (core func $get_core (canon lower (func $get)))
            (core module $m (import "in" "get" (func (result i32))) (memory (export "mem") 1)
                (func (export "run") (result i32) (call 0)))
            (core instance $i (instantiate $m (with "in" (instance (export "get" (func $get_core))))))
            (type $r (result))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (component $inner (type (record (field "a" string) (field "b" (list u8)))))
            (instance $out (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $out)))"#,
    ];
    let mut modules: Vec<Vec<u8>> = texts.iter().map(|text| wat::parse_str(text).expect("valid")).collect();
    for module in &modules {
        assert!(validate(module, &Limits::default()).is_ok(), "{:?}", validate(module, &Limits::default()));
    }
    modules.push(b"\0asm\x01\0\0\0\x00\x1f\x09producers\x01\x08language\x01\x04Rust\x041.95".to_vec());
    modules
}

fn check(bytes: &[u8]) {
    let report = inspect(bytes);
    let verdict = validate(bytes, &Limits::default());
    if let Err(error) = &report {
        assert!(verdict.is_err(), "{error}");
    }
    for error in report.as_ref().err().into_iter().chain(verdict.as_ref().err()) {
        assert!(error.to_string().len() < 16_000);
    }
    assert_eq!(validate(bytes, &Limits::default()), verdict);
}

#[test]
fn every_truncation_is_an_error_or_a_report() {
    for module in modules() {
        for len in 0..=module.len() {
            check(&module[..len]);
        }
    }
}

#[test]
fn damaged_modules_do_not_panic() {
    let mut random = Random(SEED);
    for module in modules() {
        for _ in 0..ROUNDS_PER_MODULE {
            let mut bytes = module.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len());
                match random.below(5) {
                    0 => bytes[at] ^= 1 << random.below(8),
                    1 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
                    2 => bytes[at] = [0x00, 0x7f, 0x80, 0xff][random.below(4)],
                    3 => {
                        bytes.remove(at);
                    }
                    _ => {
                        let from = random.below(bytes.len());
                        let part: Vec<u8> = bytes[from..].iter().copied().take(random.below(16)).collect();
                        bytes.splice(at..at, part);
                    }
                }
                if bytes.is_empty() {
                    break;
                }
            }
            check(&bytes);
        }
    }
}

#[test]
fn random_sections_do_not_panic() {
    let mut random = Random(SEED + 1);
    for _ in 0..ROUNDS_PER_MODULE {
        let header: &[u8] = if random.below(2) == 0 { b"\0asm\x01\0\0\0" } else { b"\0asm\x0d\0\x01\0" };
        let mut bytes = header.to_vec();
        for _ in 0..random.below(6) {
            let len = random.below(24);
            bytes.push(u8::try_from(random.below(14)).unwrap());
            bytes.push(u8::try_from(len).unwrap());
            bytes.extend((0..len).map(|_| u8::try_from(random.next() & 0x1f).unwrap()));
        }
        check(&bytes);
    }
}
