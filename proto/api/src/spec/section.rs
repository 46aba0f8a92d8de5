//! One table of a spec, read key by key; every problem is kept and what was not asked for is unknown.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use serde_json::{Map, Value};

use super::{Kind, error::Problem};
use crate::{nearest::nearest, units};

/// A table with its path.
pub(super) struct Section<'a> {
    path: String,
    map: Map<String, Value>,
    known: Vec<&'static str>,
    problems: &'a mut Vec<Problem>,
}

/// How the unit of a quantity is read and written.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    pub(super) parse: fn(&str) -> Result<u64, units::Error>,
    pub(super) format: fn(u64) -> String,
    /// Whether a number without quotes is meant as well.
    pub(super) bare: bool,
}

impl<'a> Section<'a> {
    /// Opens the table at `path`; anything else than a table is a problem and reads as an empty one.
    pub(super) fn open(path: &str, value: Option<Value>, problems: &'a mut Vec<Problem>) -> Self {
        let map = match value {
            None => Map::new(),
            Some(Value::Object(map)) => map,
            Some(other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_))) => {
                problems.push(Problem::new(path, format!("is {}", type_name(&other)), Some("a table".to_owned())));
                Map::new()
            }
        };
        Self { path: path.to_owned(), map, known: Vec::new(), problems }
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn refuse(&mut self, key: &str, reason: impl Into<String>, allowed: impl Into<String>) {
        let path = self.path_of(key);
        self.problems.push(Problem::new(path, reason, Some(allowed.into())));
    }

    /// The list that problems go to, for a table inside this one.
    pub(super) fn problems(&mut self) -> &mut Vec<Problem> {
        self.problems
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    pub(super) fn is_text(&self, key: &str, text: &str) -> bool {
        self.map.get(key).and_then(Value::as_str) == Some(text)
    }

    /// Whether a key means something for this kind of job; where it does not, it is refused if it is there. A kind that
    /// could not be read refuses nothing.
    pub(super) fn applies(&mut self, key: &'static str, kind: Option<Kind>, kinds: &[Kind]) -> bool {
        let Some(kind) = kind.filter(|kind| !kinds.contains(kind)) else {
            return true;
        };
        if self.take(key).is_some() {
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
            self.refuse(key, format!("does not apply to a {kind} job"), format!("only for {} jobs", kinds.join(", ")));
        }
        false
    }

    /// Takes a value out; what is left at the end is unknown. A JSON null counts as not written.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.map.remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn string(&mut self, key: &'static str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                self.refuse(key, format!("is {}", type_name(&other)), "a string");
                None
            }
        }
    }

    /// One of a closed set of words.
    pub(super) fn word<T>(&mut self, key: &'static str, all: &[T]) -> Option<T>
    where
        T: Copy + Display + FromStr,
    {
        let text = self.string(key)?;
        if let Ok(word) = text.parse() {
            return Some(word);
        }
        let words: Vec<String> = all.iter().map(ToString::to_string).collect();
        let hint = match nearest(&text, words.iter().map(String::as_str)) {
            Some(word) => format!("; did you mean `{word}`?"),
            None => String::new(),
        };
        self.refuse(key, format!("`{}` is not known{hint}", text.escape_debug()), words.join(", "));
        None
    }

    /// A text that passes a check.
    pub(super) fn checked(
        &mut self,
        key: &'static str,
        allowed: &str,
        check: fn(&str) -> Result<(), String>,
    ) -> Option<String> {
        let text = match self.take(key)? {
            Value::String(text) => text,
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                self.refuse(key, format!("is {}", type_name(&other)), allowed);
                return None;
            }
        };
        match check(&text) {
            Ok(()) => Some(text),
            Err(reason) => {
                self.refuse(key, reason, allowed);
                None
            }
        }
    }

    /// A text that has to be there and pass a check.
    pub(super) fn required(
        &mut self,
        key: &'static str,
        allowed: &str,
        check: fn(&str) -> Result<(), String>,
    ) -> Option<String> {
        if !self.has(key) {
            self.take(key);
            self.refuse(key, "is missing", allowed);
            return None;
        }
        self.checked(key, allowed, check)
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        match self.take(key)? {
            Value::Bool(value) => Some(value),
            other @ (Value::Null | Value::String(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                self.refuse(key, format!("is {}", type_name(&other)), "true or false");
                None
            }
        }
    }

    pub(super) fn array(&mut self, key: &'static str, len_max: usize) -> Vec<Value> {
        match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(values)) if values.len() <= len_max => values,
            Some(Value::Array(values)) => {
                self.refuse(key, format!("has {} entries", values.len()), format!("at most {len_max}"));
                Vec::new()
            }
            Some(other @ (Value::Null | Value::Bool(_) | Value::String(_) | Value::Number(_) | Value::Object(_))) => {
                self.refuse(key, format!("is {}", type_name(&other)), "an array");
                Vec::new()
            }
        }
    }

    pub(super) fn strings(&mut self, key: &'static str, len_max: usize) -> Vec<String> {
        let values = self.array(key, len_max);
        let mut strings = Vec::with_capacity(values.len());
        for (i, value) in values.into_iter().enumerate() {
            match value {
                Value::String(text) => strings.push(text),
                other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                    self.refuse(&format!("{key}[{i}]"), format!("is {}", type_name(&other)), "a string");
                }
            }
        }
        strings
    }

    /// A quantity in its range, as text with a unit or, where the unit allows it, as a number.
    pub(super) fn quantity(&mut self, key: &'static str, unit: Unit, range: RangeInclusive<u64>) -> Option<u64> {
        let allowed = format!("{} to {}", (unit.format)(*range.start()), (unit.format)(*range.end()));
        let (text, parsed) = match self.take(key)? {
            Value::String(text) => ((unit.parse)(&text), text),
            Value::Number(number) if unit.bare => ((unit.parse)(&number_text(&number)), number.to_string()),
            Value::Number(number) => {
                self.refuse(key, format!("the number {number} has no unit"), format!("{allowed}, as a string"));
                return None;
            }
            other @ (Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                self.refuse(key, format!("is {}", type_name(&other)), allowed);
                return None;
            }
        };
        match text {
            Ok(value) if range.contains(&value) => Some(value),
            Ok(_) => {
                self.refuse(key, format!("{parsed} is out of range"), allowed);
                None
            }
            Err(error) => {
                self.refuse(key, error.to_string(), allowed);
                None
            }
        }
    }

    /// Ends the table: every key that nobody asked for is a problem.
    pub(super) fn finish(self) {
        for key in self.map.keys() {
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            let reason = match nearest(key, self.known.iter().copied()) {
                Some(known) => format!("unknown key; did you mean `{known}`?"),
                None => "unknown key".to_owned(),
            };
            self.problems.push(Problem::new(path, reason, Some(self.known.join(", "))));
        }
    }
}

/// A unit for whole numbers without a unit.
pub(super) const NUMBER: Unit = Unit { parse: units::parse_count, format: plain, bare: true };
/// A unit for sizes.
pub(super) const SIZE: Unit = Unit { parse: units::parse_size, format: units::format_size, bare: false };
/// A unit for durations.
pub(super) const DURATION: Unit =
    Unit { parse: units::parse_duration_ms, format: units::format_duration_ms, bare: false };
/// A unit for CPU rates.
pub(super) const CPU: Unit = Unit { parse: cpu, format: cpu_text, bare: true };

fn plain(value: u64) -> String {
    value.to_string()
}

fn cpu(text: &str) -> Result<u64, units::Error> {
    units::parse_cpu_milli(text).map(u64::from)
}

fn cpu_text(milli: u64) -> String {
    let text = format!("{}.{:03}", milli / 1_000, milli % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// TOML has no exponent for integers, so `10e9` arrives as a float.
fn number_text(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(float) if !number.is_u64() && !number.is_i64() => format!("{float}"),
        Some(_) | None => number.to_string(),
    }
}

pub(super) fn type_name(value: &Value) -> impl Display + use<> {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "a table",
    }
}
