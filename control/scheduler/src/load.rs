//! The start of a term: the tables are built from what the store holds.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};

use weir_wire::{
    id::{GrantSeq, RunId, Seq, Term},
    kind::Kind,
    limits,
    record::{Block, Pin, RunDelta, RunMeta, SegmentRef},
    task::Status,
    units::{Instant, Now},
};

use crate::{
    brake::Brake,
    checkpoint::Checkpoint,
    claim::Claims,
    commit::{Start, run_id},
    config::Config,
    fair::Shares,
    fence::Fences,
    grant::Grants,
    input::Loaded,
    job_state::Name,
    node::Nodes,
    output::Output,
    phase::Phase,
    queue::Queue,
    retain::Retention,
    rng::Rng,
    run::Tries,
    runs::Runs,
    scheduler::{KeyState, Leading, Scheduler},
};

impl Scheduler {
    pub(crate) fn elected(&mut self, term: Term, loaded: Loaded) {
        assert!(self.term().is_none_or(|old| old < term), "terms only grow: this process already leads in a later one");
        self.deposed();
        let now = self.now.mono;
        let mut leading = Leading::empty(term, loaded.head);
        leading.now = now;
        leading.open_tasks_max = self.config.open_tasks_max;
        leading.claims = Claims::new(self.config.preempt_delay);
        leading.fences = Fences::new(self.config.lease, now);
        leading.checkpoint.log_len = loaded.deltas.len();
        leading.checkpoint.log_bytes = loaded.log_bytes;
        let mut jobs = loaded.jobs;
        jobs.sort_by_key(|job| job.version);
        for job in jobs {
            leading.job_committed(job);
        }
        // Registered nodes may be running anything that is open: it waits until they have said so.
        let awaited = loaded.nodes.iter().any(|node| node.gone_ms.is_none());
        leading.reconcile_until = awaited.then_some(now + self.config.node_timeout);
        for record in loaded.nodes {
            leading.load_node(record, self.now, self.config.node_timeout);
        }
        for state in loaded.job_states {
            leading.state_committed(state);
        }
        for quota in loaded.quotas {
            leading.quota_committed(quota.namespace.clone(), Some(quota));
        }
        leading.load_submissions(loaded.submissions, self.now);
        let mut applied = Applied::default();
        leading.load_checkpoints(loaded.metas, loaded.blocks, &mut applied);
        for (seq, delta) in loaded.deltas {
            for run in &delta.runs {
                leading.replay(seq, delta.term, delta.wall_ms, run, &applied);
            }
        }
        leading.finish_load(self.now, &self.config);
        leading.step_restored();
        tracing::info!(
            term = term.0,
            head = leading.head.0,
            runs = leading.runs.len(),
            open_tasks = leading.open_tasks,
            nodes = leading.nodes.len(),
            "leading"
        );
        self.leading = Some(Box::new(leading));
        self.outputs.push_back(Output::Changed { revision: 0 });
    }
}

/// How many tasks a run has at least, since something is recorded of the last one: a service's first run has no recorded
/// number.
fn named_tasks(delta: &RunDelta) -> u32 {
    let ended = delta.ended.iter().map(|range| range.first.saturating_add(range.len)).max();
    let failed = delta.exceptions.iter().map(|exception| exception.index).max();
    let fenced = delta.fenced.iter().map(|grant| grant.index).max();
    let kept = delta.inline.iter().map(|entry| entry.index).max();
    ended.max(failed.max(fenced).max(kept).map(|index| index.saturating_add(1))).unwrap_or(0)
}

/// The last delta inside each checkpointed part.
#[derive(Debug, Default)]
struct Applied {
    metas: BTreeMap<RunId, Seq>,
    blocks: BTreeMap<(RunId, u32), Seq>,
}

impl Applied {
    fn meta(&self, run: RunId, seq: Seq) -> bool {
        self.metas.get(&run).is_some_and(|applied| *applied >= seq)
    }

