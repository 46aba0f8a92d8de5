//! The manual says what the code does.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{super::*, kinds::COMPLETE, toml};

const MANUAL: &str = include_str!("../../../../../docs/JOBS.md");

#[test]
fn its_examples_are_valid() {
    let examples: Vec<&str> = MANUAL.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() >= 3, "the manual has examples");
    for example in examples {
        JobSpec::from_toml(example).unwrap_or_else(|invalid| panic!("{invalid}\n{example}"));
    }
}

#[test]
fn it_names_every_key() {
    let mut keys = BTreeSet::new();
    for extra in COMPLETE {
        let spec =
            JobSpec::from_toml(&toml(&format!("{extra}\n[[grants.dir]]\nhost = \"c\"\nguest = \"/c\"\n"))).unwrap();
        collect(&serde_json::to_value(spec.to_document()).unwrap(), &mut keys);
    }
    assert!(keys.len() > 40, "{keys:?}");
    for key in &keys {
        let named = [format!("`{key}`"), format!("`[{key}]`"), format!("[grants.{key}]"), format!("{{ {key} = ")];
        let found = named.iter().any(|name| MANUAL.contains(name)) || MANUAL.contains(&format!(", {key} = "));
        assert!(found || key == "grants", "{key}");
    }
}

fn collect(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                keys.insert(key.clone());
                collect(value, keys);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, keys)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
