//! The state machine of a node: what an executor accepts, starts, ends and reports.
//!
//! Pure and sans-IO: [`Agent::handle`] takes an input and the time, [`Agent::poll_output`] says what is to be done, and
//! [`Agent::poll_deadline`] when to come back with [`Input::Tick`]. The daemon and the simulator drive the same calls.
//!
//! **Invariants.** What ranges that are not revocable reserve never exceeds the node's capacity, by the agent's own book,
//! and revocable ones are admitted to what these leave unused. Nothing fenced is started, or goes on, without a lease. A range
//! runs one task at a time. An outcome leaves the outbox only when the control plane said that it is durable. A large
//! result or log is in the blob store before its outcome enters the outbox. Losing the session ends no attempt;
//! losing the lease ends those that need it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod agent;
mod ahead;
mod config;
mod evict;
mod follow;
mod grants;
mod input;
mod inspect;
mod lease;
mod ledger;
mod lifecycle;
pub mod limits;
mod news;
mod outbox;
mod output;
mod range;
mod report;
mod session;
mod speed;
mod stats;
mod stop;
mod supply;
mod upload;

pub use agent::Agent;
pub use config::Config;
pub use input::{Input, Part};
pub use output::{DisconnectReason, ExitReason, Output, Payload, Reason, Start};
pub use stats::Stats;
