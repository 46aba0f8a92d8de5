//! Faults put into a cluster and taken out again.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use etcd_client::Client;
use tokio::runtime::Runtime;

use super::{
    ETCD_MEMBERS, EXECUTORS, REPLICAS,
    audit::Auditor,
    clients::Clients,
    hour::Hours,
    schedule::{Fault, Planned},
};
use crate::{cluster::Cluster, daemon, network::Way};

/// From the end of a disturbance until the control plane has to work again: the leader's lease, a frozen connection that
/// has to be noticed, and the time that two busy cores take.
const RECOVERY: Duration = Duration::from_secs(20);
/// Before a disturbance: a firing is durable once its transaction is, and one that is under way when the fault comes may
/// be lost with it. The next leader passes it over for a newer one.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// How long a replica may take to step down and end: it waits for what is under way, which etcd may hold up.
const STOPPING: Duration = Duration::from_secs(10);
/// How long etcd may take to be compacted and defragmented; one that has no quorum is not.
const COMPACTION: Duration = Duration::from_secs(5);

/// A leader whose clock is behind its schedule looks at it this rarely.
const CLOCK_UNSEEN: Duration = Duration::from_secs(30);
/// How soon something is mended again that could not be.
const MEND_AGAIN: Duration = Duration::from_secs(1);

/// A process that can be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Victim {
    Replica(usize),
    Executor(usize),
    Etcd(usize),
}

/// Something that is broken, and that is mended later.
#[derive(Debug)]
pub(super) enum Broken {
    Down(Vec<Victim>),
    Asleep(Victim),
    NoEtcd(usize),
    NoExecutors(usize),
    NoReplicas(usize),
    /// A disk, and whose.
    Full(PathBuf, Option<Victim>),
    EtcdFull,
    /// The wall clock.
    Behind,
}

/// Breaks and mends one cluster.
#[derive(Debug)]
pub(super) struct Injector<'a> {
    pub(super) cluster: &'a mut Cluster,
    /// Where clocks can be set.
    pub(super) hours: Option<Hours>,
    pub(super) clients: &'a Clients,
    pub(super) runtime: &'a Runtime,
    /// What it has not read yet must not be compacted away.
    pub(super) auditor: &'a Auditor,
    /// How often each fault was put in.
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// When the control plane was disturbed.
    pub(super) disturbed: Vec<(Duration, Duration)>,
    /// Processes that ended although nobody killed them.
    pub(super) crashed: Vec<String>,
    /// Processes that a fault keeps down or asleep; no other one hits them then.
    pub(super) held: BTreeSet<Victim>,
    /// Directories whose disks are full.
    pub(super) full: BTreeSet<PathBuf>,
}

impl<'a> Injector<'a> {
    pub(super) fn new(
        cluster: &'a mut Cluster,
        hours: Option<Hours>,
        clients: &'a Clients,
        runtime: &'a Runtime,
        auditor: &'a Auditor,
    ) -> Self {
        let (counts, disturbed, crashed, held) = (BTreeMap::new(), Vec::new(), Vec::new(), BTreeSet::new());
        let full = BTreeSet::new();
        Self { cluster, hours, clients, runtime, auditor, counts, disturbed, crashed, held, full }
    }

    /// Follows the plan to its end, or until `over` says that nobody needs it any more; nothing is broken then.
    pub(super) fn follow(&mut self, plan: &[Planned], over: &Receiver<()>) -> Result<()> {
        let begun = Instant::now();
        // By the time at which it is mended: what it is, whether it disturbs the control plane, and since when.
        let mut broken: BTreeMap<(Duration, usize), (Broken, bool, Duration)> = BTreeMap::new();
        let mut coming = plan.iter().enumerate().peekable();
        loop {
            let mend_at = broken.first_key_value().map(|((at, _), _)| *at);
            let break_at = coming.peek().map(|(_, planned)| planned.at);
            let Some(next) = mend_at.into_iter().chain(break_at).min() else { return Ok(()) };
            let gone = over.recv_timeout(next.saturating_sub(begun.elapsed())) != Err(RecvTimeoutError::Timeout);
            if gone || mend_at == Some(next) {
                let Some(((at, number), (thing, disturbs, since))) = broken.pop_first() else { return Ok(()) };
                let unseen = if matches!(thing, Broken::Behind) { CLOCK_UNSEEN } else { Duration::ZERO };
                if let Some(thing) = self.mend(thing)?.filter(|_| !gone) {
                    broken.insert((at + MEND_AGAIN, number), (thing, disturbs, since));
                } else if disturbs {
                    self.disturbed.push((since.saturating_sub(UNDER_WAY), wall_clock() + RECOVERY + unseen));
                }
            } else if let Some((number, planned)) = coming.next() {
                let since = wall_clock();
                if let Some(thing) = self.inject(planned.fault)? {
                    *self.counts.entry(planned.fault.name()).or_default() += 1;
                    let mend_at = planned.at + planned.lasts;
                    broken.insert((mend_at, number), (thing, planned.fault.disturbs_control(), since));
                }
            }
        }
    }

