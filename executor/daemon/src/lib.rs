//! The executor: one daemon per machine that joins a cluster, runs its tasks in the sandbox and reports.
//!
//! Everything that is decided is decided by [`weir_agent`]; this crate moves bytes between it, the sandbox's worker
//! threads, the link to the control plane and the disk. One thread of its own carries link and driver on a
//! current-thread runtime, so that guests cannot hold up a renewal.

mod blob_cache;
mod clock;
mod config;
mod data_dir;
mod driver;
mod exit;
mod machine;
mod metrics;
mod payloads;
mod readiness;
mod sampler;
mod scout;
mod service;
mod transfer;
mod uplink;

pub use config::{Args, Config, CpuCount, Isolation, Problem, Size, Span};
pub use exit::{Error, exit_code};
pub use service::run;
pub use weir_sandbox::{Helper, run_helper};
