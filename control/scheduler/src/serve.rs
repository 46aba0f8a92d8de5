//! Between the tables and placement: whose turn it is, who waits for a quota, which nodes have got room.

use weir_wire::{id::RunId, kind::Tier, resources::Resources, units::Instant};

use crate::{
    config::Config,
    grant::Grant,
    place,
    plan::Plan,
    queue::{Band, Lane},
    run::Run,
    scheduler::Leading,
};

impl Run {
    /// The lane in which it waits.
    pub(crate) fn lane(&self) -> Lane {
        Lane { band: Band::new(self.job.tier, self.job.priority), space: self.site.space }
    }
}

impl Leading {
    /// The next step of placement; `None` when nothing waits that could be placed.
    pub(crate) fn next_plan(&mut self, config: &Config, now: Instant) -> Option<Plan> {
        loop {
            let (class, id, ticket) = self.queue.first(&mut self.shares)?;
            let run = self.runs.get_mut(&id).expect("queued runs exist");
            if ticket.lane.band.tier == Tier::Production
                && !self.shares.allows(ticket.lane.space, &run.job.budgets.resources)
            {
                self.park(id);
                continue;
            }
            let class_entry = self.queue.get_mut(class);
            return Some(place::next(config, class, class_entry, run, &self.nodes, &mut self.draws, now));
        }
    }

    /// Takes over what has happened to nodes since the last placement.
    pub(crate) fn settle_nodes(&mut self) {
        if self.shares_generation != self.nodes.generation {
            self.shares_generation = self.nodes.generation;
            self.shares.set_totals(self.nodes.total_cpu, self.nodes.total_memory_kib);
        }
        for slot in core::mem::take(&mut self.freed) {
            let node = self.nodes.get_mut(slot);
            node.freed = false;
            if node.is_ready() {
                if self.claims.on_node(slot) {
                    self.claims.ready.push(slot);
                }
                self.queue.wake(slot, &self.nodes, &self.shares);
            }
        }
    }

    /// Something on a node became free, or it became ready: classes that fit there are tried again.
    pub(crate) fn node_freed(&mut self, slot: usize) {
        self.nodes.update_order(slot);
        self.retry_pinned(slot);
        let node = self.nodes.get_mut(slot);
        if !core::mem::replace(&mut node.freed, true) {
            self.freed.push(slot);
        }
    }

    /// A run has got a grant: it goes to the end of its lane, or out of the queue if it wants no more.
    pub(crate) fn served(&mut self, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.site.waiting_since = Some(self.now);
        match run.ticket {
            Some(ticket) if run.wants_lane() => {
                run.ticket = Some(self.queue.rotate(run.class, ticket, id, &self.shares));
            }
            Some(_) => self.dequeue(id),
            None => {}
        }
        // Whoever waits for the quota takes turns with those who do not.
        let Some(run) = self.runs.get(&id).filter(|run| run.job.tier == Tier::Production) else {
            return;
        };
        if let Some(parked) = self.shares.get_mut(run.site.space).parked.pop_front() {
            self.unpark(parked);
        }
    }

    /// Counts a grant in, or out, of everything that sums over grants; gives a run that waited for the quota.
    pub(crate) fn count_grant(&mut self, grant: &Grant, more: bool) -> Option<RunId> {
        let run = self.runs.get_mut(&grant.run)?;
        let (tier, resources) = (run.job.tier, run.job.budgets.resources);
        self.nodes.get_mut(grant.node()).books.count(tier, &resources, more);
        if run.job.placement.max_per_node > 0 {
            run.site.count_node(grant.node(), more);
        }
        if let Some(attribute) = run.site.spread
            && let Some(place) = self.nodes.place(grant.node())
        {
            // Counted under the value of that moment; a label that changes meanwhile misleads a preference only.
            run.site.count_value(self.nodes.groups.get(place.group).value(attribute), more);
        }
        if more {
            self.shares.add(run.site.space, tier, &resources);
            return None;
        }
        self.shares.sub(run.site.space, tier, &resources)
    }

    /// Takes over what a node's attempts that are not revocable really use.
    pub(crate) fn node_measured(&mut self, slot: usize, measured: Resources) {
        let books = &mut self.nodes.get_mut(slot).books;
        books.measured = Some(measured);
        books.unmeasured = Resources::default();
        self.node_freed(slot);
    }

    /// A run has ended: its class may not be needed any more, although nodes may hold grants of it for a while.
    pub(crate) fn leave_class(&mut self, id: RunId) {
        let Some(run) = self.runs.get(&id) else { return };
        self.queue.leave_class(run.class);
        let space = run.site.space;
        if run.site.parked {
            self.shares.get_mut(space).parked.retain(|parked| *parked != id);
        }
    }

    /// Sets a production run aside until its namespace's quota has room.
    fn park(&mut self, id: RunId) {
        self.dequeue(id);
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.site.parked = true;
        self.shares.get_mut(run.site.space).parked.push_back(id);
    }

    /// Lets a run try its namespace's quota again.
    pub(crate) fn unpark(&mut self, id: RunId) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.site.parked = false;
            self.requeue(id);
        }
    }
}
