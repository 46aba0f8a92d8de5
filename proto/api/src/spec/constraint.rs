//! Conditions on nodes, as people write them.
//!
//! A constraint is an attribute, an operator and values. A value stands bare or in double quotes; inside quotes
//! everything is literal up to the last quote (in a list: up to the next), so nothing is ever escaped.

use std::{fmt, str::FromStr};

use super::limits::{
    CONSTRAINT_VALUES_MAX, PATTERN_LEN_MAX, PATTERN_PROGRAM_BYTES_MAX, TEXT_LEN_MAX, VERSION_NUMBERS_MAX,
};

pub(super) const ALLOWED: &str = "ATTRIBUTE == VALUE, != VALUE, in [A, B], not in [A, B], matches \"REGEX\", \
    version >= 1.2 (or == != < <= >), exists, not exists";

/// A condition on a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Constraint {
    /// The attribute or label.
    pub attribute: String,
    /// What is asked of it.
    pub operator: Operator,
    /// One value; several for `in` and `not in`, none for `exists` and `not exists`.
    pub values: Vec<String>,
}

/// What a constraint asks of an attribute.
///
/// A node without the attribute meets `!=`, `not in` and `not exists`, and none of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// It is this text.
    Equal,
    /// It is not this text.
    NotEqual,
    /// It is one of these texts.
    In,
    /// It is none of these texts.
    NotIn,
    /// This regular expression finds something in it. Expressions are those of the `regex` crate with Unicode switched
    /// off: they are matched against bytes, and classes such as `\d` are those of ASCII. `^` and `$` anchor them.
    Matches,
    /// It is a version that compares so.
    Version(Comparison),
    /// The node has it.
    Exists,
    /// The node does not have it.
    NotExists,
}

/// How versions are compared.
///
/// A version is an optional `v` and one to eight whole numbers below 2^64 that are joined by dots; whatever follows (a
/// pre-release, a build, a distribution's suffix) is ignored. Numbers are compared from the left, and those that are
/// missing are 0, so `6.1`, `v6.1.0` and `6.1.0-13-amd64` are the same version. An attribute that does not start so is
/// no version and meets no comparison, `!=` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Comparison {
    /// The same version.
    Equal,
    /// Another version.
    NotEqual,
    /// An older one.
    Less,
    /// The same or an older one.
    LessOrEqual,
    /// A newer one.
    Greater,
    /// The same or a newer one.
    GreaterOrEqual,
}

/// Longer ones first, so that none is taken for the start of another.
const COMPARISONS: [(&str, Comparison); 7] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
    ("=", Comparison::Equal),
];

impl Comparison {
    /// The operator as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl FromStr for Constraint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.contains(|c: char| c.is_control()) {
            return Err("contains a control character".to_owned());
        }
        let end = text.find(|c| !is_of_attribute(c)).unwrap_or(text.len());
        let (attribute, rest) = text.split_at(end);
        check_attribute(attribute)?;
        let (operator, values) = condition(attribute, rest.trim_start())?;
        Ok(Self { attribute: attribute.to_owned(), operator, values })
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attribute)?;
        let first = self.values.first().map_or("", String::as_str);
        match self.operator {
            Operator::Equal => write!(f, " == {}", Value(first)),
            Operator::NotEqual => write!(f, " != {}", Value(first)),
            Operator::In => write!(f, " in {}", List(&self.values)),
            Operator::NotIn => write!(f, " not in {}", List(&self.values)),
            Operator::Matches => write!(f, " matches \"{first}\""),
            Operator::Version(comparison) => write!(f, " version {} {}", comparison.as_str(), Value(first)),
            Operator::Exists => f.write_str(" exists"),
            Operator::NotExists => f.write_str(" not exists"),
        }
    }
}

/// A value, in quotes where it needs them.
struct Value<'a>(&'a str);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '+' | '@');
        if !self.0.is_empty() && self.0.chars().all(bare) { f.write_str(self.0) } else { write!(f, "\"{}\"", self.0) }
    }
}

struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, value) in self.0.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "[" } else { ", " }, Value(value))?;
        }
        f.write_str("]")
    }
}

const fn is_of_attribute(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/')
}

/// Checks the name of an attribute.
pub(super) fn check_attribute(attribute: &str) -> Result<(), String> {
    if attribute.is_empty() || !attribute.chars().all(is_of_attribute) {
        return Err("does not start with an attribute (letters, digits, `-`, `_`, `.` and `/`)".to_owned());
    }
    if attribute.len() > TEXT_LEN_MAX {
        return Err(format!("the attribute has {} characters", attribute.len()));
    }
    if attribute == "pool" {
        return Err("a constraint does not choose the pool: set `placement.pool`".to_owned());
    }
    Ok(())
}

