//! One run: the states of its tasks and what is left to place.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

use weir_wire::{
    id::RunId,
    kind::Kind,
    limits,
    record::{Exception, SegmentRef, UsageSum},
    segment::Entry,
    task::{Reason, Status},
    units::Instant,
    work::{Input, JobRecord, RunRecord, WorkSpec},
};

use crate::{
    class::ClassId,
    depend::Waiting,
    fence,
    grant::GrantSlot,
    lanes::Lanes,
    long::LongRunning,
    node_set::NodeSet,
    phase::{CODES, Phase},
    queue::Ticket,
    site::Site,
    view::{Counts, RunState},
};

/// How often a task was tried without success.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tries {
    /// Failures that count against the retry budget.
    pub(crate) counted: u32,
    /// Failures of the platform.
    pub(crate) free: u32,
}

/// Everything known about one run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: RunId,
    pub(crate) record: RunRecord,
    pub(crate) job: Arc<JobRecord>,
    /// The payload that was made from another run's results, in place of its own.
    assembled: Option<Box<Input>>,
    /// What executors are told about it, once one was told and others will be.
    work: Option<Arc<WorkSpec>>,
    pub(crate) class: ClassId,
    pub(crate) site: Site,
    /// Its place in the order of submission.
    pub(crate) position: u64,
    /// Its job is paused: none of its tasks is placed.
    pub(crate) paused: bool,
    /// What it waits for before any of its tasks is placed.
    pub(crate) waiting: Option<Waiting>,
    /// Its start deadline has passed: tasks that were never started end.
    pub(crate) start_expired: bool,
    /// Tasks for which its namespace's quota is charged.
    pub(crate) charged: u32,
    /// What only services and system jobs have.
    pub(crate) long: Option<Box<LongRunning>>,
    /// Its place in the queue, while it waits there.
    pub(crate) ticket: Option<Ticket>,
    /// Codes of phases; the tasks behind the last one were never touched, and are pending.
    phases: Vec<u8>,
    count: u32,
    counts: [u32; CODES],
    /// Tasks from here on were never granted.
    fresh: u32,
    /// Pending tasks below `fresh`.
    requeued: BTreeSet<u32>,
    /// When each back-off passes.
    pub(crate) backoff: BTreeMap<u32, Instant>,
    pub(crate) tries: BTreeMap<u32, Tries>,
    /// Recorded exceptions, and unrecorded ones of free failures.
    pub(crate) exceptions: BTreeMap<u32, Exception>,
    pub(crate) inline: BTreeMap<u32, Entry>,
    pub(crate) segments: Vec<SegmentRef>,
    pub(crate) usage: UsageSum,
    /// A stop was asked for (and is recorded once `stop_recorded`).
    pub(crate) stop: Option<Reason>,
    pub(crate) stop_recorded: bool,
    /// Single tasks that were asked to stop while in a grant.
    pub(crate) stopping: BTreeMap<u32, Reason>,
    /// Live grants by the first task that they have not reported; what is left of them never overlaps.
    pub(crate) lanes: Lanes,
    pub(crate) fenced: fence::Table,
    pub(crate) progress: BTreeMap<u32, (u64, u64)>,
    /// Smoothed wall-clock time of a task, microseconds.
    pub(crate) task_us: Option<u64>,
    pub(crate) ended_ms: Option<u64>,
    /// It was open when this leader was elected, so its tasks may be running somewhere.
    pub(crate) restored: bool,
    /// An attempt of it has ended, perhaps not durably.
    pub(crate) executed: bool,
    /// Nodes that were given the run at any time.
    pub(crate) defined_on: NodeSet,
    /// Nodes whose executor knows the run in its present session.
    pub(crate) told: NodeSet,
    pub(crate) dirty_blocks: BTreeSet<u32>,
    pub(crate) meta_dirty: bool,
    /// Parts of it are stored in a checkpoint, or will be.
    pub(crate) checkpointed: bool,
}

