//! Benchmarks of Weir: `weir-bench NAME`, started by `cargo xtask bench NAME`.
//!
//! Each prints a table and, as its last line, one JSON object. Ratios are ours ÷ the other's throughput, measured side
//! by side in one run: higher is better.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod bare;
mod cpu_rate;
mod failover;
mod fanout;
mod hostile;
mod latency;
mod null;
mod peers;
mod report;
mod sandbox;
mod stage;
mod straight;
mod system;
mod throughput;

#[derive(Debug, Parser)]
#[command(about = "Benchmarks of Weir, as ratios measured side by side")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Instantiate, run and drop a null module, against straight wasmtime; starts, stops and idle attempts.
    Sandbox,
    /// Hostile and honest guests at once in one sandbox.
    Hostile {
        /// Attempts in all.
        #[arg(long, default_value_t = 10_000)]
        attempts: u32,
    },
    /// How exactly CPU rates are kept.
    CpuRate,
    /// An array of null tasks through the whole system with real etcd.
    Throughput {
        /// Tasks of the array.
        #[arg(long, default_value_t = 1_000_000)]
        tasks: u32,
    },
    /// One task at a time on an idle cluster, then dispatch at fixed rates.
    Latency {
        /// Runs measured on the idle cluster.
        #[arg(long, default_value_t = 1_000)]
        runs: u32,
    },
    /// The leader of three replicas killed again and again, under load.
    Failover {
        /// Kills.
        #[arg(long, default_value_t = 50)]
        kills: u32,
    },
    /// Ten thousand emulated executors on one control process.
    Fanout {
        /// Executors.
        #[arg(long, default_value_t = 10_000)]
        sessions: u32,
    },
    /// No-op functions on Ray and Dask, and processes of `true`, in turn with ours.
    Peers {
        /// Tasks of each in a round.
        #[arg(long, default_value_t = 10_000)]
        tasks: u32,
    },
}

/// Attempts allocate on one thread and free on another, where the system's allocator takes locks: measured, it was a
/// third of a null attempt.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(code) = weir_sandbox::run_helper(std::env::args_os().skip(1)) {
        return code;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "why the benchmark failed")]
            {
                eprintln!("Error: {error:?}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    match Arguments::parse().bench {
        Bench::Sandbox => sandbox::run(),
        Bench::Hostile { attempts } => hostile::run(attempts),
        Bench::CpuRate => cpu_rate::run(),
        Bench::Throughput { tasks } => throughput::run(tasks),
        Bench::Latency { runs } => latency::run(runs),
        Bench::Failover { kills } => failover::run(kills),
        Bench::Fanout { sessions } => fanout::run(sessions),
        Bench::Peers { tasks } => peers::run(tasks),
    }
}