    /// Puts a fault in; gives nothing when its victim is not there.
    fn inject(&mut self, fault: Fault) -> Result<Option<Broken>> {
        let leader = self.runtime.block_on(self.clients.leader());
        Ok(match fault {
            Fault::StopLeader => match leader {
                Some(leader) => self.stop(leader)?,
                None => None,
            },
            Fault::KillLeader => match leader {
                Some(leader) => self.kill(&[Victim::Replica(leader)])?,
                None => None,
            },
            Fault::KillReplica(replica) => self.kill(&[Victim::Replica(replica)])?,
            Fault::KillExecutor(executor) => self.kill(&[Victim::Executor(executor)])?,
            Fault::KillWorker(executor) => self.kill_worker(executor)?,
            Fault::KillEtcd(member) => self.kill(&[Victim::Etcd(member)])?,
            Fault::LoseQuorum(spared) => {
                let others = (0..ETCD_MEMBERS).filter(|member| *member != spared).map(Victim::Etcd);
                self.kill(&others.collect::<Vec<_>>())?
            }
            Fault::PauseLeader => match leader {
                Some(leader) => self.pause(Victim::Replica(leader))?,
                None => None,
            },
            Fault::PauseExecutor(executor) => self.pause(Victim::Executor(executor))?,
            Fault::PauseEtcd(member) => self.pause(Victim::Etcd(member))?,
            Fault::CutLeaderFromEtcd(way) => leader.map(|leader| {
                self.cluster.network().set_etcd(leader, way);
                Broken::NoEtcd(leader)
            }),
            Fault::CutLeaderFromExecutors => leader.map(|leader| {
                self.cluster.network().set_links_of_replica(leader, Way::Refused);
                Broken::NoExecutors(leader)
            }),
            Fault::CutExecutor(executor) => {
                self.cluster.network().set_links_of_executor(executor, Way::Refused);
                Some(Broken::NoReplicas(executor))
            }
            Fault::Compact(member) => {
                let (url, revision) = (self.cluster.member_mut(member).url(), self.auditor.revision());
                let compaction = async { tokio::time::timeout(COMPACTION, compact(&url, revision)).await };
                let done = self.runtime.block_on(compaction).is_ok_and(|done| done.is_ok());
                // It is over at once, and what it broke is mended as if nothing had been killed.
                done.then(|| Broken::Down(Vec::new()))
            }
            Fault::FillEtcd(member) => {
                self.raise_alarm(member);
                Some(Broken::EtcdFull)
            }
            Fault::FillBlobs => self.fill(self.cluster.control_dir(), None)?,
            Fault::FillExecutor(executor) => {
                self.fill(self.cluster.executor_dir(executor), Some(Victim::Executor(executor)))?
            }
            Fault::DamageExecutor(executor) => self.damage(executor)?,
            Fault::StepAhead => self.step_ahead()?,
            Fault::StepBack => self.step_back()?,
        })
    }

    pub(super) fn kill(&mut self, victims: &[Victim]) -> Result<Option<Broken>> {
        let free = victims.iter().copied().filter(|victim| !self.held.contains(victim));
        let free: Vec<Victim> = free.collect();
        for victim in &free {
            self.note_crash(*victim);
            match *victim {
                Victim::Replica(replica) => self.cluster.replica_mut(replica).kill9()?,
                Victim::Executor(executor) => self.cluster.executor_mut(executor).kill9()?,
                Victim::Etcd(member) => self.cluster.member_mut(member).kill9()?,
            }
            self.held.insert(*victim);
        }
        Ok((!free.is_empty()).then_some(Broken::Down(free)))
    }

