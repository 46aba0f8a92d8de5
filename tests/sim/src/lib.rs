//! A deterministic simulator: real scheduler and real agents, with models of store, network, sandbox and users.
//!
//! One [`World`] is one seed. All options are drawn from it; a safety phase injects faults, then everything heals and a
//! liveness phase has to finish all that is feasible. The [`Property`] list says what is checked, by an oracle that
//! reads what the store was told and keeps books of its own.
#![forbid(unsafe_code)]

mod calls;
mod check;
mod client;
mod clock;
mod control;
mod cron;
mod dispatch;
mod event;
mod explore;
mod faults;
mod fenced;
mod fold;
mod given;
mod guest;
mod jobs;
mod lasting;
mod net;
mod node;
mod office;
mod operator;
mod options;
mod oracle;
mod order;
mod property;
mod rebuild;
pub mod replay;
mod restart;
mod rng;
mod sandbox;
mod shrink;
mod store;
mod summary;
mod trace;
pub mod whatif;
mod workload;
mod world;

pub use explore::run;
pub use options::{Flip, Options, Overrides, Sabotage, TextError};
pub use property::{Property, Violation};
pub use shrink::{describe, shrink};
pub use summary::{Summary, Totals};
pub use world::World;
