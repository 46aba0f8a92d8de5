//! How each object of the API is shown to people.

use serde_json::Value;
use weir_api::{
    ClusterInfo, Job, JobDiff, JobPlan, JobVersion, NamespaceInfo, Node, NodeDrain, NodeState, PlannedQuota, Quota,
    Run, Task, TaskState, TaskWhy, Usage, WhyPending, spec::Change,
};

use super::{
    View,
    text::{ago, ahead, bytes, cores, count, micros, of_things},
    yaml,
};

impl View for Job {
    const COLUMNS: &'static [&'static str] =
        &["NAME", "KIND", "VERSION", "TASKS", "LAST RUN", "STATE", "UPDATED", "MODULE"];
    const WIDE_FROM: usize = 7;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.kind.clone(),
            self.version.to_string(),
            self.count.to_string(),
            self.last_run.clone().unwrap_or_default(),
            self.last_run_state.map(|state| state.to_string()).unwrap_or_default(),
            ago(self.updated_ms),
            self.module.clone(),
        ]
    }

    fn fields(&self, _wide: bool) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("job", self.name.clone()),
            ("namespace", self.namespace.clone()),
            ("kind", self.kind.clone()),
            ("version", self.version.to_string()),
            ("tasks", self.count.to_string()),
            ("module", self.module.clone()),
            ("updated", ago(self.updated_ms)),
            ("last run", self.last_run.clone().unwrap_or_default()),
        ];
        fields.extend(self.schedule.clone().map(|schedule| ("schedule", schedule)));
        fields.extend(self.next_ms.map(|at| ("next", ahead(at))));
        if self.paused {
            fields.push(("paused", "none of its tasks is started".to_owned()));
        }
        fields
    }
}

impl View for JobVersion {
    const COLUMNS: &'static [&'static str] = &["NAME", "VERSION", "CREATED", "MESSAGE"];
    const WIDE_FROM: usize = 4;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.version.to_string(), ago(self.created_ms), self.message.clone()]
    }

    fn fields(&self, _wide: bool) -> Vec<(&'static str, String)> {
        let spec = serde_json::to_value(&self.spec).map(|spec| yaml::render(&spec)).unwrap_or_default();
        vec![
            ("job", self.name.clone()),
            ("namespace", self.namespace.clone()),
            ("version", self.version.to_string()),
            ("created", ago(self.created_ms)),
            ("message", self.message.clone()),
            ("spec", spec),
        ]
    }
}

impl View for Run {
    const COLUMNS: &'static [&'static str] =
        &["RUN", "JOB", "STATE", "TASKS", "SUCCEEDED", "FAILED", "RUNNING", "CREATED", "VERSION", "FUEL", "CPU"];
    const WIDE_FROM: usize = 8;

    fn name(&self) -> String {
        self.id.clone()
    }

    fn cells(&self) -> Vec<String> {
        let failed = self.tasks.failed + self.tasks.lost + self.tasks.rejected;
        vec![
            self.id.clone(),
            self.job.clone(),
            self.state.to_string(),
            self.count.to_string(),
            self.tasks.succeeded.to_string(),
            failed.to_string(),
            self.tasks.running.to_string(),
            ago(self.created_ms),
            self.version.to_string(),
            count(self.usage.sum.fuel),
            micros(self.usage.sum.cpu_us),
        ]
    }

    fn fields(&self, wide: bool) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("run", self.id.clone()),
            ("job", format!("{}/{} version {}", self.namespace, self.job, self.version)),
            ("state", self.state.to_string()),
            ("tasks", tasks(self)),
            ("kind", format!("{}, {}", self.kind, self.tier)),
            ("created", ago(self.created_ms)),
        ];
        fields.extend(circumstances(self));
        if let Some(ended) = self.ended_ms {
            fields.push(("took", micros(ended.saturating_sub(self.created_ms).saturating_mul(1_000))));
        }
        if self.retries > 0 {
            fields.push(("tried again", of_things(self.retries, "time")));
        }
        fields.push(("usage", usage(&self.usage.sum)));
        if wide {
            fields.push(("module", self.module.clone()));
            fields.push(("revision", self.revision.to_string()));
        }
        fields
    }
}

