//! Everything that is wrong with a spec, at once.

use std::fmt;

use crate::types::{Code, Detail};

/// One thing that is wrong with a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path of the key, such as `resources.memory` or `grants.dir[0].mode`; empty for the whole document.
    pub path: String,
    /// Why the value is refused.
    pub reason: String,
    /// What would be accepted.
    pub allowed: Option<String>,
    /// Whether the value is meaningful, but not to this version.
    pub unsupported: bool,
}

impl Problem {
    /// Makes a problem of a value that no version accepts.
    pub fn new(path: impl Into<String>, reason: impl Into<String>, allowed: Option<String>) -> Self {
        Self { path: path.into(), reason: reason.into(), allowed, unsupported: false }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.reason)?;
        match &self.allowed {
            Some(allowed) => write!(f, " (allowed: {allowed})"),
            None => Ok(()),
        }
    }
}

/// A spec was refused; at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The problems in the order of the document's sections.
    pub problems: Vec<Problem>,
}

impl Invalid {
    pub(crate) fn one(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }

    pub(crate) fn syntax(language: &str, message: String) -> Self {
        Self::one(Problem::new("", format!("not valid {language}: {}", message.trim_end()), None))
    }

    /// The API's code: `unsupported` when nothing else is wrong than features of other versions.
    pub fn code(&self) -> Code {
        if self.problems.iter().all(|problem| problem.unsupported) { Code::Unsupported } else { Code::InvalidSpec }
    }

    /// The problems as the API shows them.
    pub fn details(&self) -> Vec<Detail> {
        self.problems
            .iter()
            .map(|problem| Detail {
                path: problem.path.clone(),
                reason: problem.reason.clone(),
                allowed: problem.allowed.clone(),
            })
            .collect()
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}
