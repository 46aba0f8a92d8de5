//! The driver of a real scheduler: what the control daemon does, against models of store and link.

use weir_scheduler::{Config, Input, Output, Scheduler, SessionId};
use weir_wire::{
    codec::Document,
    id::{ClusterName, Digest, RunId, Seq, Term},
    message::{Ack, ToControl, ToExecutor},
    outcome::BlobRef,
    task::Status,
    txn::CommitResult,
};

use crate::{
    calls::Ask,
    clock::Clock,
    cron::{self, Question},
    event::{Frame, Kind, Side},
    fold,
    office::Office,
    options::Sabotage,
    property::{Check, Property, broken},
    rng::Rng,
    world::{CLUSTER, World},
};

/// One replica of the control plane.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) scheduler: Option<Scheduler>,
    /// Counts starts and crashes.
    pub(crate) epoch: u64,
    pub(crate) frozen_until: u64,
    /// Until when it cannot reach the store.
    pub(crate) cut_until: u64,
    /// Until when it cannot reach any machine.
    pub(crate) isolated_until: u64,
    /// It dies when its next transaction is durable.
    pub(crate) dies_at_commit: bool,
    pub(crate) armed: u64,
    /// A transaction was handed out, and is not known to be durable.
    pub(crate) committing: bool,
    /// Questions to the daemon that are not answered.
    pub(crate) asked: usize,
    /// When its wall clock was set.
    pub(crate) clock_set_at: Option<u64>,
    pub(crate) office: Office,
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
    /// What the daemon does beside the scheduler.
    pub(crate) daemon: Rng,
}

impl Replica {
    pub(crate) fn new(clock: Clock, rng: Rng, daemon: Rng) -> Self {
        Self {
            scheduler: None,
            epoch: 0,
            frozen_until: 0,
            cut_until: 0,
            isolated_until: 0,
            dies_at_commit: false,
            armed: u64::MAX,
            committing: false,
            asked: 0,
            clock_set_at: None,
            office: Office::Follower,
            clock,
            rng,
            daemon,
        }
    }

    fn term(&self) -> Option<Term> {
        self.scheduler.as_ref().and_then(Scheduler::term)
    }
}

impl World {
    /// What every replica is configured with.
    pub(crate) fn config(&self) -> Config {
        let cluster: ClusterName = CLUSTER.parse().expect("a valid name");
        let mut config = Config::new(cluster);
        config.checkpoint_log_len = self.options.checkpoint_log_len;
        config.preempt_delay = self.options.preempt_delay;
        config.preempt_grace = self.options.preempt_grace;
        config.keep_ended_max = self.options.keep_ended_max;
        config.keep_ended_for = self.options.keep_ended_for;
        config.keep_ended_min = self.options.keep_ended_min;
        config.check_plans = true;
        config
    }

    /// Starts a replica.
    pub(crate) fn control_start(&mut self, at: usize) {
        let config = self.config();
        let replica = &mut self.replicas[at];
        let seed = replica.rng.next();
        replica.epoch += 1;
        replica.scheduler = Some(Scheduler::new(config, seed));
        replica.armed = u64::MAX;
        replica.committing = false;
        replica.asked = 0;
        self.follow(at);
    }

    /// Takes all memory away from a replica.
    pub(crate) fn control_crash(&mut self, at: usize) {
        let replica = &mut self.replicas[at];
        replica.scheduler = None;
        replica.epoch += 1;
        replica.frozen_until = 0;
        replica.dies_at_commit = false;
        replica.office = Office::Follower;
        for id in self.sessions_of(at) {
            self.break_session(id, [true, false]);
        }
        self.requests_lost(at);
    }

