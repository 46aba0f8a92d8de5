//! The sections `execution` and `retry`, which constrain each other.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::narrow;
use crate::{
    spec::{
        DirGrant, Execution, Kind, Mode, NetGrant, OnDisconnect, Problem, Resources, Retry, defaults, limits,
        section::{NUMBER, Section},
    },
    units,
};

pub(super) fn read(value: Option<Value>, kind: Option<Kind>, problems: &mut Vec<Problem>) -> Execution {
    let mut section = Section::open("execution", value, problems);
    let mode = section.word("mode", Mode::ALL).unwrap_or(Mode::AtLeastOnce);
    let on_disconnect = section.word("on_disconnect", OnDisconnect::ALL);
    let fenced = section.boolean("fenced");
    let once = mode == Mode::AtMostOnce;
    if let Some(kind) = kind.filter(|kind| once && kind.restarts()) {
        let reason = format!("`{mode}` does not apply to a {kind} job, whose tasks are always started again");
        section.refuse("mode", reason, "at_least_once, with `fenced = true` where two copies must never run at once");
    }
    if once && fenced == Some(false) {
        section.refuse("fenced", "is false, but `at_most_once` is always fenced", "true");
    }
    let fenced = once || fenced == Some(true);
    if fenced && on_disconnect == Some(OnDisconnect::Keep) {
        section.refuse("on_disconnect", "`keep` would let a second copy of a fenced task run", "stop");
    }
    let deterministic = section.boolean("deterministic").unwrap_or(false);
    if let Some(kind) = kind.filter(|kind| deterministic && kind.restarts()) {
        let reason = format!("does not apply to a {kind} job, whose tasks are always started again");
        section.refuse("deterministic", reason, "false");
    }
    section.finish();
    let default = if fenced { OnDisconnect::Stop } else { OnDisconnect::Keep };
    Execution { mode, on_disconnect: on_disconnect.unwrap_or(default), fenced, deterministic }
}

/// Refuses what would let a guest see more than its inputs.
pub(super) fn check_deterministic(
    dirs: &[DirGrant],
    nets: &[NetGrant],
    resources: &Resources,
    problems: &mut Vec<Problem>,
) {
    const KEY: &str = "execution.deterministic";
    if let Some((at, dir)) = dirs.iter().enumerate().find(|(_, dir)| dir.writable) {
        let reason = format!("is true, but grants.dir[{at}] lets `{}` be changed, and so seen changed", dir.host);
        problems.push(Problem::new(KEY, reason, Some("directories with `mode = \"ro\"`".to_owned())));
    }
    if !nets.is_empty() {
        let reason = "is true, but grants.net[0] lets it hear from elsewhere";
        problems.push(Problem::new(KEY, reason, Some("no `grants.net`".to_owned())));
    }
    if resources.scratch_bytes > 0 {
        let reason = "is true, but files in a scratch directory have real times and numbers";
        problems.push(Problem::new(KEY, reason, Some("no `resources.scratch`".to_owned())));
    }
}

pub(super) fn read_retry(value: Option<Value>, kind: Option<Kind>, mode: Mode, problems: &mut Vec<Problem>) -> Retry {
    let mut section = Section::open("retry", value, problems);
    let attempts = read_attempts(&mut section, kind, mode);
    let backoff = section.string("backoff");
    let (backoff_min_ms, backoff_max_ms) = match backoff.as_deref().map(parse_backoff) {
        None => defaults::BACKOFF_MS,
        Some(Ok(range)) => range,
        Some(Err(reason)) => {
            section.refuse("backoff", reason, "MIN..MAX, each 10ms to 1h, MIN at most MAX, such as `1s..30s`");
            defaults::BACKOFF_MS
        }
    };
    section.finish();
    Retry { attempts, backoff_min_ms, backoff_max_ms }
}

fn read_attempts(section: &mut Section<'_>, kind: Option<Kind>, mode: Mode) -> Option<u32> {
    if !section.applies("attempts", kind, &[Kind::Batch, Kind::Cron, Kind::Function]) {
        return None;
    }
    let attempts = narrow(section.quantity("attempts", NUMBER, limits::ATTEMPTS));
    match (mode, attempts) {
        (Mode::AtLeastOnce, attempts) => Some(attempts.unwrap_or(defaults::ATTEMPTS)),
        (Mode::AtMostOnce, None | Some(1)) => Some(1),
        (Mode::AtMostOnce, Some(attempts)) => {
            section.refuse("attempts", format!("is {attempts}, but `at_most_once` has one attempt"), "1");
            Some(1)
        }
    }
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
