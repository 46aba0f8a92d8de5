//! What executors say, and what becomes of their silence.

use alloc::{borrow::Cow, boxed::Box, format, vec::Vec};

use weir_wire::{
    id::{RunId, Term},
    kind::Kind,
    message::{RefuseCode, Renewed, ToControl, ToExecutor, WIRE_MIN, Welcome},
    node::{Hello, NodeRecord},
    outcome::Failure,
    record::Exception,
    task::{Reason, Source, Status},
};

use crate::{
    input::SessionId,
    limits,
    node::Node,
    output::Output,
    phase::Phase,
    scheduler::{Leading, Scheduler},
};

/// Why a session is refused, for programs and for people.
type Refusal = (RefuseCode, Cow<'static, str>);

impl Scheduler {
    pub(crate) fn node_connected(&mut self, session: SessionId, hello: &Hello) {
        if let Err((code, message)) = self.admit(hello) {
            self.refuse(session, code, &message);
            return;
        }
        let now = self.now;
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let record = NodeRecord {
            node: hello.node.clone(),
            installation: hello.installation,
            incarnation: hello.incarnation,
            first_seen_ms: now.wall_ms,
            cordoned: false,
            drain: None,
            labels: Vec::new(),
            gone_ms: None,
        };
        let known = leading.nodes.slot(&hello.node);
        let slot = known.unwrap_or_else(|| leading.nodes.register(record, now.mono));
        let node = leading.nodes.get_mut(slot);
        let start = (hello.installation, hello.incarnation);
        let changed = (node.record.installation, node.record.incarnation) != start;
        let replaced = node.record.installation != hello.installation;
        let restarted = known.is_some() && (changed || node.boot != hello.boot);
        // A new leader does not know which start of its executor a node was registered by, and nothing restarted.
        let seen_restarting = restarted && (changed || node.boot != 0);
        let register = known.is_none() || changed || node.record.gone_ms.is_some();
        (node.record.installation, node.record.incarnation) = start;
        node.record.gone_ms = None;
        let (installation, incarnation) = start;
        let record = NodeRecord { installation, incarnation, gone_ms: None, ..node.newest().clone() };
        let old = node.session.take();
        leading.unhold(slot);
        if let Some(old) = old {
            self.end_session(old, slot, restarted);
        }
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        leading.nodes.bind(session, slot);
        leading.untell_all(slot);
        leading.nodes.get_mut(slot).connect(session, hello, self.config.wire_max, now.mono);
        leading.nodes.set_modules(slot, &hello.modules);
        leading.nodes.update_order(slot);
        leading.watch(slot, now.mono + self.config.node_timeout);
        if restarted {
            // Another installation may be another machine: it does not prove that what the first one ran is gone.
            let reason = if replaced { Reason::NodeLost } else { Reason::ExecutorRestarted };
            self.drop_grants(slot, reason);
        }
        self.settle_restarted(hello);
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        if register {
            leading.stage_node(slot, record);
        }
        // A node is granted work only once its registration is durable: a later leader waits for registered nodes.
        let batch = leading.open_batch();
        batch.welcomes.push(session);
        batch.urgent = true;
        tracing::info!(node.id = %hello.node, incarnation = hello.incarnation.0, restarted = seen_restarting, "node connected");
    }

    fn admit(&self, hello: &Hello) -> Result<(), Refusal> {
        let Some(leading) = self.leading.as_ref() else {
            return Err((RefuseCode::NotLeader, "this replica is not the leader".into()));
        };
        if hello.cluster != self.config.cluster {
            return Err((RefuseCode::Cluster, "this is another cluster".into()));
        }
        if hello.wire_min > self.config.wire_max || hello.wire_max < WIRE_MIN {
            return Err((RefuseCode::WireVersion, "no wire version in common; upgrade the older side".into()));
        }
        let Some(slot) = leading.nodes.slot(&hello.node) else {
            if leading.nodes.count() >= limits::NODES_MAX {
                return Err((RefuseCode::NotLeader, "the cluster has as many nodes as it can have".into()));
            }
            return Ok(());
        };
        self.admit_again(leading.nodes.get(slot), hello)
    }

    /// Whether a known node may begin a session, beside what it has.
    fn admit_again(&self, node: &Node, hello: &Hello) -> Result<(), Refusal> {
        let twin = "another executor with this name is connected; give each machine a certificate of its own";
        if hello.installation != node.record.installation {
            // Starts count within one data directory, so they do not tell which of two machines is the later one. A
            // replaced machine takes its name over once the old one is given up; until then that one may be at work.
            if node.session.is_some() {
                return Err((RefuseCode::Identity, twin.into()));
            }
            let silent = self.now.mono.since(node.last_seen);
            if !node.lost && silent < self.config.node_timeout {
                let message = format!(
                    "another installation of this node may be at work, silent for {} s; trying again",
                    silent.as_secs()
                );
                return Err((RefuseCode::NotLeader, message.into()));
            }
            return Ok(());
        }
        if hello.incarnation < node.record.incarnation {
            let message =
                "a later start of this node's executor is known; its data directory was restored or is used twice";
            return Err((RefuseCode::Superseded, message.into()));
        }
        if node.session.is_some() && hello.incarnation == node.record.incarnation && hello.boot != node.boot {
            return Err((RefuseCode::Identity, twin.into()));
        }
        Ok(())
    }

    /// Ends a session that a newer one of the same node replaces.
    fn end_session(&mut self, session: SessionId, slot: usize, superseded: bool) {
        if let Some(leading) = self.leading.as_deref_mut() {
            leading.nodes.unbind(session);
            leading.nodes.get_mut(slot).disconnect();
            leading.nodes.update_order(slot);
        }
        if superseded {
            self.refuse(session, RefuseCode::Superseded, "a later start of this node's executor has taken over");
        } else {
            // The same daemon has connected again: it must not take this for an order to exit.
            self.outputs.push_back(Output::Close { session });
        }
    }

    pub(crate) fn node_disconnected(&mut self, session: SessionId) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let Some(slot) = leading.nodes.unbind(session) else {
            return;
        };
        let node = leading.nodes.get_mut(slot);
        node.disconnect();
        tracing::warn!(node.id = %node.id(), "node disconnected");
        leading.nodes.update_order(slot);
    }

    /// A node's silence deadline has come: give it up, or wait for the rest if it was heard meanwhile.
    pub(crate) fn node_silent(&mut self, at: weir_wire::units::Instant, slot: usize) {
        let (now, timeout) = (self.now.mono, self.config.node_timeout);
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        leading.silences.remove(&(at, slot));
        leading.nodes.get_mut(slot).watched = false;
        let node = leading.nodes.get_mut(slot);
        let due = node.last_seen + timeout;
        if due > now {
            leading.watch(slot, due);
            return;
        }
        if !node.lost && !node.ops.held {
            self.vanished(slot);
        }
    }

    /// Gives up all grants of a node.
    pub(crate) fn drop_grants(&mut self, slot: usize, reason: Reason) {
        self.drop_fenced(slot, reason);
        if let Some(leading) = self.leading.as_deref_mut() {
            leading.drop_node_grants(slot, reason);
        }
    }

    pub(crate) fn node_message(&mut self, session: SessionId, message: ToControl) {
        let now = self.now.mono;
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let Some(slot) = leading.nodes.of_session(session) else {
            return;
        };
        let node = leading.nodes.get_mut(slot);
        node.last_seen = now;
        if !node.welcomed {
            // Nothing it says counts before its registration is durable, and an executor waits for the welcome.
            self.refuse(session, RefuseCode::Malformed, "a session waits for its welcome after its hello");
            return self.node_disconnected(session);
        }
        match message {
            ToControl::Hello(_) => {
                self.refuse(session, RefuseCode::Malformed, "a session says hello once");
                self.node_disconnected(session);
            }
            ToControl::Renew(renew) => {
                if now < self.leadership_until {
                    node.renewed_at = now;
                    self.send(session, ToExecutor::Renewed(Renewed { token: renew.token }));
                }
            }
            ToControl::State(state) => self.node_state(slot, &state),
            ToControl::Report(report) => self.node_report(slot, report),
            ToControl::Output(output) => self.outputs.push_back(Output::TaskOutput(Box::new(output))),
            ToControl::Draining => self.node_draining(slot),
            ToControl::Inspected(inspected) => self.outputs.push_back(Output::Inspected(Box::new(inspected))),
            ToControl::Speed(speed) => node.fuel_per_s = Some(speed.fuel_per_s),
        }
    }

    /// A node is to end: it keeps what it runs, and gets nothing more.
    fn node_draining(&mut self, slot: usize) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let node = leading.nodes.get_mut(slot);
        if core::mem::replace(&mut node.draining, true) {
            return;
        }
        tracing::info!(node.id = %node.id(), grants = node.grants.len(), "node draining");
        leading.nodes.update_order(slot);
        leading.node_changed(slot);
        self.changed();
    }

    pub(crate) fn changed(&mut self) {
        let revision = self.revision();
        self.outputs.push_back(Output::Changed { revision });
    }

    /// Welcomes a session whose registration is durable.
    pub(crate) fn welcome(&mut self, session: SessionId, term: Term) {
        let known = self.leading.as_deref_mut().and_then(|leading| {
            let slot = leading.nodes.of_session(session)?;
            let node = leading.nodes.get_mut(slot);
            node.welcomed = true;
            Some(node.wire)
        });
        if let Some(wire) = known {
            let Self { config, .. } = self;
            let (lease, renew_every) = (config.lease, config.renew_every);
            self.send(session, ToExecutor::Welcome(Welcome { wire, term, lease, renew_every }));
        }
    }
}

