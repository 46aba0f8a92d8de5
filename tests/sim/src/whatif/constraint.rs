//! Constraints as they are written in a job spec: `zone == a`, `arch in [x86_64, aarch64]`, `gpu exists`.

use weir_api::spec;
use weir_wire::placement::{Comparison, Constraint, Operator};

/// Reads one constraint, as the control plane does.
pub(super) fn parse(text: &str) -> Result<Constraint, String> {
    let spec::Constraint { attribute, operator, values } =
        text.parse().map_err(|why| format!("constraint {text:?}: {why}"))?;
    let operator = match operator {
        spec::Operator::Equal => Operator::Equal,
        spec::Operator::NotEqual => Operator::NotEqual,
        spec::Operator::In => Operator::In,
        spec::Operator::NotIn => Operator::NotIn,
        spec::Operator::Matches => Operator::Matches,
        spec::Operator::Version(comparison) => Operator::Version(of(comparison)),
        spec::Operator::Exists => Operator::Exists,
        spec::Operator::NotExists => Operator::NotExists,
    };
    Ok(Constraint { attribute, operator, values })
}

const fn of(comparison: spec::Comparison) -> Comparison {
    match comparison {
        spec::Comparison::Equal => Comparison::Equal,
        spec::Comparison::NotEqual => Comparison::NotEqual,
        spec::Comparison::Less => Comparison::Less,
        spec::Comparison::LessOrEqual => Comparison::LessOrEqual,
        spec::Comparison::Greater => Comparison::Greater,
        spec::Comparison::GreaterOrEqual => Comparison::GreaterOrEqual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_are_read_or_refused_as_in_a_job_spec() {
        for (text, expected) in [
            ("zone == \"a\"", Some((Operator::Equal, vec!["a"]))),
            ("zone in [\"a\", b]", Some((Operator::In, vec!["a", "b"]))),
            ("name matches \"^web-\"", Some((Operator::Matches, vec!["^web-"]))),
            ("os version >= 5.10", Some((Operator::Version(Comparison::GreaterOrEqual), vec!["5.10"]))),
            ("gpu not exists", Some((Operator::NotExists, vec![]))),
            ("zone =~ a", None),
            ("zone == ", None),
            ("zone matches \"(\"", None),
            ("zone version >= x", None),
            ("zone in [a,,b]", None),
        ] {
            let found = parse(text).ok().map(|constraint| (constraint.operator, constraint.values));
            let expected =
                expected.map(|(operator, values)| (operator, values.into_iter().map(String::from).collect()));
            assert_eq!(found, expected, "{text}");
        }
    }
}
