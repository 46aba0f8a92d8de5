//! The sandbox: runs attempts of untrusted Wasm guests on worker threads, each within its own budgets.
//!
//! Commands go in and batches of events come out, both plain data of [`weir_wire::attempt`]; nothing else crosses, so
//! that the whole crate can move into a worker process. It knows no network and decides no policy: an attempt that was
//! sent is run as soon as its worker has a free slot.
//!
//! One attempt is one `Store`, dropped whole at its end. A module is compiled once per machine (`compile`, `cache`),
//! loaded once per worker (`prepare`, `program`) and instantiated anew for every attempt (`attempt`).
mod apart;
mod attempt;
mod background;
mod backtrace;
mod cache;
mod capture;
mod compile;
mod config;
mod confine;
mod engine;
mod fairness;
mod file_time;
mod grants;
mod helper;
mod huge_pages;
mod limits;
mod lines;
mod names;
mod network;
mod network_policy;
mod prepare;
mod probe;
mod process;
mod program;
mod queue;
mod rate;
mod resolver;
mod sampler;
mod sandbox;
mod scratch;
mod sockets;
mod state;
mod stdio;
mod task_host;
mod threads;
mod usage;
mod verdict;
mod virtual_poll;
mod virtual_time;
mod waiting;
mod walls;
mod worker;

pub use apart::{Apart, ApartError};
pub use compile::CompileLimits;
pub use config::{Isolation, SandboxConfig};
pub use helper::{Helper, run_helper};
pub use limits::FUEL_SLICE;
pub use network_policy::NetworkPolicy;
pub use sandbox::{Error, Events, Sandbox};
pub use usage::Used;
pub use walls::{Purpose, confine};