    fn task(&self, run: RunId, index: u32, seq: Seq) -> bool {
        self.blocks.get(&(run, index / limits::BLOCK_LEN)).is_some_and(|applied| *applied >= seq)
    }
}

impl Leading {
    fn empty(term: Term, head: Seq) -> Self {
        Self {
            term,
            head,
            revision: 0,
            jobs: BTreeMap::new(),
            staged_jobs: BTreeMap::new(),
            job_states: BTreeMap::new(),
            staged_states: BTreeMap::new(),
            quotas: BTreeMap::new(),
            staged_quotas: BTreeMap::new(),
            demand: BTreeMap::new(),
            job_runs: BTreeMap::new(),
            long_dirty: BTreeSet::new(),
            healths: BTreeSet::new(),
            system_jobs: BTreeSet::new(),
            nodes_dirty: BTreeSet::new(),
            pinned_waiting: BTreeMap::new(),
            pinned_try: BTreeSet::new(),
            crons: BTreeMap::new(),
            cron_dirty: BTreeSet::new(),
            cron_due: BTreeSet::new(),
            dependents: BTreeMap::new(),
            reviews: BTreeSet::new(),
            assemblies: BTreeSet::new(),
            start_deadlines: BTreeSet::new(),
            effects: Vec::new(),
            runs: Runs::default(),
            order: BTreeMap::new(),
            next_position: 0,
            keys: BTreeMap::new(),
            queue: Queue::default(),
            nodes: Nodes::default(),
            grants: Grants::default(),
            shares: Shares::default(),
            claims: Claims::default(),
            now: Instant(0),
            draws: Rng::new(term.0, 2),
            freed: Vec::new(),
            owed: BTreeSet::new(),
            shares_generation: u64::MAX,
            next_grant: GrantSeq(0),
            batches: VecDeque::new(),
            next_batch: 0,
            in_flight: None,
            next_window: Instant(0),
            thin_window: Instant(0),
            last_batch_busy: false,
            commit_retry_at: None,
            backoffs: BTreeSet::new(),
            silences: BTreeSet::new(),
            holdoffs: BTreeSet::new(),
            reconcile_until: None,
            fences: Fences::default(),
            drains: BTreeSet::new(),
            brake: Brake::default(),
            more_to_place: false,
            checkpoint: Checkpoint::default(),
            retention: Retention::default(),
            open_tasks: 0,
            scaled_down: BTreeSet::new(),
            rolling_out: BTreeSet::new(),
            open_tasks_max: 0,
            open_runs: 0,
            outcomes: 0,
            outcomes_ignored: 0,
            commits: 0,
        }
    }

    fn load_submissions(&mut self, submissions: Vec<(Seq, weir_wire::record::SubmissionSegment)>, now: Now) {
        let start = Start { restored: true, now };
        for (seq, segment) in submissions {
            for (item, record) in segment.runs.into_iter().enumerate() {
                let name = record.job.clone();
                if self.start_run(seq, item, record, start).is_none() {
                    tracing::error!(seq = seq.0, item, job = %name, "a stored run has no job spec; it is left out");
                }
            }
            self.retention.submitted(seq, segment.keys.iter().map(|record| record.key.clone()));
            for record in segment.keys {
                let items = record.first..record.first.saturating_add(record.count);
                let runs = items.map(|item| run_id(seq, item as usize)).collect();
                self.keys.insert(record.key, KeyState::Committed { fingerprint: record.fingerprint, runs });
            }
        }
    }

