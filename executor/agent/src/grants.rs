//! What control asks for: runs, grants, stops, acknowledgements.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use weir_wire::{
    attempt::Command,
    id::{RunId, TaskId},
    kind::Tier,
    limits as shared,
    message::{Grant, Returned},
    work::{Input as RunInput, WorkSpec},
};

use crate::{
    agent::Agent,
    ahead::PutOff,
    limits,
    output::{DisconnectReason, Output},
    range::{Phase, Range, RangeKey, Run, Supply},
};

impl Agent {
    pub(crate) fn define(&mut self, spec: Arc<WorkSpec>) {
        let run = spec.run;
        if let Some(known) = self.runs.get_mut(&run) {
            known.forgotten = false;
            return;
        }
        if self.runs.len() >= limits::RUNS_MAX && !self.evict_run() {
            tracing::warn!(run.id = %run, runs = self.runs.len(), "run not defined: too many are in use");
            return;
        }
        // The sandbox gets each attempt's payload with its start.
        let for_sandbox = WorkSpec { input: RunInput::None, ..(*spec).clone() };
        self.emit(Output::Sandbox(Command::Define(Box::new(for_sandbox))));
        let payload = match spec.input {
            RunInput::None | RunInput::Inline(_) => Supply::Here,
            RunInput::Blob(_) | RunInput::Items(_) => Supply::Idle,
        };
        self.name_module(spec.module);
        self.runs.insert(run, Run { spec, ranges: 0, forgotten: false, payload, quick: false });
    }

    pub(crate) fn forget(&mut self, run: RunId) {
        if let Some(known) = self.runs.get_mut(&run) {
            known.forgotten = true;
            self.drop_run_if_done(run);
        }
    }

    pub(crate) fn drop_run_if_done(&mut self, run: RunId) {
        if self.runs.get(&run).is_some_and(|run| run.forgotten && run.ranges == 0) {
            self.remove_run(run);
        }
    }

    /// Accepts a range and reserves its resources, or gives it back.
    pub(crate) fn grant(&mut self, grant: Grant) {
        if grant.term < self.term {
            self.stats.grants_stale += 1;
            tracing::warn!(run.id = %grant.run, found = grant.term.0, known = self.term.0, "grant of an old term dropped");
            return;
        }
        self.term = grant.term;
        let key = (grant.term, grant.grant);
        if self.ranges.contains_key(&key) {
            tracing::debug!(grant = grant.grant.0, "grant received twice");
            return;
        }
        if let Err(why) = self.admit(grant) {
            tracing::debug!(run.id = %grant.run, grant = grant.grant.0, why, "grant given back");
            if let Some(used) = self.ledger.measured() {
                // Its book may be older than ours.
                self.news.repeat_measured(used);
            }
            self.stats.grants_returned += 1;
            self.stats.tasks_returned += u64::from(grant.len);
            let Grant { run, term, grant, first, .. } = grant;
            self.news.returned.push(Returned { run, term, grant, from: first });
            return;
        }
        self.stats.grants_accepted += 1;
        self.balance();
        self.require(grant.run);
        self.advance(key);
    }

    pub(crate) fn acknowledged(&mut self, through: u64) {
        if !self.outbox.ack(through) {
            return self.hang_up(DisconnectReason::Protocol("an acknowledgement of what was never sent"));
        }
        if self.parked > 0 {
            let parked = |range: &&Range| matches!(range.phase, Phase::Parked);
            let keys: Vec<RangeKey> = self.ranges.values().filter(parked).map(Range::key).collect();
            for key in keys {
                self.advance(key);
            }
        }
    }

    /// Gives the tasks from `from` on back, which were not started.
    pub(crate) fn give_back(&mut self, key: RangeKey, from: u32) {
        let Some(range) = self.ranges.get_mut(&key) else { return };
        assert!(from >= range.unstarted(), "gave back a task that was started");
        if from >= range.end {
            return;
        }
        let Grant { run, term, grant, .. } = range.grant;
        let dropped = from..core::mem::replace(&mut range.end, from);
        let over = range.next >= range.end;
        self.news.returned.push(Returned { run, term, grant, from });
        self.stats.tasks_returned += u64::from(dropped.end - dropped.start);
        if !self.follows.is_empty() {
            let first = TaskId { run, index: dropped.start };
            let last = TaskId { run, index: dropped.end };
            let followed: Vec<TaskId> = self.follows.range(first..last).copied().collect();
            followed.into_iter().for_each(|task| self.follow_ended(task));
        }
        if over {
            self.close(key);
        }
    }

    pub(crate) fn give_back_all(&mut self) {
        let keys: Vec<RangeKey> = self.ranges.keys().copied().collect();
        for key in keys {
            self.give_rest_back(key);
        }
    }

    /// Gives back what was not started, as soon as that is known.
    pub(crate) fn give_rest_back(&mut self, key: RangeKey) {
        if !self.puts_off(key, PutOff::GiveBack)
            && let Some(range) = self.ranges.get(&key)
        {
            self.give_back(key, range.unstarted());
        }
    }

    fn admit(&mut self, grant: Grant) -> Result<(), &'static str> {
        if self.is_draining() {
            return Err("the node is draining");
        }
        let Some(run) = self.runs.get_mut(&grant.run) else {
            return Err("the run was not defined");
        };
        // A service is scaled beyond what it was submitted with, and a system job grows with the cluster.
        let count = if run.spec.long_running { shared::TASKS_PER_RUN_MAX } else { run.spec.count };
        let end = grant.first.checked_add(grant.len).filter(|end| *end <= count);
        let fenced = run.spec.execution.is_fenced();
        let len_max = if fenced || run.spec.long_running { 1 } else { shared::GRANT_LEN_MAX };
        let Some(end) = end.filter(|_| (1..=len_max).contains(&grant.len)) else {
            return Err("the range is not one of the run");
        };
        if fenced && !self.lease.holds(self.now.mono) {
            return Err("there is no lease for a fenced attempt");
        }
        if self.ranges.len() >= usize::try_from(self.config.lanes_max).unwrap_or(usize::MAX) {
            return Err("every lane is taken");
        }
        let resources = run.spec.budgets.resources;
        let Some(booking) = self.ledger.book(resources, run.spec.tier == Tier::Revocable) else {
            return Err("the resources are not free");
        };
        run.ranges += 1;
        let range = Range {
            grant,
            next: grant.first,
            end,
            booking,
            priority: run.spec.priority,
            fenced,
            tied: run.spec.execution.stops_on_disconnect(),
            grace: None,
            ahead: 0,
            put_off: Vec::new(),
            phase: Phase::Waiting,
        };
        let before = self.ranges.insert(range.key(), range);
        assert!(before.is_none(), "a grant was admitted twice");
        Ok(())
    }

    /// Makes room for a run by dropping one that holds nothing.
    fn evict_run(&mut self) -> bool {
        let idle = self.runs.iter().find(|(_, run)| run.ranges == 0).map(|(id, _)| *id);
        if let Some(run) = idle {
            self.remove_run(run);
        }
        idle.is_some()
    }

    fn remove_run(&mut self, run: RunId) {
        if let Some(known) = self.runs.remove(&run) {
            self.unname_module(known.spec.module);
            self.emit(Output::Sandbox(Command::Forget(run)));
        }
    }
}
