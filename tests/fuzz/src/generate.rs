//! From bytes to a guest: every input is a valid module, and what it does is what guests do to get past a limit.
//!
//! A general generator of modules (`smith`) has more shapes; its guests seldom come as far.

use std::fmt::Write as _;

/// Functions that call each other, besides `_start`.
const FUNCTIONS: u8 = 3;
/// How deep statements and expressions nest.
const DEPTH_MAX: u32 = 5;
/// Most bytes of text; what is asked for beyond is left out.
const TEXT_LEN_MAX: usize = 60_000;
/// Numbers near something: nothing, a page, the limit of the attempt, the sign, everything.
const NUMBERS: [i64; 16] = [
    0,
    1,
    7,
    8,
    255,
    1 << 10,
    (1 << 16) - 1,
    1 << 16,
    (1 << 20) - 4,
    1 << 20,
    1 << 24,
    i32::MAX as i64,
    i32::MIN as i64,
    -1,
    -8,
    200_001,
];
/// Host functions that give the same for the same input, with their parameters; all return a number.
const CALLS: [(&str, usize); 9] = [
    ("fd_write", 4),
    ("fd_read", 4),
    ("args_get", 2),
    ("args_sizes_get", 2),
    ("environ_get", 2),
    ("fd_close", 1),
    ("fd_fdstat_get", 2),
    ("fd_prestat_get", 2),
    ("sched_yield", 0),
];
const UNARY: [&str; 6] = ["eqz", "clz", "ctz", "popcnt", "extend8_s", "extend16_s"];
const BINARY: [&str; 15] =
    ["add", "sub", "mul", "div_s", "div_u", "rem_s", "rem_u", "and", "or", "xor", "shl", "shr_s", "rotl", "lt_u", "eq"];

/// Writes a module.
pub(crate) fn module(input: &[u8]) -> String {
    let mut writer = Writer { input: input.iter(), text: String::new() };
    writer.module();
    writer.text
}

struct Writer<'a> {
    input: std::slice::Iter<'a, u8>,
    text: String,
}

