//! The driver of a real scheduler: what the control daemon does, against models of store and link.

use core::time::Duration;

use weir_scheduler::{Config, Input, Output, Scheduler, SessionId};
use weir_wire::{
    codec::Document,
    id::{ClusterName, Digest, Seq, Term},
    message::{Ack, ToControl, ToExecutor},
    task::Status,
    txn::{CommitResult, Txn},
    units::{Instant, Now},
};

use crate::{
    event::{Frame, Kind, Side},
    options::Sabotage,
    oracle::{Check, Property, broken},
    world::{CLUSTER, World, ns, wall_ms},
};

/// The length of a leader's lease, and how often it is kept alive.
const LEADER_LEASE: Duration = Duration::from_secs(3);
const KEEP_ALIVE: Duration = Duration::from_millis(750);
/// What of the lease a leader counts on.
const LEADER_LEASE_SURE: Duration = Duration::from_millis(2900);

/// One replica of the control plane.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) scheduler: Option<Scheduler>,
    /// Counts starts and crashes.
    pub(crate) epoch: u64,
    pub(crate) frozen_until: u64,
    /// Until when it cannot reach the store.
    pub(crate) cut_until: u64,
    pub(crate) armed: u64,
    /// It was elected for this term, and reads the store.
    pub(crate) loading: Option<Term>,
    pub(crate) clock_offset: u64,
}

/// A transaction under way to the store and back.
#[derive(Debug)]
pub(crate) struct Call {
    replica: usize,
    epoch: u64,
    txn: Txn,
    object: Option<(String, Vec<u8>)>,
    result: CommitResult,
    known: bool,
}

impl Replica {
    fn now(&self, now: u64) -> Now {
        Now { mono: Instant(now + self.clock_offset), wall_ms: wall_ms(now) }
    }
}

impl World {
    /// Starts a replica.
    pub(crate) fn control_start(&mut self, at: usize) {
        let seed = self.rng.next();
        let cluster: ClusterName = CLUSTER.parse().expect("a valid name");
        let mut config = Config::new(cluster);
        config.checkpoint_log_len = self.options.checkpoint_log_len;
        let replica = &mut self.replicas[at];
        replica.epoch += 1;
        replica.scheduler = Some(Scheduler::new(config, seed));
        replica.armed = u64::MAX;
        replica.loading = None;
    }

    /// Takes all memory away from a replica.
    pub(crate) fn control_crash(&mut self, at: usize) {
        let replica = &mut self.replicas[at];
        replica.scheduler = None;
        replica.epoch += 1;
        replica.frozen_until = 0;
        let ids: Vec<u64> =
            self.sessions.iter().filter(|(_, session)| session.replica == at).map(|(id, _)| *id).collect();
        for id in ids {
            self.break_session(id, [true, false]);
        }
        self.requests_lost(at);
    }

    /// Elects a replica if nobody leads.
    pub(crate) fn campaign(&mut self) {
        let now = self.now;
        self.events.push(now + ns(Duration::from_millis(400)), Kind::Campaign);
        if self.store.leader.is_some_and(|leader| leader.until > now) {
            return;
        }
        let able =
            |replica: &Replica| replica.scheduler.is_some() && replica.frozen_until <= now && replica.cut_until <= now;
        let candidates: Vec<usize> = (0..self.replicas.len()).filter(|at| able(&self.replicas[*at])).collect();
        if candidates.is_empty() {
            return;
        }
        let replica = *self.rng.pick(&candidates);
        let epoch = self.replicas[replica].epoch;
        let term = self.store.elect(replica, epoch, now + ns(LEADER_LEASE));
        self.replicas[replica].loading = Some(term);
        self.trace.line(now, format_args!("replica {replica} is elected for term {term}"));
        let load = ns(self.rng.duration(Duration::from_millis(1), Duration::from_millis(300)));
        self.events.push(now + load, Kind::Loaded { replica, epoch, term });
        self.events.push(now + ns(KEEP_ALIVE), Kind::KeepAlive { replica, epoch, term });
    }

    /// A new leader has read the store.
    pub(crate) fn loaded(&mut self, at: usize, term: Term) -> Check {
        if std::mem::take(&mut self.replicas[at].loading) != Some(term)
            || self.store.leader.is_none_or(|leader| leader.term != term)
        {
            return Ok(());
        }
        let loaded = self.store.load();
        self.oracle.rebuilds(&loaded)?;
        let until = Instant(self.now + self.replicas[at].clock_offset) + LEADER_LEASE_SURE / 2;
        self.control_input(at, Input::Elected { term, loaded: Box::new(loaded) })?;
        self.check_view(at)?;
        self.control_input(at, Input::LeadershipUntil(until))
    }