/// What follows the attribute.
fn condition(attribute: &str, rest: &str) -> Result<(Operator, Vec<String>), String> {
    let one = |operator, value: &str| Ok((operator, vec![single(value)?]));
    for sign in ["=~", "~=", "!~", "~"] {
        if let Some(value) = rest.strip_prefix(sign) {
            let value = value.trim().trim_matches('"');
            let hint = format!("a regular expression is written `{attribute} matches \"{value}\"`");
            return Err(format!("`{sign}` is no operator; {hint}"));
        }
    }
    if let Some(value) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        return one(Operator::Equal, value);
    }
    if let Some(value) = rest.strip_prefix("!=") {
        return one(Operator::NotEqual, value);
    }
    if rest.starts_with(['<', '>']) {
        return Err(format!("`{rest}` compares versions: write `{attribute} version {rest}`"));
    }
    let (word, operand) = word(rest);
    match word {
        "exists" if operand.is_empty() => Ok((Operator::Exists, Vec::new())),
        "in" => Ok((Operator::In, list(operand)?)),
        "matches" => Ok((Operator::Matches, vec![pattern(operand)?])),
        "version" => version(operand),
        "not" => match self::word(operand) {
            ("exists", "") => Ok((Operator::NotExists, Vec::new())),
            ("in", operand) => Ok((Operator::NotIn, list(operand)?)),
            (_, _) => Err(format!("`{}` is neither `not in` nor `not exists`", rest.escape_debug())),
        },
        "" if rest.is_empty() => Err("has no operator".to_owned()),
        _ => Err(format!("`{}` is not a condition", rest.escape_debug())),
    }
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word, rest.trim_start())
}

fn single(text: &str) -> Result<String, String> {
    let text = text.trim();
    if let Some(quoted) = text.strip_prefix('"') {
        let value = quoted.strip_suffix('"').ok_or_else(|| format!("`{text}` has no closing quote"))?;
        return checked(value);
    }
    if text.contains(['=', '"', '[', ']']) {
        return Err(format!("`{text}` is not a value; write it in double quotes"));
    }
    checked(text)
}

fn checked(value: &str) -> Result<String, String> {
    if value.is_empty() {
        return Err("has no value".to_owned());
    }
    if value.len() > TEXT_LEN_MAX {
        return Err(format!("the value has {} bytes, more than {TEXT_LEN_MAX}", value.len()));
    }
    Ok(value.to_owned())
}

fn list(text: &str) -> Result<Vec<String>, String> {
    let inner = text.trim().strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let mut rest = inner.ok_or_else(|| format!("`{text}` is not a list such as `[a, b]`"))?.trim();
    let mut values = Vec::new();
    while !rest.is_empty() {
        let (value, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (value, after) = quoted.split_once('"').ok_or_else(|| format!("`{rest}` has no closing quote"))?;
                (checked(value)?, after.trim_start())
            }
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (single(&rest[..end])?, &rest[end..])
            }
        };
        values.push(value);
        rest = match after.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if after.is_empty() => "",
            None => return Err(format!("`{after}` is not separated by a comma")),
        };
    }
    match values.len() {
        0 => Err("the list is empty".to_owned()),
        len if len > CONSTRAINT_VALUES_MAX => {
            Err(format!("the list has {len} values, more than {CONSTRAINT_VALUES_MAX}"))
        }
        _ => Ok(values),
    }
}

/// A regular expression, which may stand bare in spite of its brackets.
fn pattern(text: &str) -> Result<String, String> {
    let text = text.trim();
    let pattern = match text.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').ok_or_else(|| format!("`{text}` has no closing quote"))?,
        None => text,
    };
    if pattern.is_empty() {
        return Err("has no regular expression".to_owned());
    }
    if pattern.len() > PATTERN_LEN_MAX {
        return Err(format!("the regular expression has {} bytes, more than {PATTERN_LEN_MAX}", pattern.len()));
    }
    // Exactly what evaluates it later: the same crate with the same settings.
    let built = regex::bytes::RegexBuilder::new(pattern).unicode(false).size_limit(PATTERN_PROGRAM_BYTES_MAX).build();
    match built {
        Ok(_) => Ok(pattern.to_owned()),
        Err(regex::Error::CompiledTooBig(_)) => Err(format!("the regular expression `{pattern}` is too large")),
        Err(error) => {
            let text = error.to_string();
            let cause = text.lines().last().unwrap_or_default().trim();
            Err(format!("`{pattern}` is not a regular expression: {}", cause.strip_prefix("error: ").unwrap_or(cause)))
        }
    }
}

fn version(text: &str) -> Result<(Operator, Vec<String>), String> {
    let found = COMPARISONS.iter().find_map(|(name, comparison)| Some((comparison, text.strip_prefix(name)?)));
    let (comparison, value) =
        found.ok_or_else(|| format!("`version {}` has none of == != < <= > >=", text.escape_debug()))?;
    let value = single(value)?;
    if is_version(&value) {
        Ok((Operator::Version(*comparison), vec![value]))
    } else {
        Err(format!("`{value}` is not a version"))
    }
}

/// Whether a text starts with a version as [`Comparison`] defines it.
fn is_version(text: &str) -> bool {
    let digits = text.strip_prefix('v').unwrap_or(text);
    let end = digits.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(digits.len());
    let numbers: Vec<&str> = digits[..end].split('.').take_while(|number| !number.is_empty()).collect();
    (1..=VERSION_NUMBERS_MAX).contains(&numbers.len()) && numbers.iter().all(|number| number.parse::<u64>().is_ok())
}

#[cfg(test)]
mod tests;
