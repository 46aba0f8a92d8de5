//! Puts the parts of the daemon together, starts and stops them.

use std::{net::SocketAddr, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use weir_link::Listener;
use weir_scheduler::Scheduler;
use weir_wire::{id::Term, record::Leader};

use crate::{
    api,
    assemble::{self, Assembler},
    blobs::Blobs,
    commit::Committer,
    config::{ApiConfig, Config, StoreConfig},
    driver::{Driver, Inbox, Signals},
    handle::{CALLS_MAX, ControlHandle, Shared},
    https,
    leader::Candidate,
    metrics::Metrics,
    readiness,
    sessions::{EVENTS_MAX, Sessions},
    status::{ClusterStatus, Health, StatusBoard, unix_ms},
    store::{EmbeddedStore, EtcdStore, Store, StoreError},
};

/// Most events of leadership that wait for the driver.
const LEADER_EVENTS_MAX: usize = 16;
/// Most answers of the committer that wait for the driver: one is in flight, others are stale.
const COMMITS_MAX: usize = 4;
/// How long HTTP requests may take to end when the daemon stops.
const HTTP_GRACE: Duration = Duration::from_secs(5);
/// How long a leader that stops waits for HTTP requests before it steps down.
const STEP_DOWN_AFTER: Duration = Duration::from_millis(100);
/// How long executors may take to hear that the link is closed.
const LINK_GRACE: Duration = Duration::from_secs(2);

/// A control plane that is running.
///
/// Dropping it stops it without waiting; [`stop`](Self::stop) also resigns, so that a successor need not wait.
pub struct Server {
    http: SocketAddr,
    link: SocketAddr,
    handle: ControlHandle,
    /// Ends waits and streams of the HTTP API, which would otherwise use up their grace.
    closing: CancellationToken,
    stop: CancellationToken,
    candidate: JoinHandle<()>,
    web: https::Web,
    threads: Vec<thread::JoinHandle<()>>,
}

/// Runs a control plane until `shutdown`, and then stops it in good order.
///
/// # Errors
/// What prevents it from starting, or that it failed.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<()> {
    let server = Server::start(config).await?;
    readiness::notify(readiness::READY);
    let failed = tokio::select! {
        () = shutdown => false,
        () = server.failed() => true,
    };
    readiness::notify(readiness::STOPPING);
    tracing::info!("stopping");
    server.stop().await;
    anyhow::ensure!(!failed, "the scheduler's thread ended; its last words are in the log");
    Ok(())
}

impl Server {
    /// Starts a control plane on the current runtime, which must have more than one thread or keep running.
    ///
    /// It serves as soon as this returns, even when its store does not answer yet.
    ///
    /// # Errors
    /// Certificates, directories or addresses that cannot be used; an embedded store that another process uses.
    pub async fn start(config: Config) -> Result<Self> {
        let tls = https::Tls::load(&config)?;
        let auth = https::auth(&config.api)?;
        let forwarder = https::forwarder(&config)?;
        let identity = load_identity(&config)?;
        let blobs = Blobs::open_local(&config.blobs).context("failed to open the blob store")?;
        let web = https::Web::bind(config.listen_http).await?;
        let http = web.address();
        let board = StatusBoard::new(initial_status(&config));
        let store = open_store(&config, &board).await.map_err(|error| anyhow!("failed to {error}"))?;
        let shared = Arc::new(Shared { blobs, store: store.clone(), status: board, metrics: Metrics::new() });
        let stop = CancellationToken::new();
        let wiring = Wiring::new(&config, store, shared, stop.clone());
        let handle = wiring.handle.clone();
        let (link, threads, candidate) = wiring.start(&config, identity, http).await?;
        let closing = CancellationToken::new();
        let router = api::router(handle.clone(), auth, forwarder, closing.clone());
        let web = web.serve(router, tls)?;
        tracing::info!(listen.http = %http, listen.link = %link, cluster = %config.cluster, "weir-control is up");
        Ok(Self { http, link, handle, closing, stop, candidate, web, threads })
    }

    /// Where the HTTP API listens.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Where the link to executors listens.
    #[must_use]
    pub fn link_address(&self) -> SocketAddr {
        self.link
    }

