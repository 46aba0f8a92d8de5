//! From what a person names (a module, a spec file, stdin) and flags to one validated spec.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use weir_api::{
    JobSpec,
    spec::{self, Invalid, ModuleRef},
};
use weir_wire::limits::MODULE_LEN_MAX;

use crate::{
    args::SpecArgs,
    exit::Exit,
    failure::{Failure, Result},
    input,
};

const WASM_MAGIC: &[u8; 4] = b"\0asm";

/// A validated spec with the module that it means.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) spec: JobSpec,
    pub(crate) module: ModuleSource,
}

/// Where the module's bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ModuleSource {
    /// Read already.
    Bytes(Vec<u8>),
    /// In the cluster.
    Stored,
}

/// Reads a source and lays the flags over it.
pub(crate) fn resolve(source: &str, flags: &SpecArgs) -> Result<Resolved> {
    let bytes = input::read(source, MODULE_LEN_MAX)?;
    if bytes.starts_with(WASM_MAGIC) || extension(source) == Some("wasm") {
        let path = if source == "-" { "module.wasm" } else { source };
        let mut value = json!({ "job": { "module": path } });
        if let Some(name) = name_from(source) {
            value["job"]["name"] = name.into();
        }
        overlay(&mut value, flags)?;
        let spec = JobSpec::from_value(&value)?;
        return Ok(Resolved { spec, module: ModuleSource::Bytes(bytes) });
    }
    let mut value = parse(&bytes)?;
    overlay(&mut value, flags)?;
    let spec = JobSpec::from_value(&value)?;
    let module = match &spec.module {
        ModuleRef::Digest(_) => ModuleSource::Stored,
        ModuleRef::Path(path) => {
            let path = beside(source, path);
            let name = path.to_str().ok_or_else(|| Failure::usage("job.module: the path is not UTF-8"))?;
            ModuleSource::Bytes(input::read(name, MODULE_LEN_MAX)?)
        }
    };
    Ok(Resolved { spec, module })
}

/// Reads a spec in either syntax; JSON starts with a brace, which TOML cannot.
fn parse(bytes: &[u8]) -> Result<Value> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        Failure::new(
            Exit::Invalid,
            "neither a Wasm module (it does not start with \\0asm) nor a job spec (it is not text)",
        )
    })?;
    if bytes.len() > spec::limits::SPEC_BYTES_MAX {
        return Err(Failure::new(Exit::Invalid, format!("the spec has {} bytes, more than 256KiB", bytes.len())));
    }
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text)
            .map_err(|error| Failure::new(Exit::Invalid, format!("not a job spec in JSON: {error}")));
    }
    spec::value_from_toml(text).map_err(|invalid: Invalid| {
        if invalid.problems.iter().any(|problem| !problem.path.is_empty()) {
            return invalid.into();
        }
        Failure::new(Exit::Invalid, format!("not a job spec in TOML: {invalid}"))
            .hint("a job spec starts with [job]; a Wasm module starts with \\0asm")
    })
}

fn extension(source: &str) -> Option<&str> {
    Path::new(source).extension().and_then(|extension| extension.to_str())
}

/// A path in a spec is relative to the spec's own directory; on stdin, to the working directory.
fn beside(source: &str, path: &str) -> PathBuf {
    match Path::new(source).parent() {
        Some(parent) if source != "-" => parent.join(path),
        Some(_) | None => PathBuf::from(path),
    }
}

/// `Word Count.wasm` → `word-count`.
pub(crate) fn name_from(source: &str) -> Option<String> {
    let stem = Path::new(source).file_stem()?.to_str().filter(|_| source != "-")?;
    let name: String = stem
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .take(spec::limits::NAME_LEN_MAX)
        .collect();
    let name = name.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    (!name.is_empty()).then(|| name.to_owned())
}

/// Sets the fields that flags name; the values are checked with the rest of the spec.
fn overlay(value: &mut Value, flags: &SpecArgs) -> Result<()> {
    overlay_texts(value, flags)?;
    overlay_lists(value, flags)
}

