//! What would become of a run: the same rules as placement, without changing anything.

use alloc::{collections::BTreeMap, format, vec::Vec};

use weir_wire::{
    id::{JobName, RunId},
    kind::{Kind, Tier},
    placement::POOL_ATTRIBUTE,
    units::Now,
    work::JobRecord,
};

use crate::{
    admit,
    class::ClassKey,
    constraint::Test,
    fair::SpaceId,
    grant::GrantRef,
    limits::{EVICT_NODES_MAX, PLAN_EVICTIONS_MAX, PLAN_NAMES_MAX, PLAN_TASKS_MAX},
    node::Node,
    output::RequestError,
    preempt::{Claimant, OnNode, Tried},
    scheduler::{Leading, Scheduler},
    trial::Trial,
    view::{PlanView, QuotaUsage, VictimView, WhyPending},
};

/// No run has this id: sequence numbers begin at 1.
const NO_RUN: RunId = RunId(0);

impl Scheduler {
    /// What would become of `count` tasks of a job if they were submitted at this moment; `None` if this process does
    /// not lead. Nothing is changed. It costs a look at each node, and one step a task for a limited number of tasks.
    #[must_use]
    pub fn plan(&self, _now: Now, job: &JobRecord, count: u32) -> Option<PlanView> {
        let leading = self.leading.as_ref()?;
        let mut class = ClassKey::new(NO_RUN, job);
        let slots = leading.slots_for(&class);
        let mut count = count;
        if matches!(job.kind, Kind::System) {
            // One on each node that matches, whatever number the spec says.
            class.placement.max_per_node = 1;
            count = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        }
        let tried = count.min(PLAN_TASKS_MAX);
        let space = leading.shares.id(&job.namespace).filter(|_| job.tier == Tier::Production);
        let allowed = space.map_or(u32::MAX, |space| leading.shares.room_in_quota(space, &class.resources));
        let lanes = if job.max_running == 0 { u32::MAX } else { job.max_running };
        let leaves = leading.replaced_by(job);
        let allowed = allowed.saturating_add(leaves.tasks(&class.resources));
        let wanted = tried.min(allowed).min(lanes);
        let by_node = Trial::new(leading, &class, self.config.placement, &leaves).place(&slots, wanted);
        let placed: u32 = by_node.values().sum();
        let over_quota = tried.min(lanes).saturating_sub(allowed);
        let (demand, replaced) = (QuotaUsage::of(job, count.min(lanes)), leading.charge_replaced_by(job));
        let refused = leading.would_refuse(job);
        let mut view = PlanView { tried, placed, over_quota, refused, demand, replaced, ..PlanView::default() };
        if over_quota > 0 {
            view.quota = leading.quota_use(job, allowed.saturating_add(1));
        }
        view.nodes_unnamed = u32::try_from(by_node.len().saturating_sub(PLAN_NAMES_MAX)).unwrap_or(u32::MAX);
        let named = by_node.iter().take(PLAN_NAMES_MAX);
        view.nodes = named.map(|(slot, tasks)| (leading.nodes.get(*slot).id().clone(), *tasks)).collect();
        if placed < tried {
            view.why = WhyPending { pending: tried - placed, ..WhyPending::default() };
            view.why.max_running = (lanes < tried).then_some(lanes);
            view.why.quota = view.quota.clone();
            leading.count_nodes(&class, |_| 0, &mut view.why);
        }
        // A run that its quota refuses has nobody make room.
        if placed < wanted && job.tier == Tier::Production && view.over_quota == 0 {
            leading.try_evicting(job, &slots, &by_node, wanted - placed, space, &mut view);
            view.why.pending -= view.placed_by_eviction;
        }
        Some(view)
    }
}

impl Leading {
    /// Why a job, or a run of it, would be refused whatever is free.
    fn would_refuse(&self, job: &JobRecord) -> Option<RequestError> {
        let checked = admit::spec(job).and_then(|()| self.check_cycle(job));
        checked.and_then(|()| self.check_kind(job)).and_then(|()| self.check_upstream_runs(job)).err()
    }