    fn load_checkpoints(
        &mut self,
        metas: Vec<(RunId, RunMeta)>,
        blocks: Vec<(RunId, u32, Block)>,
        applied: &mut Applied,
    ) {
        for (id, meta) in metas {
            let Some(run) = self.runs.get_mut(&id) else {
                self.retention.left_over(id);
                continue;
            };
            run.checkpointed = true;
            applied.metas.insert(id, meta.applied);
            run.usage = meta.usage;
            run.stop = meta.stop;
            run.stop_recorded = meta.stop.is_some();
            run.ended_ms = meta.ended_ms;
            run.segments = meta.segments;
            self.load_long(id, meta.desired, meta.target, meta.pins);
        }
        for (id, number, block) in blocks {
            self.load_grown(id, number.saturating_mul(limits::BLOCK_LEN).saturating_add(block.len));
            let Some(run) = self.runs.get_mut(&id) else {
                self.retention.left_over(id);
                continue;
            };
            run.checkpointed = true;
            applied.blocks.insert((id, number), block.applied);
            let mut index = number.saturating_mul(limits::BLOCK_LEN);
            for (len, code) in block.states {
                if let Some(status) = Status::from_code(code) {
                    run.replay(status, index, len);
                }
                index = index.saturating_add(len);
            }
            run.exceptions.extend(block.exceptions.iter().map(|exception| (exception.index, exception)));
            run.inline.extend(block.inline.into_iter().map(|entry| (entry.index, entry)));
            block.fenced.into_iter().for_each(|grant| run.fenced.store(grant));
        }
    }

    fn replay(&mut self, seq: Seq, term: Term, wall_ms: u64, delta: &RunDelta, applied: &Applied) {
        if !applied.meta(delta.run, seq) {
            self.load_long(delta.run, delta.desired, delta.target, delta.pins.clone());
        }
        self.load_grown(delta.run, named_tasks(delta));
        let Some(run) = self.runs.get_mut(&delta.run) else {
            return;
        };
        for range in &delta.ended {
            for index in range.first..range.first.saturating_add(range.len) {
                if !applied.task(delta.run, index, seq) {
                    run.replay(range.status, index, 1);
                }
            }
        }
        for index in &delta.unfenced {
            if !applied.task(delta.run, *index, seq) {
                run.touch(*index);
                run.fenced.unstore(*index);
            }
        }
        for grant in &delta.fenced {
            if grant.index < run.count() && !applied.task(delta.run, grant.index, seq) {
                run.touch(grant.index);
                run.fenced.store(grant.clone());
            }
        }
        for exception in delta.exceptions.iter() {
            if exception.index < run.count() && !applied.task(delta.run, exception.index, seq) {
                run.except(exception);
            }
        }
        for entry in &delta.inline {
            if entry.index < run.count() && !applied.task(delta.run, entry.index, seq) {
                run.touch(entry.index);
                run.inline.insert(entry.index, entry.clone());
            }
        }
        if applied.meta(delta.run, seq) {
            return;
        }
        run.meta_dirty = true;
        run.usage.merge(&delta.usage);
        if delta.stop.is_some() {
            run.stop = delta.stop;
            run.stop_recorded = true;
        }
        if delta.in_segment {
            let first = delta.ended.iter().map(|range| range.first).min().unwrap_or(0);
            let last = delta.ended.iter().map(|range| range.first + range.len.max(1) - 1).max().unwrap_or(u32::MAX);
            run.add_segment(SegmentRef { seq, term, first, last });
        }
        if run.is_over() {
            run.ended_ms.get_or_insert(wall_ms);
        }
    }

    /// Takes over the recorded numbers and pins of a long-running job.
    fn load_long(&mut self, id: RunId, desired: Option<u32>, target: Option<u32>, pins: Vec<Pin>) {
        let Some(long) = self.runs.get_mut(&id).and_then(|run| run.long.as_deref_mut()) else { return };
        long.desired_recorded = desired.or(long.desired_recorded);
        long.target_recorded = target.or(long.target_recorded);
        long.target = long.target_recorded.unwrap_or(long.target);
        self.load_grown(id, desired.unwrap_or(0));
        for pin in pins {
            self.set_pin(id, pin);
        }
    }