fn tasks(run: &Run) -> String {
    let states = TaskState::ALL.iter().map(|state| (state, run.tasks.get(*state))).filter(|(_, tasks)| *tasks > 0);
    let states: Vec<String> = states.map(|(state, tasks)| format!("{tasks} {state}")).collect();
    if states.is_empty() { run.count.to_string() } else { format!("{} ({})", run.count, states.join(", ")) }
}

fn usage(usage: &Usage) -> String {
    format!(
        "fuel {}, cpu {}, wall {}, output {}, peak memory {}",
        count(usage.fuel),
        micros(usage.cpu_us),
        micros(usage.wall_us),
        bytes(usage.output_bytes),
        bytes(usage.peak_memory)
    )
}

/// What a person has to know of a run beside its state.
fn circumstances(run: &Run) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    if let Some(healthy) = run.healthy {
        let wanted = run.target.unwrap_or(run.count);
        fields.push(("healthy", format!("{healthy} of {wanted}")));
    }
    if run.paused {
        fields.push(("paused", "its job is paused: none of its tasks is started".to_owned()));
    }
    if let Some(most) = run.failed_too_often {
        fields.push(("stopped", format!("more than {} failed (max_failed)", of_things(most.into(), "task"))));
    }
    fields.extend(run.scheduled_ms.map(|at| ("fired for", ago(at))));
    let upstream = run.waiting_for.iter().map(|up| format!("{} ({}, {}): {}", up.run, up.job, up.when, up.state));
    let upstream: Vec<String> = upstream.collect();
    if !upstream.is_empty() {
        fields.push(("waits for", upstream.join("\n")));
    }
    let meta: Vec<String> = run.meta.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if !meta.is_empty() {
        fields.push(("meta", meta.join("\n")));
    }
    fields
}

impl View for Task {
    const COLUMNS: &'static [&'static str] =
        &["TASK", "STATE", "REASON", "ATTEMPT", "EXIT", "NODE", "FUEL", "CPU", "MEMORY", "WALL", "RESULT", "MESSAGE"];
    const WIDE_FROM: usize = 9;

    fn name(&self) -> String {
        self.id.clone()
    }

    fn cells(&self) -> Vec<String> {
        let used = |show: fn(&Usage) -> String| self.usage.as_ref().map(show).unwrap_or_default();
        // Beside an attempt that goes on, the end of the one before would be taken for its own.
        let goes_on = goes_on(self.state);
        vec![
            self.id.clone(),
            task_state(self),
            self.reason.filter(|_| !goes_on).map(|reason| reason.to_string()).unwrap_or_default(),
            attempt(self).unwrap_or_default(),
            self.exit_code.filter(|_| !goes_on).map(|code| code.to_string()).unwrap_or_default(),
            self.node.clone().unwrap_or_default(),
            used(|usage| count(usage.fuel)),
            used(|usage| micros(usage.cpu_us)),
            used(|usage| bytes(usage.peak_memory)),
            used(|usage| micros(usage.wall_us)),
            self.result_size.map(bytes).unwrap_or_default(),
            self.message.clone().filter(|_| !goes_on).unwrap_or_default(),
        ]
    }

    fn fields(&self, _wide: bool) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("task", self.id.clone()),
            ("job", format!("{}/{}", self.namespace, self.job)),
            ("state", task_state(self)),
        ];
        let last = goes_on(self.state);
        let mut add = |name, value: Option<String>| fields.extend(value.map(|value| (name, value)));
        add("dormant", self.dormant.clone());
        add(if last { "last reason" } else { "reason" }, self.reason.map(|reason| reason.to_string()));
        add("source", self.source.map(|source| source.to_string()));
        add("exit code", self.exit_code.map(|code| code.to_string()));
        add("message", self.message.clone());
        add("attempt", attempt(self));
        add("node", self.node.clone());
        add("progress", self.progress.map(|(done, total)| format!("{done} of {total}")));
        add("next try", self.next_retry_ms.map(ahead));
        add("usage", self.usage.as_ref().map(usage));
        add("result", self.result_size.map(bytes));
        add("log", self.log_size.map(bytes));
        add(
            "trap",
            self.trap.as_ref().map(|trap| {
                let frames: String = trap.backtrace.iter().map(|frame| format!("\n  at {frame}")).collect();
                format!("{}{frames}", trap.message)
            }),
        );
        fields
    }
}

