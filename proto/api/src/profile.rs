//! Profiles in the processed format of the Firefox profiler, which shows them at <https://profiler.firefox.com>.

use std::collections::HashMap;

use serde_json::{Value, json};
use weir_wire::inspect::{Profile, ProfileFrame};

/// The version of the processed format that is written; later versions of the profiler read it.
const FORMAT: u32 = 48;
/// The version of the format from which the processed one is derived.
const FORMAT_OF_BROWSERS: u32 = 27;
/// Microseconds in the profiler's unit of time.
const US_PER_MS: f64 = 1000.0;

/// The strings of a thread, each once.
#[derive(Default)]
struct Strings {
    list: Vec<String>,
    known: HashMap<String, usize>,
}

impl Strings {
    fn put(&mut self, text: &str) -> usize {
        *self.known.entry(text.to_owned()).or_insert_with(|| {
            self.list.push(text.to_owned());
            self.list.len() - 1
        })
    }
}

/// Writes a profile of what is called `name`, taken until `taken_ms` (Unix milliseconds). It must be sound.
pub fn firefox(name: &str, profile: &Profile, taken_ms: u64) -> Value {
    let wall_ms = ms(profile.wall_us);
    json!({
        "meta": {
            "categories": [{ "name": "Wasm", "color": "blue", "subcategories": ["Other"] }],
            "debug": false,
            "extensions": { "length": 0, "baseURL": [], "id": [], "name": [] },
            "interval": ms(profile.interval_us),
            "markerSchema": [],
            "pausedRanges": [],
            "preprocessedProfileVersion": FORMAT,
            "processType": 0,
            "product": name,
            // The range that is shown; without it, that from the first sample to the last, and an assertion if there is none.
            "profilingStartTime": 0,
            "profilingEndTime": wall_ms,
            "sampleUnits": { "time": "ms", "eventDelay": "ms", "threadCPUDelta": "µs" },
            "sourceCodeIsNotOnSearchfox": true,
            "stackwalk": 1,
            "startTime": taken_ms as f64 - wall_ms,
            "symbolicated": true,
            "toolkit": "",
            "version": FORMAT_OF_BROWSERS,
        },
        "libs": [],
        "pages": [],
        "counters": [],
        "profilerOverhead": [],
        "threads": [thread(name, profile, wall_ms)],
    })
}

fn thread(name: &str, profile: &Profile, wall_ms: f64) -> Value {
    let mut strings = Strings::default();
    let (functions, frames) = frames(&profile.frames, &mut strings);
    let count = profile.stacks.len();
    let callers: Vec<Option<u32>> = profile.stacks.iter().map(|stack| stack.caller.checked_sub(1)).collect();
    let stacks = json!({
        "length": count,
        "prefix": callers,
        "frame": profile.stacks.iter().map(|stack| stack.frame).collect::<Vec<_>>(),
        "category": vec![0; count],
        "subcategory": vec![0; count],
    });
    json!({
        "name": name,
        "processName": name,
        "isMainThread": true,
        "pid": "0",
        "tid": 0,
        "processType": "default",
        "processStartupTime": 0,
        "processShutdownTime": null,
        "registerTime": 0,
        "unregisterTime": wall_ms,
        "pausedRanges": [],
        "showMarkersInTimeline": false,
        "stringArray": strings.list,
        "funcTable": functions,
        "frameTable": frames,
        "stackTable": stacks,
        "samples": samples(profile),
        "markers": { "length": 0, "category": [], "data": [], "endTime": [], "name": [], "phase": [], "startTime": [] },
        "nativeSymbols": { "length": 0, "address": [], "functionSize": [], "libIndex": [], "name": [] },
        "resourceTable": { "length": 0, "host": [], "lib": [], "name": [], "type": [] },
    })
}

/// The functions and the frames: there is a frame for each line of a function, and one function for all of them.
fn frames(frames: &[ProfileFrame], strings: &mut Strings) -> (Value, Value) {
    let mut known = HashMap::new();
    let (mut names, mut files) = (Vec::new(), Vec::new());
    let (mut functions, mut lines, mut columns) = (Vec::new(), Vec::new(), Vec::new());
    for frame in frames {
        let (file, line, column) = place(&frame.place);
        let name = strings.put(&frame.function);
        let file = file.map(|file| strings.put(file));
        functions.push(*known.entry((name, file)).or_insert_with(|| {
            names.push(name);
            files.push(file);
            names.len() - 1
        }));
        lines.push(line);
        columns.push(column);
    }
    let (function_count, frame_count) = (names.len(), frames.len());
    let function_table = json!({
        "length": function_count,
        "name": names,
        "isJS": vec![false; function_count],
        "relevantForJS": vec![false; function_count],
        "resource": vec![-1; function_count],
        "fileName": files,
        "lineNumber": vec![Value::Null; function_count],
        "columnNumber": vec![Value::Null; function_count],
    });
    let frame_table = json!({
        "length": frame_count,
        "address": vec![-1; frame_count],
        "inlineDepth": vec![0; frame_count],
        "category": vec![0; frame_count],
        "subcategory": vec![0; frame_count],
        "func": functions,
        "nativeSymbol": vec![Value::Null; frame_count],
        "innerWindowID": vec![0; frame_count],
        "implementation": vec![Value::Null; frame_count],
        "line": lines,
        "column": columns,
    });
    (function_table, frame_table)
}

