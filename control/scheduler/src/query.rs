//! Reading: plain data for those who ask, at no cost while nobody does.

use alloc::{string::ToString, vec::Vec};

use weir_wire::{
    id::{Digest, JobName, JobVersion, Namespace, NodeId, RunId},
    kind::Kind,
    placement::WIRE_ATTRIBUTE,
    record::{JobState, Quota},
    segment::{self, Entry},
    task::TaskState,
    units::Now,
    work::{Input, JobRecord, RunRecord},
};

use crate::{
    input::SessionId,
    phase::Phase,
    run::Run,
    scheduler::{Leading, Scheduler},
    view::{EntryLocation, JobView, NodeView, QuotaUsage, RunView, SchedulerStats, SegmentObject, TaskView},
};

impl Scheduler {
    /// A version of a job; the newest if none is named.
    #[must_use]
    pub fn job(&self, namespace: &Namespace, job: &JobName, version: Option<JobVersion>) -> Option<&JobRecord> {
        let versions = self.leading.as_ref()?.jobs.get(&(namespace.clone(), job.clone()))?;
        match version {
            None => versions.last().map(AsRef::as_ref),
            Some(version) => versions.iter().find(|job| job.version == version).map(AsRef::as_ref),
        }
    }

    /// The newest version of each job of a namespace, by name.
    #[must_use]
    pub fn jobs(&self, namespace: &Namespace) -> Vec<&JobRecord> {
        let Some(leading) = self.leading.as_ref() else {
            return Vec::new();
        };
        let newest = |(name, versions): (&(Namespace, JobName), &'_ crate::scheduler::Versions)| {
            (name.0 == *namespace).then(|| versions.len() - 1)
        };
        leading
            .jobs
            .iter()
            .filter_map(|(name, versions)| newest((name, versions)).map(|last| versions[last].as_ref()))
            .collect()
    }

    /// The namespaces that have jobs, by name.
    #[must_use]
    pub fn namespaces(&self) -> Vec<Namespace> {
        let Some(leading) = self.leading.as_ref() else {
            return Vec::new();
        };
        let mut namespaces: Vec<Namespace> = leading.jobs.keys().map(|(namespace, _)| namespace.clone()).collect();
        namespaces.dedup();
        namespaces
    }

    /// The number of jobs in all namespaces.
    #[must_use]
    pub fn jobs_total(&self) -> usize {
        self.leading.as_ref().map_or(0, |leading| leading.jobs.len())
    }

    /// All versions of a job, oldest first.
    #[must_use]
    pub fn versions(&self, namespace: &Namespace, job: &JobName) -> Vec<&JobRecord> {
        let name = (namespace.clone(), job.clone());
        let versions = self.leading.as_ref().and_then(|leading| leading.jobs.get(&name));
        versions.map(|versions| versions.iter().map(AsRef::as_ref).collect()).unwrap_or_default()
    }

    /// What is known of a job beside its spec.
    #[must_use]
    pub fn job_view(&self, namespace: &Namespace, job: &JobName) -> Option<JobView> {
        let leading = self.leading.as_ref()?;
        let name = (namespace.clone(), job.clone());
        let spec = leading.newest_spec(&name)?;
        let state = leading.job_states.get(&name);
        let runs = leading.job_runs.get(&name);
        let cron = matches!(spec.kind, Kind::Cron(_));
        Some(JobView {
            version: spec.version,
            versions: leading.jobs.get(&name).map_or(0, Vec::len),
            paused: state.is_some_and(|state| state.paused),
            cron_through_ms: state.filter(|_| cron).map(|state| state.cron_through_ms),
            next_ms: leading.next_firing(&name),
            newest_run: runs.and_then(|runs| runs.newest),
            open_runs: runs.map_or(0, |runs| runs.open.len()),
        })
    }

    /// The recorded state of a job; none if it was never paused, nor is a cron job.
    #[must_use]
    pub fn job_state(&self, namespace: &Namespace, job: &JobName) -> Option<&JobState> {
        self.leading.as_ref()?.job_states.get(&(namespace.clone(), job.clone()))
    }