    /// A job stays what it is.
    pub(crate) fn check_kind(&self, job: &JobRecord) -> Result<(), RequestError> {
        let name = (job.namespace.clone(), job.job.clone());
        let staged = self.staged_jobs.get(&name).map(|(_, spec)| spec.kind.as_str());
        let committed = self.jobs.get(&name).and_then(|versions| versions.last()).map(|job| job.kind.as_str());
        match staged.or(committed) {
            Some(before) if before != job.kind.as_str() => {
                let kind = job.kind.as_str();
                Err(RequestError::Conflict(format!("{} is a {before} job and cannot become a {kind} job", name.1)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Each job that a job comes after needs a run.
    pub(crate) fn check_upstream_runs(&self, job: &JobRecord) -> Result<(), RequestError> {
        let has_run = |name: &&JobName| {
            let runs = self.job_runs.get(&(job.namespace.clone(), (*name).clone()));
            runs.is_some_and(|runs| runs.newest.is_some())
        };
        match job.after.iter().map(|dependency| &dependency.job).find(|name| !has_run(name)) {
            Some(missing) => {
                let why = format!("it runs after `{missing}`, which has no run yet; start one first");
                Err(RequestError::Conflict(why))
            }
            None => Ok(()),
        }
    }

    /// The ready nodes that meet all conditions of a class.
    fn slots_for(&self, class: &ClassKey) -> Vec<usize> {
        let tests: Vec<(&str, Test)> =
            class.placement.constraints.iter().map(|c| (c.attribute.as_str(), Test::new(c))).collect();
        let meets = |node: &Node| {
            node.is_ready()
                && node.attribute(POOL_ATTRIBUTE) == class.placement.pool.as_deref()
                && tests.iter().all(|(attribute, test)| test.holds(node.attribute(attribute)))
        };
        self.nodes.by_name().filter(|slot| meets(self.nodes.get(*slot))).collect()
    }

    /// Who would make room for the rest, node by node as placement would ask them; a limited number of tasks.
    fn try_evicting(
        &self,
        job: &JobRecord,
        slots: &[usize],
        by_node: &BTreeMap<usize, u32>,
        wanted: u32,
        space: Option<SpaceId>,
        view: &mut PlanView,
    ) {
        let claimant = Claimant::new(NO_RUN, job);
        let placed = by_node.iter().map(|(slot, tasks)| (*slot, OnNode { tasks: *tasks, ..OnNode::default() }));
        let mut tried: Tried = placed.collect();
        let most = if job.placement.max_per_node > 0 { job.placement.max_per_node } else { u32::MAX };
        let mut left = wanted.min(PLAN_EVICTIONS_MAX);
        for nodes in slots.chunks(EVICT_NODES_MAX) {
            while left > 0 {
                let open = |slot: &usize| tried.get(slot).is_none_or(|on_node| on_node.tasks < most);
                let open: Vec<usize> = nodes.iter().copied().filter(open).collect();
                let found = self.look_for_victims(&claimant, &open, 0, space, &tried);
                if found.is_empty() {
                    break;
                }
                for (victims, slot) in found.into_iter().take(left as usize) {
                    left -= 1;
                    // Where there are none, enough is being freed already: the task waits for that.
                    view.placed_by_eviction += u32::from(!victims.is_empty());
                    self.name_victims(&victims, slot, view);
                    let on_node = tried.entry(slot).or_default();
                    on_node.tasks += 1;
                    on_node.victims.extend(victims);
                }
            }
        }
    }

    fn name_victims(&self, victims: &[GrantRef], slot: usize, view: &mut PlanView) {
        for grant in victims.iter().filter_map(|victim| self.grants.find(*victim)) {
            let Some(run) = self.runs.get(&grant.run) else { continue };
            if view.victims.len() == PLAN_NAMES_MAX {
                view.victims_unnamed += 1;
                continue;
            }
            view.victims.push(VictimView {
                run: run.id,
                namespace: run.record.namespace.clone(),
                job: run.record.job.clone(),
                index: grant.next,
                node: self.nodes.get(slot).id().clone(),
            });
        }
    }
}
