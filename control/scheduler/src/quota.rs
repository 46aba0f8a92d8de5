//! Quotas: what a namespace's production runs may demand together, checked when more is asked for.

use alloc::{collections::BTreeMap, format, string::String};

use weir_wire::{
    id::{Namespace, RunId},
    kind::{Kind, Tier},
    record::Quota,
    work::{JobRecord, RunRecord},
};

use crate::{
    input::RequestId,
    job_state::Name,
    output::{Reply, RequestError},
    phase::Phase,
    run::Run,
    scheduler::{Leading, Scheduler},
    view::QuotaUsage,
};

impl QuotaUsage {
    /// The demand of some tasks of a job.
    pub(crate) fn of(job: &JobRecord, tasks: u32) -> Self {
        let tasks = u64::from(tasks);
        let resources = &job.budgets.resources;
        Self {
            cpu_millis: u64::from(resources.cpu.0).saturating_mul(tasks),
            memory_bytes: resources.memory.0.saturating_mul(tasks),
            tasks,
        }
    }

    fn add(&mut self, other: &Self) {
        self.cpu_millis = self.cpu_millis.saturating_add(other.cpu_millis);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
        self.tasks = self.tasks.saturating_add(other.tasks);
    }

    const fn sub(&mut self, other: &Self) {
        self.cpu_millis = self.cpu_millis.saturating_sub(other.cpu_millis);
        self.memory_bytes = self.memory_bytes.saturating_sub(other.memory_bytes);
        self.tasks = self.tasks.saturating_sub(other.tasks);
    }
}

impl Scheduler {
    /// Sets or removes a namespace's quota.
    pub(crate) fn set_quota(
        &mut self,
        id: RequestId,
        namespace: Namespace,
        quota: Option<Quota>,
    ) -> Result<(), RequestError> {
        let leading = self.leading.as_deref_mut().ok_or(RequestError::NotLeader)?;
        leading.check_room()?;
        if quota.as_ref().is_some_and(|quota| !(1..=1000).contains(&quota.weight)) {
            return Err(RequestError::Invalid(String::from("a weight is from 1 to 1,000")));
        }
        leading.staged_quotas.insert(namespace.clone(), quota.clone());
        let batch = leading.open_batch();
        batch.put_quota(namespace, quota);
        batch.replies.push((id, Reply::Done));
        batch.urgent = true;
        Ok(())
    }
}

/// Amounts of one dimension in one unit, as a spec has them: cores, and the largest unit that divides all.
fn amounts(name: &str, amounts: [u64; 3]) -> [String; 3] {
    match name {
        "cpu" => amounts.map(|milli| {
            let fraction = format!("{:03}", milli % 1000);
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            format!("{}{point}{fraction} core{}", milli / 1000, if milli == 1000 { "" } else { "s" })
        }),
        "memory" => {
            let units = [(30, " GiB"), (20, " MiB"), (10, " KiB")];
            let whole = |shift: &u32| amounts.iter().all(|bytes| bytes.trailing_zeros() >= *shift);
            let (shift, unit) = units.into_iter().find(|(shift, _)| whole(shift)).unwrap_or((0, " bytes"));
            amounts.map(|bytes| format!("{}{unit}", bytes >> shift))
        }
        _ => amounts.map(|number| format!("{number}")),
    }
}

impl Leading {
    /// A quota, or its absence, is durable.
    pub(crate) fn quota_committed(&mut self, namespace: Namespace, quota: Option<Quota>) {
        if self.staged_quotas.get(&namespace) == Some(&quota) {
            self.staged_quotas.remove(&namespace);
        }
        for id in self.shares.set_quota(&namespace, quota.clone()) {
            self.unpark(id);
        }
        match quota {
            Some(quota) => {
                self.quotas.insert(namespace.clone(), quota);
            }
            None => {
                self.quotas.remove(&namespace);
            }
        }
        let jobs = self.system_jobs.iter().filter(|name| name.0 == namespace).cloned();
        self.long_dirty.extend(jobs);
        self.retry_all_pinned();
    }

    /// The quota against which more is admitted: what is staged counts.
    fn quota_of(&self, namespace: &Namespace) -> Option<&Quota> {
        match self.staged_quotas.get(namespace) {
            Some(staged) => staged.as_ref(),
            None => self.quotas.get(namespace),
        }
    }

