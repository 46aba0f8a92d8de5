//! What every command that talks to a cluster holds.

use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use weir_api::{Page, PageQuery, units};
use weir_client::Client;

use crate::{
    args::Global,
    context::Context,
    exit::Exit,
    failure::{Failure, Result},
    output::Out,
};

/// The entries of one page when a whole list is read.
const PAGE: u32 = 1_000;

/// A client, a namespace and a place for data.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) out: Out,
}

impl Session {
    /// Opens a session; nothing is sent yet.
    pub(crate) fn open(global: &Global) -> Result<Self> {
        let context = Context::load(global)?;
        Ok(Self { client: context.client()?, namespace: context.namespace, out: Out::new(global.format) })
    }
}

/// Runs a command's future to its end, or to Ctrl-C or SIGTERM: what it keeps for itself goes with it.
pub(crate) fn block_on(future: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, "failed to start").because(error))?;
    let deaf = |error| Failure::new(Exit::Failed, "failed to listen for signals").because(error);
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(deaf)?;
        tokio::select! {
            result = future => result,
            signal = tokio::signal::ctrl_c() => signal.map(|()| Exit::Interrupted).map_err(deaf),
            _ = terminate.recv() => Ok(Exit::Interrupted),
        }
    })
}

/// Reads every page of a list.
pub(crate) async fn all_pages<T>(read: impl AsyncFn(&PageQuery) -> weir_client::Result<Page<T>>) -> Result<Vec<T>> {
    let mut items = Vec::new();
    let mut query = PageQuery { limit: Some(PAGE), ..PageQuery::default() };
    loop {
        let page = read(&query).await?;
        items.extend(page.items);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return Ok(items),
        }
    }
}

/// Reads a duration flag into the moment when it has passed.
pub(crate) fn deadline(flag: &str, text: Option<&str>) -> Result<Option<Instant>> {
    let Some(text) = text else { return Ok(None) };
    let ms = units::parse_duration_ms(text).map_err(|error| Failure::usage(format!("--{flag}: {error}")))?;
    Ok(Instant::now().checked_add(Duration::from_millis(ms)))
}
