use std::{collections::BTreeMap, time::Duration};

use weir_api::{
    Job, JobSpec, JobVersion,
    spec::{Constraint, DirGrant, Document, Kind, Mode, ModuleRef, OnDisconnect, Resources, Retry, Tier},
};
use weir_scheduler::RunView;
use weir_wire::{
    id::{self, Digest, JobName, Namespace},
    kind,
    placement::{self, Placement},
    resources,
    units::{CpuMillis, Fuel, MemBytes},
    work::{self, Budgets, JobRecord, RetryPolicy},
};

/// A validated spec as it is stored.
pub(crate) fn record(namespace: Namespace, job: JobName, module: Digest, spec: &JobSpec, created_ms: u64) -> JobRecord {
    JobRecord {
        kind: kind::Kind::Batch,
        tier: kind::Tier::Preemptible,
        max_failed: None,
        start_deadline: None,
        after: Vec::new(),
        input_from: None,
        execution: kind::Execution::default(),
        namespace,
        job,
        version: id::JobVersion(0),
        module,
        args: spec.args.clone(),
        env: spec.env.clone().into_iter().collect(),
        budgets: budgets(&spec.resources),
        dirs: spec.dirs.iter().map(dir_record).collect(),
        count: spec.count,
        max_running: spec.max_running.unwrap_or(0),
        priority: spec.priority,
        retry: RetryPolicy {
            attempts: spec.retry.attempts,
            backoff_min: Duration::from_millis(spec.retry.backoff_min_ms),
            backoff_max: Duration::from_millis(spec.retry.backoff_max_ms),
            retry_deterministic: false,
        },
        placement: Placement {
            constraints: spec.constraints.iter().map(constraint_record).collect(),
            ..Placement::default()
        },
        created_ms,
        message: String::new(),
    }
}

/// A stored spec in its canonical form.
pub(crate) fn document(record: &JobRecord) -> Document {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    JobSpec {
        name: record.job.to_string(),
        kind: Kind::Batch,
        count: record.count,
        max_running: (record.max_running > 0).then_some(record.max_running),
        priority: record.priority,
        tier: Tier::Preemptible,
        module: ModuleRef::Digest(record.module.to_string()),
        args: record.args.clone(),
        env: record.env.iter().cloned().collect::<BTreeMap<_, _>>(),
        resources: Resources {
            cpu_milli: record.budgets.resources.cpu.0,
            memory_bytes: record.budgets.resources.memory.0,
            fuel: record.budgets.fuel.0,
            timeout_ms: record.budgets.timeout.map_or(u64::MAX, ms),
            output_bytes: record.budgets.output,
        },
        dirs: record.dirs.iter().map(dir_grant).collect(),
        mode: Mode::AtLeastOnce,
        on_disconnect: OnDisconnect::Keep,
        fenced: false,
        retry: Retry {
            attempts: record.retry.attempts,
            backoff_min_ms: ms(record.retry.backoff_min),
            backoff_max_ms: ms(record.retry.backoff_max),
        },
        constraints: record.placement.constraints.iter().map(constraint).collect(),
    }
    .to_document()
}

/// A job as lists show it.
pub(crate) fn summary(record: &JobRecord, last: Option<&RunView>) -> Job {
    Job {
        namespace: record.namespace.to_string(),
        name: record.job.to_string(),
        kind: "batch".to_owned(),
        version: super::version(record.version),
        module: record.module.to_string(),
        count: record.count,
        updated_ms: record.created_ms,
        last_run: last.map(|view| view.run.to_string()),
        last_run_state: last.map(super::run::state),
    }
}

/// One version of a job.
pub(crate) fn version(record: &JobRecord, changed: bool) -> JobVersion {
    JobVersion {
        namespace: record.namespace.to_string(),
        name: record.job.to_string(),
        version: super::version(record.version),
        created_ms: record.created_ms,
        changed,
        spec: document(record),
    }
}

fn budgets(resources: &Resources) -> Budgets {
    Budgets {
        resources: resources::Resources {
            cpu: CpuMillis(resources.cpu_milli),
            memory: MemBytes(resources.memory_bytes),
        },
        fuel: Fuel(resources.fuel),
        timeout: Some(Duration::from_millis(resources.timeout_ms)),
        output: resources.output_bytes,
    }
}

fn dir_record(dir: &DirGrant) -> work::DirGrant {
    work::DirGrant { name: dir.host.clone(), guest_path: dir.guest.clone(), writable: false }
}

fn dir_grant(dir: &work::DirGrant) -> DirGrant {
    DirGrant { host: dir.name.clone(), guest: dir.guest_path.clone() }
}

fn constraint_record(constraint: &Constraint) -> placement::Constraint {
    placement::Constraint::equal(constraint.attribute.clone(), constraint.value.clone())
}

fn constraint(constraint: &placement::Constraint) -> Constraint {
    Constraint {
        attribute: constraint.attribute.clone(),
        value: constraint.values.first().cloned().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_survives_being_stored() {
        let digest = Digest([7; 32]);
        for extra in [
            "",
            "\"count\": 9, \"max_running\": 3, \"priority\": 80, \"args\": [\"-v\", \"\"], \"env\": {\"B\": \"2\", \"A\": \"1\"}",
        ] {
            let comma = if extra.is_empty() { "" } else { "," };
            let text = format!(
                r#"{{"job": {{"name": "j", "module": "{digest}"{comma}{extra}}},
                "resources": {{"cpu": 0.25, "memory": "3MiB", "fuel": 77, "timeout": "1500ms", "output": "0B"}},
                "grants": {{"dir": [{{"host": "corpus", "guest": "/data", "mode": "ro"}}]}},
                "retry": {{"attempts": 2, "backoff": "10ms..1m"}},
                "placement": {{"constraints": ["arch == x86_64"]}}}}"#
            );
            let spec = JobSpec::from_json(text.as_bytes()).unwrap();
            let stored = record("n".parse().unwrap(), "j".parse().unwrap(), digest, &spec, 5);
            assert_eq!(document(&stored), spec.to_document());
            assert_eq!(JobSpec::from_document(&document(&stored)).unwrap(), spec);
        }
    }
}
