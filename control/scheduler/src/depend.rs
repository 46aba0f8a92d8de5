//! Runs that wait for other runs: how those end, and the payload that is made from their results.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use weir_wire::{
    id::{RunId, Seq},
    kind::{Condition, Upstream},
    outcome::BlobRef,
    task::Reason,
    units::Instant,
    work::Input,
};

use crate::{
    commit::run_id,
    limits,
    output::Output,
    run::Run,
    scheduler::{Leading, Scheduler},
    view::{DependencyView, RunState},
};

/// What a run waits for before any of its tasks is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Runs that have not ended.
    Upstream,
    /// Its payload, which is asked for.
    Input {
        /// Tries that failed.
        failures: u32,
    },
    /// The next try to make its payload.
    Retry {
        /// Tries that failed.
        failures: u32,
    },
}

/// How a run stands to those it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Wait,
    Go,
    Never,
}

impl Scheduler {
    /// The payload of a run was made, or could not be.
    pub(crate) fn input_assembled(&mut self, id: RunId, result: Result<BlobRef, String>) {
        let now = self.now.mono;
        let jitter = self.rng.jitter(Duration::from_secs(1));
        let Some(leading) = self.leading.as_deref_mut() else {
            return;
        };
        let Some(items) = leading.input_upstream(id).map(|(_, items)| items) else { return };
        let Some(run) = leading.runs.get_mut(&id) else { return };
        let Some(Waiting::Input { failures }) = run.waiting else { return };
        match result {
            Ok(blob) => {
                let input = if items { Input::Items(blob) } else { Input::Blob(blob) };
                run.assemble(input);
                leading.start_waiting(id);
            }
            Err(error) if failures + 1 >= limits::ASSEMBLY_TRIES_MAX => {
                tracing::warn!(run.id = %id, error, "the results that a run is to get cannot be put together");
                leading.end_run(id, Reason::DependencyFailed);
            }
            Err(error) => {
                tracing::warn!(run.id = %id, error, failures, "the results that a run is to get are asked for again");
                run.waiting = Some(Waiting::Retry { failures: failures + 1 });
                let delay =
                    limits::ASSEMBLY_DELAY.saturating_mul(1 << failures.min(10)).min(limits::ASSEMBLY_DELAY_MAX);
                leading.assemblies.insert((now + delay + jitter, id));
            }
        }
    }
}

impl Leading {
    /// Names the runs that a run of a segment depends on.
    pub(crate) fn resolve_upstreams(record: &mut weir_wire::work::RunRecord, seq: Seq) {
        for dependency in &mut record.after {
            if let Upstream::Item(item) = dependency.upstream {
                dependency.upstream = Upstream::Run(run_id(seq, item as usize));
            }
        }
    }

    /// Has a new run wait for those it depends on.
    pub(crate) fn watch_upstreams(&mut self, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.record.after.is_empty() {
            return;
        }
        run.waiting = Some(Waiting::Upstream);
        for upstream in run.upstreams() {
            if self.runs.get(&upstream).is_some_and(|upstream| !upstream.is_over()) {
                self.dependents.entry(upstream).or_default().push(id);
            }
        }
        self.reviews.insert(id);
    }

    /// A run is over: those that depend on it are looked at.
    pub(crate) fn upstream_ended(&mut self, id: RunId) {
        self.reviews.extend(self.dependents.remove(&id).unwrap_or_default());
    }

    /// Looks at the waiting runs of which an upstream has ended.
    pub(crate) fn review_waiting(&mut self) {
        for id in core::mem::take(&mut self.reviews) {
            let Some(run) = self.runs.get(&id) else { continue };
            if run.waiting != Some(Waiting::Upstream) || run.stop.is_some() || run.is_over() {
                continue;
            }
            match self.verdict(run) {
                Verdict::Wait => {}
                Verdict::Never => self.end_run(id, Reason::DependencyFailed),
                Verdict::Go if run.record.input_from.is_some() => self.assemble(id, 0),
                Verdict::Go => self.start_waiting(id),
            }
        }
    }

    /// Asks again for payloads that could not be made.
    pub(crate) fn retry_assemblies(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.assemblies.first()
            && at <= now
        {
            self.assemblies.pop_first();
            let waiting = self.runs.get(&id).and_then(|run| run.waiting);
            if let Some(Waiting::Retry { failures }) = waiting {
                self.assemble(id, failures);
            }
        }
    }

    fn assemble(&mut self, id: RunId, failures: u32) {
        let Some((from, items)) = self.input_upstream(id) else { return };
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.stop.is_none() {
            run.waiting = Some(Waiting::Input { failures });
            self.effects.push(Output::AssembleInput { run: id, from, items });
        }
    }

    /// The run whose results become the payload of another, and whether each task gets its own.
    fn input_upstream(&self, id: RunId) -> Option<(RunId, bool)> {
        let run = self.runs.get(&id)?;
        let place = run.record.input_from? as usize;
        let from = *run.upstreams().get(place)?;
        let upstream = self.runs.get(&from)?;
        Some((from, upstream.count() == run.count()))
    }

    fn start_waiting(&mut self, id: RunId) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.waiting = None;
        }
        self.requeue(id);
        self.long_changed(id);
        self.retry_all_pinned();
    }

    fn verdict(&self, run: &Run) -> Verdict {
        let mut verdict = Verdict::Go;
        for (upstream, dependency) in run.upstreams().iter().zip(&run.record.after) {
            // A run that is not known any more cannot be said to have ended in any way.
            let Some(upstream) = self.runs.get(upstream) else { return Verdict::Never };
            if !upstream.is_over() {
                verdict = Verdict::Wait;
            } else if !holds(dependency.condition, upstream) {
                return Verdict::Never;
            }
        }
        verdict
    }

    /// The first run that did not end as a run of which it is one of the dependencies asks for, if it is still known.
    pub(crate) fn failed_upstream(&self, run: &Run) -> Option<&Run> {
        let upstreams = run.upstreams().into_iter().zip(&run.record.after);
        let mut known = upstreams.filter_map(|(id, dependency)| Some((self.runs.get(&id)?, dependency.condition)));
        known
            .find(|(upstream, condition)| upstream.is_over() && !holds(*condition, upstream))
            .map(|(upstream, _)| upstream)
    }

    /// What a run waits for, for people.
    pub(crate) fn waiting_for(&self, run: &Run) -> Vec<DependencyView> {
        if run.waiting.is_none() {
            return Vec::new();
        }
        let view = |(upstream, dependency): (RunId, &weir_wire::kind::RunDependency)| {
            let known = self.runs.get(&upstream)?;
            let state = known.state();
            let waits = run.waiting != Some(Waiting::Upstream) || !known.is_over();
            let job = known.record.job.clone();
            waits.then_some(DependencyView { run: upstream, job, condition: dependency.condition, state })
        };
        run.upstreams().into_iter().zip(&run.record.after).filter_map(view).collect()
    }
}

/// Whether a run that is over has ended as it has to.
fn holds(condition: Condition, upstream: &Run) -> bool {
    let succeeded = upstream.state() == RunState::Succeeded;
    match condition {
        Condition::Success => succeeded,
        Condition::Failure => !succeeded,
        Condition::Any => true,
    }
}

impl Run {
    /// The runs that it depends on.
    pub(crate) fn upstreams(&self) -> Vec<RunId> {
        let run = |dependency: &weir_wire::kind::RunDependency| match dependency.upstream {
            Upstream::Run(run) => run,
            Upstream::Item(_) => unreachable!("items are resolved when a run starts"),
        };
        self.record.after.iter().map(run).collect()
    }
}