    /// The recorded states of all jobs, by name.
    #[must_use]
    pub fn job_states(&self) -> Vec<&JobState> {
        self.leading.as_ref().map(|leading| leading.job_states.values().collect()).unwrap_or_default()
    }

    /// All quotas, by namespace.
    #[must_use]
    pub fn quotas(&self) -> Vec<&Quota> {
        self.leading.as_ref().map(|leading| leading.quotas.values().collect()).unwrap_or_default()
    }

    /// What the production runs of a namespace demand, with what is about to be admitted.
    #[must_use]
    pub fn quota_usage(&self, namespace: &Namespace) -> QuotaUsage {
        let demand = self.leading.as_ref().and_then(|leading| leading.demand.get(namespace));
        demand.copied().unwrap_or_default()
    }

    /// The run of a job that was submitted last.
    #[must_use]
    pub fn newest_run(&self, namespace: &Namespace, job: &JobName) -> Option<RunId> {
        self.leading.as_ref()?.job_runs.get(&(namespace.clone(), job.clone()))?.newest
    }

    /// The runs of a job that are not over, oldest first.
    #[must_use]
    pub fn open_runs(&self, namespace: &Namespace, job: &JobName) -> Vec<RunId> {
        let name = (namespace.clone(), job.clone());
        let runs = self.leading.as_ref().and_then(|leading| leading.job_runs.get(&name));
        runs.map(|runs| runs.open.values().copied().collect()).unwrap_or_default()
    }

    /// All digests of modules that jobs refer to, without repetition.
    #[must_use]
    pub fn modules(&self) -> Vec<Digest> {
        let Some(leading) = self.leading.as_ref() else {
            return Vec::new();
        };
        let mut modules: Vec<Digest> = leading.jobs.values().flatten().map(|job| job.module).collect();
        modules.sort_unstable();
        modules.dedup();
        modules
    }

    /// A run.
    #[must_use]
    pub fn run(&self, run: RunId) -> Option<RunView> {
        let leading = self.leading.as_ref()?;
        leading.runs.get(&run).map(|run| leading.run_view(run))
    }

    /// A run as it was submitted.
    #[must_use]
    pub fn run_record(&self, run: RunId) -> Option<&RunRecord> {
        self.leading.as_ref()?.runs.get(&run).map(|run| &run.record)
    }

    /// Runs, newest first, from before a cursor of an earlier page.
    #[must_use]
    pub fn runs(
        &self,
        namespace: Option<&Namespace>,
        job: Option<&JobName>,
        before: Option<u64>,
        limit: usize,
    ) -> Vec<(u64, RunView)> {
        let Some(leading) = self.leading.as_ref() else {
            return Vec::new();
        };
        let order = leading.order.range(..before.unwrap_or(u64::MAX)).rev();
        let runs = order.filter_map(|(position, id)| leading.runs.get(id).map(|run| (*position, run)));
        runs.filter(|(_, run)| namespace.is_none_or(|namespace| run.record.namespace == *namespace))
            .filter(|(_, run)| job.is_none_or(|job| run.record.job == *job))
            .take(limit)
            .map(|(position, run)| (position, leading.run_view(run)))
            .collect()
    }

    /// Runs whose id begins with a text, at most `limit` of them.
    #[must_use]
    pub fn runs_by_prefix(&self, prefix: &str, limit: usize) -> Vec<RunId> {
        let Some(leading) = self.leading.as_ref() else {
            return Vec::new();
        };
        let matches = |id: &RunId| id.to_string().starts_with(prefix);
        leading.runs.keys().filter(matches).take(limit).collect()
    }

    /// A task.
    #[must_use]
    pub fn task(&self, now: Now, run: RunId, index: u32) -> Option<TaskView> {
        let leading = self.leading.as_ref()?;
        let run = leading.runs.get(&run).filter(|run| index < run.count())?;
        Some(leading.task_view(now, run, index))
    }

