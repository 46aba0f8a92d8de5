//! From a document to a validated spec, section by section.

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde_json::Value;

use super::{
    Constraint, DirGrant, Invalid, JobSpec, Kind, Mode, ModuleRef, OnDisconnect, Problem, Resources, Retry, Tier,
    defaults,
    fields::{DIGEST_ALLOWED, NAME_ALLOWED, check_digest, check_guest_path, check_name, parse_equality},
    limits,
    section::{CPU, DURATION, NUMBER, SIZE, Section},
};
use crate::units;

pub(super) fn job_spec(value: &Value) -> Result<JobSpec, Invalid> {
    let mut problems = Vec::new();
    let mut root = Section::open("", Some(value.clone()), &mut problems);
    let [job, resources, grants, execution, retry, placement] =
        ["job", "resources", "grants", "execution", "retry", "placement"].map(|key| root.take(key));
    if job.is_none() {
        root.refuse("job", "is missing", "a table with at least `name` and `module`");
    }
    root.finish();
    let job = job.and_then(|job| read_job(job, &mut problems));
    let resources = read_resources(resources, &mut problems);
    let dirs = read_grants(grants, &mut problems);
    let (mode, on_disconnect, fenced) = read_execution(execution, &mut problems);
    let retry = read_retry(retry, &mut problems);
    let constraints = read_placement(placement, &mut problems);
    match job {
        Some(job) if problems.is_empty() => {
            Ok(JobSpec { resources, dirs, mode, on_disconnect, fenced, retry, constraints, ..job })
        }
        Some(_) | None => Err(Invalid { problems }),
    }
}

/// The section `job`; the other sections of the result are placeholders that the caller replaces.
fn read_job(value: Value, problems: &mut Vec<Problem>) -> Option<JobSpec> {
    let mut section = Section::open("job", Some(value), problems);
    let name = read_name(&mut section);
    choice(&mut section, "kind", "batch", &["batch"], &["service", "cron", "system", "function"]);
    let count = narrow(section.quantity("count", NUMBER, limits::COUNT)).unwrap_or(defaults::COUNT);
    let max_running = narrow(section.quantity("max_running", NUMBER, limits::MAX_RUNNING));
    let priority = narrow(section.quantity("priority", NUMBER, limits::PRIORITY)).unwrap_or(defaults::PRIORITY);
    choice(&mut section, "tier", "preemptible", &["preemptible"], &["production", "revocable"]);
    let module = read_module(&mut section);
    let args = read_args(&mut section);
    let env = read_env(&mut section);
    let bytes = args.iter().map(String::len).sum::<usize>() + env.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>();
    if bytes > limits::ARGS_AND_ENV_BYTES_MAX {
        section.refuse(
            "args",
            format!("arguments and environment have {bytes} bytes together"),
            format!("at most {}; pass more as payload", units::format_size(limits::ARGS_AND_ENV_BYTES_MAX as u64)),
        );
    }
    section.finish();
    Some(JobSpec {
        name: name?,
        kind: Kind::Batch,
        count,
        max_running,
        priority,
        tier: Tier::Preemptible,
        module: module?,
        args,
        env,
        resources: default_resources(),
        dirs: Vec::new(),
        mode: Mode::AtLeastOnce,
        on_disconnect: OnDisconnect::Keep,
        fenced: false,
        retry: default_retry(),
        constraints: Vec::new(),
    })
}

fn read_name(section: &mut Section<'_>) -> Option<String> {
    let path_missing = section.take("name");
    match path_missing {
        None => {
            section.refuse("name", "is missing", NAME_ALLOWED);
            None
        }
        Some(Value::String(name)) => match check_name(&name) {
            Ok(()) => Some(name),
            Err(reason) => {
                section.refuse("name", reason, NAME_ALLOWED);
                None
            }
        },
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            section.refuse("name", "is not a string", NAME_ALLOWED);
            None
        }
    }
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

fn read_resources(value: Option<Value>, problems: &mut Vec<Problem>) -> Resources {
    let mut section = Section::open("resources", value, problems);
    let default = default_resources();
    let resources = Resources {
        cpu_milli: narrow(section.quantity("cpu", CPU, limits::CPU_MILLI)).unwrap_or(default.cpu_milli),
        memory_bytes: section.quantity("memory", SIZE, limits::MEMORY_BYTES).unwrap_or(default.memory_bytes),
        fuel: section.quantity("fuel", NUMBER, limits::FUEL).unwrap_or(default.fuel),
        timeout_ms: section.quantity("timeout", DURATION, limits::TIMEOUT_MS).unwrap_or(default.timeout_ms),
        output_bytes: section.quantity("output", SIZE, limits::OUTPUT_BYTES).unwrap_or(default.output_bytes),
    };
    section.finish();
    resources
}

fn read_grants(value: Option<Value>, problems: &mut Vec<Problem>) -> Vec<DirGrant> {
    let mut section = Section::open("grants", value, problems);
    let dirs = section.array("dir", limits::DIRS_MAX);
    if section.take("net").is_some() {
        section.refuse_unsupported("net", "network access", "no `grants.net`");
    }
    section.finish();
    let mut grants: Vec<DirGrant> = Vec::new();
    for (i, value) in dirs.into_iter().enumerate() {
        let mut entry = Section::open(&format!("grants.dir[{i}]"), Some(value), problems);
        let host = required(&mut entry, "host", NAME_ALLOWED, check_name);
        let guest = required(&mut entry, "guest", "an absolute path without `.` and `..`", check_guest_path);
        choice(&mut entry, "mode", "ro", &["ro"], &["rw"]);
        if let Some(other) = guest.as_deref().and_then(|guest| grants.iter().position(|grant| grant.guest == guest)) {
            entry.refuse("guest", format!("is the guest path of grants.dir[{other}] as well"), "a path of its own");
        }
        entry.finish();
        if let (Some(host), Some(guest)) = (host, guest) {
            grants.push(DirGrant { host, guest });
        }
    }
    grants
}