impl Run {
    /// A run of which no task has ended.
    pub(crate) fn new(
        id: RunId,
        record: RunRecord,
        job: Arc<JobRecord>,
        class: ClassId,
        site: Site,
        position: u64,
    ) -> Self {
        let long = LongRunning::new(&job, record.count).map(Box::new);
        // Tasks of long-running jobs are added as they are wanted.
        let count = if long.is_some() { 0 } else { record.count };
        let mut counts = [0; CODES];
        counts[usize::from(Phase::Pending.code())] = count;
        Self {
            id,
            record,
            job,
            assembled: None,
            work: None,
            class,
            site,
            position,
            paused: false,
            waiting: None,
            start_expired: false,
            charged: 0,
            long,
            ticket: None,
            phases: Vec::new(),
            count,
            counts,
            fresh: 0,
            requeued: BTreeSet::new(),
            backoff: BTreeMap::new(),
            tries: BTreeMap::new(),
            exceptions: BTreeMap::new(),
            inline: BTreeMap::new(),
            segments: Vec::new(),
            usage: UsageSum::default(),
            stop: None,
            stop_recorded: false,
            stopping: BTreeMap::new(),
            lanes: Lanes::default(),
            fenced: fence::Table::default(),
            progress: BTreeMap::new(),
            task_us: None,
            ended_ms: None,
            restored: false,
            executed: false,
            defined_on: NodeSet::default(),
            told: NodeSet::default(),
            dirty_blocks: BTreeSet::new(),
            meta_dirty: false,
            checkpointed: false,
        }
    }

    /// All that an executor needs: kept for the next one if there are other tasks, since a million runs of one task would
    /// keep a million copies.
    pub(crate) fn work(&mut self) -> Arc<WorkSpec> {
        if let Some(work) = &self.work {
            return Arc::clone(work);
        }
        let mut work = WorkSpec::new(self.id, &self.record, &self.job);
        if let Some(input) = &self.assembled {
            work.input.clone_from(input);
        }
        let work = Arc::new(work);
        self.work = (self.count > 1).then(|| Arc::clone(&work));
        work
    }

    /// Its payload was made from another run's results.
    pub(crate) fn assemble(&mut self, input: Input) {
        self.assembled = Some(Box::new(input));
        self.work = None;
    }

    /// No executor will be told about it any more; gives those that know it.
    pub(crate) fn end_definitions(&mut self) -> NodeSet {
        self.work = None;
        self.defined_on = NodeSet::default();
        core::mem::take(&mut self.told)
    }

    /// The payload of its tasks.
    pub(crate) fn input(&self) -> &Input {
        self.assembled.as_deref().unwrap_or(&self.record.input)
    }

    /// The number of tasks; of long-running jobs, it grows.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Adds dormant tasks up to a number of tasks; says how many.
    pub(crate) fn grow(&mut self, count: u32) -> u32 {
        assert!(self.long.is_some(), "only long-running jobs grow");
        let added = count.min(limits::TASKS_PER_RUN_MAX).saturating_sub(self.count());
        self.count += added;
        self.phases.resize(self.count as usize, Phase::Dormant.code());
        self.counts[usize::from(Phase::Dormant.code())] += added;
        self.fresh = self.count();
        added
    }

    /// The phase of a task.
    pub(crate) fn phase(&self, index: u32) -> Phase {
        assert!(index < self.count, "task {}.{index} does not exist", self.id);
        self.phases.get(index as usize).map_or(Phase::Pending, |code| Phase::from_code(*code))
    }

    /// How many tasks are in a phase.
    pub(crate) const fn in_phase(&self, phase: Phase) -> u32 {
        self.counts[phase.code() as usize]
    }

    /// Moves a task to another phase.
    ///
    /// # Panics
    /// If a recorded task would change: a terminal status is for ever.
    pub(crate) fn set_phase(&mut self, index: u32, phase: Phase) {
        assert!(index < self.count, "task {}.{index} does not exist", self.id);
        if index as usize >= self.phases.len() {
            self.phases.resize(index as usize + 1, Phase::Pending.code());
        }
        let slot = &mut self.phases[index as usize];
        let before = Phase::from_code(*slot);
        assert!(
            !matches!(before, Phase::Recorded(_)) || before == phase,
            "task {}.{index} is {before:?} for ever, and was to become {phase:?}",
            self.id
        );
        self.counts[usize::from(*slot)] -= 1;
        *slot = phase.code();
        self.counts[usize::from(phase.code())] += 1;
        if phase == Phase::Pending {
            if index < self.fresh {
                self.requeued.insert(index);
            }
        } else if before == Phase::Pending {
            self.requeued.remove(&index);
        }
        if !phase.is_granted() && phase != Phase::Unknown {
            self.fenced.release(index);
        }
        if before == Phase::Backoff {
            self.backoff.remove(&index);
        }
        if before == Phase::Running
            && let Some(long) = &mut self.long
        {
            long.left(index);
        }
    }