/// Whether a node has the task.
const fn goes_on(state: TaskState) -> bool {
    match state {
        TaskState::Assigned | TaskState::Running | TaskState::Stopping | TaskState::Unknown => true,
        TaskState::Pending
        | TaskState::Succeeded
        | TaskState::Failed
        | TaskState::Killed
        | TaskState::Lost
        | TaskState::Rejected => false,
    }
}

/// The state of a task; what is not wanted does not wait for a place.
fn task_state(task: &Task) -> String {
    if task.dormant.is_some() { "dormant".to_owned() } else { task.state.to_string() }
}

/// The attempt of a task; nothing if there was none.
fn attempt(task: &Task) -> Option<String> {
    let none = task.attempt == 0 || (task.state == TaskState::Pending && task.attempt == 1 && task.reason.is_none());
    (!none).then(|| task.attempt.to_string())
}

impl View for Node {
    const COLUMNS: &'static [&'static str] = &[
        "NODE",
        "STATE",
        "RUNNING",
        "CPU",
        "MEMORY",
        "SLOTS",
        "LAST SEEN",
        "VERSION",
        "INCARNATION",
        "PUBLISHED",
        "ATTRIBUTES",
    ];
    const WIDE_FROM: usize = 7;

    fn name(&self) -> String {
        self.id.clone()
    }

    fn cells(&self) -> Vec<String> {
        let (capacity, allocated) = (&self.capacity, &self.allocated);
        let attributes: Vec<String> = self.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        vec![
            self.id.clone(),
            node_state(self),
            self.running.to_string(),
            format!("{}/{}", cores(allocated.cpu_milli), cores(capacity.cpu_milli)),
            format!("{}/{}", bytes(allocated.memory_bytes), bytes(capacity.memory_bytes)),
            slots(allocated.slots, capacity.slots),
            ago(self.last_seen_ms),
            self.version.clone().unwrap_or_default(),
            self.incarnation.to_string(),
            self.published.join(","),
            attributes.join(","),
        ]
    }

    fn fields(&self, _wide: bool) -> Vec<(&'static str, String)> {
        let attributes: Vec<String> = self.attributes.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let mut cells = self.cells().into_iter().skip(1).take(8);
        let names = ["state", "running", "cpu", "memory", "slots", "last seen", "version", "incarnation"];
        let mut fields = vec![("node", self.id.clone())];
        fields.extend(names.into_iter().zip(cells.by_ref()));
        fields.extend(self.fuel_per_s.map(|fuel| ("speed", speed(fuel))));
        if let Some(drain) = &self.drain {
            fields.push(("drain", drain_text(drain)));
        }
        let labels: Vec<String> = self.labels.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        fields.push(("labels", labels.join("\n")));
        fields.push(("published", self.published.join("\n")));
        fields.push(("attributes", attributes.join("\n")));
        fields
    }
}

/// How fast a node is, and what that means for a budget of usual size.
fn speed(fuel_per_s: u64) -> String {
    let budget = 10_000_000_000_u64;
    let lasts_us = u128::from(budget) * 1_000_000 / u128::from(fuel_per_s.max(1));
    let lasts = micros(u64::try_from(lasts_us).unwrap_or(u64::MAX));
    format!("{} fuel/s of CPU time, so that a budget of {} lasts about {lasts}", count(fuel_per_s), count(budget))
}

/// What a node is, and what its operator has decided about it.
fn node_state(node: &Node) -> String {
    let state = match &node.drain {
        Some(drain) if drain.done => "drained".to_owned(),
        Some(_) if node.state != NodeState::Draining => format!("{}, draining", node.state),
        None if node.cordoned => format!("{}, cordoned", node.state),
        Some(_) | None => node.state.to_string(),
    };
    match (node.state, node.silent_ms) {
        // Its state does not say so yet.
        (NodeState::Ready | NodeState::Draining, Some(silent_ms)) => {
            format!("{state}, silent for {} s", silent_ms / 1000)
        }
        _ => state,
    }
}

