//! `weir-control`, the control plane of a cluster.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{EnvFilter, fmt, prelude::*};
use weir_control::{Args, Config};

/// Attempts allocate on one thread and free on another, where the system's allocator takes locks: measured, it was a
/// third of a null attempt.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match perform(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn perform(args: Args) -> Result<()> {
    let print = args.print_config;
    // A variable that is not UTF-8 is none of ours.
    let environment = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let config = Config::load(args, environment).map_err(|error| anyhow::anyhow!("failed to {error}"))?;
    if print {
        show(&config.to_toml()?);
        return Ok(());
    }
    start_logging();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("failed to start the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
        weir_control::run(config, async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await
    })
}

/// Logs to stderr: text on a terminal, otherwise JSON with `WEIR_LOG_FORMAT=json`; levels as in `RUST_LOG`.
fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let json = std::env::var("WEIR_LOG_FORMAT").is_ok_and(|format| format == "json");
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        registry.with(fmt::layer().json().with_writer(std::io::stderr)).init();
    } else {
        let colour = std::io::stderr().is_terminal();
        registry.with(fmt::layer().with_ansi(colour).with_writer(std::io::stderr)).init();
    }
}

#[expect(clippy::print_stdout, reason = "the only output of --print-config")]
fn show(text: &str) {
    print!("{text}");
}

#[expect(clippy::print_stderr, reason = "the last words of the daemon")]
fn report(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
