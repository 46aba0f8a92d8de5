//! How each object of the API is shown to people.

use weir_api::{ClusterInfo, Job, JobVersion, Module, ModuleKind, Node, Run, Task, TaskState, Usage, WhyPending};

use super::{
    View,
    text::{ago, bytes, cores, count, micros},
    yaml,
};

impl View for Module {
    const COLUMNS: &'static [&'static str] = &["DIGEST", "KIND", "SIZE", "IMPORTS", "EXPORTS"];
    const WIDE_FROM: usize = 3;

    fn name(&self) -> String {
        self.digest.clone()
    }

    fn cells(&self) -> Vec<String> {
        let (imports, exports) = (self.imports.len().to_string(), self.exports.len().to_string());
        vec![self.digest.clone(), kind(self.kind).to_owned(), bytes(self.size), imports, exports]
    }

    fn fields(&self, _wide: bool) -> Vec<(&'static str, String)> {
        let imports = self.imports.iter().map(|import| match &import.name {
            Some(name) => format!("{}.{name}", import.module),
            None => import.module.clone(),
        });
        vec![
            ("digest", self.digest.clone()),
            ("kind", kind(self.kind).to_owned()),
            ("size", bytes(self.size)),
            ("imports", imports.collect::<Vec<_>>().join("\n")),
            ("exports", self.exports.join("\n")),
        ]
    }
}

const fn kind(kind: ModuleKind) -> &'static str {
    match kind {
        ModuleKind::WasiP1Command => "wasi-p1-command",
        ModuleKind::WasiP2Command => "wasi-p2-command",
        ModuleKind::Task => "task",
        ModuleKind::Unknown => "unknown",
    }
}

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
        vec![
            ("job", self.name.clone()),
            ("namespace", self.namespace.clone()),
            ("kind", self.kind.clone()),
            ("version", self.version.to_string()),
            ("tasks", self.count.to_string()),
            ("module", self.module.clone()),
            ("updated", ago(self.updated_ms)),
            ("last run", self.last_run.clone().unwrap_or_default()),
        ]
    }
}

impl View for JobVersion {
    const COLUMNS: &'static [&'static str] = &["NAME", "VERSION", "CREATED"];
    const WIDE_FROM: usize = 3;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.version.to_string(), ago(self.created_ms)]
    }

    fn fields(&self, _wide: bool) -> Vec<(&'static str, String)> {
        let spec = serde_json::to_value(&self.spec).map(|spec| yaml::render(&spec)).unwrap_or_default();
        vec![
            ("job", self.name.clone()),
            ("namespace", self.namespace.clone()),
            ("version", self.version.to_string()),
            ("created", ago(self.created_ms)),
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
        let bad = self.tasks.terminal() - self.tasks.succeeded;
        vec![
            self.id.clone(),
            self.job.clone(),
            self.state.to_string(),
            self.count.to_string(),
            self.tasks.succeeded.to_string(),
            bad.to_string(),
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
            ("created", ago(self.created_ms)),
        ];
        if let Some(ended) = self.ended_ms {
            fields.push(("took", micros(ended.saturating_sub(self.created_ms).saturating_mul(1_000))));
        }
        if self.retries > 0 {
            fields.push(("retries", self.retries.to_string()));
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
    format!("{} ({})", run.count, states.join(", "))
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

impl View for Task {
    const COLUMNS: &'static [&'static str] =
        &["TASK", "STATE", "REASON", "ATTEMPT", "EXIT", "NODE", "FUEL", "CPU", "MEMORY", "WALL", "RESULT", "MESSAGE"];
    const WIDE_FROM: usize = 9;

    fn name(&self) -> String {
        self.id.clone()
    }

    fn cells(&self) -> Vec<String> {
        let used = |show: fn(&Usage) -> String| self.usage.as_ref().map(show).unwrap_or_default();
        vec![
            self.id.clone(),
            self.state.to_string(),
            self.reason.map(|reason| reason.to_string()).unwrap_or_default(),
            self.attempt.to_string(),
            self.exit_code.map(|code| code.to_string()).unwrap_or_default(),
            self.node.clone().unwrap_or_default(),
            used(|usage| count(usage.fuel)),
            used(|usage| micros(usage.cpu_us)),
            used(|usage| bytes(usage.peak_memory)),
            used(|usage| micros(usage.wall_us)),
            self.result_size.map(bytes).unwrap_or_default(),
            self.message.clone().unwrap_or_default(),
        ]
    }

    fn fields(&self, _wide: bool) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("task", self.id.clone()),
            ("job", format!("{}/{}", self.namespace, self.job)),
            ("state", self.state.to_string()),
        ];
        let mut add = |name, value: Option<String>| fields.extend(value.map(|value| (name, value)));
        add("reason", self.reason.map(|reason| reason.to_string()));
        add("source", self.source.map(|source| source.to_string()));
        add("exit code", self.exit_code.map(|code| code.to_string()));
        add("message", self.message.clone());
        add("attempt", Some(self.attempt.to_string()));
        add("node", self.node.clone());
        add("progress", self.progress.map(|(done, total)| format!("{done} of {total}")));
        add("next try", self.next_retry_ms.map(|ms| format!("at {ms} ms since 1970")));
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
            self.state.to_string(),
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
        fields.push(("published", self.published.join("\n")));
        fields.push(("attributes", attributes.join("\n")));
        fields
    }
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
            self.leader.clone().unwrap_or_default(),
            self.term.to_string(),
            store(self),
            self.revision.to_string(),
        ]
    }

    fn fields(&self, _wide: bool) -> Vec<(&'static str, String)> {
        let totals = &self.totals;
        vec![
            ("cluster", self.cluster.clone()),
            ("version", self.version.clone()),
            ("leader", self.leader.clone().unwrap_or_else(|| "none".to_owned())),
            ("term", self.term.to_string()),
            ("store", store(self)),
            ("revision", self.revision.to_string()),
            ("nodes", format!("{} ready of {}", totals.ready_nodes, totals.nodes)),
            ("jobs", totals.jobs.to_string()),
            ("open runs", totals.open_runs.to_string()),
            ("tasks", format!("{} pending, {} running", totals.pending_tasks, totals.running_tasks)),
        ]
    }
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
            ("nodes", format!("{} of {} fit", self.fitting, self.nodes)),
            ("why", self.summary.clone()),
        ];
        let dimensions = self.dimensions.iter();
        let lines: Vec<String> = dimensions
            .map(|d| format!("{}: excludes {} nodes {}", d.dimension, d.nodes, d.detail).trim_end().to_owned())
            .collect();
        if !lines.is_empty() {
            fields.push(("excluded by", lines.join("\n")));
        }
        fields
    }
}