fn drain_text(drain: &NodeDrain) -> String {
    let mut text = format!("since {}", ago(drain.since_ms).trim_end_matches(" ago"));
    text.push_str(&match drain.until_ms {
        Some(_) if drain.done => String::new(),
        Some(until) => format!(", tasks that end by themselves are stopped {}", ahead(until)),
        None if drain.done => String::new(),
        None => ", tasks that end by themselves may do so".to_owned(),
    });
    if drain.ignore_system {
        text.push_str(", system tasks stay");
    }
    if drain.done {
        text.push_str("; nothing is left");
    }
    if !drain.message.is_empty() {
        text.push_str(&format!(": {}", drain.message));
    }
    text
}

/// A capacity of 0 is not known: the node has not connected yet.
fn slots(allocated: u64, capacity: u64) -> String {
    if capacity == 0 { allocated.to_string() } else { format!("{allocated}/{capacity}") }
}

impl View for ClusterInfo {
    const COLUMNS: &'static [&'static str] = &["CLUSTER", "VERSION", "LEADER", "TERM", "STORE", "REVISION"];
    const WIDE_FROM: usize = 6;

    fn name(&self) -> String {
        self.cluster.clone()
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.cluster.clone(),
            self.version.clone(),
            self.leader.clone().unwrap_or_else(|| "none".to_owned()),
            known(self.term),
            store(self),
            known(self.revision),
        ]
    }

    fn fields(&self, _wide: bool) -> Vec<(&'static str, String)> {
        let mut fields = vec![("cluster", self.cluster.clone()), ("version", self.version.clone())];
        match &self.no_leader {
            None => fields.push(("leader", self.leader.clone().unwrap_or_else(|| "none".to_owned()))),
            Some(absence) => {
                let since = ago(absence.since_ms);
                let since = since.trim_end_matches(" ago");
                fields.push(("leader", format!("none for {since}: {}", absence.reason)));
                fields.extend(absence.last_leader.clone().map(|last| ("last leader", last)));
            }
        }
        fields.extend([("term", known(self.term)), ("store", store(self)), ("revision", known(self.revision))]);
        let Some(totals) = &self.totals else {
            fields.extend(["nodes", "jobs", "open runs", "tasks"].map(|name| (name, known(None))));
            return fields;
        };
        let unknown = match totals.unknown_tasks {
            0 => String::new(),
            unknown => format!(", {unknown} unknown"),
        };
        fields.extend([
            ("nodes", format!("{} ready of {}", totals.ready_nodes, totals.nodes)),
            ("jobs", totals.jobs.to_string()),
            ("open runs", totals.open_runs.to_string()),
            ("tasks", format!("{} pending, {} running{unknown}", totals.pending_tasks, totals.running_tasks)),
        ]);
        if totals.brake {
            let held = of_things(totals.held_nodes, "node");
            let text =
                format!("on: the work of {held} that vanished is not replaced; `wctl cluster release-brake` does so");
            fields.push(("brake", text));
        }
        fields
    }
}

/// A number that only a leader knows.
fn known(number: Option<u64>) -> String {
    number.map_or_else(|| "unknown".to_owned(), |number| number.to_string())
}

fn store(cluster: &ClusterInfo) -> String {
    let store = &cluster.store;
    let mut text = store.kind.to_string();
    if let Some(version) = &store.version {
        text.push_str(&format!(" {version}"));
    }
    text.push_str(&format!(", {}", store.status));
    if let Some(since) = store.since_ms {
        text.push_str(&format!(" since {}", ago(since).trim_end_matches(" ago")));
    }
    if let Some(error) = &store.error {
        text.push_str(&format!(": {error}"));
    }
    text
}

impl View for WhyPending {
    const COLUMNS: &'static [&'static str] = &["RUN", "PENDING", "NODES", "FITTING", "SUMMARY"];
    const WIDE_FROM: usize = 5;

    fn name(&self) -> String {
        self.run.clone()
    }

    fn cells(&self) -> Vec<String> {
        let counts = [self.pending, self.nodes, self.fitting].map(|count| count.to_string());
        [vec![self.run.clone()], counts.to_vec(), vec![self.summary.clone()]].concat()
    }

    fn fields(&self, _wide: bool) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("run", self.run.clone()),
            ("pending", self.pending.to_string()),
            ("retrying", self.retrying.to_string()),
        ];
        // They are looked at for the sake of pending tasks only.
        if self.nodes > 0 {
            fields.push(("nodes", format!("{} of {} fit", self.fitting, self.nodes)));
        }
        fields.push(("why", self.summary.clone()));
        let dimensions = self.dimensions.iter();
        let lines: Vec<String> = dimensions
            .map(|d| match d.nodes {
                0 => format!("{}: {}", d.dimension, d.detail),
                nodes => format!("{}: excludes {} ({})", d.dimension, of_things(nodes, "node"), d.detail),
            })
            .collect();
        if !lines.is_empty() {
            fields.push(("excluded by", lines.join("\n")));
        }
        fields
    }
}