impl Writer<'_> {
    /// The next byte; zeros follow the last, which end whatever goes on.
    fn byte(&mut self) -> u8 {
        self.input.next().copied().unwrap_or(0)
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::from(self.byte()) % list.len()]
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn line(&mut self, arguments: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _done = writeln!(self.text, "{arguments}");
    }

    fn module(&mut self) {
        self.put("(module\n");
        for (name, parameters) in CALLS {
            let parameters = "i32 ".repeat(parameters);
            self.line(format_args!(
                "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param {parameters}) (result i32)))"
            ));
        }
        self.put("(import \"wasi_snapshot_preview1\" \"proc_exit\" (func $proc_exit (param i32)))\n");
        let (pages, elements) = (self.byte() % 18, u32::from(self.byte()) * 16);
        self.line(format_args!("(memory (export \"memory\") {pages})"));
        self.line(format_args!("(table $t {} funcref)", elements + u32::from(FUNCTIONS)));
        self.put("(table $u 1 externref)\n(global $g (mut i32) (i32.const 0)) (global $h (mut i64) (i64.const 1))\n");
        self.put("(tag $e (param i32))\n(type $f (func (param i32) (result i32)))\n");
        self.put("(elem (table $t) (i32.const 0) func $f0 $f1 $f2)\n(elem $p func $f0 $f1)\n(data $d \"\\00\\10\\00\\00weir\")\n");
        for number in 0..FUNCTIONS {
            self.line(format_args!("(func $f{number} (type $f) (local $a i32) (local $b i32) (local $l i64)"));
            self.line(format_args!("(local.set $a (local.get 0))"));
            self.statements(0);
            self.expression(0);
            self.put(")\n");
        }
        self.put("(func (export \"_start\") (local $a i32) (local $b i32) (local $l i64)\n");
        self.statements(0);
        self.put("))");
    }

    fn statements(&mut self, depth: u32) {
        for _ in 0..self.byte() % 6 {
            self.statement(depth + 1);
        }
    }

    fn statement(&mut self, depth: u32) {
        if depth > DEPTH_MAX || self.text.len() > TEXT_LEN_MAX {
            return self.put("nop\n");
        }
        match self.byte() % 22 {
            0..=2 => self.with("(local.set $a ", 1, depth),
            3 => self.with("(local.set $b ", 1, depth),
            4 => self.with("(global.set $g ", 1, depth),
            5 => self.with("(i32.store ", 2, depth),
            6 => self.with("(i32.store8 offset=65535 ", 2, depth),
            7 => self.with("(memory.fill ", 3, depth),
            8 => self.with("(memory.copy ", 3, depth),
            9 => self.with("(memory.init $d ", 3, depth),
            10 => self.with("(table.init $t $p ", 3, depth),
            11 => self.with("(table.copy $t $t ", 3, depth),
            12 => self.block("(loop $l\n", "(br_if $l (local.tee $b (i32.sub (local.get $b) (i32.const 1))))", depth),
            13 => self.block("(loop $l\n", "(br $l)", depth),
            14 => self.block("(block $l\n", "(br_if $l (local.get $a))", depth),
            15 => {
                self.with("(if ", 1, depth);
                // The condition has closed the parenthesis of `if`, which has to stay open.
                self.text.truncate(self.text.trim_end().len() - 1);
                self.block("(then\n", "", depth);
                self.put(")\n");
            }
            16 => self.block("(block $l (try_table (catch_all $l)\n", ")", depth),
            17 => self.with("(throw $e ", 1, depth),
            18 => self.put("(data.drop $d)\n"),
            19 => self.put("(elem.drop $p)\n"),
            20 => self.with("(call $proc_exit ", 1, depth),
            _ => self.with("(drop ", 1, depth),
        }
    }

    /// What opens, so many numbers, and what closes.
    fn with(&mut self, open: &str, numbers: usize, depth: u32) {
        self.put(open);
        for _ in 0..numbers {
            self.expression(depth + 1);
        }
        self.put(")\n");
    }

    fn block(&mut self, open: &str, last: &str, depth: u32) {
        self.put(open);
        self.statements(depth);
        self.put(last);
        self.put(")\n");
    }

    /// Something that is a 32-bit number.
    fn expression(&mut self, depth: u32) {
        let kind = self.byte() % 20;
        if depth > DEPTH_MAX || self.text.len() > TEXT_LEN_MAX || kind < 5 {
            let number = self.one_of(&NUMBERS);
            return self.line(format_args!("(i32.const {number})"));
        }
        match kind {
            5 | 6 => self.put("(local.get $a)"),
            7 => self.put("(local.get $b)"),
            8 => self.put("(global.get $g)"),
            9 => {
                let name = self.one_of(&UNARY);
                self.with(&format!("(i32.{name} "), 1, depth);
            }
            10 | 11 => {
                let name = self.one_of(&BINARY);
                self.with(&format!("(i32.{name} "), 2, depth);
            }
            12 => self.with("(i32.load ", 1, depth),
            13 => self.with("(memory.grow ", 1, depth),
            14 => self.with("(table.grow $t (ref.null func) ", 1, depth),
            15 => self.with("(table.grow $u (ref.null extern) ", 1, depth),
            16 => {
                let number = self.byte() % FUNCTIONS;
                self.with(&format!("(call $f{number} "), 1, depth);
            }
            17 => self.with("(call_indirect $t (type $f) ", 2, depth),
            18 => {
                let (name, parameters) = self.one_of(&CALLS);
                self.with(&format!("(call ${name} "), parameters, depth);
            }
            _ => {
                self.with("(i32.trunc_sat_f64_s (f64.sqrt (f64.convert_i32_s ", 1, depth);
                self.put("))");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn every_input_is_a_module_that_would_be_taken() {
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let input: Vec<u8> = (0..random.below(3_000)).map(|_| random.byte()).collect();
            let text = module(&input);
            let wasm = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            weir_module::validate(&wasm, &weir_module::Limits::default())
                .unwrap_or_else(|error| panic!("{error}\n{text}"));
        }
    }
}
