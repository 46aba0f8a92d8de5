//! Runs that have ended are kept for a while and then forgotten.
//!
//! A run exists because its submission is stored, so a submission is what is forgotten: once all of its runs have ended
//! and none of them is needed. What is left of the runs in checkpoints goes in later transactions; should they never
//! come, the next leader finds checkpoints of runs that nobody submitted, and goes on. Deltas of such runs in the log
//! mean nothing, and go with the log.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::String,
    vec::Vec,
};
use core::time::Duration;

use weir_wire::{
    id::{RunId, Seq},
    kind::Upstream,
    units::{Instant, Now},
};

use crate::{
    batch::Batch,
    commit::run_id,
    config::Config,
    limits::{RETENTION_CHECK_EVERY, RETENTION_CHECK_SOON, RETENTION_LOOKS_MAX, RETENTION_PER_COMMIT_MAX, RUNS_MAX},
    run::Run,
    scheduler::{Leading, Scheduler},
};

/// One submission.
#[derive(Debug, Default)]
struct Submission {
    /// Its runs, open or not.
    runs: usize,
    /// Those that are open.
    open: usize,
    /// When the last of them ended, Unix milliseconds.
    ended_ms: u64,
    /// Its idempotency keys.
    keys: Vec<String>,
    /// Its end is staged.
    going: bool,
}

/// What is known of submissions, so that they can be forgotten.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    submissions: BTreeMap<Seq, Submission>,
    /// Those that have ended, by when they may be looked at, Unix milliseconds.
    due: BTreeSet<(u64, Seq)>,
    /// Those that have ended and of which a run is needed.
    held: VecDeque<Seq>,
    /// Runs that have ended and are kept.
    ended: usize,
    /// Open runs that name a run as one that they come after, by that run.
    needed: BTreeMap<RunId, u32>,
    /// Forgotten runs whose checkpoints are still stored.
    left_over: VecDeque<RunId>,
    /// When ended runs are looked at again.
    pub(crate) check_at: Option<Instant>,
}

impl Retention {
    /// Notes the keys of a submission whose runs were counted in.
    pub(crate) fn submitted(&mut self, seq: Seq, keys: impl Iterator<Item = String>) {
        if let Some(submission) = self.submissions.get_mut(&seq) {
            submission.keys.extend(keys);
        }
    }

    /// A run of a submission exists.
    fn started(&mut self, seq: Seq) {
        let submission = self.submissions.entry(seq).or_default();
        submission.runs += 1;
        submission.open += 1;
    }

    fn ended(&mut self, seq: Seq, ended_ms: u64, keep_for: Duration) {
        self.ended += 1;
        let Some(submission) = self.submissions.get_mut(&seq) else { return };
        submission.open -= 1;
        submission.ended_ms = submission.ended_ms.max(ended_ms);
        if submission.open == 0 {
            self.due.insert((later(submission.ended_ms, keep_for), seq));
        }
    }

    /// Notes that checkpoints of a run are stored although the run is forgotten.
    pub(crate) fn left_over(&mut self, run: RunId) {
        if self.left_over.back() != Some(&run) {
            self.left_over.push_back(run);
        }
    }

    /// Whether the end of a submission is staged.
    pub(crate) fn is_going(&self, seq: Seq) -> bool {
        self.submissions.get(&seq).is_some_and(|submission| submission.going)
    }

    fn check_within(&mut self, now: Instant, time: Duration) {
        let at = now + time;
        self.check_at = Some(self.check_at.map_or(at, |check_at| check_at.min(at)));
    }
}

impl Leading {
    /// Counts a run in, which may be over already.
    pub(crate) fn retain_started(&mut self, run: RunId) {
        self.retention.started(run.segment());
        for upstream in self.runs.get(&run).map(|run| run.upstreams()).unwrap_or_default() {
            *self.retention.needed.entry(upstream).or_default() += 1;
        }
    }

    /// A run is over: it needs no other run any more.
    pub(crate) fn retain_ended(&mut self, id: RunId, now: Now, config: &Config) {
        let Some(run) = self.runs.get(&id) else { return };
        for upstream in run.upstreams() {
            if let Some(needed) = self.retention.needed.get_mut(&upstream) {
                *needed -= 1;
                if *needed == 0 {
                    self.retention.needed.remove(&upstream);
                }
            }
        }
        let ended_ms = run.ended_ms.unwrap_or(now.wall_ms);
        self.retention.ended(id.segment(), ended_ms, config.keep_ended_for);
        let crowded = self.retention.ended > config.keep_ended_max;
        self.retention.check_within(now.mono, if crowded { RETENTION_CHECK_SOON } else { RETENTION_CHECK_EVERY });
    }

    /// Whether something still needs a run that has ended.
    fn is_needed(&self, run: &Run) -> bool {
        // That it is the newest of its job counts for as long as there is room: its neighbours wait for it, too.
        let roomy = self.runs.len() <= RUNS_MAX / 2;
        (roomy && self.is_newest(run)) || run.lanes.len() > 0 || self.retention.needed.contains_key(&run.id)
    }

