//! What lasts until somebody ends it: services, system jobs, cron jobs, guests without an end, pauses and quotas.
//!
//! Once nothing else is asked for, users end all of that, so that all work can end: first what may hold others back, then
//! what holds room, and then what runs on purpose, once it runs as it should. That it ever does is L4.

use std::collections::BTreeMap;

use core::time::Duration;

use weir_scheduler::{PutJob, Request};
use weir_wire::{
    id::{Namespace, RunId},
    kind::{Cron, Kind},
    task::Reason,
    work::JobRecord,
};

use crate::{
    client::State, cron, jobs, options::Options, oracle::Known, property::Check, workload::Wish, world::World,
};

/// What is asked for when all else was asked for.
#[derive(Debug, Clone)]
pub(crate) enum Last {
    /// No quota limits a namespace.
    Unlimited(Namespace),
    /// A job is not paused.
    Resume(usize),
    /// A cron job fires no more.
    Calm(usize),
    /// Runs of a job are stopped.
    Retire(usize),
    /// The same, once it runs as it should.
    RetireConverged(usize),
}

impl Last {
    /// Those of a lower rank go first.
    const fn rank(&self) -> u8 {
        match self {
            Self::Unlimited(_) | Self::Resume(_) => 0,
            Self::Calm(_) | Self::Retire(_) => 1,
            Self::RetireConverged(_) => 2,
        }
    }
}

/// The last wishes of a world.
pub(crate) fn draw(options: &Options, jobs: &[JobRecord]) -> Vec<(Duration, Wish)> {
    let mut last = Vec::new();
    if options.work.quotas > 0 {
        last.extend((0..options.work.namespaces.max(1)).map(jobs::namespace).map(Last::Unlimited));
    }
    for (at, job) in jobs.iter().enumerate() {
        if options.work.changes > 0 {
            last.push(Last::Resume(at));
        }
        match job.kind {
            Kind::Cron(_) => last.push(Last::Calm(at)),
            Kind::Service(_) | Kind::System => last.push(Last::RetireConverged(at)),
            Kind::Batch if job.budgets.timeout.is_none() => last.push(Last::Retire(at)),
            Kind::Batch | Kind::Function => {}
        }
    }
    last.into_iter().map(|last| (options.safety, Wish::Last(last))).collect()
}

impl World {
    /// The request of a last wish, once it is its turn.
    pub(crate) fn last(&self, last: &Last) -> Option<Request> {
        let before = |(at, ((_, wish), state)): (usize, (&(Duration, Wish), &State))| {
            let later = matches!(wish, Wish::Last(other) if other.rank() >= last.rank());
            later || *state != State::Open || self.waits_for_ever(at)
        };
        if !self.healed || !self.workload.wishes.iter().zip(&self.wishes).enumerate().all(before) {
            return None;
        }
        match last {
            Last::Unlimited(namespace) => Some(Request::RemoveQuota(namespace.clone())),
            Last::Resume(job) => {
                let JobRecord { namespace, job, .. } = self.workload.jobs[*job].clone();
                Some(Request::Pause { namespace, job, on: false })
            }
            Last::Calm(job) => {
                let mut spec = self.workload.jobs[*job].clone();
                if let Kind::Cron(cron) = &mut spec.kind {
                    *cron = Cron { schedule: cron::NEVER.to_owned(), ..cron.clone() };
                }
                Some(Request::PutJob(Box::new(PutJob { spec, expected: None, for_tasks: None })))
            }
            Last::Retire(job) => self.retire(*job),
            Last::RetireConverged(job) if self.deviates(*job).is_none() => self.retire(*job),
            Last::RetireConverged(_) => None,
        }
    }

    /// A stop of one run of a job; of the last one again if all are stopped.
    fn retire(&self, job: usize) -> Option<Request> {
        let runs = self.active(job);
        let any = || self.oracle.runs.iter().find(|(_, known)| known.job.job == self.workload.jobs[job].job);
        match runs.last().map(|(run, _)| *run).or_else(|| any().map(|(run, _)| *run)) {
            Some(run) => Some(Request::Stop { run, index: None, reason: Reason::Cancelled }),
            // It was never submitted: there is nothing to be stopped.
            None => Some(Request::ReleaseBrake),
        }
    }

