//! Backtraces of guests, for people: functions, and lines where they are known.

use wasmtime::WasmBacktrace;
use weir_wire::limits::{BACKTRACE_FRAMES_MAX, MESSAGE_LEN_MAX};

use crate::lines::Lines;

/// The backtrace that comes with an error; empty if none does.
pub(crate) fn of_error(error: &wasmtime::Error, lines: Option<&Lines>) -> Vec<String> {
    error.downcast_ref::<WasmBacktrace>().map(|trace| described(trace, lines)).unwrap_or_default()
}

/// A backtrace, innermost first; functions that were inlined are frames of their own.
fn described(trace: &WasmBacktrace, lines: Option<&Lines>) -> Vec<String> {
    // Its text is where names are demangled; each frame is one line there, since the engine knows no lines.
    let text = trace.to_string();
    let names = text.lines().filter_map(|line| line.split_once(" - ").map(|(_, name)| name));
    let mut frames = Vec::new();
    for (frame, name) in trace.frames().iter().zip(names) {
        let place = frame.module_offset().and_then(|place| lines?.at(place)).unwrap_or_default();
        let mut places: Vec<&str> = place.split('\n').collect();
        let own = places.pop().unwrap_or_default();
        for inlined in places {
            let (function, place) = inlined.split_once('\t').unwrap_or((inlined, ""));
            frames.push(format!("{function} ({place}, inlined)"));
        }
        frames.push(if own.is_empty() { name.to_owned() } else { format!("{name} ({own})") });
    }
    frames.truncate(BACKTRACE_FRAMES_MAX);
    for frame in &mut frames {
        frame.truncate(frame.floor_char_boundary(MESSAGE_LEN_MAX));
    }
    frames
}