    /// Tasks of a run from an index on, in one state or in any.
    #[must_use]
    pub fn tasks(&self, now: Now, run: RunId, state: Option<TaskState>, from: u32, limit: usize) -> Vec<TaskView> {
        let Some(leading) = self.leading.as_ref() else {
            return Vec::new();
        };
        let Some(run) = leading.runs.get(&run) else {
            return Vec::new();
        };
        let wanted = |index: &u32| state.is_none_or(|state| leading.task_state(run, *index) == state);
        let page = (from..run.count()).filter(wanted).take(limit);
        page.map(|index| leading.task_view(now, run, index)).collect()
    }

    /// Where the result, log and usage of an ended task are.
    #[must_use]
    pub fn entry(&self, run: RunId, index: u32) -> EntryLocation {
        let run = self.leading.as_ref().and_then(|leading| leading.runs.get(&run));
        let Some(run) = run.filter(|run| index < run.count()) else {
            return EntryLocation::None;
        };
        if let Some(entry) = run.inline.get(&index) {
            return EntryLocation::Inline(entry.clone());
        }
        if !matches!(run.phase(index), Phase::Recorded(_)) {
            return EntryLocation::None;
        }
        let holds = run.segments.iter().rev().filter(|segment| (segment.first..=segment.last).contains(&index));
        let names: Vec<_> = holds.map(|segment| segment::object_name(segment.seq, segment.term)).collect();
        if names.is_empty() { EntryLocation::None } else { EntryLocation::Segments(names) }
    }

    /// The entries of a run that are kept in line, by index.
    #[must_use]
    pub fn inline_entries(&self, run: RunId) -> Vec<Entry> {
        let run = self.leading.as_ref().and_then(|leading| leading.runs.get(&run));
        run.map(|run| run.inline.values().cloned().collect()).unwrap_or_default()
    }

    /// The segment objects with entries of a run, oldest first.
    #[must_use]
    pub fn segments(&self, run: RunId) -> Vec<SegmentObject> {
        let run = self.leading.as_ref().and_then(|leading| leading.runs.get(&run));
        let Some(run) = run else { return Vec::new() };
        let object = |segment: &weir_wire::record::SegmentRef| SegmentObject {
            name: segment::object_name(segment.seq, segment.term),
            first: segment.first,
            last: segment.last,
        };
        run.segments.iter().map(object).collect()
    }

    /// All nodes, by name.
    #[must_use]
    pub fn nodes(&self, now: Now) -> Vec<NodeView> {
        let Some(leading) = self.leading.as_ref() else {
            return Vec::new();
        };
        leading.nodes.by_name().map(|slot| leading.node_view(slot, now)).collect()
    }

    /// A node.
    #[must_use]
    pub fn node(&self, now: Now, node: &NodeId) -> Option<NodeView> {
        let leading = self.leading.as_ref()?;
        leading.nodes.slot(node).map(|slot| leading.node_view(slot, now))
    }

    /// Nodes whose name begins with a text, at most `limit` of them.
    #[must_use]
    pub fn nodes_by_prefix(&self, prefix: &str, limit: usize) -> Vec<NodeId> {
        let Some(leading) = self.leading.as_ref() else {
            return Vec::new();
        };
        let names = leading.nodes.by_name().map(|slot| leading.nodes.get(slot).id());
        names.filter(|name| name.as_str().starts_with(prefix)).take(limit).cloned().collect()
    }

    /// Whether the node behind a session may read a blob: the module or the payload of a run it works for.
    #[must_use]
    pub fn may_fetch(&self, session: SessionId, digest: &Digest) -> bool {
        let Some(leading) = self.leading.as_ref() else {
            return false;
        };
        let Some(slot) = leading.nodes.of_session(session) else {
            return false;
        };
        let needs = |run: &Run| {
            run.job.module == *digest
                || match run.input() {
                    Input::Blob(blob) | Input::Items(blob) => blob.digest == *digest,
                    Input::None | Input::Inline(_) => false,
                }
        };
        let told = leading.nodes.get(slot).told.iter().filter_map(|id| leading.runs.get(id));
        told.filter(|run| run.told.contains(slot)).any(needs)
    }

