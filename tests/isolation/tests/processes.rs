//! The whole suite once more, with the guests in a worker process: the name of this program says so to the bench.

#[path = "ahead.rs"]
mod ahead;
#[path = "bounds.rs"]
mod bounds;
#[path = "commands.rs"]
mod commands;
#[path = "components.rs"]
mod components;
#[path = "cpu.rs"]
mod cpu;
#[path = "deterministic.rs"]
mod deterministic;
#[path = "files.rs"]
mod files;
#[path = "inspect.rs"]
mod inspect;
#[path = "leases.rs"]
mod leases;
#[path = "memory.rs"]
mod memory;
#[path = "modules.rs"]
mod modules;
#[path = "network.rs"]
mod network;
#[path = "output.rs"]
mod output;
#[path = "scratch.rs"]
mod scratch;
#[path = "time.rs"]
mod time;