    /// Tasks that have not ended for ever.
    pub(crate) fn open(&self) -> u32 {
        let recorded: u32 = Status::ALL.iter().map(|status| self.in_phase(Phase::Recorded(*status))).sum();
        self.count() - recorded
    }

    /// Whether all of it has ended; a long-running job ends only when it is stopped.
    pub(crate) fn is_over(&self) -> bool {
        self.open() == 0 && (self.long.is_none() || self.stop_recorded)
    }

    /// How tasks end that never ran, given why the run was stopped.
    pub(crate) fn unstarted_status(&self) -> Status {
        if self.stop == Some(Reason::DependencyFailed) { Status::Failed } else { Status::Killed }
    }

    /// Tasks that ended badly, recorded or about to be.
    pub(crate) fn failed(&self) -> u32 {
        let bad = [Status::Failed, Status::Lost, Status::Rejected];
        bad.iter().map(|status| self.in_phase(Phase::Staged(*status)) + self.in_phase(Phase::Recorded(*status))).sum()
    }

    /// Whether more tasks have failed than the job allows.
    pub(crate) fn has_failed_too_often(&self) -> bool {
        self.job.max_failed.is_some_and(|most| self.failed() > most)
    }

    /// Whether its tasks may be placed at all.
    pub(crate) const fn may_start(&self) -> bool {
        self.stop.is_none() && !self.paused && self.waiting.is_none()
    }

    /// Pending tasks of which no attempt was ever made.
    pub(crate) fn take_never_started(&mut self) -> Vec<u32> {
        let fresh = self.fresh..self.count();
        self.fresh = self.count();
        let mut tasks: Vec<u32> =
            self.requeued.iter().copied().filter(|index| !self.tries.contains_key(index)).collect();
        for index in fresh {
            if self.phase(index) != Phase::Pending {
                continue;
            }
            if self.tries.contains_key(&index) {
                self.requeued.insert(index);
            } else {
                tasks.push(index);
            }
        }
        tasks
    }

    /// Whether a task could be placed now, on any node that takes it.
    pub(crate) fn wants_lane(&self) -> bool {
        let limit = self.job.max_running;
        self.may_start()
            && !matches!(self.job.kind, Kind::System)
            && self.in_phase(Phase::Pending) > 0
            && (limit == 0 || self.lanes_taken() < limit)
    }

    /// Tasks that run at one time, or may do so.
    pub(crate) fn lanes_taken(&self) -> u32 {
        self.lanes.len().saturating_add(self.in_phase(Phase::Unknown))
    }

    /// The ordinal of a task's next attempt.
    pub(crate) fn ordinal(&self, index: u32) -> u32 {
        self.tries.get(&index).map_or(0, |tries| tries.counted) + 1
    }

    /// The next tasks to grant: neighbours with the same ordinal, at most `len_max` of them.
    pub(crate) fn next_range(&self, len_max: u32) -> Option<(u32, u32)> {
        // Fenced grants are stored one by one, and behind a task that never ends nothing would be started.
        let len_max = if self.job.execution.is_fenced() || self.job.kind.is_long_running() { 1 } else { len_max };
        if let Some(&first) = self.requeued.first() {
            let ordinal = self.ordinal(first);
            let mut end = first + 1;
            while end - first < len_max && self.requeued.contains(&end) && self.ordinal(end) == ordinal {
                end += 1;
            }
            return Some((first, end - first));
        }
        let mut first = self.fresh;
        while first < self.count() && self.phase(first) != Phase::Pending {
            first += 1;
        }
        let mut end = first;
        let ordinal = self.ordinal(first);
        while end < self.count()
            && end - first < len_max
            && self.phase(end) == Phase::Pending
            && (self.tries.is_empty() || self.ordinal(end) == ordinal)
        {
            end += 1;
        }
        (end > first).then_some((first, end - first))
    }

    /// Marks a range as granted.
    pub(crate) fn take_range(&mut self, first: u32, len: u32) {
        for index in first..first + len {
            assert!(
                matches!(self.phase(index), Phase::Pending | Phase::Backoff | Phase::Unknown),
                "task {}.{index} is granted twice",
                self.id
            );
            self.set_phase(index, Phase::Granted);
        }
        // A range that starts above the old mark leaves tasks below it: they are found through `requeued`.
        self.fresh = self.fresh.max(first + len);
    }

    /// Enters a live grant whose first task is this one.
    pub(crate) fn enter_lane(&mut self, first: u32, grant: GrantSlot) {
        let replaced = self.lanes.insert(first, grant);
        assert!(replaced.is_none(), "two live grants of run {} start at task {first}", self.id);
    }