    fn check_quota(&self, namespace: &Namespace, asked: &QuotaUsage) -> Result<(), RequestError> {
        let Some(quota) = self.quota_of(namespace) else { return Ok(()) };
        let used = self.demand.get(namespace).copied().unwrap_or_default();
        let dimensions = [
            ("cpu", "", used.cpu_millis, asked.cpu_millis, quota.cpu.map(|cpu| u64::from(cpu.0))),
            ("memory", "", used.memory_bytes, asked.memory_bytes, quota.memory.map(|memory| memory.0)),
            ("running", " tasks", used.tasks, asked.tasks, quota.running.map(u64::from)),
        ];
        for (name, unit, used, asked, limit) in dimensions {
            if let Some(limit) = limit
                && asked > 0
                && used.saturating_add(asked) > limit
            {
                let [used, asked, limit] = amounts(name, [used, asked, limit]);
                let text = format!(
                    "{name}: {used}{unit} are in use, {asked}{unit} more are asked for, {limit}{unit} is the limit"
                );
                return Err(RequestError::Quota(text));
            }
        }
        Ok(())
    }

    /// What a run would add to the demand of its namespace; nothing where quotas do not count it.
    fn demand_of(&self, job: &JobRecord, count: u32) -> Option<QuotaUsage> {
        if job.tier != Tier::Production {
            return None;
        }
        // An update takes the place of what it replaces.
        let name = (job.namespace.clone(), job.job.clone());
        let replaced = if job.kind.is_long_running() { self.charged_to(&name) } else { 0 };
        let tasks = match job.kind {
            Kind::Service(_) => count,
            Kind::System => 1,
            Kind::Batch | Kind::Cron(_) | Kind::Function => lanes(job, count),
        };
        Some(QuotaUsage::of(job, tasks.saturating_sub(replaced)))
    }

    /// Checks that a run of `count` tasks of a job that is not stored yet would be admitted.
    ///
    /// # Errors
    /// The dimension of a quota that it would exceed.
    pub(crate) fn check_quota_for(&self, job: &JobRecord, count: u32) -> Result<(), RequestError> {
        self.demand_of(job, count).map_or(Ok(()), |asked| self.check_quota(&job.namespace, &asked))
    }

    /// What a submission adds to the demand of its namespaces.
    ///
    /// # Errors
    /// The dimension of a quota that it would exceed.
    pub(crate) fn admit_runs(&self, runs: &[RunRecord]) -> Result<BTreeMap<Namespace, QuotaUsage>, RequestError> {
        let mut asked: BTreeMap<Namespace, QuotaUsage> = BTreeMap::new();
        for record in runs {
            let name = (record.namespace.clone(), record.job.clone());
            let Some(job) = self.jobs.get(&name).and_then(|all| all.iter().find(|job| job.version == record.version))
            else {
                continue;
            };
            if let Some(demand) = self.demand_of(job, record.count) {
                asked.entry(name.0).or_default().add(&demand);
            }
        }
        for (namespace, asked) in &asked {
            self.check_quota(namespace, asked)?;
        }
        Ok(asked)
    }

    /// Admits a service's new number of tasks.
    pub(crate) fn admit_scale(&mut self, name: &Name, run: RunId, target: u32) -> Result<(), RequestError> {
        let more = target.saturating_sub(self.charged_to(name));
        let Some(run) = self.runs.get(&run).filter(|run| run.job.tier == Tier::Production) else { return Ok(()) };
        let asked = QuotaUsage::of(&run.job, more);
        self.check_quota(&name.0, &asked)?;
        self.reserve(BTreeMap::from([(name.0.clone(), asked)]));
        Ok(())
    }

    /// How many more tasks of a job its namespace's quota has room for.
    pub(crate) fn quota_room(&self, namespace: &Namespace, job: &JobRecord) -> usize {
        let Some(quota) = self.quota_of(namespace).filter(|_| job.tier == Tier::Production) else { return usize::MAX };
        let used = self.demand.get(namespace).copied().unwrap_or_default();
        let one = QuotaUsage::of(job, 1);
        let room = |used: u64, one: u64, limit: Option<u64>| match limit {
            Some(limit) => limit.saturating_sub(used).checked_div(one).unwrap_or(u64::MAX),
            None => u64::MAX,
        };
        let cpu = room(used.cpu_millis, one.cpu_millis, quota.cpu.map(|cpu| u64::from(cpu.0)));
        let memory = room(used.memory_bytes, one.memory_bytes, quota.memory.map(|memory| memory.0));
        let tasks = room(used.tasks, one.tasks, quota.running.map(u64::from));
        usize::try_from(cpu.min(memory).min(tasks)).unwrap_or(usize::MAX)
    }

