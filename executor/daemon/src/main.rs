//! The executor's binary.

use std::{io::IsTerminal, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use weir_executor::{Args, exit_code, run, run_helper};

/// Exit code after a second signal, as a shell reports an interrupt.
const INTERRUPTED: i32 = 130;

/// Attempts allocate on one thread and free on another, where the system's allocator takes locks: measured, it was a
/// third of a null attempt.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(code) = run_helper(std::env::args_os().skip(1)) {
        return code;
    }
    let args = Args::parse();
    match start(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the log may be filtered; why the daemon ended must be seen")]
            {
                eprintln!("weir-executor: failed to {error:#}");
            }
            exit_code(&error)
        }
    }
}

fn start(args: &Args) -> anyhow::Result<()> {
    let config = args.resolve()?;
    if args.print_config {
        #[expect(clippy::print_stdout, reason = "this is what was asked for")]
        {
            print!("{}", config.to_toml());
        }
        return Ok(());
    }
    log(args.log_json);
    // Before there is a second thread: nothing that is started from here, helpers above all, gains what this process does
    // not have.
    rustix::thread::set_no_new_privs(true).context("give up new privileges")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (ask, asked) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let mut ask = Some(ask);
            loop {
                tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
                match ask.take() {
                    // Nobody listens once the daemon has ended by itself.
                    Some(ask) => drop(ask.send(())),
                    None => std::process::exit(INTERRUPTED),
                }
            }
        });
        // An error means that the sender is gone, which happens only at the end.
        run(config, async { drop(asked.await) }).await
    })
}

fn log(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        builder.json().init();
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).init();
    }
}
