//! Backtraces of guests, for people: functions, and lines where they are known.

use wasmtime::WasmBacktrace;
use weir_wire::{
    inspect::ProfileFrame,
    limits::{BACKTRACE_FRAMES_MAX, MESSAGE_LEN_MAX},
};

use crate::lines::Lines;

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
    // Its text is where names are demangled; each frame is one line there, since the engine knows no lines.
    let text = trace.to_string();
    let names = text.lines().filter_map(|line| line.split_once(" - ").map(|(_, name)| name));
    let mut frames = Vec::new();
    for (frame, name) in trace.frames().iter().zip(names) {
        let place = frame.module_offset().and_then(|place| lines?.at(place)).unwrap_or_default();
        let mut places: Vec<&str> = place.split('\n').collect();
        let own = places.pop().unwrap_or_default().to_owned();
        for inlined in places {
            let (function, place) = inlined.split_once('\t').unwrap_or((inlined, ""));
            frames.push(ProfileFrame { function: function.to_owned(), place: format!("{place}{INLINED}") });
        }
        let mut function = name.to_owned();
        function.truncate(function.floor_char_boundary(MESSAGE_LEN_MAX));
        frames.push(ProfileFrame { function, place: own });
    }
    frames.truncate(BACKTRACE_FRAMES_MAX);
    frames
}
