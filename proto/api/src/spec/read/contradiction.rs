//! Constraints that no node can meet together.

use std::collections::{BTreeMap, BTreeSet};

use crate::spec::{Constraint, Operator};

/// What the constraints so far leave of one attribute.
#[derive(Default)]
struct Left<'a> {
    required: bool,
    absent: bool,
    /// The only values that are left, where they are few enough to be named.
    only: Option<BTreeSet<&'a str>>,
    not: BTreeSet<&'a str>,
}

/// The constraints that leave nothing, the first one of each attribute. Regular expressions and versions are not
/// weighed against values: what they leave is for the nodes to say.
pub(super) fn find(constraints: &[(usize, Constraint)]) -> Vec<(usize, &Constraint)> {
    let mut left: BTreeMap<&str, Left<'_>> = BTreeMap::new();
    let mut found: Vec<(usize, &Constraint)> = Vec::new();
    for (i, constraint) in constraints {
        let left = left.entry(&constraint.attribute).or_default();
        let before = left.nothing();
        left.narrow(constraint);
        if left.nothing() && !before {
            found.push((*i, constraint));
        }
    }
    found
}

impl<'a> Left<'a> {
    fn narrow(&mut self, constraint: &'a Constraint) {
        let values = constraint.values.iter().map(String::as_str);
        match constraint.operator {
            Operator::Equal | Operator::In => {
                self.required = true;
                let values: BTreeSet<&str> = values.collect();
                self.only = Some(match self.only.take() {
                    Some(only) => &only & &values,
                    None => values,
                });
            }
            Operator::NotEqual | Operator::NotIn => self.not.extend(values),
            Operator::Matches | Operator::Version(_) | Operator::Exists => self.required = true,
            Operator::NotExists => self.absent = true,
        }
    }

    fn nothing(&self) -> bool {
        let no_value = self.only.as_ref().is_some_and(|only| only.is_subset(&self.not));
        (self.required && self.absent) || no_value
    }
}
