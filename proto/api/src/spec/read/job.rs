//! The section `job`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::narrow;
use crate::{
    spec::{
        After, Kind, ModuleRef, Problem, Tier, When, defaults,
        fields::{DIGEST_ALLOWED, NAME_ALLOWED, check_digest, check_name},
        limits,
        section::{DURATION, NUMBER, Section, type_name},
    },
    units,
};

/// The section `job`, read.
pub(super) struct Job {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) count: u32,
    pub(super) max_running: Option<u32>,
    pub(super) max_failed: Option<u32>,
    pub(super) start_deadline_ms: Option<u64>,
    pub(super) after: Vec<After>,
    pub(super) input_from: Option<String>,
    pub(super) priority: u8,
    pub(super) tier: Tier,
    pub(super) module: ModuleRef,
    pub(super) args: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
}

/// The kind of a job, which decides what other keys mean; nothing where it is wrong, so that one mistake is one problem.
pub(super) fn kind(job: &Value) -> Option<Kind> {
    match job.as_object()?.get("kind").filter(|kind| !kind.is_null()) {
        None => Some(Kind::Batch),
        Some(kind) => kind.as_str()?.parse().ok(),
    }
}

pub(super) fn read(value: Value, kind: Option<Kind>, problems: &mut Vec<Problem>) -> Option<Job> {
    const TO_AN_END: &[Kind] = &[Kind::Batch, Kind::Cron];
    let mut section = Section::open("job", Some(value), problems);
    let name = section.required("name", NAME_ALLOWED, check_name);
    section.word("kind", Kind::ALL);
    let counts = if kind == Some(Kind::Service) { limits::SERVICE_COUNT } else { limits::COUNT };
    let count = section
        .applies("count", kind, &[Kind::Batch, Kind::Service, Kind::Cron])
        .then(|| narrow(section.quantity("count", NUMBER, counts)))
        .flatten();
    let max_running = section
        .applies("max_running", kind, TO_AN_END)
        .then(|| narrow(section.quantity("max_running", NUMBER, limits::MAX_RUNNING)))
        .flatten();
    let max_failed = section
        .applies("max_failed", kind, TO_AN_END)
        .then(|| narrow(section.quantity("max_failed", NUMBER, limits::MAX_FAILED)))
        .flatten();
    let start_deadline_ms = section
        .applies("start_deadline", kind, &[Kind::Batch, Kind::Cron, Kind::Function])
        .then(|| section.quantity("start_deadline", DURATION, limits::START_DEADLINE_MS))
        .flatten();
    let after = read_after(&mut section, kind, name.as_deref());
    let input_from = read_input_from(&mut section, kind, &after);
    let priority = narrow(section.quantity("priority", NUMBER, limits::PRIORITY)).unwrap_or(defaults::PRIORITY);
    let tier = section.word("tier", Tier::ALL).unwrap_or(Tier::Preemptible);
    let module = read_module(&mut section);
    let args = read_args(&mut section);
    let env = read_env(&mut section);
    check_bytes(&mut section, &args, &env);
    section.finish();
    Some(Job {
        name: name?,
        kind: kind?,
        count: count.unwrap_or(defaults::COUNT),
        max_running,
        max_failed,
        start_deadline_ms,
        after,
        input_from,
        priority,
        tier,
        module: module?,
        args,
        env,
    })
}

fn read_after(section: &mut Section<'_>, kind: Option<Kind>, own: Option<&str>) -> Vec<After> {
    if !section.applies("after", kind, &[Kind::Batch]) {
        return Vec::new();
    }
    let mut all: Vec<After> = Vec::new();
    for (i, value) in section.array("after", limits::AFTER_MAX).into_iter().enumerate() {
        let key = format!("after[{i}]");
        let Some(after) = read_one_after(section, &key, value) else {
            continue;
        };
        if own == Some(after.job.as_str()) {
            section.refuse(&key, "is the job itself", "another job of the namespace");
        } else if let Some(other) = all.iter().position(|earlier| earlier.job == after.job) {
            section.refuse(&key, format!("names the job of entry {other} again"), "every job once");
        }
        all.push(after);
    }
    all
}

