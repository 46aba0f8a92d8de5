//! Constraints as they are written in a job spec: `zone == a`, `arch in [x86_64, aarch64]`, `gpu exists`.

use weir_wire::{
    limits::CONSTRAINT_VALUES_MAX,
    placement::{Comparison, Constraint, Operator},
};

/// Operators that stand between attribute and value; longer ones before their beginnings.
const BINARY: [(&str, Operator); 4] =
    [("==", Operator::Equal), ("!=", Operator::NotEqual), ("=~", Operator::Matches), ("matches", Operator::Matches)];

const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

/// Reads one constraint.
pub(super) fn parse(text: &str) -> Result<Constraint, String> {
    let wrong = || {
        format!(
            "constraint {text:?} is none of: A == V, A != V, A in [V, W], A not in [V, W], A matches REGEX, \
             A version >= V, A exists, A not exists"
        )
    };
    let (attribute, rest) = text.trim().split_once(char::is_whitespace).ok_or_else(wrong)?;
    let rest = rest.trim();
    let (operator, values) = condition(rest).ok_or_else(wrong)?;
    if values.len() > CONSTRAINT_VALUES_MAX {
        return Err(format!("constraint {text:?} has more than {CONSTRAINT_VALUES_MAX} values"));
    }
    if values.iter().any(String::is_empty) {
        return Err(wrong());
    }
    Ok(Constraint { attribute: attribute.to_owned(), operator, values })
}

fn condition(rest: &str) -> Option<(Operator, Vec<String>)> {
    match rest {
        "exists" => return Some((Operator::Exists, Vec::new())),
        "not exists" => return Some((Operator::NotExists, Vec::new())),
        _ => {}
    }
    if let Some(list) = rest.strip_prefix("not in") {
        return Some((Operator::NotIn, values(list)?));
    }
    if let Some(list) = rest.strip_prefix("in") {
        return Some((Operator::In, values(list)?));
    }
    if let Some(version) = rest.strip_prefix("version") {
        let version = version.trim();
        let (sign, comparison) = COMPARISONS.iter().find(|(sign, _)| version.starts_with(sign))?;
        return Some((Operator::Version(*comparison), vec![version[sign.len()..].trim().to_owned()]));
    }
    let (sign, operator) = BINARY.iter().find(|(sign, _)| rest.starts_with(sign))?;
    Some((*operator, vec![rest[sign.len()..].trim().to_owned()]))
}

/// The values of a list in brackets.
fn values(list: &str) -> Option<Vec<String>> {
    let inner = list.trim().strip_prefix('[')?.strip_suffix(']')?;
    Some(inner.split(',').map(|value| value.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_are_read_or_refused() {
        for (text, expected) in [
            ("zone == a", Some((Operator::Equal, vec!["a"]))),
            ("zone != a", Some((Operator::NotEqual, vec!["a"]))),
            ("zone in [a, b]", Some((Operator::In, vec!["a", "b"]))),
            ("zone not in [a]", Some((Operator::NotIn, vec!["a"]))),
            ("name matches ^web-", Some((Operator::Matches, vec!["^web-"]))),
            ("os version >= 5.10", Some((Operator::Version(Comparison::GreaterOrEqual), vec!["5.10"]))),
            ("gpu exists", Some((Operator::Exists, vec![]))),
            ("gpu not exists", Some((Operator::NotExists, vec![]))),
            ("zone", None),
            ("zone =", None),
            ("zone == ", None),
            ("zone in a, b", None),
            ("zone in [a,,b]", None),
            ("os version 5", None),
        ] {
            let found = parse(text).ok().map(|constraint| (constraint.operator, constraint.values));
            let expected =
                expected.map(|(operator, values)| (operator, values.into_iter().map(String::from).collect()));
            assert_eq!(found, expected, "{text}");
        }
    }
}
