//! Why tasks wait: computed when somebody asks.

use alloc::{collections::BTreeMap, string::String, vec, vec::Vec};

use weir_wire::{
    id::RunId,
    kind::{Kind, Tier},
    units::Now,
    work::JobRecord,
};

use crate::{
    class::ClassKey,
    constraint::{self, Test},
    depend::Waiting,
    limits,
    node::Node,
    phase::Phase,
    queue::Lane,
    run::Run,
    scheduler::{Leading, Scheduler},
    view::{Ahead, QuotaUse, WhyPending},
};

impl Scheduler {
    /// Why tasks of a run wait, in numbers of nodes per cause.
    #[must_use]
    pub fn why(&self, now: Now, run: RunId) -> Option<WhyPending> {
        let leading = self.leading.as_ref()?;
        let run = leading.runs.get(&run)?;
        let mut why = WhyPending {
            pending: run.in_phase(Phase::Pending) + run.in_phase(Phase::Backoff),
            backoff: run.in_phase(Phase::Backoff),
            assigned: run.in_phase(Phase::Granted),
            reconciling: run.restored && leading.reconcile_until.is_some(),
            brake: leading.brake_holds(run),
            paused: run.paused,
            dependency: leading.waiting_for(run),
            assembling: run.waiting.is_some_and(|waiting| waiting != Waiting::Upstream),
            over_quota: run.long.as_ref().is_some_and(|long| long.over_quota),
            ..WhyPending::default()
        };
        let next = run.backoff.values().min().map(|at| at.since(now.mono).as_millis());
        why.next_retry_ms = next.map(|left| u64::try_from(left).unwrap_or(u64::MAX));
        let limit = run.job.max_running;
        let at_limit = limit > 0 && run.lanes.len() >= limit;
        why.max_running = at_limit.then_some(limit);
        why.settled = why.pending == 0 && matches!(run.job.kind, Kind::System) && run.stop.is_none();
        if why.pending == 0 && !why.settled {
            return Some(why);
        }
        leading.count_nodes(&ClassKey::new(run.id, &run.job), |slot| run.site.on_node(slot), &mut why);
        if why.settled {
            // The nodes are full of its own tasks, among others.
            (why.too_small, why.exhausted) = (Vec::new(), Vec::new());
            return Some(why);
        }
        if run.site.parked {
            why.quota = leading.quota_use(&run.job, 1);
        }
        leading.count_ahead(run, &mut why);
        why.evicting = run.site.claims;
        Some(why)
    }
}

impl Leading {
    /// The number of vanished nodes that are not given up, if tasks of the run may be there.
    fn brake_holds(&self, run: &Run) -> Option<u32> {
        let on_held = |slot| self.nodes.get(self.grants.get(slot).node()).ops.held;
        let unknown = run.restored && self.reconcile_until.is_some();
        let concerned = self.brake.is_on() && (unknown || run.lanes.values().any(on_held));
        concerned.then(|| u32::try_from(self.brake.held).unwrap_or(u32::MAX))
    }

    /// Counts nodes by the first cause that excludes each of them.
    pub(crate) fn count_nodes(&self, class: &ClassKey, on_node: impl Fn(usize) -> u32, why: &mut WhyPending) {
        let constraints = &class.placement.constraints;
        let tests: Vec<Test> = constraints.iter().map(Test::new).collect();
        let mut excluded: Vec<u32> = vec![0; constraints.len()];
        let mut too_small = [("cpu", 0), ("memory", 0), ("lanes", 0)];
        let mut exhausted = too_small;
        for slot in self.nodes.by_name() {
            let node = self.nodes.get(slot);
            why.nodes += 1;
            if !node.is_ready() {
                why.nodes_not_ready += 1;
                continue;
            }
            if node.attribute(weir_wire::placement::POOL_ATTRIBUTE) != class.placement.pool.as_deref() {
                why.other_pool += 1;
                continue;
            }
            let unmet = constraints.iter().zip(&tests).position(|(c, test)| !test.holds(node.attribute(&c.attribute)));
            if let Some(at) = unmet {
                excluded[at] += 1;
                continue;
            }
            if class.placement.max_per_node > 0 && on_node(slot) >= class.placement.max_per_node {
                why.max_per_node += 1;
                continue;
            }
            match shortage(node, class) {
                Some((true, dimension)) => too_small[dimension].1 += 1,
                Some((false, dimension)) => exhausted[dimension].1 += 1,
                None => {}
            }
        }
        let named = constraints.iter().zip(excluded).filter(|(_, count)| *count > 0);
        why.excluded = named.map(|(c, count)| (constraint::display(c), count)).collect();
        why.too_small = too_small.into_iter().filter(|(_, count)| *count > 0).collect();
        why.exhausted = exhausted.into_iter().filter(|(_, count)| *count > 0).collect();
    }