fn samples(profile: &Profile) -> Value {
    let mut at_us = 0_u64;
    let times = profile.samples.iter().map(|sample| {
        at_us = at_us.saturating_add(sample.after_us.into());
        ms(at_us)
    });
    let times: Vec<f64> = times.collect();
    json!({
        "length": profile.samples.len(),
        "stack": profile.samples.iter().map(|sample| sample.stack).collect::<Vec<_>>(),
        "time": times,
        "weight": null,
        "weightType": "samples",
        "threadCPUDelta": profile.samples.iter().map(|sample| sample.cpu_us).collect::<Vec<_>>(),
    })
}

/// File, line and column of a place such as `src/main.rs:3:5`, behind which may stand that it was inlined.
fn place(place: &str) -> (Option<&str>, Option<u32>, Option<u32>) {
    let mut rest = place.split_once(", ").map_or(place, |(place, _)| place);
    let mut numbers = Vec::new();
    while let Some((before, number)) = rest.rsplit_once(':')
        && let Ok(number) = number.parse::<u32>()
        && numbers.len() < 2
    {
        numbers.insert(0, number);
        rest = before;
    }
    ((!rest.is_empty()).then_some(rest), numbers.first().copied(), numbers.get(1).copied())
}

fn ms(us: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "the profiler counts in floating point")]
    let us = us as f64;
    us / US_PER_MS
}

#[cfg(test)]
mod tests {
    use weir_wire::inspect::{ProfileSample, ProfileStack};

    use super::*;

    fn sample() -> Profile {
        let frame = |function: &str, place: &str| ProfileFrame { function: function.into(), place: place.into() };
        Profile {
            wall_us: 5_000_000,
            interval_us: 1_000,
            lost: 0,
            frames: vec![frame("main", "src/main.rs:3:5"), frame("main", "src/main.rs:4"), frame("add", "")],
            stacks: vec![
                ProfileStack { caller: 0, frame: 0 },
                ProfileStack { caller: 1, frame: 2 },
                ProfileStack { caller: 0, frame: 1 },
            ],
            samples: vec![
                ProfileSample { after_us: 1_500, cpu_us: 900, stack: 1 },
                ProfileSample { after_us: 1_000, cpu_us: 1_000, stack: 2 },
            ],
        }
    }

    /// Every table of the format has a length, and columns of that length; every reference leads to a row.
    fn check(thread: &Value) {
        let len = |table: &str| thread[table]["length"].as_u64().expect("a length");
        let refers = |table: &str, column: &str, max: u64| {
            for value in thread[table][column].as_array().expect("a column").iter().filter(|value| !value.is_null()) {
                assert!(value.as_u64().is_some_and(|value| value < max), "{table}.{column}: {value}");
            }
        };
        for table in ["funcTable", "frameTable", "stackTable", "samples", "markers", "nativeSymbols", "resourceTable"] {
            for (column, values) in thread[table].as_object().expect("a table") {
                if let Some(values) = values.as_array() {
                    assert_eq!(values.len() as u64, len(table), "{table}.{column}");
                }
            }
        }
        let strings = thread["stringArray"].as_array().expect("strings").len() as u64;
        refers("funcTable", "name", strings);
        refers("funcTable", "fileName", strings);
        refers("frameTable", "func", len("funcTable"));
        refers("stackTable", "frame", len("frameTable"));
        refers("stackTable", "prefix", len("stackTable"));
        refers("samples", "stack", len("stackTable"));
    }

    #[test]
    fn it_has_the_shape_of_the_processed_format() {
        let value = firefox("count task 3", &sample(), 1_700_000_000_000);
        let meta = &value["meta"];
        assert_eq!((&meta["preprocessedProfileVersion"], &meta["interval"]), (&json!(48), &json!(1.0)));
        assert_eq!(meta["startTime"], json!(1_699_999_995_000.0));
        assert_eq!((&meta["profilingStartTime"], &meta["profilingEndTime"]), (&json!(0), &json!(5000.0)));
        let thread = &value["threads"][0];
        check(thread);
        assert_eq!(thread["stringArray"], json!(["main", "src/main.rs", "add"]));
        assert_eq!(thread["funcTable"]["name"], json!([0, 2]), "lines of one function are one function");
        assert_eq!(thread["frameTable"]["line"], json!([3, 4, null]));
        assert_eq!(thread["samples"]["time"], json!([1.5, 2.5]));
        assert_eq!(thread["stackTable"]["prefix"], json!([null, 0, null]));
    }

    #[test]
    fn nothing_is_a_profile_too() {
        check(&firefox("idle", &Profile::default(), 0)["threads"][0]);
    }

    #[test]
    fn places_are_told_from_names_with_colons() {
        let cases = [
            ("src/main.rs:3:5", (Some("src/main.rs"), Some(3), Some(5))),
            ("src/main.rs:3, inlined", (Some("src/main.rs"), Some(3), None)),
            ("C:\\x.c:7", (Some("C:\\x.c"), Some(7), None)),
            ("a:1:2:3", (Some("a:1"), Some(2), Some(3))),
            ("", (None, None, None)),
        ];
        for (text, expected) in cases {
            assert_eq!(place(text), expected, "{text}");
        }
    }
}
