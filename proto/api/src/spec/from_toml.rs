//! From TOML values to JSON values, without a loss: JSON has no dates and would make `nan` a null, which counts as not
//! written.

use serde_json::{Map, Number, Value};
use toml::value::Datetime;

use super::{Invalid, Problem};

/// Translates a document; every value that JSON does not have is a problem.
pub(super) fn json(table: toml::Table) -> Result<Value, Invalid> {
    let mut problems = Vec::new();
    let value = json_table(table, "", &mut problems);
    if problems.is_empty() { Ok(value) } else { Err(Invalid { problems }) }
}

fn json_table(table: toml::Table, path: &str, problems: &mut Vec<Problem>) -> Value {
    let mut map = Map::new();
    for (key, value) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let value = json_value(value, &path, problems);
        map.insert(key, value);
    }
    Value::Object(map)
}

fn json_value(value: toml::Value, path: &str, problems: &mut Vec<Problem>) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::Number(number.into()),
        toml::Value::Boolean(value) => Value::Bool(value),
        toml::Value::Table(table) => json_table(table, path, problems),
        toml::Value::Array(values) => {
            let values = values.into_iter().enumerate();
            Value::Array(values.map(|(i, value)| json_value(value, &format!("{path}[{i}]"), problems)).collect())
        }
        toml::Value::Float(float) => match Number::from_f64(float) {
            Some(number) => Value::Number(number),
            None => refused(path, format!("is {float}").to_lowercase(), "a finite number", problems),
        },
        toml::Value::Datetime(when) => refused(path, date(&when), "a date is written as a string", problems),
    }
}

fn date(when: &Datetime) -> String {
    if when.date.is_some() { "is a date".to_owned() } else { "is a time of day".to_owned() }
}

/// The null stands for the value while the rest is read; nobody sees it.
fn refused(path: &str, reason: String, allowed: &str, problems: &mut Vec<Problem>) -> Value {
    problems.push(Problem::new(path, reason, Some(allowed.to_owned())));
    Value::Null
}
