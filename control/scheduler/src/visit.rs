//! Several grants at one visit of a node.
//!
//! To find a node, to put it back in order and to tell it of the run costs more than the grant itself. Where many more
//! tasks wait than there are nodes, each node gets some anyway: it is given a few of one run at a time. Where namespaces
//! compete, one turn moves what a namespace holds by a small part at most.

use weir_wire::{kind::Tier, units::Instant};

use crate::{
    check,
    class::book_of,
    limits::{GRANTS_PER_TURN_OF_RUN_MAX, GRANTS_PER_VISIT_MAX, HELD_PER_VISIT, PENDING_PER_VISIT},
    phase::Phase,
    plan::{Plan, PlannedGrant},
    room::Room,
    scheduler::{Leading, Scheduler},
};

impl Scheduler {
    /// Carries out a planned grant, and others of its run on the same node; says how many.
    pub(crate) fn visit(&mut self, first: PlannedGrant, most: usize) -> usize {
        let (now, id, slot) = (self.now.mono, first.run, first.slot);
        let (mut next, mut granted) = (Some(first), 0);
        while let Some(plan) = next.take() {
            if let Some(leading) = self.leading.as_deref().filter(|_| self.config.check_plans) {
                let verdict = check::grant(&plan, leading);
                assert_eq!(verdict, Ok(()), "placement is wrong: {}", Plan::Grant(plan));
            }
            self.apply(&plan);
            granted += 1;
            if granted < most {
                next = self.leading.as_deref().and_then(|leading| leading.plan_again(&plan, now));
            }
        }
        if let Some(leading) = self.leading.as_deref_mut() {
            leading.nodes.update_order(slot);
            leading.served(id);
        }
        granted
    }
}

impl Leading {
    /// How many grants a node may get for a plan: half of an even share of what waits, so that the nodes stay evenly
    /// filled.
    pub(crate) fn visit_len(&self, plan: &PlannedGrant) -> usize {
        let Some(run) = self.runs.get(&plan.run) else { return 1 };
        let job = &run.job;
        let single = plan.claimed || job.execution.is_fenced() || job.kind.is_long_running();
        let apart = run.site.spread.is_some() || job.placement.max_per_node > 0;
        let pending = run.in_phase(Phase::Pending) as usize;
        if single || apart || pending < PENDING_PER_VISIT {
            return 1;
        }
        let waiting = usize::try_from(self.open_tasks).unwrap_or(usize::MAX).saturating_sub(self.grants.len());
        let most = if self.queue.is_alone(run.class) {
            GRANTS_PER_VISIT_MAX
        } else if self.queue.is_contested(run.lane().band) {
            let held = self.shares.get(run.site.space).all.grants / HELD_PER_VISIT;
            usize::try_from(held).unwrap_or(usize::MAX).min(GRANTS_PER_TURN_OF_RUN_MAX)
        } else {
            GRANTS_PER_TURN_OF_RUN_MAX
        };
        let share = waiting / self.nodes.len().max(1);
        (share / 2).min(pending / PENDING_PER_VISIT).clamp(1, most.max(1))
    }

    /// The next grant of the same run for the same node; `None` when either has had enough.
    pub(crate) fn plan_again(&self, before: &PlannedGrant, now: Instant) -> Option<PlannedGrant> {
        let run = self.runs.get(&before.run).filter(|run| run.wants_lane())?;
        let resources = &run.job.budgets.resources;
        let want = Room { cpu: resources.cpu.0, lanes: 1, memory: resources.memory.0 };
        let room = self.nodes.get(before.slot).room(book_of(run.job.tier));
        let within_quota = run.job.tier != Tier::Production || self.shares.allows(run.site.space, resources);
        if !room.takes(&want) || !within_quota {
            return None;
        }
        let (first, len) = run.next_range(before.len)?;
        if run.site.avoided(first, now) == Some(before.slot) {
            return None;
        }
        Some(PlannedGrant { first, len, ordinal: run.ordinal(first), ..before.clone() })
    }
}
