//! Q, P and F: at each grant, whether the quota allows it, and whether somebody else should have had it.
//!
//! The look is independent of the scheduler's order: it knows jobs from the store and asks the leader only how many tasks
//! of a run wait. It compares what is certain: a run that asks for no more than the one that was served, of nodes that
//! this one may have, could have had the place.

use weir_scheduler::{NodeState, RunState, RunView, Scheduler};
use weir_wire::{
    id::Namespace,
    kind::{Kind, Tier},
    message::Grant,
    units::Now,
    work::JobRecord,
};

use crate::{
    oracle::Known,
    property::{Check, Property, broken},
    world::World,
};

/// With more open runs than this, only some grants are looked at.
const RUNS_LOOKED_AT: usize = 64;

impl World {
    /// Looks at a grant of the newest leader as it is sent.
    pub(crate) fn check_grant(&mut self, at: usize, session: u64, grant: &Grant) -> Check {
        let Some(known) = self.oracle.runs.get(&grant.run) else { return Ok(()) };
        let held_before = self.given.sums(&known.job.namespace).all;
        if self.session(session).alive {
            self.given.grant(session, grant, &known.job);
        }
        let Some(scheduler) = &self.replicas[at].scheduler else { return Ok(()) };
        // A fenced grant was decided before it was stored: what held then may not hold any more.
        if known.job.execution.is_fenced() {
            return Ok(());
        }
        self.check_quota(scheduler, grant, &known.job)?;
        let often = self.oracle.open.len() <= RUNS_LOOKED_AT || grant.grant.0.is_multiple_of(16);
        let now = self.replicas[at].clock.now(self.now);
        if often && is_ordered(&known.job) {
            self.check_order((scheduler, now), grant, known, held_before)
        } else {
            Ok(())
        }
    }

    fn check_quota(&self, scheduler: &Scheduler, grant: &Grant, job: &JobRecord) -> Check {
        if job.tier != Tier::Production {
            return Ok(());
        }
        let quotas = scheduler.quotas();
        let Some(quota) = quotas.iter().find(|quota| quota.namespace == job.namespace) else { return Ok(()) };
        match self.given.sums(&job.namespace).exceeds(quota) {
            Some(what) => broken(
                Property::Quota,
                format!("the grant of {}.{} exceeds the {what} of {quota:?}", grant.run, grant.first),
            ),
            None => Ok(()),
        }
    }

    fn check_order(
        &self,
        (scheduler, now): (&Scheduler, Now),
        grant: &Grant,
        served: &Known,
        held_before: [u64; 2],
    ) -> Check {
        for id in &self.oracle.open {
            let Some(waiting) = self.oracle.runs.get(id).filter(|_| *id != grant.run) else { continue };
            let (one, other) = (&served.job, &waiting.job);
            let better = (other.tier, -i32::from(other.priority)) < (one.tier, -i32::from(one.priority));
            let equal = (other.tier, other.priority) == (one.tier, one.priority);
            let poorer = equal && other.namespace != one.namespace && held_before != [0, 0];
            if !(better || poorer) || !could_have(one, other) || !waiting.record.after.is_empty() {
                continue;
            }
            let Some(view) = scheduler.run(*id).filter(|view| self.waits(scheduler, now, view, waiting)) else {
                continue;
            };
            let text = |why: &str| {
                let (first, waits) = (grant.first, view.counts.pending - view.counts.backoff);
                format!("{}.{first} is granted while {waits} tasks of {id} wait, {why}", grant.run)
            };
            if better {
                return broken(Property::Priority, text("which goes before it"));
            }
            let resources = &one.budgets.resources;
            let granted = [u64::from(resources.cpu.0), resources.memory.0].map(|each| each * u64::from(grant.len));
            let (rich, poor) = ((&one.namespace, held_before, granted), &other.namespace);
            if self.has_more(scheduler, now, rich, poor) {
                return broken(Property::Fair, text("whose namespace has less than half as much"));
            }
        }
        Ok(())
    }

    /// Whether tasks of a run wait for nothing but a place.
    fn waits(&self, scheduler: &Scheduler, now: Now, view: &RunView, known: &Known) -> bool {
        let limited = known.job.tier == Tier::Production
            && scheduler.quotas().iter().any(|quota| quota.namespace == known.job.namespace);
        if known.stopped || view.state != RunState::Active || view.paused || limited {
            return false;
        }
        view.counts.pending > view.counts.backoff
            && scheduler.why(now, view.run).is_some_and(|why| {
                !why.reconciling && why.brake.is_none() && !why.assembling && why.dependency.is_empty()
            })
    }

    /// Whether one namespace, which held at least so much before it was granted more, has more than twice the weighted
    /// dominant share of another one.
    fn has_more(
        &self,
        scheduler: &Scheduler,
        now: Now,
        (rich, held, granted): (&Namespace, [u64; 2], [u64; 2]),
        poor: &Namespace,
    ) -> bool {
        let seen = |space: &Namespace| {
            let mut sums = [0; 2];
            for (id, known) in self.oracle.runs.iter().filter(|(_, known)| known.job.namespace == *space) {
                let counts = scheduler.run(*id).map(|view| view.counts).unwrap_or_default();
                let tasks = u64::from(counts.assigned + counts.running + counts.stopping + counts.unknown);
                let resources = &known.job.budgets.resources;
                sums[0] += tasks * u64::from(resources.cpu.0);
                sums[1] += tasks * resources.memory.0;
            }
            sums
        };
        // What nodes hold that have not come back to a new leader is not known to it, and what it grants it counts.
        let (most, known) = (seen(poor), seen(rich));
        let held = [0, 1].map(|at| held[at].min(known[at].saturating_sub(granted[at])));
        let nodes = scheduler.nodes(now);
        let ready = nodes.iter().filter(|node| node.state == NodeState::Ready);
        let total = ready.fold([0, 0], |[cpu, memory], node| {
            [cpu + u64::from(node.capacity.cpu.0), memory + node.capacity.memory.0]
        });
        let quotas = scheduler.quotas();
        let weight = |space: &Namespace| {
            quotas.iter().find(|quota| quota.namespace == *space).map_or(100, |quota| u128::from(quota.weight))
        };
        let share = |of: [u64; 2], space: &Namespace| {
            let part = |at: usize| u128::from(of[at]) * (1 << 40) / u128::from(total[at].max(1));
            part(0).max(part(1)) / weight(space)
        };
        share(held, rich) > 2 * share(most, poor) + 1
    }
}

/// Whether grants of a job are compared with what waits: production may take room that it had others make, in the order in
/// which that was planned, and a task of a system job has its own node.
fn is_ordered(job: &JobRecord) -> bool {
    job.tier != Tier::Production && !matches!(job.kind, Kind::System)
}

/// Whether any place that was good for one job was good for another one.
fn could_have(one: &JobRecord, other: &JobRecord) -> bool {
    let same_book = (one.tier == Tier::Revocable) == (other.tier == Tier::Revocable);
    let ends = matches!(other.kind, Kind::Batch | Kind::Cron(_) | Kind::Function);
    let unlimited = other.max_running == 0 && other.placement.max_per_node == 0;
    let smaller = other.budgets.resources.fits(&one.budgets.resources);
    let rules = &other.placement.constraints;
    let anywhere = rules.iter().all(|rule| one.placement.constraints.contains(rule));
    same_book && ends && unlimited && smaller && anywhere && other.placement.pool == one.placement.pool
}