impl Leading {
    /// Sets the silence deadline of a node, unless there is one already.
    pub(crate) fn watch(&mut self, slot: usize, at: weir_wire::units::Instant) {
        let node = self.nodes.get_mut(slot);
        if !core::mem::replace(&mut node.watched, true) {
            self.silences.insert((at, slot));
        }
    }

    /// Puts tasks that were granted back to where they can be granted again.
    pub(crate) fn requeue_range(&mut self, id: RunId, range: core::ops::Range<u32>) {
        if range.is_empty() {
            return;
        }
        for index in range {
            self.requeue_task(id, index);
        }
        self.requeue(id);
    }

    fn requeue_task(&mut self, id: RunId, index: u32) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if !run.phase(index).is_granted() && run.phase(index) != Phase::Unknown {
            return;
        }
        self.unfence(id, index);
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.progress.remove(&index);
        let system = matches!(run.job.kind, Kind::System);
        if let Some(long) = run.long.as_deref().filter(|_| run.stop.is_none()) {
            let phase = long.idle_phase(index, system);
            run.stopping.remove(&index);
            run.set_phase(index, phase);
            self.pinned_task_waits(id, index);
            self.task_changed(id, index);
            return;
        }
        let stop = run.stop.or_else(|| run.stopping.get(&index).copied());
        if stop.is_some() {
            run.set_phase(index, Phase::Staged(Status::Killed));
            self.open_batch().end(id, index, Status::Killed);
        } else {
            run.set_phase(index, Phase::Pending);
        }
    }

    /// Gives up the grants of a node that are not fenced.
    pub(crate) fn drop_node_grants(&mut self, slot: usize, reason: Reason) {
        let node = self.nodes.get(slot).id().clone();
        for dropped in self.grants_on(slot) {
            let Some(grant) = self.grants.find_mut(dropped) else {
                continue;
            };
            let (id, range) = (grant.run, grant.next..grant.end);
            grant.next = grant.end;
            if let Some(run) = self.runs.get_mut(&id) {
                assert!(!run.job.execution.is_fenced(), "a fenced grant is given up without its fence");
                let failure = Failure::new(reason, Source::Control, alloc::format!("{reason} on {node}"));
                for index in range.clone() {
                    if run.phase(index) != Phase::Running {
                        continue;
                    }
                    run.tries.entry(index).or_default().free += 1;
                    let failures = run.tries.get(&index).map_or(0, |tries| tries.counted);
                    let node = Some(node.clone());
                    run.exceptions
                        .insert(index, Exception { index, failures, status: None, failure: failure.clone(), node });
                }
            }
            self.requeue_range(id, range);
            self.remove_grant(dropped);
        }
    }
}