impl View for TaskWhy {
    const COLUMNS: &'static [&'static str] = &["TASK", "STATE", "SUMMARY"];
    const WIDE_FROM: usize = 3;

    fn name(&self) -> String {
        self.task.clone()
    }

    fn cells(&self) -> Vec<String> {
        vec![self.task.clone(), self.state.to_string(), self.summary.clone()]
    }

    fn fields(&self, wide: bool) -> Vec<(&'static str, String)> {
        let mut fields =
            vec![("task", self.task.clone()), ("state", self.state.to_string()), ("why", self.summary.clone())];
        fields.extend(self.next_retry_ms.map(|at| ("next try", ahead(at))));
        // What is not wanted has a reason of its own, which is in the summary.
        if self.state == TaskState::Pending && self.run.pending > 0 {
            let of_run = self.run.fields(wide).into_iter();
            fields.extend(of_run.filter(|(name, _)| !matches!(*name, "run" | "why")));
        }
        fields
    }
}

impl View for JobDiff {
    const COLUMNS: &'static [&'static str] = &["JOB", "FROM", "TO", "CHANGES"];
    const WIDE_FROM: usize = 4;

    fn name(&self) -> String {
        self.job.clone()
    }

    fn cells(&self) -> Vec<String> {
        let changes = self.changes.len().to_string();
        vec![self.job.clone(), self.from.to_string(), version_text(self.to), changes]
    }

    fn fields(&self, _wide: bool) -> Vec<(&'static str, String)> {
        let versions = format!("version {} to {}", self.from, version_text(self.to));
        vec![
            ("job", format!("{}/{}", self.namespace, self.job)),
            ("versions", versions),
            ("changes", changes(&self.changes)),
        ]
    }
}

/// A version by its number; the spec in a file has none.
fn version_text(version: u32) -> String {
    if version == 0 { "the spec".to_owned() } else { version.to_string() }
}

/// One change a line, what was before and what is after.
pub(super) fn changes(changes: &[Change]) -> String {
    let text = |value: &Value| match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let line = |change: &Change| format!("{}: {} → {}", change.path, text(&change.from), text(&change.to));
    changes.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl View for NamespaceInfo {
    const COLUMNS: &'static [&'static str] = &["NAMESPACE", "JOBS", "QUOTA"];
    const WIDE_FROM: usize = 3;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn cells(&self) -> Vec<String> {
        let quota = if self.quota.is_some() { "yes" } else { "" };
        vec![self.name.clone(), self.jobs.to_string(), quota.to_owned()]
    }

    fn fields(&self, _wide: bool) -> Vec<(&'static str, String)> {
        vec![("namespace", self.name.clone()), ("jobs", self.jobs.to_string())]
    }
}