    /// Moves a live grant to the first task that it has not reported.
    pub(crate) fn move_lane(&mut self, from: u32, to: u32, grant: GrantSlot) {
        self.leave_lane(from, grant);
        let replaced = self.lanes.insert(to, grant);
        assert!(replaced.is_none(), "two live grants of run {} go on at task {to}", self.id);
    }

    /// Takes a live grant out that stands under this task.
    pub(crate) fn leave_lane(&mut self, task: u32, grant: GrantSlot) {
        let left = self.lanes.remove(task);
        assert_eq!(left, Some(grant), "the run's table of lanes disagrees");
    }

    /// Marks tasks from `fresh` up to `index` as seen, when a range beyond the mark is adopted.
    pub(crate) fn raise_fresh(&mut self, index: u32) {
        for below in self.fresh..index {
            if self.phase(below) == Phase::Pending {
                self.requeued.insert(below);
            }
        }
        self.fresh = self.fresh.max(index);
    }

    /// The live grant that may hold a task.
    pub(crate) fn lane_of(&self, index: u32) -> Option<GrantSlot> {
        self.lanes.at_or_before(index, limits::GRANT_LEN_MAX)
    }

    /// Smooths the task time with one more measurement.
    pub(crate) fn measure(&mut self, wall_us: u64) {
        let sample = wall_us.max(1);
        self.task_us = Some(self.task_us.map_or(sample, |old| (old * 7 + sample) / 8));
    }

    /// Records that a task ended; the commit that says so is durable.
    pub(crate) fn record(&mut self, index: u32, status: Status) {
        self.set_phase(index, Phase::Recorded(status));
        self.touch(index);
        self.fenced.unstore(index);
        // Why an earlier attempt was gone says nothing about the end, and is recorded of some only.
        if self.exceptions.get(&index).is_some_and(is_free) {
            self.exceptions.remove(&index);
        }
        self.tries.remove(&index);
        self.stopping.remove(&index);
        self.progress.remove(&index);
    }

    /// Records an exception, unless it is none of a task that has ended.
    pub(crate) fn except(&mut self, exception: Exception) {
        let index = exception.index;
        self.touch(index);
        if !(is_free(&exception) && matches!(self.phase(index), Phase::Recorded(_))) {
            self.exceptions.insert(index, exception);
        }
    }

    /// Notes that a task's checkpoint block is out of date.
    pub(crate) fn touch(&mut self, index: u32) {
        self.dirty_blocks.insert(index / limits::BLOCK_LEN);
        self.meta_dirty = true;
    }

    /// Notes a segment object with entries of some tasks.
    pub(crate) fn add_segment(&mut self, segment: SegmentRef) {
        self.segments.push(segment);
        self.meta_dirty = true;
    }

    /// The state that people see.
    pub(crate) fn state(&self) -> RunState {
        if !self.is_over() {
            return if self.stop.is_some() { RunState::Stopping } else { RunState::Active };
        }
        let killed = self.in_phase(Phase::Recorded(Status::Killed)) > 0;
        let by_request = self.stop.is_some() && !self.has_failed_too_often();
        if by_request && (killed || self.long.is_some()) {
            RunState::Stopped
        } else if self.in_phase(Phase::Recorded(Status::Succeeded)) == self.count() {
            RunState::Succeeded
        } else {
            RunState::Failed
        }
    }

    /// Tasks by state; `unknown` is left to the caller, who knows the nodes.
    pub(crate) fn counts(&self) -> Counts {
        let recorded = |status| self.in_phase(Phase::Recorded(status));
        let staged: u32 = Status::ALL.iter().map(|status| self.in_phase(Phase::Staged(*status))).sum();
        Counts {
            pending: self.in_phase(Phase::Pending) + self.in_phase(Phase::Backoff),
            backoff: self.in_phase(Phase::Backoff),
            assigned: self.in_phase(Phase::Granted),
            running: self.in_phase(Phase::Running) + staged,
            stopping: self.in_phase(Phase::Stopping),
            unknown: self.in_phase(Phase::Unknown),
            dormant: self.in_phase(Phase::Dormant),
            succeeded: recorded(Status::Succeeded),
            failed: recorded(Status::Failed),
            killed: recorded(Status::Killed),
            lost: recorded(Status::Lost),
            rejected: recorded(Status::Rejected),
        }
    }
}

/// Whether an exception is no failure of the task's own.
const fn is_free(exception: &Exception) -> bool {
    exception.status.is_none() && exception.failures == 0
}