    fn is_newest(&self, run: &Run) -> bool {
        let name = (run.record.namespace.clone(), run.record.job.clone());
        self.job_runs.get(&name).is_some_and(|runs| runs.newest == Some(run.id))
    }

    /// The runs of a submission that are known.
    fn runs_of(&self, seq: Seq) -> impl Iterator<Item = &Run> {
        let items = 0..=weir_wire::limits::RUNS_PER_SEGMENT_MAX;
        let count = self.retention.submissions.get(&seq).map_or(0, |submission| submission.runs);
        items.filter_map(move |item| self.runs.get(&run_id(seq, item))).take(count)
    }

    /// Stages the end of submissions whose time has come, and of what forgotten runs have left.
    fn forget_some(&mut self, now: Now, config: &Config) {
        self.release_held(config);
        let (mut staged, mut looks) = (0, 0);
        let awaited = self.upstreams_of_staged();
        while staged < RETENTION_PER_COMMIT_MAX && looks < RETENTION_LOOKS_MAX {
            let Some(&(at_ms, seq)) = self.retention.due.first() else { break };
            let ended_ms = self.retention.submissions.get(&seq).map_or(0, |submission| submission.ended_ms);
            let crowded = self.retention.ended > config.keep_ended_max;
            if at_ms > now.wall_ms && !(crowded && later(ended_ms, config.keep_ended_min) <= now.wall_ms) {
                break;
            }
            looks += 1;
            self.retention.due.remove(&(at_ms, seq));
            if self.runs_of(seq).any(|run| self.is_needed(run) || awaited.contains(&run.id)) {
                self.retention.held.push_back(seq);
                continue;
            }
            let runs = self.runs_of(seq).count();
            self.retention.ended -= runs;
            self.retention.submissions.entry(seq).or_default().going = true;
            self.open_batch().forgotten.push(seq);
            staged += 1;
        }
        while staged < RETENTION_PER_COMMIT_MAX
            && let Some(run) = self.retention.left_over.pop_front()
        {
            self.open_batch().left_over.push(run);
            staged += 1;
        }
        // What was staged is looked after once it is durable.
        self.retention.check_at = None;
        if staged == 0 && !(self.retention.due.is_empty() && self.retention.held.is_empty()) {
            self.retention.check_within(now.mono, RETENTION_CHECK_EVERY);
        }
    }

    /// Finds submissions that were needed and are so no more; some at a time, one after the other.
    fn release_held(&mut self, config: &Config) {
        for _ in 0..self.retention.held.len().min(RETENTION_LOOKS_MAX) {
            let Some(seq) = self.retention.held.pop_front() else { return };
            if self.runs_of(seq).any(|run| self.is_needed(run)) {
                self.retention.held.push_back(seq);
            } else if let Some(submission) = self.retention.submissions.get(&seq) {
                self.retention.due.insert((later(submission.ended_ms, config.keep_ended_for), seq));
            }
        }
    }

    /// Runs that submissions name which are not durable yet.
    fn upstreams_of_staged(&self) -> BTreeSet<RunId> {
        let in_flight = self.in_flight.iter().map(|in_flight| &in_flight.batch);
        let records = in_flight.chain(&self.batches).flat_map(|batch| &batch.submitted);
        let upstreams = records.flat_map(|record| &record.after).filter_map(|dependency| match dependency.upstream {
            Upstream::Run(run) => Some(run),
            Upstream::Item(_) => None,
        });
        upstreams.collect()
    }

    /// The end of submissions, and of what forgotten runs have left, is durable.
    pub(crate) fn forgotten_committed(&mut self, batch: &Batch, now: Instant) {
        batch.forgotten.iter().for_each(|seq| self.submission_forgotten(*seq));
        if !batch.forgotten.is_empty() || !batch.left_over.is_empty() {
            self.retention.check_within(now, Duration::ZERO);
        }
    }

    fn submission_forgotten(&mut self, seq: Seq) {
        let runs: Vec<(RunId, u64, bool)> =
            self.runs_of(seq).map(|run| (run.id, run.position, run.checkpointed)).collect();
        for (run, position, checkpointed) in runs {
            if let Some(run) = self.runs.get(&run).filter(|run| self.is_newest(run)) {
                let name = (run.record.namespace.clone(), run.record.job.clone());
                self.job_runs.entry(name).or_default().newest = None;
            }
            self.runs.remove(&run);
            self.order.remove(&position);
            if checkpointed {
                self.retention.left_over(run);
            }
        }
        for key in self.retention.submissions.remove(&seq).map(|submission| submission.keys).unwrap_or_default() {
            self.keys.remove(&key);
        }
    }
}

impl Scheduler {
    /// Forgets runs whose time has come.
    pub(crate) fn forget_ended(&mut self) {
        let now = self.now;
        let Some(leading) = self.leading.as_deref_mut() else { return };
        if leading.retention.check_at.is_some_and(|at| at <= now.mono) {
            leading.forget_some(now, &self.config);
        }
    }
}

fn later(ms: u64, by: Duration) -> u64 {
    ms.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX))
}
