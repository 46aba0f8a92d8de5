//! The user-facing vocabulary of Weir: the job spec with its validation, the types of the HTTP API, and its routes.
//!
//! Server, client and command line share this crate, so a path, a header or a field exists in one place only. It does
//! no input or output.

pub mod nearest;
pub mod profile;
pub mod routes;
pub mod schedule;
pub mod spec;
pub mod types;
pub mod units;
mod words;

pub use spec::JobSpec;
pub use types::*;
