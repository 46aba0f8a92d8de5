//! The job spec: what a person writes in TOML or JSON, checked completely before anything else sees it.
//!
//! [`JobSpec`] can only be made by validation. [`Document`] is the same structure as plain data, in canonical form:
//! it is what the API stores and shows, and reading it back gives the same [`JobSpec`].

mod constraint;
mod defaults;
mod diff;
mod document;
mod error;
mod fields;
mod from_toml;
pub mod limits;
mod model;
mod read;
mod section;
mod stored;

pub use constraint::{Comparison, Constraint, Operator};
pub use diff::Change;
pub use document::{
    AffinityDocument, AfterDocument, CronDocument, DirDocument, Document, ExecutionDocument, GrantsDocument,
    JobDocument, NetDocument, PlacementDocument, ResourcesDocument, RetryDocument, UpdateDocument,
};
pub use error::{Invalid, Problem};
pub use fields::{check_digest, check_name};
pub use model::{
    Affinity, After, Cron, DirGrant, Execution, Kind, Mode, ModuleRef, NetGrant, OnDisconnect, Overlap, Placement,
    Resources, Retry, Tier, Update, When,
};

use std::collections::BTreeMap;

use serde_json::Value;

/// A validated job spec.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSpec {
    /// The name of the job, unique in its namespace.
    pub name: String,
    /// What kind of work this is; default batch.
    pub kind: Kind,
    /// The number of tasks of a run; default 1, and 1 for functions and system jobs, whose spec has none.
    pub count: u32,
    /// The most tasks of a run that execute at once; unlimited by default.
    pub max_running: Option<u32>,
    /// A run is stopped when more tasks than this have failed for good; never by default.
    pub max_failed: Option<u32>,
    /// A task that was not started this long after its submission fails; unlimited by default.
    pub start_deadline_ms: Option<u64>,
    /// The jobs that have to end first.
    pub after: Vec<After>,
    /// The one of them whose results are the payload.
    pub input_from: Option<String>,
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
    /// When a cron job fires; absent for other kinds.
    pub cron: Option<Cron>,
    /// How a service passes to a new version; absent for other kinds.
    pub update: Option<Update>,
    /// The budgets of one attempt.
    pub resources: Resources,
    /// The published directories that the guest sees.
    pub dirs: Vec<DirGrant>,
    /// Where the guest may connect to.
    pub nets: Vec<NetGrant>,
    /// How often and under which fence attempts execute.
    pub execution: Execution,
    /// When and how often an ended attempt is tried again.
    pub retry: Retry,
    /// Where tasks may run, and where they would rather.
    pub placement: Placement,
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
