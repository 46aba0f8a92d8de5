//! Cron jobs: which instants are due, and the runs that are started for them.
//!
//! Wall time alone decides what is due. All instants through `cron_through_ms` of a job's state are dealt with; the
//! transaction that starts a firing moves that mark, so an instant is fired once or not at all, whoever leads. When
//! several instants have passed, the newest one is found by asking for the instants after points in between, each time
//! in half of what is left.

use alloc::{format, vec::Vec};

use weir_wire::{
    id::{JobName, JobVersion, Namespace, RunId},
    kind::{Cron, Kind, Overlap, RunDependency, Upstream},
    task::Reason,
    units::{Instant, Now},
    work::{Input, JobRecord, RunRecord},
};

use crate::{
    batch::PendingSubmission,
    job_state::Name,
    limits,
    output::{Output, RequestError},
    scheduler::{Leading, Scheduler},
};

/// What is known of the next firing of a job.
#[derive(Debug)]
pub(crate) struct Timer {
    version: JobVersion,
    /// The next instant was asked for after this one.
    asked: Option<u64>,
    /// The first instant that is not dealt with, once it is known: none if there never is one.
    next: Option<Option<u64>>,
    /// The newest instant that has passed is being looked for.
    search: Option<Search>,
}

/// The newest instant that has passed is `low`, or lies between it and `high`.
#[derive(Debug, Clone, Copy)]
struct Search {
    low: u64,
    high: u64,
}

/// What becomes of an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fire,
    /// Passed over, and why.
    Skip(&'static str),
    /// Decided later.
    Wait,
}

impl Scheduler {
    /// Fires what is due.
    pub(crate) fn run_cron(&mut self) {
        let now = self.now;
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        while let Some((at, name)) = leading.cron_due.first()
            && *at <= now.wall_ms
        {
            leading.cron_dirty.insert(name.clone());
            leading.cron_due.pop_first();
        }
        for name in core::mem::take(&mut leading.cron_dirty) {
            leading.poll_cron(now, &name);
        }
    }

    /// The instant after one that was asked about.
    pub(crate) fn next_instant(&mut self, name: Name, version: JobVersion, after_ms: u64, at_ms: Option<u64>) {
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let Some(timer) = leading.crons.get_mut(&name) else { return };
        if timer.version != version || timer.asked != Some(after_ms) {
            return;
        }
        timer.asked = None;
        // A driver that repeats the point it was asked about would have an instant fired twice.
        let at_ms = at_ms.filter(|at| *at > after_ms);
        match &mut timer.search {
            None => timer.next = Some(at_ms),
            Some(search) => match at_ms {
                Some(at) if at <= search.high => search.low = at,
                Some(_) | None => search.high = after_ms,
            },
        }
        leading.cron_dirty.insert(name);
    }
}

impl Leading {
    /// A version of a job exists: a cron job's schedule is followed from here on.
    pub(crate) fn follow_schedule(&mut self, job: &JobRecord) {
        let name = (job.namespace.clone(), job.job.clone());
        if matches!(job.kind, Kind::Cron(_)) {
            let timer = Timer { version: job.version, asked: None, next: None, search: None };
            self.crons.insert(name.clone(), timer);
            self.cron_dirty.insert(name);
        }
    }

    /// From when the instants of a job's new version count, if that has to be recorded with it.
    pub(crate) fn schedule_begins(&self, before: Option<&JobRecord>, job: &JobRecord, wall_ms: u64) -> Option<u64> {
        let Kind::Cron(cron) = &job.kind else { return None };
        let same = |before: &JobRecord| match &before.kind {
            Kind::Cron(old) => old.schedule == cron.schedule && old.time_zone == cron.time_zone,
            Kind::Batch | Kind::Service(_) | Kind::System | Kind::Function => false,
        };
        (!before.is_some_and(same)).then_some(wall_ms)
    }

    /// When wall time has to be looked at again: at the next instant, and often enough to notice that the clock was set.
    pub(crate) fn cron_deadline(&self, now: Now) -> Option<Instant> {
        let (at, _) = self.cron_due.first()?;
        let left = core::time::Duration::from_millis(at.saturating_sub(now.wall_ms));
        Some(now.mono + left.min(limits::WALL_CHECK_EVERY))
    }

    /// The next instant of a job, if it is known.
    pub(crate) fn next_firing(&self, name: &Name) -> Option<u64> {
        self.crons.get(name)?.next?
    }

    fn ask(&mut self, name: &Name, after_ms: u64) {
        let Some(spec) = self.newest_spec(name) else { return };
        let Kind::Cron(Cron { schedule, time_zone, .. }) = spec.kind.clone() else { return };
        let version = spec.version;
        if let Some(timer) = self.crons.get_mut(name) {
            timer.asked = Some(after_ms);
            let (namespace, job) = name.clone();
            self.effects.push(Output::NextInstant { namespace, job, version, schedule, time_zone, after_ms });
        }
    }

    fn poll_cron(&mut self, now: Now, name: &Name) {
        let state = self.state_of(name);
        let Some(timer) = self.crons.get_mut(name) else { return };
        if timer.asked.is_some() {
            return;
        }
        if timer.next.flatten().is_some_and(|next| next <= state.cron_through_ms) {
            // A pause ended, or another version came: what was known is dealt with.
            timer.next = None;
            timer.search = None;
        }
        if state.paused {
            return;
        }
        let Some(next) = timer.next else {
            return self.ask(name, state.cron_through_ms);
        };
        let Some(next) = next else { return };
        if now.wall_ms < next {
            timer.search = None;
            self.cron_due.insert((next, name.clone()));
            return;
        }
        let search = *timer.search.get_or_insert(Search { low: next, high: now.wall_ms });
        if search.high - search.low >= limits::INSTANTS_APART_MS {
            return self.ask(name, search.low + (search.high - search.low) / 2);
        }
        if now.wall_ms < search.low {
            // The clock was set back meanwhile.
            timer.search = None;
            self.cron_due.insert((next, name.clone()));
            return;
        }
        self.fire(now, name, search.low);
    }