    /// A message of an executor has arrived.
    pub(crate) fn control_message(&mut self, at: usize, id: u64, bytes: &[u8]) -> Check {
        let Ok(message) = ToControl::from_bytes(bytes) else {
            return broken(Property::Crash, "a message to the control plane does not decode");
        };
        self.trace.bytes(bytes);
        if let ToControl::Report(report) = &message {
            self.given.report(id, report);
        }
        let session = self.session_mut(id);
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
        let greeted = std::mem::replace(&mut self.session_mut(id).greeted, true);
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
        let now = replica.clock.now(self.now);
        let Some(scheduler) = &mut replica.scheduler else { return Ok(()) };
        self.trace.number(now.mono.0);
        self.trace.number(now.wall_ms);
        self.trace.fold(|out| fold::control_input(&input, out));
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
        let due = replica.clock.due(deadline).max(now);
        if due < replica.armed {
            replica.armed = due;
            let epoch = replica.epoch;
            self.events.push(due, Kind::ControlTick { replica: at, epoch, due });
            return self.spins(due, format_args!("scheduler {at} wants to be woken for {reason:?}"));
        }
        Ok(())
    }

    fn control_output(&mut self, at: usize, output: Output) -> Check {
        self.trace.fold(|out| fold::control_output(&output, out));
        match output {
            Output::Commit { txn, object } => {
                let (seq, term) = (txn.seq, txn.term);
                self.trace.line(self.now, format_args!("replica {at} commits {seq} in term {term}"));
                self.replicas[at].committing = true;
                self.call(at, Ask::Commit { txn: *txn, object });
                Ok(())
            }
            Output::Send { session, message } => self.control_send(at, session.0, &message),
            Output::Close { session } => {
                self.session_mut(session.0).open = false;
                self.transmit(session.0, Side::Node, Frame::Close)
            }
            Output::Reply { id, result } => {
                self.trace.line(self.now, format_args!("replica {at} answers {}: {result:?}", id.0));
                self.replied(id, result)
            }
            Output::NextInstant { namespace, job, version, schedule, after_ms, .. } => {
                let at_ms = cron::next_instant(&schedule, after_ms);
                let question = Box::new(Question { namespace, job, version, after_ms, at_ms });
                let (due, epoch) = (self.answer_time(at), self.replicas[at].epoch);
                self.replicas[at].asked += 1;
                self.events.push(due, Kind::Instant { replica: at, epoch, question });
                Ok(())
            }
            Output::AssembleInput { run, from, .. } => {
                if self.oracle.runs.get(&from).is_none_or(|known| !known.is_over()) {
                    return broken(
                        Property::After,
                        format!("{run} is to get the results of {from}, which has not ended"),
                    );
                }
                let (due, epoch) = (self.answer_time(at), self.replicas[at].epoch);
                let well = self.healed || !self.replicas[at].daemon.chance(200_000);
                self.events.push(due, Kind::Assembled { replica: at, epoch, run, well });
                Ok(())
            }
            Output::TaskOutput(_) | Output::Inspected(_) | Output::Changed { .. } => Ok(()),
        }
    }

    /// The daemon answers which instant is the next one.
    pub(crate) fn instant(&mut self, at: usize, question: Question) -> Check {
        self.replicas[at].asked -= 1;
        let Question { namespace, job, version, after_ms, at_ms } = question;
        self.control_input(at, Input::NextInstant { namespace, job, version, after_ms, at_ms })
    }

    /// The daemon has put the results of a run together, or could not.
    pub(crate) fn assembled(&mut self, at: usize, run: RunId, well: bool) -> Check {
        let blob = BlobRef { digest: Digest([0xdd; 32]), len: 10 };
        let result = if well { Ok(blob) } else { Err("a segment cannot be read".to_owned()) };
        self.control_input(at, Input::InputAssembled { run, result })
    }

    fn control_send(&mut self, at: usize, id: u64, message: &ToExecutor) -> Check {
        self.trace.line(self.now, format_args!("replica {at} -> session {id}: {message:?}"));
        self.check_send(at, id, message)?;
        self.transmit(id, Side::Node, Frame::Message(message.to_bytes()))
    }

