//! The section `placement`.

use serde_json::Value;

use super::{contradiction, narrow};
use crate::spec::{
    Affinity, Constraint, Kind, Placement, Problem,
    constraint::{self, check_attribute},
    fields::{NAME_ALLOWED, check_name},
    limits::{self, WEIGHT_MAX},
    section::{NUMBER, Section, type_name},
};

const WEIGHT_ALLOWED: &str = "a whole number from -100 to 100, not 0";

pub(super) fn read(value: Option<Value>, kind: Option<Kind>, problems: &mut Vec<Problem>) -> Placement {
    const SEVERAL: &[Kind] = &[Kind::Batch, Kind::Service, Kind::Cron];
    let mut section = Section::open("placement", value, problems);
    let constraints = read_constraints(&mut section);
    let affinities = read_affinities(&mut section);
    let spread = section
        .applies("spread", kind, SEVERAL)
        .then(|| section.checked("spread", "an attribute such as `zone`", check_attribute))
        .flatten();
    let max_per_node = section
        .applies("max_per_node", kind, SEVERAL)
        .then(|| narrow(section.quantity("max_per_node", NUMBER, limits::MAX_PER_NODE)))
        .flatten();
    let pool = section.checked("pool", NAME_ALLOWED, check_name);
    section.finish();
    Placement { constraints, affinities, spread, max_per_node, pool }
}

fn read_constraints(section: &mut Section<'_>) -> Vec<Constraint> {
    let mut constraints: Vec<(usize, Constraint)> = Vec::new();
    for (i, text) in section.strings("constraints", limits::CONSTRAINTS_MAX).iter().enumerate() {
        match text.parse() {
            Ok(constraint) => constraints.push((i, constraint)),
            Err(reason) => section.refuse(&format!("constraints[{i}]"), reason, constraint::ALLOWED),
        }
    }
    for (i, constraint) in contradiction::find(&constraints) {
        let reason = format!("no node meets `{constraint}` and the constraints before it");
        section.refuse(&format!("constraints[{i}]"), reason, "constraints that one node can meet together");
    }
    constraints.into_iter().map(|(_, constraint)| constraint).collect()
}

fn read_affinities(section: &mut Section<'_>) -> Vec<Affinity> {
    let values = section.array("affinities", limits::AFFINITIES_MAX);
    let values = values.into_iter().enumerate();
    values.filter_map(|(i, value)| read_affinity(section, &format!("affinities[{i}]"), value)).collect()
}

/// `CONSTRAINT : WEIGHT`, or a table.
fn read_affinity(section: &mut Section<'_>, key: &str, value: Value) -> Option<Affinity> {
    const ALLOWED: &str = "CONSTRAINT : WEIGHT, or { constraint = CONSTRAINT, weight = WEIGHT }";
    match value {
        Value::String(text) => {
            let Some((constraint, weight)) = split_weight(&text) else {
                section.refuse(key, format!("`{}` has no weight", text.escape_debug()), ALLOWED);
                return None;
            };
            let constraint = read_wish(section, key, constraint);
            let weight = checked_weight(section, key, weight.parse().ok(), weight);
            Some(Affinity { constraint: constraint?, weight: weight? })
        }
        value @ Value::Object(_) => {
            let path = section.path_of(key);
            let mut entry = Section::open(&path, Some(value), section.problems());
            let constraint = entry.required("constraint", constraint::ALLOWED, |_| Ok(()));
            let weight = entry.take("weight");
            let constraint = constraint.and_then(|text| read_wish(&mut entry, "constraint", &text));
            let weight = match weight {
                None => {
                    entry.refuse("weight", "is missing", WEIGHT_ALLOWED);
                    None
                }
                Some(weight) => checked_weight(&mut entry, "weight", weight.as_i64(), &weight.to_string()),
            };
            entry.finish();
            Some(Affinity { constraint: constraint?, weight: weight? })
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) => {
            section.refuse(key, format!("is {}", type_name(&other)), ALLOWED);
            None
        }
    }
}

/// The weight stands after the last colon, which has a space before it: values may have colons too.
fn split_weight(text: &str) -> Option<(&str, &str)> {
    let (constraint, weight) = text.rsplit_once(':')?;
    constraint.ends_with(char::is_whitespace).then(|| (constraint.trim_end(), weight.trim()))
}

fn read_wish(section: &mut Section<'_>, key: &str, text: &str) -> Option<Constraint> {
    match text.parse() {
        Ok(constraint) => Some(constraint),
        Err(reason) => {
            section.refuse(key, reason, constraint::ALLOWED);
            None
        }
    }
}

fn checked_weight(section: &mut Section<'_>, key: &str, weight: Option<i64>, text: &str) -> Option<i8> {
    let weight = weight.and_then(|weight| i8::try_from(weight).ok());
    let weight = weight.filter(|weight| *weight != 0 && (-WEIGHT_MAX..=WEIGHT_MAX).contains(weight));
    if weight.is_none() {
        section.refuse(key, format!("`{}` is not a weight", text.escape_debug()), WEIGHT_ALLOWED);
    }
    weight
}
