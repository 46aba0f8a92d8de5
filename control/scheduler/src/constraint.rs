//! Conditions on nodes, compiled once per class.

use alloc::{string::String, vec::Vec};

use regex::bytes::{Regex, RegexBuilder};
use weir_wire::placement::{Comparison, Constraint, Operator};

use crate::limits::{PATTERN_PROGRAM_BYTES_MAX, VERSION_NUMBERS_MAX};

/// What is asked of the value of an attribute.
#[derive(Debug)]
pub(crate) enum Test {
    Equal(String),
    NotEqual(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    /// `None` for a pattern that cannot be compiled: it matches nothing.
    Matches(Option<Regex>),
    /// `None` for what is no version: it compares with nothing.
    Version(Comparison, Option<Version>),
    Exists,
    NotExists,
}

impl Test {
    /// Prepares a condition; whatever is wrong with it makes it hold nowhere.
    pub(crate) fn new(constraint: &Constraint) -> Self {
        let first = || constraint.values.first().cloned().unwrap_or_default();
        match constraint.operator {
            Operator::Equal => Self::Equal(first()),
            Operator::NotEqual => Self::NotEqual(first()),
            Operator::In => Self::In(constraint.values.clone()),
            Operator::NotIn => Self::NotIn(constraint.values.clone()),
            Operator::Matches => Self::Matches(pattern(&first())),
            Operator::Version(comparison) => Self::Version(comparison, Version::parse(&first())),
            Operator::Exists => Self::Exists,
            Operator::NotExists => Self::NotExists,
        }
    }

    /// Whether a node with this value, or without the attribute, meets the condition.
    pub(crate) fn holds(&self, value: Option<&str>) -> bool {
        let Some(value) = value else {
            return matches!(self, Self::NotEqual(_) | Self::NotIn(_) | Self::NotExists);
        };
        match self {
            Self::Equal(wanted) => wanted == value,
            Self::NotEqual(unwanted) => unwanted != value,
            Self::In(wanted) => wanted.iter().any(|wanted| wanted == value),
            Self::NotIn(unwanted) => unwanted.iter().all(|unwanted| unwanted != value),
            Self::Matches(pattern) => pattern.as_ref().is_some_and(|pattern| pattern.is_match(value.as_bytes())),
            Self::Version(comparison, wanted) => match (Version::parse(value), wanted) {
                (Some(version), Some(wanted)) => compares(*comparison, &version, wanted),
                (None, _) | (_, None) => false,
            },
            Self::Exists => true,
            Self::NotExists => false,
        }
    }
}

/// Compiles a pattern as the API does: bytes, no Unicode classes, of bounded size.
fn pattern(text: &str) -> Option<Regex> {
    RegexBuilder::new(text).unicode(false).size_limit(PATTERN_PROGRAM_BYTES_MAX).build().ok()
}

/// Dotted numbers behind an optional `v`; whatever follows is ignored, and missing numbers are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version([u64; VERSION_NUMBERS_MAX]);

impl Version {
    /// The version at the start of a text; `None` if there is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix('v').unwrap_or(text);
        let mut numbers = [0; VERSION_NUMBERS_MAX];
        for (at, number) in numbers.iter_mut().enumerate() {
            let len = rest.bytes().take_while(u8::is_ascii_digit).count();
            if len == 0 {
                // A dot that no number follows belongs to the suffix.
                return (at > 0).then_some(Self(numbers));
            }
            *number = rest[..len].parse().ok()?;
            match rest[len..].strip_prefix('.') {
                Some(next) => rest = next,
                None => break,
            }
        }
        Some(Self(numbers))
    }
}

fn compares(comparison: Comparison, one: &Version, other: &Version) -> bool {
    match comparison {
        Comparison::Equal => one == other,
        Comparison::NotEqual => one != other,
        Comparison::Less => one < other,
        Comparison::LessOrEqual => one <= other,
        Comparison::Greater => one > other,
        Comparison::GreaterOrEqual => one >= other,
    }
}

/// A condition as people write it.
pub(crate) fn display(constraint: &Constraint) -> String {
    use alloc::format;
    let Constraint { attribute, operator, values } = constraint;
    let first = values.first().map_or("", String::as_str);
    match operator {
        Operator::Equal => format!("{attribute} == {first}"),
        Operator::NotEqual => format!("{attribute} != {first}"),
        Operator::In => format!("{attribute} in [{}]", values.join(", ")),
        Operator::NotIn => format!("{attribute} not in [{}]", values.join(", ")),
        Operator::Matches => format!("{attribute} matches \"{first}\""),
        Operator::Version(comparison) => format!("{attribute} version {} {first}", symbol(*comparison)),
        Operator::Exists => format!("{attribute} exists"),
        Operator::NotExists => format!("{attribute} not exists"),
    }
}

const fn symbol(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "==",
        Comparison::NotEqual => "!=",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn test(operator: Operator, values: &[&str]) -> Test {
        let values = values.iter().map(ToString::to_string).collect();
        Test::new(&Constraint { attribute: "a".to_string(), operator, values })
    }

    #[test]
    fn operators_hold_where_they_should() {
        use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        use Operator::{Exists, In, Matches, NotExists, NotIn, Version};
        let cases: [(Operator, &[&str], Option<&str>, bool); 34] = [
            (Operator::Equal, &["x"], Some("x"), true),
            (Operator::Equal, &["x"], Some("y"), false),
            (Operator::Equal, &["x"], None, false),
            (Operator::NotEqual, &["x"], Some("x"), false),
            (Operator::NotEqual, &["x"], Some("y"), true),
            (Operator::NotEqual, &["x"], None, true),
            (In, &["x", "y"], Some("y"), true),
            (In, &["x", "y"], Some("z"), false),
            (In, &["x"], None, false),
            (NotIn, &["x", "y"], Some("y"), false),
            (NotIn, &["x", "y"], Some("z"), true),
            (NotIn, &["x"], None, true),
            (Exists, &[], Some(""), true),
            (Exists, &[], None, false),
            (NotExists, &[], Some(""), false),
            (NotExists, &[], None, true),
            (Matches, &["^a+\\d$"], Some("aa7"), true),
            (Matches, &["^a+\\d$"], Some("aa"), false),
            (Matches, &["b"], Some("abc"), true),
            (Matches, &["("], Some("("), false),
            (Matches, &["b"], None, false),
            (Matches, &["a{1000}{1000}{1000}"], Some("a"), false),
            (Version(Equal), &["6.1"], Some("v6.1.0-13-amd64"), true),
            (Version(NotEqual), &["6.1"], Some("6.1.0"), false),
            (Version(NotEqual), &["6.1"], Some("none"), false),
            (Version(Less), &["6.10"], Some("6.9"), true),
            (Version(LessOrEqual), &["6.10"], Some("6.10"), true),
            (Version(Greater), &["6.9"], Some("6.10"), true),
            (Version(Greater), &["6.9"], Some("6.9"), false),
            (Version(GreaterOrEqual), &["6.1"], Some("6"), false),
            (Version(GreaterOrEqual), &["x"], Some("6"), false),
            (Version(GreaterOrEqual), &["1"], None, false),
            (Version(Equal), &["1"], Some("99999999999999999999"), false),
            (Version(Equal), &["1.2."], Some("1.2"), true),
        ];
        for (operator, values, value, expected) in cases {
            assert_eq!(test(operator, values).holds(value), expected, "{operator:?} {values:?} on {value:?}");
        }
    }
}