    /// A leader keeps its lease alive.
    pub(crate) fn keep_alive(&mut self, at: usize, epoch: u64, term: Term) -> Check {
        let now = self.now;
        // A scheduler that was told "deposed" by the store resigns; one that still reads the store does not.
        let term_now = self.replicas[at].scheduler.as_ref().and_then(Scheduler::term);
        let loads = self.replicas[at].loading == Some(term);
        if term_now != Some(term) && !loads {
            return Ok(());
        }
        self.events.push(now + ns(KEEP_ALIVE), Kind::KeepAlive { replica: at, epoch, term });
        if self.replicas[at].cut_until > now {
            return Ok(());
        }
        match &mut self.store.leader {
            Some(leader) if leader.term == term && leader.until > now => {
                leader.until = now + ns(LEADER_LEASE);
                let until = Instant(now + self.replicas[at].clock_offset) + LEADER_LEASE_SURE;
                self.control_input(at, Input::LeadershipUntil(until))
            }
            Some(_) | None => {
                let leads = self.replicas[at].scheduler.as_ref().and_then(Scheduler::term) == Some(term);
                if leads { self.control_input(at, Input::Deposed) } else { Ok(()) }
            }
        }
    }

    /// A message of an executor has arrived.
    pub(crate) fn control_message(&mut self, at: usize, id: u64, bytes: &[u8]) -> Check {
        let Ok(message) = ToControl::from_bytes(bytes) else {
            return broken(Property::Invariant, "a message to the control plane does not decode");
        };
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        if let ToControl::Report(report) = &message {
            let mut number = report.first;
            for group in &report.groups {
                for (index, outcome) in &group.outcomes {
                    session.received.push_back((number, group.run, *index, outcome.status));
                    number += 1;
                }
            }
            if self.options.sabotage == Some(Sabotage::AckBeforeCommit) && number > report.first {
                self.control_send(at, id, &ToExecutor::Ack(Ack { through: number - 1 }))?;
            }
        }
        let session_id = SessionId(id);
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        let greeted = std::mem::replace(&mut session.greeted, true);
        let input = if let (false, ToControl::Hello(hello)) = (greeted, &message) {
            Input::NodeConnected { session: session_id, hello: hello.clone() }
        } else {
            Input::NodeMessage { session: session_id, message: Box::new(message) }
        };
        self.control_input(at, input)
    }

    /// Feeds a scheduler and carries out what it asks for.
    pub(crate) fn control_input(&mut self, at: usize, input: Input) -> Check {
        let replica = &mut self.replicas[at];
        let now = replica.now(self.now);
        let Some(scheduler) = &mut replica.scheduler else { return Ok(()) };
        scheduler.handle(now, input);
        while let Some(output) = self.replicas[at].scheduler.as_mut().and_then(Scheduler::poll_output) {
            self.control_output(at, output)?;
        }
        self.control_arm(at)
    }

    fn control_arm(&mut self, at: usize) -> Check {
        let now = self.now;
        let replica = &mut self.replicas[at];
        let Some((deadline, reason)) = replica.scheduler.as_ref().and_then(Scheduler::poll_deadline) else {
            return Ok(());
        };
        let due = deadline.0.saturating_sub(replica.clock_offset).max(now);
        if due < replica.armed {
            replica.armed = due;
            let epoch = replica.epoch;
            self.events.push(due, Kind::ControlTick { replica: at, epoch, due });
            return self.spins(due, format_args!("scheduler {at} wants to be woken for {reason:?}"));
        }
        Ok(())
    }

    fn control_output(&mut self, at: usize, output: Output) -> Check {
        match output {
            Output::Commit { txn, object } => {
                self.call(at, *txn, object);
                Ok(())
            }
            Output::Send { session, message } => self.control_send(at, session.0, &message),
            Output::Close { session } => {
                if let Some(state) = self.sessions.get_mut(&session.0) {
                    state.open = false;
                }
                self.transmit(session.0, Side::Node, Frame::Close)
            }
            Output::Reply { id, result } => {
                self.trace.line(self.now, format_args!("replica {at} answers {}: {result:?}", id.0));
                self.replied(id, result)
            }
            Output::TaskOutput(_)
            | Output::NextInstant { .. }
            | Output::AssembleInput { .. }
            | Output::Changed { .. } => Ok(()),
        }
    }

    fn control_send(&mut self, at: usize, id: u64, message: &ToExecutor) -> Check {
        self.trace.line(self.now, format_args!("replica {at} -> session {id}: {message:?}"));
        self.check_send(at, id, message)?;
        self.transmit(id, Side::Node, Frame::Message(message.to_bytes()))
    }

