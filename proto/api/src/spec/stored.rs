//! Constraints as they are stored and sent to schedulers, and back.

use weir_wire::placement;

use super::{Comparison, Constraint, Operator};

impl From<&Constraint> for placement::Constraint {
    fn from(constraint: &Constraint) -> Self {
        let operator = match constraint.operator {
            Operator::Equal => placement::Operator::Equal,
            Operator::NotEqual => placement::Operator::NotEqual,
            Operator::In => placement::Operator::In,
            Operator::NotIn => placement::Operator::NotIn,
            Operator::Matches => placement::Operator::Matches,
            Operator::Version(comparison) => placement::Operator::Version(match comparison {
                Comparison::Equal => placement::Comparison::Equal,
                Comparison::NotEqual => placement::Comparison::NotEqual,
                Comparison::Less => placement::Comparison::Less,
                Comparison::LessOrEqual => placement::Comparison::LessOrEqual,
                Comparison::Greater => placement::Comparison::Greater,
                Comparison::GreaterOrEqual => placement::Comparison::GreaterOrEqual,
            }),
            Operator::Exists => placement::Operator::Exists,
            Operator::NotExists => placement::Operator::NotExists,
        };
        Self { attribute: constraint.attribute.clone(), operator, values: constraint.values.clone() }
    }
}

impl From<&placement::Constraint> for Constraint {
    fn from(constraint: &placement::Constraint) -> Self {
        let operator = match constraint.operator {
            placement::Operator::Equal => Operator::Equal,
            placement::Operator::NotEqual => Operator::NotEqual,
            placement::Operator::In => Operator::In,
            placement::Operator::NotIn => Operator::NotIn,
            placement::Operator::Matches => Operator::Matches,
            placement::Operator::Version(comparison) => Operator::Version(match comparison {
                placement::Comparison::Equal => Comparison::Equal,
                placement::Comparison::NotEqual => Comparison::NotEqual,
                placement::Comparison::Less => Comparison::Less,
                placement::Comparison::LessOrEqual => Comparison::LessOrEqual,
                placement::Comparison::Greater => Comparison::Greater,
                placement::Comparison::GreaterOrEqual => Comparison::GreaterOrEqual,
            }),
            placement::Operator::Exists => Operator::Exists,
            placement::Operator::NotExists => Operator::NotExists,
        };
        Self { attribute: constraint.attribute.clone(), operator, values: constraint.values.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_constraint_comes_back() {
        for text in [
            "zone == a",
            "zone != a",
            "zone in [a, b]",
            "zone not in [a, b]",
            "zone matches \"^a\"",
            "os version == 1.2",
            "os version != 1.2",
            "os version < 1.2",
            "os version <= 1.2",
            "os version > 1.2",
            "os version >= 1.2",
            "gpu exists",
            "gpu not exists",
        ] {
            let constraint: Constraint = text.parse().unwrap();
            let stored = placement::Constraint::from(&constraint);
            assert_eq!(Constraint::from(&stored), constraint, "{text}");
        }
    }
}
