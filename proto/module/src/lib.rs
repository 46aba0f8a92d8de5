//! Reads WebAssembly binaries without running them: what kind of guest one is, what it needs, and whether a node
//! would take it.
//!
//! [`inspect()`] describes any well-formed binary. [`validate()`] decides whether it may be submitted: the features it
//! uses, its structure, and every import are checked, and a refusal says what to do about it.
//!
//! **Invariants.** Pure: no file, clock or network. Total: any bytes give a report or an error, never a panic, and
//! memory in proportion to the input.

mod error;
mod features;
mod format;
mod inspect;
mod limits;
mod provide;
mod report;
mod structure;
mod validate;

pub use error::{Error, Looks, Malformed};
pub use features::Feature;
pub use inspect::inspect;
pub use limits::Limits;
pub use provide::UnknownImport;
pub use report::{Export, Import, ItemKind, Kind, Memory, Producer, Report, Table, Unrunnable};
pub use structure::Excess;
pub use validate::validate;
