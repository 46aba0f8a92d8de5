//! One emulated executor: it joins, has nothing, and renews its lease.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, MissedTickBehavior, interval_at},
};
use weir_e2e::Cluster;
use weir_link::{
    CONTROL_SERVER_NAME, Connector, Identity, Link,
    issue::{ClusterCa, Validity},
};
use weir_wire::{
    codec::Document as _,
    id::{Incarnation, NodeId},
    message::{FullState, Renew, ToControl, ToExecutor, WIRE_MAX, WIRE_MIN},
    node::Hello,
    resources::Resources,
    units::{CpuMillis, MemBytes},
};

/// How long the certificates are valid.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What is heard of an executor.
#[derive(Debug)]
pub(super) enum Event {
    Joined,
    Ended(String),
}

/// What all executors count.
#[derive(Debug, Default)]
pub(super) struct Counters {
    open: AtomicU32,
    renewed: AtomicU32,
    renew_every_ms: AtomicU64,
}

impl Counters {
    /// Sessions that have joined and not ended.
    pub(super) fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// Renewals that were answered.
    pub(super) fn renewed(&self) -> u32 {
        self.renewed.load(Ordering::Relaxed)
    }

    /// How often each renews, as the control plane wants it.
    pub(super) fn renew_every_s(&self) -> f64 {
        Duration::from_millis(self.renew_every_ms.load(Ordering::Relaxed)).as_secs_f64()
    }
}

/// The cluster's authority, which signs a certificate for each executor, and where to connect.
pub(super) struct Authority {
    ca: ClusterCa,
    addr: SocketAddr,
}

impl Authority {
    pub(super) fn load(cluster: &Cluster) -> Result<Self> {
        let key = std::fs::read_to_string(cluster.pki("ca.key")).context("read the key of the authority")?;
        let certificate = String::from_utf8(cluster.ca_pem()?).context("read the authority")?;
        let ca = ClusterCa::load(&certificate, &key).context("load the authority")?;
        Ok(Self { ca, addr: cluster.link_address().parse().context("read the address of the link")? })
    }

    async fn connect(&self, node: &NodeId) -> Result<Link> {
        let now = SystemTime::now();
        let issued = self.ca.issue_executor(node, Validity::starting(now, LIFETIME)).context("issue a certificate")?;
        let (chain, key) = (&issued.certificate_pem, &issued.key_pem);
        let identity = Identity::from_pem(chain, key, self.ca.certificate_pem(), now).context("use a certificate")?;
        let connector = Connector::new(&identity, weir_link::Config::default())?;
        Ok(connector.connect(&[self.addr], CONTROL_SERVER_NAME).await?)
    }
}

/// Lives until its session ends, and says why.
pub(super) async fn live(
    authority: Arc<Authority>,
    number: u32,
    gate: Arc<Semaphore>,
    counters: Arc<Counters>,
    events: mpsc::UnboundedSender<Event>,
) {
    let why = match session(&authority, number, &gate, &counters, &events).await {
        Ok(()) => "the control plane ended it".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    counters.open.fetch_sub(1, Ordering::Relaxed);
    // Nobody listens once the bench has ended.
    drop(events.send(Event::Ended(why)));
}

async fn session(
    authority: &Authority,
    number: u32,
    gate: &Semaphore,
    counters: &Counters,
    events: &mpsc::UnboundedSender<Event>,
) -> Result<()> {
    counters.open.fetch_add(1, Ordering::Relaxed);
    let permit = gate.acquire().await;
    let node: NodeId = format!("emulated-{number}").parse().context("name a node")?;
    let Link { session: _session, sender, mut receiver } = authority.connect(&node).await?;
    let hello = hello(authority.ca.cluster().clone(), node);
    sender.send(&ToControl::Hello(Box::new(hello)).to_bytes()).await?;
    let welcome = loop {
        let frame = receiver.recv().await?.context("the control plane ended the session")?;
        let message = ToExecutor::from_bytes(&frame)?;
        if let ToExecutor::Welcome(welcome) = message {
            break welcome;
        }
        ensure!(message == ToExecutor::Present, "not a welcome: {message:?}");
    };
    let every = welcome.renew_every;
    counters.renew_every_ms.store(u64::try_from(every.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    let state = || ToControl::State(FullState { grants: Vec::new(), outbox_first: 1, outbox_next: 1 });
    sender.send(&state().to_bytes()).await?;
    drop(permit);
    drop(events.send(Event::Joined));

    let mut renew = interval_at(Instant::now() + phase(number, every), every);
    renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut token, mut answered) = (0, 0);
    loop {
        tokio::select! {
            _ = renew.tick() => {
                token += 1;
                sender.send(&ToControl::Renew(Renew { token }).to_bytes()).await?;
            }
            frame = receiver.recv() => {
                let Some(frame) = frame? else { return Ok(()) };
                let message = ToExecutor::from_bytes(&frame)?;
                if message == ToExecutor::Present {
                    sender.send(&state().to_bytes()).await?;
                } else {
                    // In order, but perhaps later than the next one was sent; a leader that is not sure of its own lease
                    // leaves one unanswered.
                    let ToExecutor::Renewed(renewed) = message else { bail!("not expected: {message:?}") };
                    ensure!((answered + 1..=token).contains(&renewed.token), "renewed {} of {token}", renewed.token);
                    answered = renewed.token;
                    counters.renewed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

/// Spreads the renewals evenly, as executors that started at any time do.
fn phase(number: u32, every: Duration) -> Duration {
    every.mul_f64(f64::from(number.wrapping_mul(2_654_435_761)) / f64::from(u32::MAX))
}

fn hello(cluster: weir_wire::id::ClusterName, node: NodeId) -> Hello {
    Hello {
        wire_min: WIRE_MIN,
        wire_max: WIRE_MAX,
        cluster,
        node,
        installation: 1,
        incarnation: Incarnation(1),
        boot: 1,
        version: "emulated".to_owned(),
        attributes: vec![("arch".to_owned(), "x86_64".to_owned()), ("os".to_owned(), "linux".to_owned())],
        capacity: Resources { cpu: CpuMillis(4000), memory: MemBytes(8 << 30) },
        lanes_max: 256,
        modules: Vec::new(),
    }
}
