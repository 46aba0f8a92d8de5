//! A deterministic simulator: real scheduler and real agents, with models of store, network, sandbox and users.
//!
//! One [`World`] is one seed. All options are drawn from it; a safety phase injects faults, then everything heals and a
//! liveness phase has to finish all that is feasible. The [`Property`] list says what is checked, by an oracle that
//! reads what the store was told and keeps books of its own.
#![forbid(unsafe_code)]

mod check;
mod client;
mod control;
mod event;
mod faults;
mod guest;
mod net;
mod node;
mod options;
mod oracle;
mod rng;
mod store;
mod trace;
mod workload;
mod world;

pub use options::{Options, Sabotage};
pub use oracle::{Property, Violation};
pub use world::{Summary, World};
