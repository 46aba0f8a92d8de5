//! JSON as YAML, in the subset that every reader agrees on.

use serde_json::Value;

/// Writes a value as a YAML document.
pub(crate) fn render(value: &Value) -> String {
    let mut text = String::new();
    block(value, 0, false, &mut text);
    text
}

/// Writes a value as a block; `inline` when it starts on a line that has its indentation already.
fn block(value: &Value, indent: usize, inline: bool, text: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (i, (name, field)) in fields.iter().enumerate() {
                if i > 0 || !inline {
                    text.push_str(&" ".repeat(indent));
                }
                text.push_str(&scalar_text(name));
                text.push(':');
                nested(field, indent, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 || !inline {
                    text.push_str(&" ".repeat(indent));
                }
                text.push_str("- ");
                block(item, indent + 2, true, text);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            text.push_str(&scalar(value));
            text.push('\n');
        }
    }
}

fn nested(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            block(value, indent + 2, false, text);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            block(value, indent, false, text);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            text.push(' ');
            text.push_str(&scalar(value));
            text.push('\n');
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => scalar_text(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Plain where no reader can take it for anything else, quoted as in JSON otherwise.
fn scalar_text(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '_'));
    let rest = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '@' | '+'));
    // A colon is plain only where no space or end follows it, as in a digest.
    let digest = text.strip_prefix("sha256:").is_some_and(|hex| hex.bytes().all(|c| c.is_ascii_hexdigit()));
    if (first && rest && !WORDS.contains(&text.to_ascii_lowercase().as_str())) || (digest && text.len() > 7) {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::render;

    #[test]
    fn values_are_written_unambiguously() {
        let value = json!({
            "a": { "b": [1, "x", { "c": null, "d": [] }], "e": {} },
            "text": ["no", "1s..30s", "a: b", "", "line\nbreak", "#x", "plain-text"],
            "nested": [[1, 2], [3]],
        });
        let expected = "\
a:
  b:
  - 1
  - x
  - c: null
    d: []
  e: {}
nested:
- - 1
  - 2
- - 3
text:
- \"no\"
- \"1s..30s\"
- \"a: b\"
- \"\"
- \"line\\nbreak\"
- \"#x\"
- plain-text
";
        assert_eq!(render(&value), expected);
        assert_eq!(render(&json!("x y")), "\"x y\"\n");
    }
}