    /// Has a replica step down; one that cannot in time is killed.
    fn stop(&mut self, replica: usize) -> Result<Option<Broken>> {
        let victim = Victim::Replica(replica);
        if self.held.contains(&victim) {
            return Ok(None);
        }
        self.note_crash(victim);
        let daemon = self.cluster.replica_mut(replica);
        daemon.signal("TERM")?;
        if daemon.wait_exit(STOPPING).is_err() {
            daemon.kill9()?;
        }
        self.held.insert(victim);
        Ok(Some(Broken::Down(vec![victim])))
    }

    /// Kills the first of an executor's worker processes.
    fn kill_worker(&mut self, executor: usize) -> Result<Option<Broken>> {
        if self.held.contains(&Victim::Executor(executor)) {
            return Ok(None);
        }
        let workers = daemon::children(self.cluster.executor_mut(executor).pid(), "internal-work")?;
        // Another fault may have come before.
        let killed = workers.first().is_some_and(|worker| daemon::signal(*worker, "KILL").is_ok());
        Ok(killed.then(|| Broken::Down(Vec::new())))
    }

    /// Looks for processes that have ended by themselves.
    pub(super) fn note_crashes(&mut self) {
        let replicas = (0..REPLICAS).map(Victim::Replica);
        let executors = (0..EXECUTORS).map(Victim::Executor);
        replicas.chain(executors).for_each(|victim| self.note_crash(victim));
    }

    fn note_crash(&mut self, victim: Victim) {
        let daemon = match victim {
            Victim::Replica(replica) => self.cluster.replica_mut(replica),
            Victim::Executor(executor) => self.cluster.executor_mut(executor),
            Victim::Etcd(_) => return,
        };
        if daemon.has_ended() {
            self.crashed.push(format!("{victim:?} ended by itself; its log:\n{}", daemon.tail(30)));
        }
    }

    fn pause(&mut self, victim: Victim) -> Result<Option<Broken>> {
        if self.held.contains(&victim) {
            return Ok(None);
        }
        self.signal(victim, "STOP")?;
        self.held.insert(victim);
        Ok(Some(Broken::Asleep(victim)))
    }

    fn signal(&mut self, victim: Victim, signal: &str) -> Result<()> {
        match victim {
            Victim::Replica(replica) => self.cluster.replica_mut(replica).signal(signal),
            Victim::Executor(executor) => self.cluster.executor_mut(executor).signal(signal),
            Victim::Etcd(member) => self.cluster.member_mut(member).signal(signal),
        }
    }

    /// Gives it back where it cannot be mended yet.
    fn mend(&mut self, broken: Broken) -> Result<Option<Broken>> {
        match broken {
            Broken::Down(victims) => {
                for victim in victims {
                    self.held.remove(&victim);
                    match victim {
                        Victim::Replica(replica) => drop(self.cluster.spawn_replica(replica)?),
                        Victim::Executor(executor) => drop(self.cluster.spawn_executor(executor)?),
                        Victim::Etcd(member) => self.cluster.member_mut(member).spawn()?,
                    }
                }
            }
            Broken::Asleep(victim) => {
                self.held.remove(&victim);
                self.signal(victim, "CONT")?;
            }
            Broken::NoEtcd(replica) => self.cluster.network().set_etcd(replica, Way::Open),
            Broken::NoExecutors(replica) => self.cluster.network().set_links_of_replica(replica, Way::Open),
            Broken::NoReplicas(executor) => self.cluster.network().set_links_of_executor(executor, Way::Open),
            Broken::Full(dir, of) => self.free(&dir, of)?,
            Broken::EtcdFull => return Ok((!self.lower_alarm()).then_some(Broken::EtcdFull)),
            Broken::Behind => {
                if let Some(hours) = &mut self.hours {
                    hours.take_back(wall_clock())?;
                }
            }
        }
        Ok(None)
    }
}

/// The time since 1970.
pub(super) fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

async fn compact(url: &str, revision: i64) -> Result<()> {
    let mut client = Client::connect([url], None).await.context("reach etcd")?;
    client.compact(revision, None).await?;
    client.defragment().await?;
    Ok(())
}
