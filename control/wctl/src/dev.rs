//! `wctl dev`: a control plane with the embedded store and one executor, in this process, over the real link.

mod settings;

use std::{io::IsTerminal as _, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use tracing_subscriber::EnvFilter;
use weir_client::{Client, Options};
use weir_control::Server;

use self::settings::Settings;
use crate::{
    args::DevArgs,
    exit::Exit,
    failure::{Failure, Result},
    output::terminal,
};

/// The pause between two looks at whether the node is ready.
const READY_POLL: Duration = Duration::from_millis(50);

/// Runs a whole cluster until SIGINT or SIGTERM.
pub(crate) fn start(args: &DevArgs, verbose: u8) -> Result<Exit> {
    let settings = Settings::new(args)?;
    start_logging(verbose);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, "failed to start").because(error))?;
    runtime.block_on(run(settings))
}

async fn run(settings: Settings) -> Result<Exit> {
    let mut stop = Stop::new()?;
    let server = Server::start(settings.control()).await.map_err(|error| {
        let text = format!("{error:#}");
        let in_use = ["in use", "already"].iter().any(|part| text.contains(part));
        let failure = Failure::new(Exit::Failed, format!("the control plane cannot start: {text}"));
        if in_use {
            failure.hint("is another `wctl dev` running? --listen, --link and --data-dir give this one its own")
        } else {
            failure.hint("--data-dir names the directory of its data; an empty one starts afresh")
        }
    })?;
    let (end_executor, ended) = oneshot::channel();
    // An error means that the sender is gone, which is an end as well.
    let executor = weir_executor::run(settings.executor(server.link_address()), async { drop(ended.await) });
    let mut executor = std::pin::pin!(executor);
    let address = format!("http://{}", server.http_address());
    let early = tokio::select! {
        result = &mut executor => Some(result),
        ready = until_ready(&address) => {
            ready?;
            terminal::note(&format!("weir dev is ready at {address}; its data is in {}", settings.data_dir().display()));
            tokio::select! {
                result = &mut executor => Some(result),
                () = stop.asked() => None,
            }
        }
        () = stop.asked() => None,
    };
    let result = match early {
        Some(result) => result,
        None => {
            terminal::note("stopping; once more to stop at once");
            // The executor is gone already when nobody receives this.
            let _ = end_executor.send(());
            tokio::select! {
                result = &mut executor => result,
                () = stop.asked() => return Ok(Exit::Interrupted),
            }
        }
    };
    tokio::select! {
        () = server.stop() => {}
        () = stop.asked() => return Ok(Exit::Interrupted),
    }
    match result {
        Ok(()) => Ok(Exit::Ok),
        Err(error) => Err(Failure::new(Exit::Failed, format!("the executor cannot go on: failed to {error:#}"))),
    }
}

/// Waits until the API answers and says that the node is ready.
async fn until_ready(address: &str) -> Result<()> {
    let client = Client::new(Options { addresses: vec![address.to_owned()], ..Options::default() })?;
    loop {
        // Until then, errors are what is to be expected; the daemons log their own.
        if client.cluster().await.is_ok_and(|cluster| cluster.totals.is_some_and(|totals| totals.ready_nodes > 0)) {
            return Ok(());
        }
        tokio::time::sleep(READY_POLL).await;
    }
}

/// The signals that end the cluster.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> Result<Self> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::new(Exit::Failed, "failed to listen for signals").because(error))
        };
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Logs to stderr: what an operator would see, more under `-v`; `RUST_LOG` decides where it is set.
fn start_logging(verbose: u8) {
    let level = match verbose {
        0 => "warn,weir=info",
        1 => "info,weir=debug",
        _ => "debug,weir=trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && terminal::color_on_stderr())
        .init();
}