    /// Grows a long-running run to the tasks that the store knows of.
    fn load_grown(&mut self, id: RunId, count: u32) {
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.long.is_some()) else { return };
        self.open_tasks += u64::from(run.grow(count));
    }

    /// Wants the tasks of long-running jobs again, as they were recorded: nodes may be running them. What is not wanted is
    /// stopped where it runs.
    fn restore_wanted(&mut self, id: RunId) {
        let Some(run) = self.runs.get(&id) else { return };
        let Some(long) = run.long.as_deref() else { return };
        let name = (run.record.namespace.clone(), run.record.job.clone());
        if matches!(run.job.kind, Kind::System) {
            let newer: Vec<RunId> =
                self.active_runs(&name).into_iter().skip_while(|other| *other != id).skip(1).collect();
            let pins = long.pinned.clone();
            for (node, index) in pins {
                // What comes back is wanted again when it presents its task.
                let there = self.nodes.slot(&node).is_some_and(|slot| !self.nodes.get(slot).lost);
                let wanted = there && !newer.iter().any(|newer| self.has_pin(*newer, &node));
                self.want(id, index, wanted);
            }
        } else if let Some(desired) = long.desired_recorded {
            self.set_desired(id, desired);
        } else if self.active_runs(&name).first() == Some(&id) {
            self.set_desired(id, long.target);
        }
    }

    /// Looks at all jobs once, so that what follows from what is stored goes on.
    fn step_restored(&mut self) {
        let ended: Vec<RunId> = self.runs.values().filter(|run| run.is_over()).map(|run| run.id).collect();
        for id in ended {
            self.upstream_ended(id);
        }
    }

    /// Derives what is not stored: open counts, tries, and the end of tasks of stopped runs.
    fn finish_load(&mut self, now: Now, config: &Config) {
        let ids: Vec<RunId> = self.runs.keys().collect();
        for id in ids {
            let Some(run) = self.runs.get_mut(&id) else { continue };
            let open = run.open();
            self.open_tasks -= u64::from(run.count() - open);
            if run.is_over() {
                self.open_runs -= 1;
                self.forget_wanted(id);
                self.dequeue(id);
                self.leave_class(id);
                self.unindex_run(id);
                self.retain_ended(id, now, config);
                continue;
            }
            // What may be running and is not wanted is stopped as soon as its node is back.
            self.load_fenced(id);
            self.restore_wanted(id);
            self.note_wanted(id);
            self.charge_run(id);
            let Some(run) = self.runs.get_mut(&id) else { continue };
            for exception in run.exceptions.values().filter(|exception| exception.status.is_none()) {
                run.tries.insert(exception.index, Tries { counted: exception.failures, free: 0 });
            }
            if run.stop.is_some() {
                self.dequeue(id);
                self.end_pending(id);
            } else {
                self.dequeue(id);
                self.requeue(id);
                self.stop_failing(id);
            }
        }
        self.charge_long_running();
        self.retention.check_at = Some(now.mono);
    }

    /// Counts long-running jobs for their quotas, before anything else is admitted.
    fn charge_long_running(&mut self) {
        let names = |kind: fn(&Kind) -> bool| -> BTreeSet<Name> {
            let runs = self.runs.values().filter(|run| !run.is_over() && kind(&run.job.kind));
            runs.map(|run| (run.record.namespace.clone(), run.record.job.clone())).collect()
        };
        let services = names(|kind| matches!(kind, Kind::Service(_)));
        let systems = names(|kind| matches!(kind, Kind::System));
        services.iter().for_each(|name| self.charge_service(name));
        systems.iter().for_each(|name| self.charge_system(name));
    }

    /// Ends what waits of a stopped run; what a node still runs is stopped when the node presents it.
    fn end_pending(&mut self, id: RunId) {
        let Some(run) = self.runs.get(&id) else { return };
        let status = run.unstarted_status();
        let idle = |index: &u32| matches!(run.phase(*index), Phase::Pending | Phase::Dormant);
        let waiting: Vec<u32> = (0..run.count()).filter(idle).collect();
        for index in waiting {
            let Some(run) = self.runs.get_mut(&id) else { return };
            run.set_phase(index, Phase::Staged(status));
            self.open_batch().end(id, index, status);
        }
    }
}