fn read_execution(value: Option<Value>, problems: &mut Vec<Problem>) -> (Mode, OnDisconnect, bool) {
    let mut section = Section::open("execution", value, problems);
    choice(&mut section, "mode", "at_least_once", &["at_least_once"], &["at_most_once"]);
    choice(&mut section, "on_disconnect", "keep", &["keep"], &["stop"]);
    if section.boolean("fenced") == Some(true) {
        section.refuse_unsupported("fenced", "fencing", "false");
    }
    section.finish();
    (Mode::AtLeastOnce, OnDisconnect::Keep, false)
}

fn read_retry(value: Option<Value>, problems: &mut Vec<Problem>) -> Retry {
    let mut section = Section::open("retry", value, problems);
    let default = default_retry();
    let attempts = narrow(section.quantity("attempts", NUMBER, limits::ATTEMPTS)).unwrap_or(default.attempts);
    let backoff = section.string("backoff");
    let (backoff_min_ms, backoff_max_ms) = match backoff.as_deref().map(parse_backoff) {
        None => (default.backoff_min_ms, default.backoff_max_ms),
        Some(Ok(range)) => range,
        Some(Err(reason)) => {
            section.refuse("backoff", reason, "MIN..MAX, each 10ms to 1h, MIN at most MAX, such as `1s..30s`");
            (default.backoff_min_ms, default.backoff_max_ms)
        }
    };
    section.finish();
    Retry { attempts, backoff_min_ms, backoff_max_ms }
}

fn parse_backoff(text: &str) -> Result<(u64, u64), String> {
    let (low, high) = text.split_once("..").ok_or_else(|| format!("`{}` is not a range", text.escape_debug()))?;
    let low = units::parse_duration_ms(low).map_err(|error| error.to_string())?;
    let high = units::parse_duration_ms(high).map_err(|error| error.to_string())?;
    let inside = |range: &RangeInclusive<u64>| range.contains(&low) && range.contains(&high);
    if low > high || !inside(&limits::BACKOFF_MS) {
        return Err(format!("`{}` is out of range", text.escape_debug()));
    }
    Ok((low, high))
}

fn read_placement(value: Option<Value>, problems: &mut Vec<Problem>) -> Vec<Constraint> {
    let mut section = Section::open("placement", value, problems);
    let mut constraints = Vec::new();
    for (i, text) in section.strings("constraints", limits::CONSTRAINTS_MAX).iter().enumerate() {
        match parse_equality(text) {
            Some((attribute, value)) => {
                constraints.push(Constraint { attribute: attribute.to_owned(), value: value.to_owned() });
            }
            None => section.refuse_unsupported(
                &format!("constraints[{i}]"),
                &format!("the constraint `{}`", text.escape_debug()),
                "ATTRIBUTE == VALUE",
            ),
        }
    }
    if section.take("spread").is_some() {
        section.refuse_unsupported("spread", "spreading", "no `placement.spread`");
    }
    section.finish();
    constraints
}

fn required(
    section: &mut Section<'_>,
    key: &'static str,
    allowed: &str,
    check: fn(&str) -> Result<(), String>,
) -> Option<String> {
    let value = section.take(key);
    let Some(Value::String(text)) = value else {
        section.refuse(key, if value.is_some() { "is not a string" } else { "is missing" }, allowed);
        return None;
    };
    match check(&text) {
        Ok(()) => Some(text),
        Err(reason) => {
            section.refuse(key, reason, allowed);
            None
        }
    }
}

/// Checks a keyword; what belongs to the format but not to this version is told apart from what is simply wrong.
fn choice(section: &mut Section<'_>, key: &'static str, default: &'static str, supported: &[&str], later: &[&str]) {
    let text = section.string(key).unwrap_or_else(|| default.to_owned());
    if supported.contains(&text.as_str()) {
        return;
    }
    let allowed = supported.join(", ");
    if later.contains(&text.as_str()) {
        section.refuse_unsupported(key, &format!("`{text}`"), &allowed);
    } else {
        section.refuse(key, format!("`{}` is not known", text.escape_debug()), allowed);
    }
}

/// Narrows a quantity whose range was checked already.
fn narrow<T: TryFrom<u64>>(value: Option<u64>) -> Option<T> {
    value.and_then(|value| T::try_from(value).ok())
}

fn default_resources() -> Resources {
    Resources {
        cpu_milli: defaults::CPU_MILLI,
        memory_bytes: defaults::MEMORY_BYTES,
        fuel: defaults::FUEL,
        timeout_ms: defaults::TIMEOUT_MS,
        output_bytes: defaults::OUTPUT_BYTES,
    }
}

fn default_retry() -> Retry {
    let (backoff_min_ms, backoff_max_ms) = defaults::BACKOFF_MS;
    Retry { attempts: defaults::ATTEMPTS, backoff_min_ms, backoff_max_ms }
}