fn overlay_texts(value: &mut Value, flags: &SpecArgs) -> Result<()> {
    let cron = flags.schedule.as_ref().map(|_| "cron".to_owned());
    let texts = [
        ("job", "name", &flags.name),
        ("job", "kind", &cron),
        ("job", "kind", &flags.kind),
        ("job", "count", &flags.count),
        ("job", "max_running", &flags.max_running),
        ("job", "max_failed", &flags.max_failed),
        ("job", "start_deadline", &flags.start_deadline),
        ("job", "input_from", &flags.input_from),
        ("job", "priority", &flags.priority),
        ("job", "tier", &flags.tier),
        ("resources", "cpu", &flags.cpu),
        ("resources", "memory", &flags.memory),
        ("resources", "fuel", &flags.fuel),
        ("resources", "timeout", &flags.timeout),
        ("resources", "output", &flags.output_limit),
        ("resources", "scratch", &flags.scratch),
        ("retry", "backoff", &flags.backoff),
        ("cron", "schedule", &flags.schedule),
        ("cron", "time_zone", &flags.tz),
        ("cron", "overlap", &flags.overlap),
        ("update", "healthy_after", &flags.healthy_after),
        ("execution", "mode", &flags.mode),
        ("placement", "spread", &flags.spread),
        ("placement", "max_per_node", &flags.max_per_node),
        ("placement", "pool", &flags.pool),
    ];
    for (section, key, text) in texts {
        if let Some(text) = text {
            set(value, section, key, text.as_str().into())?;
        }
    }
    if flags.deterministic {
        set(value, "execution", "deterministic", true.into())?;
    }
    if let Some(retries) = flags.retries {
        set(value, "retry", "attempts", (u64::from(retries) + 1).into())?;
    }
    Ok(())
}

fn overlay_lists(value: &mut Value, flags: &SpecArgs) -> Result<()> {
    if !flags.arg.is_empty() {
        set(value, "job", "args", json!(flags.arg))?;
    }
    for pair in &flags.env {
        let (name, text) = split(pair, '=', "--env NAME=VALUE")?;
        section(section(value, "job")?, "env")?
            .as_object_mut()
            .expect("a section")
            .insert(name.to_owned(), text.into());
    }
    for grant in &flags.grant {
        let (kind, entry) = parse_grant(grant)?;
        push(section(value, "grants")?, kind, entry)?;
    }
    for constraint in &flags.constraint {
        push(section(value, "placement")?, "constraints", constraint.as_str().into())?;
    }
    for affinity in &flags.affinity {
        push(section(value, "placement")?, "affinities", affinity.as_str().into())?;
    }
    for after in &flags.after {
        let entry = match after.split_once(':') {
            None => after.as_str().into(),
            Some((job, when)) => json!({ "job": job, "when": when }),
        };
        push(section(value, "job")?, "after", entry)?;
    }
    Ok(())
}

/// `dir:NAME:GUEST[:MODE]` or `net:HOST:PORT`; an IPv6 address may stand in brackets.
fn parse_grant(grant: &str) -> Result<(&'static str, Value)> {
    let malformed = || Failure::usage(format!("--grant {grant}: write dir:NAME:GUEST[:ro|:rw] or net:HOST:PORT"));
    if let Some(to) = grant.strip_prefix("net:") {
        let (host, port) = to.rsplit_once(':').ok_or_else(malformed)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port: u64 = port.parse().map_err(|_| malformed())?;
        return Ok(("net", json!({ "host": host, "port": port })));
    }
    let parts: Vec<&str> = grant.split(':').collect();
    match parts.as_slice() {
        ["dir", host, guest] => Ok(("dir", json!({ "host": host, "guest": guest }))),
        ["dir", host, guest, mode] => Ok(("dir", json!({ "host": host, "guest": guest, "mode": mode }))),
        _ => Err(malformed()),
    }
}

fn split<'a>(text: &'a str, separator: char, form: &str) -> Result<(&'a str, &'a str)> {
    text.split_once(separator).ok_or_else(|| Failure::usage(format!("`{text}` has no `{separator}`: write {form}")))
}

fn set(value: &mut Value, in_section: &str, key: &str, field: Value) -> Result<()> {
    let section = section(value, in_section)?;
    section.as_object_mut().expect("a section").insert(key.to_owned(), field);
    Ok(())
}

fn push(section: &mut Value, key: &str, entry: Value) -> Result<()> {
    let list = section.as_object_mut().expect("a section").entry(key).or_insert_with(|| json!([]));
    match list {
        Value::Array(entries) => {
            entries.push(entry);
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Err(Failure::new(Exit::Invalid, format!("`{key}` of the spec is not an array")))
        }
    }
}

/// The table `key`, made if it is missing.
fn section<'a>(value: &'a mut Value, key: &str) -> Result<&'a mut Value> {
    let wrong = || Failure::new(Exit::Invalid, format!("`{key}` of the spec is not a table"));
    let table = value.as_object_mut().ok_or_else(wrong)?.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if table.is_object() { Ok(table) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests;