    /// What may not be said before it is durable.
    fn check_send(&mut self, at: usize, id: u64, message: &ToExecutor) -> Check {
        let term = self.replicas[at].term();
        let newest = self.store.newest.map(|leader| leader.term);
        match message {
            ToExecutor::Ack(ack) => {
                let removed = self.was_removed(self.session(id).node);
                let session = self.session_mut(id);
                let mut durable = Vec::new();
                while let Some(sent) = session.received.pop_front_if(|sent| sent.0 <= ack.through) {
                    durable.push(sent);
                }
                for (_, run, index, status) in durable {
                    if status == Status::Succeeded && !removed && self.oracle.status(run, index).is_none() {
                        let message = format!("the success of {run}.{index} is acknowledged and not recorded");
                        return broken(Property::Accepted, message);
                    }
                }
            }
            ToExecutor::Welcome(_) => {
                let session = self.session(id);
                let node = &self.nodes[session.node];
                if node.epoch == session.node_epoch
                    && !self.oracle.is_registered(&node.id, node.installation, node.incarnation)
                {
                    return broken(Property::Accepted, format!("node {} is welcomed and not registered", node.id));
                }
            }
            ToExecutor::Grant(grant) if term == newest => {
                let range = grant.first..grant.first + grant.len;
                if !self.oracle.runs.contains_key(&grant.run) {
                    return broken(Property::Accepted, format!("run {} is granted and not stored", grant.run));
                }
                if let Some(index) = range.into_iter().find(|index| self.oracle.status(grant.run, *index).is_some()) {
                    return broken(Property::Terminal, format!("{}.{index} is granted and has ended", grant.run));
                }
                let waits = self.oracle.runs.get(&grant.run).map(|known| self.oracle.dependencies_hold(known));
                if waits.is_some_and(|holds| holds != Some(true)) {
                    let message = format!("{} is granted before what it waits for has ended as it has to", grant.run);
                    return broken(Property::After, message);
                }
                return self.check_grant(at, id, grant);
            }
            ToExecutor::Stop(stop) if term == newest => return self.check_stop(at, id, stop),
            ToExecutor::Renewed(_) if term != newest && self.now > self.lease_broken_until => {
                let message = format!("replica {at} renews a node's lease in term {term:?}, after {newest:?} began");
                return broken(Property::Term, message);
            }
            ToExecutor::Grant(_)
            | ToExecutor::Renewed(_)
            | ToExecutor::Refuse(_)
            | ToExecutor::Define(_)
            | ToExecutor::DefineMore(_)
            | ToExecutor::Stop(_)
            | ToExecutor::Forget(_)
            | ToExecutor::Present
            | ToExecutor::Inspect(_)
            | ToExecutor::Follow(_) => {}
        }
        Ok(())
    }

    /// A replica learns what became of a transaction.
    pub(crate) fn commit_answered(&mut self, at: usize, term: Term, seq: Seq, result: CommitResult) -> Check {
        // The answer to a transaction of an earlier term of the same replica is not handed in.
        if self.replicas[at].term() != Some(term) {
            return Ok(());
        }
        if self.replicas[at].dies_at_commit && matches!(result, CommitResult::Committed { .. }) {
            let time = self.replicas[at].rng.range(1_000_000, 10_000_000_000);
            self.trace.line(self.now, format_args!("replica {at} dies after {seq} is durable"));
            self.control_dies(at, self.now + time);
            return Ok(());
        }
        self.replicas[at].committing = result == CommitResult::Unknown;
        self.trace.line(self.now, format_args!("replica {at} learns of {seq}: {result:?}"));
        self.control_input(at, Input::CommitDone { seq, result })?;
        if result == CommitResult::Deposed { self.deposed(at, term) } else { Ok(()) }
    }

    /// Whether a blob may be had over a session.
    pub(crate) fn fetch(&mut self, session: Option<u64>, digest: &Digest) -> Result<(), String> {
        let id = session.ok_or("there is no session")?;
        let session = self.session(id);
        if !session.alive || !session.open {
            return Err("the session is gone".to_owned());
        }
        let (at, epoch) = (session.replica, session.replica_epoch);
        if self.replicas[at].epoch != epoch {
            return Err("the replica is down".to_owned());
        }
        if !self.healed && self.session_mut(id).rng.chance(20_000) {
            self.count("stream-break");
            return Err("the stream broke".to_owned());
        }
        let scheduler = self.replicas[at].scheduler.as_ref().ok_or("the replica is down")?;
        if scheduler.may_fetch(SessionId(id), digest) { Ok(()) } else { Err("forbidden".to_owned()) }
    }
}
