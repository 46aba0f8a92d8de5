//! What differs between two specs.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Document;

/// One key of a spec with another value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// The path of the key, such as `job.count`.
    pub path: String,
    /// The older value; null where there was none.
    #[serde(default)]
    pub from: Value,
    /// The newer value; null where there is none.
    #[serde(default)]
    pub to: Value,
}

impl Document {
    /// All keys of the spec, as changes from nothing.
    #[must_use]
    pub fn all(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        leaves("", &serde_json::to_value(self).unwrap_or_default(), &mut changes);
        changes
    }

    /// The keys in which a newer spec differs from this one, by path.
    #[must_use]
    pub fn changes(&self, newer: &Self) -> Vec<Change> {
        // A document is strings, numbers and tables of them, which always become JSON.
        let [from, to] = [self, newer].map(|document| serde_json::to_value(document).unwrap_or_default());
        let mut changes = Vec::new();
        compare("", &from, &to, &mut changes);
        changes
    }
}

fn compare(path: &str, from: &Value, to: &Value, changes: &mut Vec<Change>) {
    let (Value::Object(older), Value::Object(newer)) = (from, to) else {
        if from != to {
            changes.push(Change { path: path.to_owned(), from: from.clone(), to: to.clone() });
        }
        return;
    };
    let mut keys: Vec<&String> = older.keys().chain(newer.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let [from, to] = [older, newer].map(|table| table.get(key).unwrap_or(&Value::Null));
        compare(&path, from, to, changes);
    }
}

fn leaves(path: &str, value: &Value, changes: &mut Vec<Change>) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(&path, value, changes);
            }
        }
        Value::Array(items) if items.is_empty() => {}
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            changes.push(Change { path: path.to_owned(), from: Value::Null, to: value.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::JobSpec;

    #[test]
    fn changes_are_named_by_their_path() {
        let document = |extra: &str| {
            let text = format!("[job]\nname = \"j\"\nmodule = \"m.wasm\"\n{extra}");
            JobSpec::from_toml(&text).unwrap().to_document()
        };
        let (older, newer) = (document("env = { A = \"1\" }"), document("count = 3\nenv = { B = \"2\" }"));
        let changes: Vec<(String, Value, Value)> =
            older.changes(&newer).into_iter().map(|change| (change.path, change.from, change.to)).collect();
        let expected = [
            ("job.count".to_owned(), json!(1), json!(3)),
            ("job.env.A".to_owned(), json!("1"), Value::Null),
            ("job.env.B".to_owned(), Value::Null, json!("2")),
        ];
        assert_eq!(changes, expected);
        assert_eq!(older.changes(&older), []);
        let all = older.all();
        assert!(all.iter().all(|change| change.from.is_null()), "{all:?}");
        assert!(all.iter().any(|change| change.path == "job.env.A" && change.to == "1"), "{all:?}");
    }
}
