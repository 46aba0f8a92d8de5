//! What if: a user's own cluster and workload, run through the real scheduler and the real agents on a virtual clock.
//!
//! [`Cluster`] and [`Workload`] are read from files, [`simulate`] runs them and returns a [`Report`]. The store is
//! durable after a fixed delay and messages arrive at once; nothing fails. `docs/SIMULATOR.md` describes the files.

pub mod alibaba;
mod cluster;
mod constraint;
mod draw;
mod engine;
mod error;
mod limits;
mod machine;
mod meter;
mod office;
mod quantity;
mod report;
mod submit;
mod text;
mod waits;
mod workload;

pub use cluster::{Cluster, Group};
pub(crate) use engine::{Engine, config};
pub use engine::{Options, simulate};
pub use error::Error;
pub(crate) use office::{Office, said};
pub use report::Report;
pub use weir_scheduler::Policy;
pub use workload::Workload;
pub(crate) use workload::{Fractions, Item, Length};

#[cfg(test)]
mod tests;
