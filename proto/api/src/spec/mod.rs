//! The job spec: what a person writes in TOML or JSON, checked completely before anything else sees it.
//!
//! [`JobSpec`] can only be made by validation. [`Document`] is the same structure as plain data, in canonical form:
//! it is what the API stores and shows, and reading it back gives the same [`JobSpec`].

mod defaults;
mod document;
mod error;
mod fields;
mod from_toml;
pub mod limits;
mod read;
mod section;

pub use document::{
    DirDocument, Document, ExecutionDocument, GrantsDocument, JobDocument, PlacementDocument, ResourcesDocument,
    RetryDocument,
};
pub use error::{Invalid, Problem};
pub use fields::{check_digest, check_name};

use std::collections::BTreeMap;

use serde_json::Value;

/// A validated job spec.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSpec {
    /// The name of the job, unique in its namespace.
    pub name: String,
    /// What kind of work this is.
    pub kind: Kind,
    /// The number of tasks of a run; default 1.
    pub count: u32,
    /// The most tasks of a run that execute at once; unlimited by default.
    pub max_running: Option<u32>,
    /// The order in which pending work is placed, higher first; 0 to 100, default 50.
    pub priority: u8,
    /// How firmly the work keeps its place; default preemptible.
    pub tier: Tier,
    /// Where the Wasm binary is.
    pub module: ModuleRef,
    /// The arguments after the program's name.
    pub args: Vec<String>,
    /// The environment of the guest.
    pub env: BTreeMap<String, String>,
    /// The budgets of one attempt.
    pub resources: Resources,
    /// The published directories that the guest sees.
    pub dirs: Vec<DirGrant>,
    /// How often an attempt may execute.
    pub mode: Mode,
    /// What happens to an attempt whose node has lost the control plane for its lease.
    pub on_disconnect: OnDisconnect,
    /// Whether two copies must never run at once.
    pub fenced: bool,
    /// When and how often a failed attempt is tried again.
    pub retry: Retry,
    /// Conditions that a node has to meet, all of them.
    pub constraints: Vec<Constraint>,
}

/// The kind of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number of tasks, run to completion.
    Batch,
}

/// How firmly work keeps its place on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Makes room for production work.
    Preemptible,
}

/// How often an attempt may execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A task whose node was lost is executed again.
    AtLeastOnce,
}

/// What an executor that has lost the control plane for its lease does with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisconnect {
    /// It goes on.
    Keep,
}

/// The place of a Wasm binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModuleRef {
    /// A file, relative to the spec's own directory; only a client can resolve it.
    Path(String),
    /// `sha256:` and 64 hexadecimal digits.
    Digest(String),
}

/// The budgets of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// A rate of CPU time in thousandths of a core; 10 to 1,000, default 100.
    pub cpu_milli: u32,
    /// The sum of linear memories, tables and stacks; 64 KiB to 4 GiB, default 64 MiB.
    pub memory_bytes: u64,
    /// The total fuel; default 10,000,000,000.
    pub fuel: u64,
    /// The wall clock of one attempt; 1 ms to 7 days, default 30 s.
    pub timeout_ms: u64,
    /// The captured stdout and stderr, and the result; up to 64 MiB, default 1 MiB.
    pub output_bytes: u64,
}

/// A directory that the node's operator published and the guest may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirGrant {
    /// The name under which nodes publish it.
    pub host: String,
    /// The absolute path at which the guest sees it.
    pub guest: String,
}

/// When and how often a failed attempt is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The most attempts that may end in a failure that counts; 1 to 100, default 3.
    pub attempts: u32,
    /// The wait before the second attempt; default 1 s.
    pub backoff_min_ms: u64,
    /// The longest wait between two attempts; default 30 s.
    pub backoff_max_ms: u64,
}

/// A condition on a node: the attribute has exactly this value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    /// The attribute or label.
    pub attribute: String,
    /// The value that it has to have.
    pub value: String,
}

impl JobSpec {
    /// Reads and validates a TOML spec.
    ///
    /// # Errors
    /// Returns every problem that was found, each with the path of its key.
    pub fn from_toml(text: &str) -> Result<Self, Invalid> {
        Self::from_value(&value_from_toml(text)?)
    }

    /// Reads and validates a JSON spec.
    ///
    /// # Errors
    /// Returns every problem that was found, each with the path of its key.
    pub fn from_json(text: &[u8]) -> Result<Self, Invalid> {
        let value = serde_json::from_slice(text).map_err(|error| Invalid::syntax("JSON", error.to_string()))?;
        Self::from_value(&value)
    }

    /// Validates a spec that was read already.
    ///
    /// # Errors
    /// Returns every problem that was found, each with the path of its key.
    pub fn from_value(value: &Value) -> Result<Self, Invalid> {
        read::job_spec(value)
    }

    /// Validates a spec in its canonical form.
    ///
    /// # Errors
    /// Returns every problem that was found, each with the path of its key.
    pub fn from_document(document: &Document) -> Result<Self, Invalid> {
        let value = serde_json::to_value(document).map_err(|error| Invalid::syntax("JSON", error.to_string()))?;
        Self::from_value(&value)
    }

    /// Requires that the module is named by its digest, as the server does, and returns it.
    ///
    /// # Errors
    /// Fails when the module is a path.
    pub fn module_digest(&self) -> Result<&str, Invalid> {
        match &self.module {
            ModuleRef::Digest(digest) => Ok(digest),
            ModuleRef::Path(path) => Err(Invalid::one(Problem::new(
                "job.module",
                format!("`{path}` is a path, which only the client can read"),
                Some("sha256:<64 hexadecimal digits> of an uploaded module".to_owned()),
            ))),
        }
    }

    /// Writes the spec in canonical form.
    pub fn to_document(&self) -> Document {
        Document::from(self)
    }
}

/// Reads TOML into the structure that [`JobSpec::from_value`] takes, without validating it.
///
/// # Errors
/// Fails when the text is not TOML, or has values that no key takes: dates, and numbers that are not finite.
pub fn value_from_toml(text: &str) -> Result<Value, Invalid> {
    let table: toml::Table = toml::from_str(text).map_err(|error| Invalid::syntax("TOML", error.to_string()))?;
    from_toml::json(table)
}

#[cfg(test)]
mod tests;