/// A name alone, or a table.
fn read_one_after(section: &mut Section<'_>, key: &str, value: Value) -> Option<After> {
    match value {
        Value::String(job) => match check_name(&job) {
            Ok(()) => Some(After { job, when: When::Success }),
            Err(reason) => {
                section.refuse(key, reason, NAME_ALLOWED);
                None
            }
        },
        value @ Value::Object(_) => {
            let path = section.path_of(key);
            let mut entry = Section::open(&path, Some(value), section.problems());
            let job = entry.required("job", NAME_ALLOWED, check_name);
            let when = entry.word("when", When::ALL).unwrap_or(When::Success);
            entry.finish();
            Some(After { job: job?, when })
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) => {
            section.refuse(key, format!("is {}", type_name(&other)), "a job's name, or { job = NAME, when = WHEN }");
            None
        }
    }
}

fn read_input_from(section: &mut Section<'_>, kind: Option<Kind>, after: &[After]) -> Option<String> {
    const KEY: &str = "input_from";
    if !section.applies(KEY, kind, &[Kind::Batch]) {
        return None;
    }
    let stage = section.checked(KEY, NAME_ALLOWED, check_name)?;
    match after.iter().find(|after| after.job == stage) {
        Some(After { when: When::Success, .. }) => {}
        Some(After { when, .. }) => {
            let reason = format!("`{stage}` has no results for `when = \"{when}\"`");
            section.refuse(KEY, reason, "an entry of `after` with `when = \"success\"`");
        }
        None => section.refuse(KEY, format!("`{stage}` is not in `after`"), "an entry of `after`"),
    }
    Some(stage)
}

fn read_module(section: &mut Section<'_>) -> Option<ModuleRef> {
    const ALLOWED: &str = "a path, or sha256: and 64 hexadecimal digits";
    let present = section.take("module");
    let Some(Value::String(text)) = present else {
        section.refuse("module", if present.is_some() { "is not a string" } else { "is missing" }, ALLOWED);
        return None;
    };
    if text.starts_with("sha256:") {
        return match check_digest(&text) {
            Ok(()) => Some(ModuleRef::Digest(text)),
            Err(reason) => {
                section.refuse("module", reason, DIGEST_ALLOWED);
                None
            }
        };
    }
    if text.is_empty() || text.contains('\0') {
        section.refuse("module", "is empty or contains a NUL", ALLOWED);
        return None;
    }
    Some(ModuleRef::Path(text))
}

fn read_args(section: &mut Section<'_>) -> Vec<String> {
    let args = section.strings("args", limits::ARGS_MAX);
    for (i, arg) in args.iter().enumerate() {
        if arg.contains('\0') {
            section.refuse(&format!("args[{i}]"), "contains a NUL", "any text without NUL");
        }
    }
    args
}

fn read_env(section: &mut Section<'_>) -> BTreeMap<String, String> {
    const ALLOWED: &str = "a table of at most 256 strings; names without `=` and NUL, not starting with `WEIR_`";
    let entries = match section.take("env") {
        None => return BTreeMap::new(),
        Some(Value::Object(entries)) if entries.len() <= limits::ENV_MAX => entries,
        Some(_) => {
            section.refuse("env", "is not a table, or too large", ALLOWED);
            return BTreeMap::new();
        }
    };
    let mut env = BTreeMap::new();
    for (name, value) in entries {
        let text = value.as_str().filter(|text| !text.contains('\0'));
        if name.starts_with("WEIR_") {
            section.refuse(&format!("env.{name}"), "names starting with `WEIR_` are set by Weir", ALLOWED);
        } else if let (Some(text), false) = (text, name.is_empty() || name.contains(['=', '\0'])) {
            env.insert(name, text.to_owned());
        } else {
            section.refuse(&format!("env.{name}"), "is not a usable name and string", ALLOWED);
        }
    }
    env
}

fn check_bytes(section: &mut Section<'_>, args: &[String], env: &BTreeMap<String, String>) {
    let bytes = args.iter().map(String::len).sum::<usize>() + env.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>();
    if bytes > limits::ARGS_AND_ENV_BYTES_MAX {
        section.refuse(
            "args",
            format!("arguments and environment have {bytes} bytes together"),
            format!("at most {}; pass more as payload", units::format_size(limits::ARGS_AND_ENV_BYTES_MAX as u64)),
        );
    }
}