    /// What may not be said before it is durable.
    fn check_send(&mut self, at: usize, id: u64, message: &ToExecutor) -> Check {
        let term = self.replicas[at].scheduler.as_ref().and_then(Scheduler::term);
        let newest = self.store.leader.map(|leader| leader.term);
        let Some(session) = self.sessions.get_mut(&id) else {
            return broken(Property::Invariant, format!("a message for session {id}, which never was"));
        };
        match message {
            ToExecutor::Ack(ack) => {
                while let Some((_, run, index, status)) = session.received.pop_front_if(|sent| sent.0 <= ack.through) {
                    if status == Status::Succeeded && self.oracle.status(run, index).is_none() {
                        let message = format!("the success of {run}.{index} is acknowledged and not recorded");
                        return broken(Property::Acknowledged, message);
                    }
                }
            }
            ToExecutor::Welcome(_) => {
                let node = &self.nodes[session.node];
                if self.nodes[session.node].epoch == session.node_epoch
                    && !self.oracle.is_registered(&node.id, node.incarnation)
                {
                    return broken(Property::Acknowledged, format!("node {} is welcomed and not registered", node.id));
                }
            }
            ToExecutor::Grant(grant) if term == newest => {
                let range = grant.first..grant.first + grant.len;
                if !self.oracle.runs.contains_key(&grant.run) {
                    return broken(Property::Acknowledged, format!("run {} is granted and not stored", grant.run));
                }
                if let Some(index) = range.into_iter().find(|index| self.oracle.status(grant.run, *index).is_some()) {
                    return broken(Property::OneOutcome, format!("{}.{index} is granted and has ended", grant.run));
                }
            }
            ToExecutor::Grant(_)
            | ToExecutor::Refuse(_)
            | ToExecutor::Define(_)
            | ToExecutor::Stop(_)
            | ToExecutor::Renewed(_)
            | ToExecutor::Forget(_)
            | ToExecutor::Present
            | ToExecutor::Follow(_) => {}
        }
        Ok(())
    }

    /// Sends a transaction to the store.
    fn call(&mut self, at: usize, txn: Txn, object: Option<(String, Vec<u8>)>) {
        self.trace.number(txn.seq.0);
        self.trace.line(self.now, format_args!("replica {at} commits {} in term {}", txn.seq, txn.term));
        let store = self.options.store;
        let replica = &self.replicas[at];
        let cut = replica.cut_until > self.now;
        let epoch = replica.epoch;
        self.next_call += 1;
        let call = self.next_call;
        let mut delay = || ns(self.rng.duration(Duration::from_micros(200), store.delay_max));
        let (there, back) = (self.now + delay(), delay());
        let unknown = cut || (!self.healed && self.rng.chance(store.unknown));
        let late = self.now + ns(self.rng.duration(Duration::ZERO, store.late_max));
        let fate = self.rng.below(3);
        let result = CommitResult::Unknown;
        self.calls.insert(call, Call { replica: at, epoch, txn, object, result, known: !unknown });
        if !unknown {
            self.events.push(there, Kind::Apply { call });
            self.events.push(there + back, Kind::Answer { call });
            return;
        }
        self.events.push(there + back, Kind::Answer { call });
        match fate {
            0 if !cut => self.events.push(there, Kind::Apply { call }),
            1 if !cut => self.events.push(late, Kind::Apply { call }),
            _ => {}
        }
    }

    /// A transaction reaches the store.
    pub(crate) fn apply(&mut self, id: u64) -> Check {
        let Some(call) = self.calls.get_mut(&id) else { return Ok(()) };
        if let Some((name, bytes)) = call.object.take() {
            self.store.objects.insert(name, bytes);
        }
        let (result, applied) = self.store.commit(&call.txn);
        call.result = result;
        if applied {
            self.oracle.applied(&call.txn, &self.store.objects)?;
            if !call.txn.deletes.is_empty() {
                self.oracle.rebuilds(&self.store.load())?;
            }
        }
        Ok(())
    }

    /// The store's answer reaches the replica.
    pub(crate) fn answer(&mut self, id: u64) -> Check {
        let Some(call) = self.calls.get(&id) else { return Ok(()) };
        let (at, seq): (usize, Seq) = (call.replica, call.txn.seq);
        let result = if call.known { call.result } else { CommitResult::Unknown };
        // The answer to a transaction of an earlier term of the same replica is not handed in.
        let term = self.replicas[at].scheduler.as_ref().and_then(Scheduler::term);
        if self.replicas[at].epoch != call.epoch || term != Some(call.txn.term) {
            return Ok(());
        }
        self.trace.line(self.now, format_args!("replica {at} learns of {seq}: {result:?}"));
        self.control_input(at, Input::CommitDone { seq, result })
    }

    /// Whether a blob may be had over a session.
    pub(crate) fn fetch(&mut self, session: Option<u64>, digest: &Digest) -> Result<(), String> {
        let id = session.ok_or("there is no session")?;
        let session = self.sessions.get(&id).filter(|session| session.alive && session.open);
        let session = session.ok_or("the session is gone")?;
        let replica = &self.replicas[session.replica];
        let scheduler = replica.scheduler.as_ref().filter(|_| replica.epoch == session.replica_epoch);
        let scheduler = scheduler.ok_or("the replica is down")?;
        if !self.healed && self.rng.chance(20_000) {
            return Err("the stream broke".to_owned());
        }
        if scheduler.may_fetch(SessionId(id), digest) { Ok(()) } else { Err("forbidden".to_owned()) }
    }

    /// Whom a replay of this call belongs to, for frozen replicas.
    pub(crate) fn call_owner(&self, id: u64) -> Option<usize> {
        self.calls.get(&id).map(|call| call.replica)
    }
}