    /// Whether this process leads and has loaded its state.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.handle.status().leading
    }

    /// Waits until this process leads and has loaded its state.
    pub async fn leading(&self) {
        self.handle.wait_for(|status| status.leading).await;
    }

    /// Waits until the scheduler's thread has ended without having been asked to; [`stop`](Self::stop) is then next.
    pub async fn failed(&self) {
        let mut revision = self.handle.revision();
        while revision.changed().await.is_ok() {}
    }

    /// Stops: takes no more requests and sessions, resigns, and waits for what runs.
    pub async fn stop(mut self) {
        self.closing.cancel();
        self.web.stop(HTTP_GRACE);
        // Nearly all requests end at once. A successor does not wait for the others, which hear that nobody leads here.
        if tokio::time::timeout(STEP_DOWN_AFTER, self.web.ended()).await.is_err() {
            tracing::debug!("requests still run; stepping down");
        }
        self.stop.cancel();
        if let Err(error) = (&mut self.candidate).await {
            tracing::error!(%error, "the candidate ended badly");
        }
        self.web.ended().await;
        self.join().await;
    }

    async fn join(&mut self) {
        for thread in std::mem::take(&mut self.threads) {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if tokio::task::spawn_blocking(move || thread.join()).await.is_ok_and(|ended| ended.is_err()) {
                tracing::error!(thread.name = name, "a thread ended badly");
            }
        }
    }
}

#[cfg(test)]
impl Server {
    pub(crate) fn handle(&self) -> &ControlHandle {
        &self.handle
    }