    /// A stop of a job's run was promised.
    pub(crate) fn retired(&mut self, at: usize, job: usize) -> Check {
        if self.active(job).is_empty() {
            self.wishes[at] = State::Done(Vec::new());
        } else {
            self.wish_later(at);
        }
        Ok(())
    }

    /// Runs of a job that are neither over nor stopped, the newest last.
    pub(crate) fn active(&self, job: usize) -> Vec<(RunId, &Known)> {
        let name = &self.workload.jobs[job].job;
        let open = self.oracle.open.iter().filter_map(|run| Some((*run, self.oracle.runs.get(run)?)));
        let mut active: Vec<(RunId, &Known)> =
            open.filter(|(_, known)| known.job.job == *name && !known.stopped).collect();
        active.sort_by_key(|(_, known)| known.number);
        active
    }

    /// In what a long-running job differs from what is wanted: of its newest run, each task runs once, and of others none.
    pub(crate) fn deviates(&self, job: usize) -> Option<String> {
        let active = self.active(job);
        let (newest, known) = active.last()?;
        if !self.has_lanes() {
            return None;
        }
        let name = &known.job.job;
        let room = known.job.placement.max_per_node as usize;
        let few = room > 0 && room * self.takers(&known.job) < known.target() as usize;
        if matches!(known.job.kind, Kind::Service(_)) && (few || !jobs::is_feasible(&self.options, &known.job)) {
            return None;
        }
        if active.len() > 1 {
            return Some(format!("{} runs of {name} are active", active.len()));
        }
        let mut seen: BTreeMap<(RunId, u32), Vec<usize>> = BTreeMap::new();
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| !node.exempt) {
            for id in node.running.keys() {
                let of_it = self.oracle.runs.get(&id.task.run).is_some_and(|known| known.job.job == *name);
                if of_it {
                    seen.entry((id.task.run, id.task.index)).or_default().push(at);
                }
            }
        }
        if let Some((task, nodes)) = seen.iter().find(|((run, _), nodes)| run != newest || nodes.len() > 1) {
            return Some(format!("{name}: {task:?} runs on {nodes:?}"));
        }
        let exempt = self.nodes.iter().any(|node| node.exempt);
        let wanted = match known.job.kind {
            Kind::System => self.takers(&known.job),
            Kind::Service(_) => known.target() as usize,
            Kind::Batch | Kind::Cron(_) | Kind::Function => seen.len(),
        };
        // What runs on a machine that does not obey is not looked at.
        let missing = seen.len() < wanted && !exempt;
        (missing || seen.len() > wanted)
            .then(|| format!("{name}: {} tasks of {newest} run, {wanted} are wanted", seen.len()))
    }

    /// Machines that may have tasks of a job.
    fn takers(&self, job: &JobRecord) -> usize {
        let obeys = |at: &usize| !self.nodes[*at].exempt;
        (0..self.nodes.len()).filter(obeys).filter(|at| jobs::matches(&self.options, job, *at)).count()
    }

    /// Whether all long-running tasks have lanes, wherever they are.
    fn has_lanes(&self) -> bool {
        let systems = self.workload.jobs.iter().filter(|job| matches!(job.kind, Kind::System)).count();
        let services = self.workload.jobs.iter().filter(|job| matches!(job.kind, Kind::Service(_))).count();
        let lanes = systems + services * (jobs::LONG_TASKS_MAX as usize + 1);
        self.nodes.iter().all(|node| node.lanes_max as usize >= lanes)
    }

    /// The first job that does not run as it should, although nothing else is asked for.
    pub(crate) fn diverged(&self) -> Option<String> {
        let waits = self.workload.wishes.iter().zip(&self.wishes).filter(|(_, state)| **state == State::Open);
        waits.into_iter().find_map(|((_, wish), _)| {
            let Wish::Last(Last::RetireConverged(job)) = wish else { return None };
            self.deviates(*job)
        })
    }
}