    /// Sizes and totals.
    #[must_use]
    pub fn stats(&self) -> SchedulerStats {
        let Some(leading) = self.leading.as_ref() else {
            return SchedulerStats::default();
        };
        SchedulerStats {
            open_runs: leading.open_runs,
            open_tasks: leading.wanted_tasks(),
            grants: leading.grants.len(),
            nodes_connected: leading.nodes.iter().filter(|node| node.session.is_some()).count(),
            brake_on: leading.brake.is_on(),
            nodes_held: leading.brake.held,
            outcomes: leading.outcomes,
            outcomes_ignored: leading.outcomes_ignored,
            commits: leading.commits,
            batches_waiting: leading.batches.len(),
            log_len: leading.checkpoint.log_len,
        }
    }
}

impl Leading {
    fn node_view(&self, slot: usize, now: Now) -> NodeView {
        let node = self.nodes.get(slot);
        let labels = node.record.labels.clone();
        let shown = labels.iter().filter(|(name, _)| name != WIRE_ATTRIBUTE);
        let mut attributes: Vec<_> = shown.chain(&node.attributes).cloned().collect();
        // The sort is stable and keeps the label in front of the attribute of its name.
        attributes.sort_by(|one, other| one.0.cmp(&other.0));
        attributes.dedup_by(|later, earlier| later.0 == earlier.0);
        NodeView {
            node: node.id().clone(),
            state: node.state(),
            incarnation: node.record.incarnation,
            version: node.version.clone(),
            attributes,
            labels,
            cordoned: node.record.cordoned,
            drain: self.drain_view(slot, node, now.mono),
            held: node.ops.held,
            connected: node.session.is_some(),
            capacity: node.capacity,
            lanes_max: node.lanes_max,
            reserved: node.reserved(),
            grants: node.grants.len(),
            fuel_per_s: node.fuel_per_s,
            silent_ms: u64::try_from(now.mono.since(node.last_seen).as_millis()).unwrap_or(u64::MAX),
            first_seen_ms: node.record.first_seen_ms,
            gone_ms: node.record.gone_ms,
        }
    }

    fn run_view(&self, run: &Run) -> RunView {
        let mut counts = run.counts();
        let mut healthy = run.long.as_ref().map(|long| long.healthy_count());
        for slot in run.lanes.values() {
            let grant = self.grants.get(slot);
            let silent = self.nodes.get(grant.node()).session.is_none();
            if !silent && !self.is_leaving(grant) {
                continue;
            }
            for index in grant.next..grant.end {
                match run.phase(index) {
                    Phase::Granted => counts.assigned -= 1,
                    Phase::Running => counts.running -= 1,
                    Phase::Stopping => counts.stopping -= 1,
                    Phase::Pending
                    | Phase::Backoff
                    | Phase::Dormant
                    | Phase::Unknown
                    | Phase::Staged(_)
                    | Phase::Recorded(_) => {
                        continue;
                    }
                }
                *if silent { &mut counts.unknown } else { &mut counts.stopping } += 1;
                // It was, and how it is nobody knows.
                if silent && run.long.as_ref().is_some_and(|long| long.is_healthy(index)) {
                    healthy = healthy.map(|healthy| healthy.saturating_sub(1));
                }
            }
        }
        let unstarted = run.staged_unstarted();
        counts.running -= unstarted;
        counts.pending += unstarted;
        let service = run.long.as_deref().filter(|_| matches!(run.job.kind, Kind::Service(_)));
        RunView {
            run: run.id,
            namespace: run.record.namespace.clone(),
            job: run.record.job.clone(),
            version: run.record.version,
            kind: run.job.kind.as_str(),
            tier: run.job.tier,
            state: run.state(),
            count: run.count() - counts.dormant,
            target: service.map(|long| long.target),
            nodes_wanted: self.nodes_wanted(run),
            desired: service.map(|long| if run.stop_recorded { 0 } else { long.desired }),
            healthy,
            restarts: run.long.as_ref().map_or(0, |_| run.usage.attempts),
            scheduled_ms: run.record.scheduled_ms,
            paused: run.paused && !run.is_over(),
            failed_too_often: run.job.max_failed.filter(|_| run.has_failed_too_often()),
            waiting_for: self.waiting_for(run),
            counts,
            usage: run.usage,
            submitted_ms: run.record.submitted_ms,
            ended_ms: run.ended_ms,
        }
    }
}
