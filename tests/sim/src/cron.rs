//! Instants of schedules, and K: no instant is fired twice, early or not at all.
//!
//! The daemon computes instants with a library that has tests of its own; here they come at a fixed rate. Whether one is
//! missed is judged in windows, as Jepsen's checker of Chronos does: whenever the cluster is at rest, the newest instant
//! that has passed is dealt with, and was fired if it was not dealt with at the rest before. An instant that was never the
//! newest one at a rest may be passed over.

use std::collections::BTreeMap;

use weir_wire::{
    id::{JobName, JobVersion, Namespace},
    kind::{Kind, Overlap, Tier},
    work::JobRecord,
};

use crate::{
    oracle::Oracle,
    property::{Check, Property, broken},
    rng::Rng,
    world::{World, ns},
};

/// A schedule without instants.
pub(crate) const NEVER: &str = "never";
/// How long after an instant its firing may take in a cluster at rest, milliseconds of wall time.
const SLACK_MS: u64 = 1500;
/// How long after its wall clock was set a leader may not know it: it looks every 30 s.
const UNAWARE: core::time::Duration = core::time::Duration::from_secs(32);

/// The schedule of an instant every so many seconds.
pub(crate) fn schedule(seconds: u64) -> String {
    format!("every {seconds} s")
}

fn period_ms(schedule: &str) -> Option<u64> {
    let seconds: u64 = schedule.strip_prefix("every ")?.strip_suffix(" s")?.parse().ok()?;
    Some(seconds * 1000)
}

/// The first instant after a moment.
pub(crate) fn next_instant(schedule: &str, after_ms: u64) -> Option<u64> {
    period_ms(schedule).map(|period| (after_ms / period + 1) * period)
}

/// Whether a schedule has this instant.
fn is_instant(schedule: &str, at_ms: u64) -> bool {
    period_ms(schedule).is_some_and(|period| at_ms.is_multiple_of(period))
}

/// A question of the scheduler that the daemon answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) namespace: Namespace,
    pub(crate) job: JobName,
    pub(crate) version: JobVersion,
    pub(crate) after_ms: u64,
    pub(crate) at_ms: Option<u64>,
}

/// What is known of the firings of one job.
#[derive(Debug, Default)]
pub(crate) struct Firings {
    fired: BTreeMap<u64, weir_wire::id::RunId>,
    /// What was dealt with at the last rest; none if the job was changed or paused since.
    rest: Option<Rest>,
}

#[derive(Debug, Clone, Copy)]
struct Rest {
    through: u64,
    /// An earlier firing had not ended.
    open: bool,
}

impl Firings {
    /// The job was changed: what is due is counted anew.
    pub(crate) fn changed(&mut self) {
        self.rest = None;
    }

    /// A firing is stored.
    pub(crate) fn fire(
        &mut self,
        job: &JobRecord,
        run: weir_wire::id::RunId,
        instant: u64,
        submitted_ms: u64,
    ) -> Check {
        let name = &job.job;
        let Kind::Cron(cron) = &job.kind else {
            return broken(Property::Cron, format!("{name} is fired and is no cron job"));
        };
        if !is_instant(&cron.schedule, instant) {
            return broken(Property::Cron, format!("{name} is fired for {instant}, which is no instant of it"));
        }
        if submitted_ms < instant {
            return broken(Property::Cron, format!("{name} is fired early, for {instant} at {submitted_ms}"));
        }
        match self.fired.insert(instant, run) {
            Some(other) => broken(Property::Cron, format!("{name} is fired twice for {instant}: {other} and {run}")),
            None => Ok(()),
        }
    }

    /// The cluster is at rest.
    fn rests(&mut self, job: &JobRecord, limited: bool, (through, wall_ms): (u64, u64), open: bool) -> Check {
        let Kind::Cron(cron) = &job.kind else { return Ok(()) };
        let Some(period) = period_ms(&cron.schedule) else { return Ok(()) };
        let newest = wall_ms.saturating_sub(SLACK_MS) / period * period;
        if through < newest {
            return broken(
                Property::Cron,
                format!("{}: {newest} has passed, all is dealt with through {through}", job.job),
            );
        }
        let before = self.rest.replace(Rest { through, open });
        // A leader whose clock is ahead has dealt with what is still to come for this one.
        let usual = |before: &Rest| newest > before.through && through <= wall_ms;
        let Some(before) = before.filter(usual) else { return Ok(()) };
        let overlaps = cron.overlap == Overlap::Forbid
            && (before.open || self.fired.range(before.through + 1..newest).next().is_some());
        let late = u128::from(wall_ms - newest) > cron.start_deadline.as_millis();
        // One that has passed meanwhile takes the place of those before it.
        if overlaps || late || limited || self.fired.range(newest..).next().is_some() {
            return Ok(());
        }
        broken(
            Property::Cron,
            format!("{}: {newest} was missed, all was dealt with through {}", job.job, before.through),
        )
    }
}

impl Oracle {
    /// The firings of a job, by its key without a version.
    pub(crate) fn firings(&mut self, namespace: &Namespace, job: &JobName) -> &mut Firings {
        self.firings.entry((namespace.clone(), job.clone())).or_default()
    }
}

impl World {
    /// Answers a question of a scheduler after a while, as the daemon does.
    pub(crate) fn answer_time(&mut self, at: usize) -> u64 {
        let rng: &mut Rng = &mut self.replicas[at].daemon;
        let upper = if rng.chance(50_000) { 2000 } else { 20 };
        self.now + ns(rng.duration(core::time::Duration::ZERO, core::time::Duration::from_millis(upper)))
    }

    /// Looks at all cron jobs, if the cluster is at rest.
    pub(crate) fn check_cron(&mut self) -> Check {
        let Some(term) = self.store.term() else { return Ok(()) };
        let Some(leader) = self.store.newest else { return Ok(()) };
        let replica = &self.replicas[leader.replica];
        let Some(scheduler) = replica.scheduler.as_ref().filter(|scheduler| scheduler.term() == Some(term)) else {
            return Ok(());
        };
        let rests = !replica.committing
            && scheduler.stats().batches_waiting == 0
            && replica.asked == 0
            && replica.armed > self.now
            && replica.frozen_until <= self.now
            && replica.clock_set_at.is_none_or(|at| at + ns(UNAWARE) < self.now);
        if !rests {
            return Ok(());
        }
        let wall_ms = replica.clock.now(self.now).wall_ms;
        for at in 0..self.workload.jobs.len() {
            let JobRecord { namespace, job, .. } = &self.workload.jobs[at];
            let Some(spec) = self.oracle.newest.get(&(namespace.clone(), job.clone())).cloned() else { continue };
            let state = self.oracle.job_states.get(&weir_wire::key::job_state(namespace, job));
            let Some(state) = state.filter(|state| !state.paused) else { continue };
            let through = state.cron_through_ms;
            let open = self.oracle.open.iter().filter_map(|run| self.oracle.runs.get(run));
            let open = open.into_iter().any(|known| known.job.job == *job && known.record.scheduled_ms.is_some());
            let limited = spec.tier == Tier::Production && self.workload.has_quota(namespace);
            self.oracle.firings(namespace, job).rests(&spec, limited, (through, wall_ms), open)?;
        }
        Ok(())
    }
}