    /// What is used of each part of the quota that one more task would exceed.
    pub(crate) fn quota_use(&self, job: &JobRecord, more: u32) -> Vec<QuotaUse> {
        let Some(space) = self.shares.find(&job.namespace).filter(|_| job.tier == Tier::Production) else {
            return Vec::new();
        };
        let Some(quota) = &space.quota else { return Vec::new() };
        let resources = &job.budgets.resources;
        let parts = [
            ("cpu", space.production.cpu, quota.cpu.map(|limit| u64::from(limit.0)), u64::from(resources.cpu.0)),
            ("memory", space.production.memory, quota.memory.map(|limit| limit.0), resources.memory.0),
            ("running", space.production.grants, quota.running.map(u64::from), 1),
        ];
        let exceeded = parts.into_iter().filter_map(|(part, used, limit, one)| {
            let needed = used.saturating_add(one.saturating_mul(u64::from(more)));
            let limit = limit.filter(|limit| needed > *limit)?;
            Some(QuotaUse { part, used, needed, limit })
        });
        exceeded.collect()
    }

    /// Counts what is served before a run, and what shares with it.
    fn count_ahead(&self, run: &Run, why: &mut WhyPending) {
        let Some(ticket) = run.ticket else { return };
        let mut by_lane: BTreeMap<Lane, (u32, u64)> = BTreeMap::new();
        let shares = |lane: &Lane| lane.band == ticket.lane.band && lane.space != ticket.lane.space;
        self.queue.ahead_of(ticket, &self.nodes, |lane, id| {
            let entry = by_lane.entry(lane).or_default();
            entry.0 = entry.0.saturating_add(1);
            entry.1 += self.runs.get(&id).map_or(0, |run| u64::from(run.in_phase(Phase::Pending)));
        });
        let first = || by_lane.iter().filter(|(lane, _)| !shares(lane)).map(|(_, counts)| counts);
        why.ahead = first().map(|(runs, _)| *runs).fold(0, u32::saturating_add);
        why.ahead_tasks = first().map(|(_, tasks)| *tasks).sum();
        let named = by_lane.into_iter().take(limits::WHY_AHEAD_MAX);
        why.ahead_of = named
            .map(|(lane, (runs, tasks))| Ahead {
                tier: lane.band.tier,
                priority: u8::MAX - lane.band.rank,
                namespace: self.shares.name(lane.space).map_or_else(String::new, |name| name.as_str().into()),
                runs,
                tasks,
                shares: shares(&lane),
            })
            .collect();
    }
}

/// The first dimension in which a task does not fit: whether even the empty node is too small, and which one it is.
fn shortage(node: &Node, class: &ClassKey) -> Option<(bool, usize)> {
    let wanted = &class.resources;
    let free = node.room(class.book);
    if wanted.cpu > node.capacity.cpu {
        Some((true, 0))
    } else if wanted.memory > node.capacity.memory {
        Some((true, 1))
    } else if node.lanes_max == 0 {
        Some((true, 2))
    } else if wanted.cpu.0 > free.cpu {
        Some((false, 0))
    } else if wanted.memory.0 > free.memory {
        Some((false, 1))
    } else if free.lanes == 0 {
        Some((false, 2))
    } else {
        None
    }
}
