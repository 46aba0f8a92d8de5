//! How many tasks are open, and how many more may be.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
};

use weir_wire::{
    id::RunId,
    kind::Kind,
    work::{JobRecord, RunRecord},
};

use crate::{job_state::Name, output::RequestError, phase::Phase, run::Run, scheduler::Leading};

/// What a request asks the queue for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Asked {
    /// Tasks that it is about.
    pub(crate) tasks: u64,
    /// Those that it adds to what is open: an update of a service takes the place of what it replaces.
    pub(crate) more: u64,
}

impl Leading {
    /// Tasks that have not ended and are, or will be, wanted.
    pub(crate) fn wanted_tasks(&self) -> u64 {
        let runs = self.scaled_down.iter().filter_map(|id| self.runs.get(id));
        let dormant: u64 = runs.map(|run| u64::from(run.in_phase(Phase::Dormant))).sum();
        (self.open_tasks + self.tasks_to_come()).saturating_sub(dormant)
    }

    /// Tasks that services will want beyond those that they have.
    fn tasks_to_come(&self) -> u64 {
        self.rolling_out.iter().filter_map(|id| self.runs.get(id)).map(|run| self.to_come(run)).sum()
    }

    /// What the newest run of a service has yet to want beyond what all its runs have.
    fn to_come(&self, run: &Run) -> u64 {
        let name = (run.record.namespace.clone(), run.record.job.clone());
        let newest = self.active_runs(&name).pop();
        if newest == Some(run.id) { self.service_wants(&name) - self.service_has(&name) } else { 0 }
    }

    /// Tasks of a service that run or are to run, in those of its runs that a further one would take over from.
    fn service_has(&self, name: &Name) -> u64 {
        let active = self.active_runs(name).into_iter().filter_map(|id| self.runs.get(&id));
        active.map(|run| u64::from(run.open() - run.in_phase(Phase::Dormant))).sum()
    }

    /// The larger of what a service has and its target.
    fn service_wants(&self, name: &Name) -> u64 {
        let newest = self.active_runs(name).pop().and_then(|id| self.runs.get(&id));
        let long = newest.filter(|run| run.stop.is_none()).and_then(|run| run.long.as_deref());
        self.service_has(name).max(long.map_or(0, |long| u64::from(long.target)))
    }

    /// What a service with so many tasks asks for.
    pub(crate) fn service_asks(&self, name: &Name, count: u32) -> Asked {
        let tasks = u64::from(count);
        Asked { tasks, more: tasks.saturating_sub(self.service_wants(name)) }
    }

    /// What one run of so many tasks asks for.
    pub(crate) fn run_asks(&self, job: &JobRecord, count: u32) -> Asked {
        match job.kind {
            Kind::Service(_) => self.service_asks(&(job.namespace.clone(), job.job.clone()), count),
            // Nodes decide how many tasks it has.
            Kind::System => Asked::default(),
            Kind::Batch | Kind::Cron(_) | Kind::Function => Asked { tasks: count.into(), more: count.into() },
        }
    }

    /// What runs that are submitted together ask for. Of several of one service, each takes over from the one before.
    pub(crate) fn runs_ask<'a>(&self, runs: impl Iterator<Item = (&'a JobRecord, &'a RunRecord)>) -> Asked {
        let mut services: BTreeMap<Name, Asked> = BTreeMap::new();
        let mut all = Asked::default();
        let mut add = |asked: Asked| {
            all.tasks += asked.tasks;
            all.more += asked.more;
        };
        for (job, run) in runs {
            let asked = self.run_asks(job, run.count);
            if matches!(job.kind, Kind::Service(_)) {
                let most = services.entry((run.namespace.clone(), run.job.clone())).or_default();
                *most = Asked { tasks: most.tasks.max(asked.tasks), more: most.more.max(asked.more) };
            } else {
                add(asked);
            }
        }
        services.into_values().for_each(add);
        all
    }

    /// Checks that what is asked for may be open.
    ///
    /// # Errors
    /// How many are open already, or that it never could be.
    pub(crate) fn check_open(&self, asked: Asked) -> Result<(), RequestError> {
        let Asked { tasks, more } = asked;
        let max = self.open_tasks_max;
        if tasks > max && more > 0 {
            let text = format!("{tasks} tasks are more than may be open in this cluster, which is {max}");
            return Err(RequestError::Invalid(text));
        }
        // Those that are scaled down may be many, and count only where it is close.
        if more == 0 || self.open_tasks + self.tasks_to_come() + more <= max {
            return Ok(());
        }
        let open = self.wanted_tasks();
        if open + more > max { Err(RequestError::QueueFull { open, asked: more, max }) } else { Ok(()) }
    }

    /// Keeps in mind whether a run of a service has more tasks than it wants, or is to want more.
    pub(crate) fn note_wanted(&mut self, id: RunId) {
        let run = self.runs.get(&id).filter(|run| matches!(run.job.kind, Kind::Service(_)));
        let Some((count, long)) = run.and_then(|run| Some((run.count(), run.long.as_deref()?))) else { return };
        let (more, less) = (long.desired < long.target, count > long.desired);
        keep(&mut self.rolling_out, id, more);
        keep(&mut self.scaled_down, id, less);
    }

    /// A run is over.
    pub(crate) fn forget_wanted(&mut self, id: RunId) {
        self.rolling_out.remove(&id);
        self.scaled_down.remove(&id);
    }
}

fn keep(runs: &mut BTreeSet<RunId>, id: RunId, on: bool) {
    if on {
        runs.insert(id);
    } else {
        runs.remove(&id);
    }
}
