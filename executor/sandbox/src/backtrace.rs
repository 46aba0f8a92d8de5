//! Backtraces of guests, for people: functions, and lines where they are known.

use addr2line::{
    demangle,
    gimli::{DW_LANG_C_plus_plus, DW_LANG_Rust},
};
use wasmtime::{FrameInfo, WasmBacktrace};
use weir_wire::{
    inspect::ProfileFrame,
    limits::{BACKTRACE_FRAMES_MAX, MESSAGE_LEN_MAX},
};

use crate::{compile::push_clean, lines::Lines};

/// Behind the place of a function that was inlined.
const INLINED: &str = ", inlined";

/// The backtrace that comes with an error; empty if none does.
pub(crate) fn of_error(error: &wasmtime::Error, lines: Option<&Lines>) -> Vec<String> {
    error.downcast_ref::<WasmBacktrace>().map(|trace| described(trace, lines)).unwrap_or_default()
}

/// A backtrace, one text for each frame.
pub(crate) fn described(trace: &WasmBacktrace, lines: Option<&Lines>) -> Vec<String> {
    let text = |ProfileFrame { function, place }| {
        let mut text = if place.is_empty() { function } else { format!("{function} ({place})") };
        text.truncate(text.floor_char_boundary(MESSAGE_LEN_MAX));
        text
    };
    frames(trace, lines).into_iter().map(text).collect()
}

/// The frames of a backtrace, innermost first; functions that were inlined are frames of their own.
pub(crate) fn frames(trace: &WasmBacktrace, lines: Option<&Lines>) -> Vec<ProfileFrame> {
    let mut frames = Vec::new();
    for frame in trace.frames() {
        let place = frame.module_offset().and_then(|place| lines?.at(place)).unwrap_or_default();
        let mut places: Vec<&str> = place.split('\n').collect();
        let own = places.pop().unwrap_or_default().to_owned();
        for inlined in places {
            let (function, place) = inlined.split_once('\t').unwrap_or((inlined, ""));
            frames.push(ProfileFrame { function: function.to_owned(), place: format!("{place}{INLINED}") });
        }
        frames.push(ProfileFrame { function: name(frame), place: own });
    }
    frames.truncate(BACKTRACE_FRAMES_MAX);
    frames
}

/// The name of a frame's function, behind that of its module if it has one.
fn name(frame: &FrameInfo) -> String {
    let function = match frame.func_name() {
        Some(name) => demangled(name),
        None => format!("<wasm function {}>", frame.func_index()),
    };
    let name = match frame.module().name() {
        Some(module) => format!("{module}!{function}"),
        None => function,
    };
    // The words are the guest's, and go to terminals.
    let mut clean = String::new();
    push_clean(&name[..name.floor_char_boundary(MESSAGE_LEN_MAX)], &mut clean);
    clean
}

/// A name as its author wrote it. Only what looks mangled is taken for that: to C++, `a` is a type.
fn demangled(name: &str) -> String {
    let cpp = || name.starts_with("_Z").then(|| demangle(name, DW_LANG_C_plus_plus)).flatten();
    let short = name.len() <= MESSAGE_LEN_MAX;
    let found = short.then(|| demangle(name, DW_LANG_Rust).or_else(cpp)).flatten();
    found.unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_mangled_is_demangled() {
        for (name, shown) in [
            ("a", "a"),
            ("main", "main"),
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("_RNvC6_123foo3bar", "123foo::bar"),
            ("_Z3addii", "add(int, int)"),
            ("_Znonsense", "_Znonsense"),
        ] {
            assert_eq!(demangled(name), shown);
        }
        let long = format!("_Z{}", "3add".repeat(MESSAGE_LEN_MAX));
        assert_eq!(demangled(&long), long);
    }
}