    fn fire(&mut self, now: Now, name: &Name, instant: u64) {
        let Some(spec) = self.newest_spec(name).cloned() else { return };
        let Kind::Cron(cron) = &spec.kind else { return };
        let mut verdict = self.judge_firing(now, name, cron, instant);
        let mut record = firing(&spec, instant, now.wall_ms);
        if verdict == Verdict::Fire {
            match self.firing_upstreams(&spec) {
                Some(after) => record.after = after,
                None => verdict = Verdict::Skip("a job that it depends on was never run"),
            }
        }
        let runs = core::slice::from_ref(&record);
        if verdict == Verdict::Fire {
            match self.admit(runs, None).and_then(|()| self.admit_runs(runs)) {
                Ok(_demand) => {}
                Err(RequestError::QueueFull { .. } | RequestError::Busy(_)) => {
                    // There will be room; how late it may be then is the job's to say.
                    self.cron_due.insert((now.wall_ms.saturating_add(limits::FIRE_AGAIN_AFTER_MS), name.clone()));
                    return;
                }
                Err(_) => verdict = Verdict::Skip("a quota or limit does not allow it"),
            }
        }
        let mut state = self.state_of(name);
        assert!(state.cron_through_ms < instant, "an instant is dealt with once");
        state.cron_through_ms = instant;
        match verdict {
            Verdict::Wait => {
                self.cron_dirty.insert(name.clone());
                return;
            }
            Verdict::Skip(why) => {
                tracing::info!(job = %name.1, instant, why, "firing passed over");
                self.stage_state(state);
            }
            Verdict::Fire => {
                if cron.overlap == Overlap::Replace {
                    for id in self.open_firings(name) {
                        self.end_run(id, Reason::Cancelled);
                    }
                }
                let key = format!("cron/{}/{}/{instant}", name.0, name.1);
                let submission = PendingSubmission { key: Some(key), ..PendingSubmission::default() };
                self.staged_states.insert(name.clone(), state.clone());
                self.stage_submission(submission, alloc::vec![record]).put_state(state);
            }
        }
        if let Some(timer) = self.crons.get_mut(name) {
            timer.next = None;
            timer.search = None;
        }
        self.cron_dirty.insert(name.clone());
    }

    fn judge_firing(&self, now: Now, name: &Name, cron: &Cron, instant: u64) -> Verdict {
        let late = core::time::Duration::from_millis(now.wall_ms - instant);
        if late > cron.start_deadline.max(limits::FIRING_LATE_MIN) {
            return Verdict::Skip("its start deadline has passed");
        }
        let staged = self.has_staged_firing(name);
        let verdict = match cron.overlap {
            Overlap::Allow => Verdict::Fire,
            Overlap::Forbid if staged || !self.open_firings(name).is_empty() => {
                return Verdict::Skip("the previous firing has not ended");
            }
            // What is to be stopped does not exist yet.
            Overlap::Replace if staged => Verdict::Wait,
            Overlap::Forbid | Overlap::Replace => Verdict::Fire,
        };
        if self.check_room().is_err() { Verdict::Wait } else { verdict }
    }

    /// Firings of a job that have not ended; what people start by hand does not count.
    fn open_firings(&self, name: &Name) -> Vec<RunId> {
        let open = self.job_runs.get(name).into_iter().flat_map(|runs| runs.open.values());
        let fired = |id: &&RunId| self.runs.get(id).is_some_and(|run| run.record.scheduled_ms.is_some());
        open.filter(fired).copied().collect()
    }

    fn has_staged_firing(&self, (namespace, job): &(Namespace, JobName)) -> bool {
        let in_flight = self.in_flight.iter().map(|in_flight| &in_flight.batch);
        let mut staged = self.batches.iter().chain(in_flight).flat_map(|batch| &batch.submitted);
        staged.any(|record| record.scheduled_ms.is_some() && record.job == *job && record.namespace == *namespace)
    }

    /// The runs that a firing waits for: the newest ones of the jobs that its job depends on.
    fn firing_upstreams(&self, spec: &JobRecord) -> Option<Vec<RunDependency>> {
        let upstream = |dependency: &weir_wire::kind::Dependency| {
            let runs = self.job_runs.get(&(spec.namespace.clone(), dependency.job.clone()))?;
            let upstream = Upstream::Run(runs.newest?);
            Some(RunDependency { upstream, condition: dependency.condition })
        };
        spec.after.iter().map(upstream).collect()
    }
}

fn firing(spec: &JobRecord, instant: u64, wall_ms: u64) -> RunRecord {
    let from = |job: &JobName| spec.after.iter().position(|dependency| dependency.job == *job);
    let input_from = spec.input_from.as_ref().and_then(from).and_then(|place| u32::try_from(place).ok());
    RunRecord {
        namespace: spec.namespace.clone(),
        job: spec.job.clone(),
        version: spec.version,
        count: spec.count,
        args: None,
        input: Input::None,
        meta: Vec::new(),
        after: Vec::new(),
        input_from,
        scheduled_ms: Some(instant),
        submitted_ms: wall_ms,
    }
}
