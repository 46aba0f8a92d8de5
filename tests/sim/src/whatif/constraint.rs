//! Constraints as they are written in a job spec: `zone == a`, `arch in [x86_64, aarch64]`, `gpu exists`.

use weir_api::spec;
use weir_wire::placement::Constraint;

/// Reads one constraint, as the control plane does.
pub(super) fn parse(text: &str) -> Result<Constraint, String> {
    let constraint: spec::Constraint = text.parse().map_err(|why| format!("constraint {text:?}: {why}"))?;
    Ok((&constraint).into())
}

#[cfg(test)]
mod tests {
    use weir_wire::placement::{Comparison, Operator};

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