impl View for JobPlan {
    const COLUMNS: &'static [&'static str] = &["JOB", "VERSION", "NEXT", "TASKS", "PLACED", "WAITING", "VICTIMS"];
    const WIDE_FROM: usize = 7;

    fn name(&self) -> String {
        self.job.clone()
    }

    fn cells(&self) -> Vec<String> {
        let placed: u32 = self.placed.iter().map(|place| place.tasks).sum();
        let counts = [self.version, self.next_version, self.count, placed, self.waiting].map(|count| count.to_string());
        let victims = self.victims.len() as u64 + u64::from(self.victims_unnamed);
        [vec![self.job.clone()], counts.to_vec(), vec![victims.to_string()]].concat()
    }

    fn fields(&self, _wide: bool) -> Vec<(&'static str, String)> {
        let version = match (self.version, self.is_change()) {
            (0, _) => "the job is new".to_owned(),
            (version, true) => format!("{version}, which becomes {}", self.next_version),
            (version, false) => format!("{version}, which has this spec already"),
        };
        let scaled = match self.kept {
            Some(kept) if kept != self.count => format!(", in place of the {kept} that are kept"),
            Some(kept) if kept != self.specified => {
                format!(", which it is scaled to; the spec says {}", self.specified)
            }
            Some(_) | None => String::new(),
        };
        let mut fields = vec![("job", format!("{}/{}", self.namespace, self.job)), ("version", version)];
        // Of a new job, everything is a change.
        if self.version > 0 && self.is_change() {
            fields.push(("changes", changes(&self.changes)));
        }
        let mut placed: Vec<String> =
            self.placed.iter().map(|place| format!("{} on {}", place.tasks, place.node)).collect();
        if self.nodes_unnamed > 0 {
            placed.push(format!("and on {} more nodes", self.nodes_unnamed));
        }
        let tried = if self.tried < self.count && self.goes_on.is_none() {
            format!("; what follows is of the first {}", self.tried)
        } else {
            String::new()
        };
        fields.push(("tasks", format!("{}{scaled}{tried}", self.count)));
        if let Some(run) = &self.goes_on {
            fields.push(("effect", format!("none: run {run} has this spec and goes on")));
            return fields;
        }
        fields.push(("placed", placed.join("\n")));
        if self.waiting > 0 {
            fields.push(("waiting", waiting_text(self)));
        }
        if self.by_eviction > 0 {
            fields.push(("by eviction", self.by_eviction.to_string()));
            let victims = self.victims.iter().map(|v| format!("{} of {}/{} on {}", v.task, v.namespace, v.job, v.node));
            let unnamed = (self.victims_unnamed > 0).then(|| format!("and {} more", self.victims_unnamed));
            fields.push(("victims", victims.chain(unnamed).collect::<Vec<_>>().join("\n")));
        }
        fields.extend(self.refused.clone().map(|why| ("refused", why)));
        fields.extend(self.quota.as_ref().map(|quota| ("quota", quota_text(quota))));
        fields
    }
}

/// How many tasks of a plan wait, said once.
fn waiting_text(plan: &JobPlan) -> String {
    let tasks = of_things(plan.waiting.into(), "task");
    match &plan.why {
        Some(why) if why.starts_with(&tasks) => why.clone(),
        Some(why) => format!("{tasks}: {why}"),
        None => tasks,
    }
}

/// What is used, and of how much.
fn of_limit(used: String, limit: Option<String>) -> String {
    format!("{used}/{}", limit.unwrap_or_else(|| "unlimited".to_owned()))
}

/// What a run would do to its namespace's quota.
fn quota_text(quota: &PlannedQuota) -> String {
    let (before, after, limits) = (&quota.before, &quota.after, &quota.limits);
    let line = |name: &str, before: String, after: String, limit: Option<String>| {
        format!("{name}: {before} → {}", of_limit(after, limit))
    };
    let cpu = limits.cpu_milli.map(|cpu| cores(cpu.into()));
    let mut lines = vec![
        line("cpu", cores(before.cpu_milli), cores(after.cpu_milli), cpu),
        line("memory", bytes(before.memory_bytes), bytes(after.memory_bytes), limits.memory_bytes.map(bytes)),
        line("running", before.running.to_string(), after.running.to_string(), limits.running.map(|n| n.to_string())),
    ];
    if quota.exceeded {
        lines.push("the run would be refused".to_owned());
    }
    lines.join("\n")
}

impl View for Quota {
    const COLUMNS: &'static [&'static str] = &["NAMESPACE", "CPU", "MEMORY", "RUNNING", "WEIGHT"];
    const WIDE_FROM: usize = 5;

    fn name(&self) -> String {
        self.namespace.clone()
    }

    fn cells(&self) -> Vec<String> {
        let (limits, used) = (&self.limits, &self.used);
        vec![
            self.namespace.clone(),
            of_limit(cores(used.cpu_milli), limits.cpu_milli.map(|cpu| cores(cpu.into()))),
            of_limit(bytes(used.memory_bytes), limits.memory_bytes.map(bytes)),
            of_limit(used.running.to_string(), limits.running.map(|running| running.to_string())),
            limits.weight.to_string(),
        ]
    }

    fn fields(&self, _wide: bool) -> Vec<(&'static str, String)> {
        let names = ["namespace", "cpu", "memory", "running", "weight"];
        names.into_iter().zip(self.cells()).collect()
    }
}
