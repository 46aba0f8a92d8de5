//! `fanout`: ten thousand executors on one control process, each with a session of its own: QUIC on a port of its own,
//! mutual TLS, and a heartbeat as often as the control plane asks for. One process, this one, speaks for all of them.

mod node;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, interval, interval_at},
};
use weir_api::{NodeState, PageQuery};
use weir_e2e::{Options, daemon::cpu_seconds};

use crate::{report::Report, system::System};
use node::{Authority, Counters, Event};

/// Handshakes at a time: below what makes a listener ask each peer to prove its address first.
const HANDSHAKES: usize = 64;
/// Files and sockets of this process beside one socket for each session.
const FILES_BESIDE: u64 = 200;
/// How long nothing is measured once all are there.
const SETTLE: Duration = Duration::from_secs(12);
/// How long the CPU time of the idle control plane is measured.
const WINDOW: Duration = Duration::from_secs(30);
/// The longest wait for all to be there.
const JOIN_MAX: Duration = Duration::from_secs(300);

pub(crate) fn run(sessions: u32) -> Result<()> {
    allow_files(u64::from(sessions) + FILES_BESIDE)?;
    let mut report = Report::new("fanout");
    // One thread, as the link wants it, and so that the other core is left to the control plane.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    runtime.block_on(measure(sessions, &mut report))?;
    report.print()
}

async fn measure(sessions: u32, report: &mut Report) -> Result<()> {
    let mut system = System::with(&Options::default())?;
    let control = system.cluster.control_mut().pid();
    let alone = cpu_over(control, Duration::from_secs(5)).await?;
    let rss_before = system.control_rss_bytes()?;
    let began = Instant::now();
    let cpu_before = cpu_seconds(control)?;
    let (counters, mut events) = join_all(&system, sessions).await?;
    let (joined_s, joining_cpu_s) = (began.elapsed().as_secs_f64(), cpu_seconds(control)? - cpu_before);
    pass(SETTLE).await;
    let renewals_before = counters.renewed();
    let idle = cpu_over(control, WINDOW).await?;
    let renewals = counters.renewed() - renewals_before;
    let rss_after = system.control_rss_bytes()?;

    ensure!(counters.open() == sessions, "{} of {sessions} sessions are left", counters.open());
    if let Ok(Event::Ended(why)) = events.try_recv() {
        bail!("a session ended: {why}");
    }
    let ready = ready_nodes(&system).await?;
    ensure!(ready == sessions as usize, "the control plane says that {ready} of {sessions} nodes are ready");
    let renewals_wanted = f64::from(sessions) * WINDOW.as_secs_f64() / counters.renew_every_s();
    ensure!(f64::from(renewals) > renewals_wanted * 0.95, "{renewals} of {renewals_wanted:.0} renewals were answered");

    let per_session = rss_after.saturating_sub(rss_before) as f64 / f64::from(sessions);
    let rate = f64::from(renewals) / WINDOW.as_secs_f64();
    report
        .row("joined", format!("in {joined_s:.1} s, {:.2} ms of CPU each", joining_cpu_s * 1e3 / f64::from(sessions)));
    report.row("memory", format!("{} MiB without sessions, {} MiB with them", rss_before >> 20, rss_after >> 20));
    report.row(
        "heartbeats",
        format!("{rate:.0}/s, all answered; {:.1} us of CPU each, with all else", idle * 1e6 / rate),
    );
    report.row("without sessions", format!("{:.1} % of a core", alone * 100.0));
    report
        .row("bound by", "packets, each of which wakes one connection: renewals and their answers, keep-alives, acks");
    report.figure("sessions", f64::from(sessions), 0);
    report.figure("bytes_per_session", per_session, 0);
    report.figure("idle_cpu_percent", idle * 100.0, 1);
    Ok(())
}

/// Connects all executors and waits until each was welcomed.
async fn join_all(system: &System, sessions: u32) -> Result<(Arc<Counters>, mpsc::UnboundedReceiver<Event>)> {
    let authority = Arc::new(Authority::load(&system.cluster)?);
    let counters = Arc::<Counters>::default();
    let gate = Arc::new(Semaphore::new(HANDSHAKES));
    let (sender, mut events) = mpsc::unbounded_channel();
    for number in 0..sessions {
        let (authority, counters, gate) = (Arc::clone(&authority), Arc::clone(&counters), Arc::clone(&gate));
        tokio::spawn(node::live(authority, number, gate, counters, sender.clone()));
    }
    let deadline = Instant::now() + JOIN_MAX;
    let mut joined = 0;
    while joined < sessions {
        match tokio::time::timeout_at(deadline, events.recv()).await {
            Ok(Some(Event::Joined)) => joined += 1,
            Ok(Some(Event::Ended(why))) => bail!("a session ended after {joined} had joined: {why}"),
            Ok(None) | Err(_) => bail!("{joined} of {sessions} executors joined within {JOIN_MAX:?}"),
        }
    }
    Ok((counters, events))
}

/// Cores that a process uses, over some time.
async fn cpu_over(pid: u32, window: Duration) -> Result<f64> {
    let (before, began) = (cpu_seconds(pid)?, Instant::now());
    pass(window).await;
    Ok((cpu_seconds(pid)? - before) / began.elapsed().as_secs_f64())
}

/// Lets some time pass.
async fn pass(time: Duration) {
    interval_at(Instant::now() + time, time).tick().await;
}

/// Nodes that the control plane counts as ready; asked a few times, as it may be about to hear of some.
async fn ready_nodes(system: &System) -> Result<usize> {
    let mut pause = interval(Duration::from_millis(500));
    pause.tick().await;
    let (mut ready, mut page) = (0, PageQuery { limit: Some(1000), ..PageQuery::default() });
    loop {
        let nodes = system.client.nodes(&page).await.context("list the nodes")?;
        ready += nodes.items.iter().filter(|node| node.state == NodeState::Ready).count();
        match nodes.next {
            Some(next) => page.cursor = Some(next),
            None => return Ok(ready),
        }
    }
}

/// Allows this process so many open files.
fn allow_files(files: u64) -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < files) {
        limit.current = Some(files);
        let raised = setrlimit(Resource::Nofile, limit);
        raised.with_context(|| format!("allow this process {files} open files: raise the hard limit, `ulimit -Hn`"))?;
    }
    Ok(())
}