    /// Counts a demand until the open batch is durable; what comes of it is charged to the runs then.
    pub(crate) fn reserve(&mut self, asked: BTreeMap<Namespace, QuotaUsage>) {
        for (namespace, asked) in asked {
            if asked != QuotaUsage::default() {
                self.demand.entry(namespace.clone()).or_default().add(&asked);
                self.open_batch().reserved.push((namespace, asked));
            }
        }
    }

    /// A batch is durable: its runs are charged themselves.
    pub(crate) fn release(&mut self, reserved: alloc::vec::Vec<(Namespace, QuotaUsage)>) {
        for (namespace, demand) in reserved {
            self.demand.entry(namespace).or_default().sub(&demand);
        }
    }

    /// Charges a run for a number of tasks.
    pub(crate) fn charge(&mut self, id: RunId, tasks: u32) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.job.tier != Tier::Production || run.charged == tasks {
            return;
        }
        let before = QuotaUsage::of(&run.job, run.charged);
        let after = QuotaUsage::of(&run.job, tasks);
        run.charged = tasks;
        let demand = self.demand.entry(run.record.namespace.clone()).or_default();
        demand.sub(&before);
        demand.add(&after);
    }

    /// Charges a run whose tasks end for what it can still run at one time.
    pub(crate) fn charge_run(&mut self, id: RunId) {
        let Some(run) = self.runs.get(&id) else { return };
        if run.is_over() {
            self.charge(id, 0);
        } else if run.long.is_none() {
            let tasks = lanes(&run.job, run.open());
            self.charge(id, tasks);
        } else if run.stop_recorded {
            // It wants nothing any more, and holds what it has until that has ended.
            let tasks = run.open() - run.in_phase(Phase::Dormant);
            self.charge(id, tasks);
        }
    }

    /// Charges the runs of a service: together they want no more than the larger of what they have and the target.
    pub(crate) fn charge_service(&mut self, name: &Name) {
        let active = self.active_runs(name);
        let Some((&newest, olds)) = active.split_last() else { return };
        let desired = |run: Option<&Run>| run.and_then(|run| run.long.as_ref()).map_or(0, |long| long.desired);
        let mut in_olds = 0u32;
        for old in olds {
            let tasks = desired(self.runs.get(old));
            in_olds = in_olds.saturating_add(tasks);
            self.charge(*old, tasks);
        }
        let long = self.long_mut(newest);
        let tasks = long.desired.max(long.target.saturating_sub(in_olds));
        self.charge(newest, tasks);
    }

    /// Charges the runs of a system job for the tasks that are wanted.
    pub(crate) fn charge_system(&mut self, name: &Name) {
        for id in self.active_runs(name) {
            let tasks = self.runs.get(&id).map_or(0, |run| run.open() - run.in_phase(Phase::Dormant));
            self.charge(id, tasks);
        }
    }

    /// What is charged for runs of a long-running job, which a further run takes over from.
    pub(crate) fn charge_replaced_by(&self, job: &JobRecord) -> QuotaUsage {
        let mut usage = QuotaUsage::default();
        let active = self.active_runs(&(job.namespace.clone(), job.job.clone()));
        let replaced = active.iter().filter(|_| job.kind.is_long_running()).filter_map(|id| self.runs.get(id));
        replaced.for_each(|run| usage.add(&QuotaUsage::of(&run.job, run.charged)));
        usage
    }

    fn charged_to(&self, name: &Name) -> u32 {
        let runs = self.job_runs.get(name);
        let ids = runs.iter().flat_map(|runs| runs.open.values());
        ids.filter_map(|id| self.runs.get(id)).map(|run| run.charged).fold(0, u32::saturating_add)
    }
}

/// Tasks of a run that can run at one time.
fn lanes(job: &JobRecord, open: u32) -> u32 {
    if job.max_running == 0 { open } else { open.min(job.max_running) }
}