    /// Ends everything without a word to anybody, as a kill would, and waits until the store is closed.
    pub(crate) async fn abandon(mut self) {
        self.candidate.abort();
        drop((&mut self.candidate).await);
        self.web.stop(Duration::ZERO);
        self.web.ended().await;
        self.stop.cancel();
        self.join().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The parts and what connects them, before they run.
struct Wiring {
    handle: ControlHandle,
    driver: Driver,
    candidate: Candidate,
    sessions: Arc<Sessions>,
    stop: CancellationToken,
}

impl Wiring {
    fn new(config: &Config, store: Store, shared: Arc<Shared>, stop: CancellationToken) -> Self {
        let (calls_tx, calls) = mpsc::channel(CALLS_MAX);
        let (events_tx, sessions) = mpsc::channel(EVENTS_MAX);
        let (leader_tx, leader) = mpsc::channel(LEADER_EVENTS_MAX);
        let (done_tx, commits) = mpsc::channel(COMMITS_MAX);
        let (assembled_tx, assembled) = mpsc::channel(assemble::WAITING_MAX);
        let (revision, revision_rx) = watch::channel(0);
        let (leading, leading_rx) = watch::channel(false);
        let (refused, refused_rx) = watch::channel(Term(0));
        let handle = ControlHandle::new(calls_tx, revision_rx, Arc::clone(&shared));
        let committer = Committer::new(store.clone(), Arc::clone(&shared), Handle::current(), done_tx);
        let mut settings = weir_scheduler::Config::new(config.cluster.clone());
        settings.keep_ended_max = usize::try_from(config.keep_ended.runs).unwrap_or(usize::MAX);
        settings.keep_ended_for = config.keep_ended.time;
        settings.wire_max = config.wire_max;
        config.placing.apply(&mut settings);
        let scheduler = Scheduler::new(settings, seed());
        let assembler = Assembler::new(Arc::clone(&shared), Handle::current(), assembled_tx);
        let inbox = Inbox { commits, leader, sessions, calls, assembled };
        let signals = Signals { revision, leading, refused };
        let driver = Driver::new(scheduler, inbox, signals, committer, assembler);
        let candidate = Candidate {
            store,
            blobs: shared.blobs.clone(),
            me: Leader::default(),
            board: shared.status.clone(),
            events: leader_tx,
            refused: refused_rx,
            claimed: std::sync::OnceLock::new(),
            whole: std::sync::atomic::AtomicBool::new(false),
        };
        let runtime = Handle::current();
        let sessions = Sessions::new(events_tx, leading_rx, handle.clone(), shared, runtime);
        let sessions = Arc::new(sessions);
        Self { handle, driver, candidate, sessions, stop }
    }

    /// Starts link, driver and candidate.
    async fn start(
        mut self,
        config: &Config,
        identity: weir_link::Identity,
        http: SocketAddr,
    ) -> Result<(SocketAddr, Vec<thread::JoinHandle<()>>, JoinHandle<()>)> {
        let (bound_tx, bound) = tokio::sync::oneshot::channel();
        let (address, stop, sessions) = (config.listen_quic, self.stop.clone(), self.sessions);
        let link_thread = spawn_runtime("weir-link", async move {
            match Listener::bind(address, &identity, weir_link::Config::default()) {
                Ok(listener) => {
                    // Fails only when the start was given up.
                    drop(bound_tx.send(listener.local_addr()));
                    sessions.run(&listener, stop).await;
                    let close = listener.close(weir_link::CODE_NORMAL, "this replica stops");
                    // Takes long only when executors do not answer.
                    drop(tokio::time::timeout(LINK_GRACE, close).await);
                }
                Err(error) => drop(bound_tx.send(Err(error))),
            }
        })?;
        let bound = bound.await.map_err(|_| anyhow!("the link's thread ended"))?;
        let link = bound.map_err(|error| anyhow!("failed to {error}"))?;
        self.candidate.me = advertised(config, http, link);
        let driver = spawn_runtime("weir-driver", self.driver.run(self.stop.clone()))?;
        let candidate = tokio::spawn(self.candidate.run(self.stop));
        Ok((link, vec![driver, link_thread], candidate))
    }
}

/// Runs a future on a thread and a runtime of its own: requests measured 3.7 times slower on a shared one.
fn spawn_runtime(name: &str, work: impl Future<Output = ()> + Send + 'static) -> Result<thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.with_context(|| format!("failed to start the runtime of {name}"))?;
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(work));
    thread.with_context(|| format!("failed to start the thread {name}"))
}

pub(crate) async fn open_store(config: &Config, board: &StatusBoard) -> Result<Store, StoreError> {
    match &config.store {
        StoreConfig::Etcd(etcd) => EtcdStore::new(etcd, &config.cluster, board.clone()).await.map(Store::Etcd),
        StoreConfig::Embedded(directory) => {
            EmbeddedStore::open(directory, &config.cluster, board.clone()).await.map(Store::Embedded)
        }
    }
}

pub(crate) fn load_identity(config: &Config) -> Result<weir_link::Identity> {
    let file = |name: &str| config.identity.join(name);
    let identity = weir_link::Identity::load(&file("control.pem"), &file("control.key"), &file("ca.pem"));
    let identity = identity.map_err(|error| anyhow!("failed to {error}"))?;
    let name = identity.name();
    anyhow::ensure!(
        name.cluster == config.cluster && name.role == weir_link::Role::Control,
        "the certificate {} is that of {name}, not of the control plane of the cluster {}",
        file("control.pem").display(),
        config.cluster,
    );
    Ok(identity)
}

pub(crate) fn initial_status(config: &Config) -> ClusterStatus {
    ClusterStatus {
        cluster: config.cluster.clone(),
        leading: false,
        term: None,
        leading_since: None,
        leader: None,
        leaderless_since_ms: Some(unix_ms()),
        store_kind: match config.store {
            StoreConfig::Etcd(_) => weir_api::StoreKind::Etcd,
            StoreConfig::Embedded(_) => weir_api::StoreKind::Embedded,
        },
        store_version: None,
        store: Health::Unknown,
        store_full: false,
        held_back: None,
    }
}

/// Where others reach this replica: as configured, or under the host's name where it listens on all addresses.
fn advertised(config: &Config, http: SocketAddr, link: SocketAddr) -> Leader {
    let reached = |address: SocketAddr| {
        if address.ip().is_unspecified() {
            let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let name = if name.trim().is_empty() { "localhost" } else { name.trim() };
            format!("{name}:{}", address.port())
        } else {
            address.to_string()
        }
    };
    let scheme = match config.api {
        ApiConfig::InsecureLoopback => "http",
        ApiConfig::Token { .. } => "https",
    };
    Leader {
        http: config.advertise_http.clone().unwrap_or_else(|| format!("{scheme}://{}", reached(http))),
        link: config.advertise_quic.clone().unwrap_or_else(|| reached(link)),
    }
}

/// The scheduler's randomness only spreads load; time differs enough between starts.
fn seed() -> u64 {
    let now = crate::clock::now();
    now.mono.0 ^ now.wall_ms.rotate_left(32)
}
