//! A job spec as it is stored, and back.

use std::time::Duration;

use weir_api::{JobSpec, spec};
use weir_wire::{
    id::{self, Digest, JobName, Namespace},
    kind, placement, resources,
    units::{CpuMillis, Fuel, MemBytes},
    work::{self, Budgets, JobRecord, RetryPolicy},
};

use super::{asked, refusal::Refusal};

/// What is stored for work that is started again for ever; its spec has no number of attempts.
const ATTEMPTS_UNLIMITED: u32 = u32::MAX;

/// A validated spec as it is stored, without its version.
///
/// # Errors
/// When a job that it waits for has no possible name, which validation rules out.
pub(super) fn record(
    namespace: Namespace,
    job: JobName,
    module: Digest,
    spec: &JobSpec,
    created_ms: u64,
) -> Result<JobRecord, Refusal> {
    Ok(JobRecord {
        namespace,
        job,
        version: id::JobVersion(0),
        kind: kind_record(spec),
        module,
        args: spec.args.clone(),
        env: spec.env.clone().into_iter().collect(),
        budgets: budgets_record(&spec.resources),
        dirs: spec.dirs.iter().map(dir_record).collect(),
        capabilities: work::Capabilities {
            deterministic: spec.execution.deterministic,
            scratch: spec.resources.scratch_bytes,
            nets: spec.nets.iter().map(net_record).collect(),
        },
        count: spec.count,
        max_running: spec.max_running.unwrap_or(0),
        priority: spec.priority,
        tier: tier_record(spec.tier),
        max_failed: spec.max_failed,
        start_deadline: spec.start_deadline_ms.map(Duration::from_millis),
        after: spec.after.iter().map(after_record).collect::<Result<_, _>>()?,
        input_from: spec.input_from.as_deref().map(asked::job_name).transpose()?,
        execution: kind::Execution {
            at_most_once: spec.execution.mode == spec::Mode::AtMostOnce,
            fenced: spec.execution.fenced,
            stop_on_disconnect: spec.execution.on_disconnect == spec::OnDisconnect::Stop,
        },
        retry: RetryPolicy {
            attempts: spec.retry.attempts.unwrap_or(ATTEMPTS_UNLIMITED),
            backoff_min: Duration::from_millis(spec.retry.backoff_min_ms),
            backoff_max: Duration::from_millis(spec.retry.backoff_max_ms),
            retry_deterministic: false,
        },
        placement: placement_record(&spec.placement),
        created_ms,
        message: String::new(),
    })
}

/// A stored job as the spec that it was made from.
pub(super) fn spec(record: &JobRecord) -> JobSpec {
    let (kind, cron, update) = kind_spec(&record.kind);
    JobSpec {
        name: record.job.to_string(),
        kind,
        count: record.count,
        max_running: (record.max_running > 0).then_some(record.max_running),
        max_failed: record.max_failed,
        start_deadline_ms: record.start_deadline.map(ms),
        after: record.after.iter().map(after_spec).collect(),
        input_from: record.input_from.as_ref().map(ToString::to_string),
        priority: record.priority,
        tier: tier_spec(record.tier),
        module: spec::ModuleRef::Digest(record.module.to_string()),
        args: record.args.clone(),
        env: record.env.iter().cloned().collect(),
        cron,
        update,
        resources: spec::Resources {
            cpu_milli: record.budgets.resources.cpu.0,
            memory_bytes: record.budgets.resources.memory.0.saturating_sub(record.capabilities.scratch),
            fuel: record.budgets.fuel.0,
            timeout_ms: record.budgets.timeout.map(ms),
            output_bytes: record.budgets.output,
            scratch_bytes: record.capabilities.scratch,
        },
        dirs: record.dirs.iter().map(dir_spec).collect(),
        nets: record.capabilities.nets.iter().map(net_spec).collect(),
        execution: execution_spec(record.execution, &record.capabilities),
        retry: spec::Retry {
            attempts: (!kind.restarts()).then_some(record.retry.attempts),
            backoff_min_ms: ms(record.retry.backoff_min),
            backoff_max_ms: ms(record.retry.backoff_max),
        },
        placement: placement_spec(&record.placement),
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn kind_record(spec: &JobSpec) -> kind::Kind {
    match (spec.kind, &spec.cron, spec.update) {
        (spec::Kind::Service, _, Some(update)) => {
            kind::Kind::Service(kind::Service { healthy_after: Duration::from_millis(update.healthy_after_ms) })
        }
        (spec::Kind::Cron, Some(cron), _) => kind::Kind::Cron(kind::Cron {
            schedule: cron.schedule.clone(),
            time_zone: cron.time_zone.clone(),
            overlap: match cron.overlap {
                spec::Overlap::Allow => kind::Overlap::Allow,
                spec::Overlap::Forbid => kind::Overlap::Forbid,
                spec::Overlap::Replace => kind::Overlap::Replace,
            },
            start_deadline: Duration::from_millis(cron.start_deadline_ms),
        }),
        (spec::Kind::System, ..) => kind::Kind::System,
        (spec::Kind::Function, ..) => kind::Kind::Function,
        (spec::Kind::Batch, ..) => kind::Kind::Batch,
        (spec::Kind::Service | spec::Kind::Cron, ..) => unreachable!("a validated spec has its kind's section"),
    }
}

fn kind_spec(kind: &kind::Kind) -> (spec::Kind, Option<spec::Cron>, Option<spec::Update>) {
    match kind {
        kind::Kind::Batch => (spec::Kind::Batch, None, None),
        kind::Kind::Service(service) => {
            let update = spec::Update { healthy_after_ms: ms(service.healthy_after) };
            (spec::Kind::Service, None, Some(update))
        }
        kind::Kind::Cron(cron) => {
            let cron = spec::Cron {
                schedule: cron.schedule.clone(),
                time_zone: cron.time_zone.clone(),
                overlap: match cron.overlap {
                    kind::Overlap::Allow => spec::Overlap::Allow,
                    kind::Overlap::Forbid => spec::Overlap::Forbid,
                    kind::Overlap::Replace => spec::Overlap::Replace,
                },
                start_deadline_ms: ms(cron.start_deadline),
            };
            (spec::Kind::Cron, Some(cron), None)
        }
        kind::Kind::System => (spec::Kind::System, None, None),
        kind::Kind::Function => (spec::Kind::Function, None, None),
    }
}

const fn tier_record(tier: spec::Tier) -> kind::Tier {
    match tier {
        spec::Tier::Production => kind::Tier::Production,
        spec::Tier::Preemptible => kind::Tier::Preemptible,
        spec::Tier::Revocable => kind::Tier::Revocable,
    }
}

/// A tier as the API shows it.
pub(super) const fn tier_spec(tier: kind::Tier) -> spec::Tier {
    match tier {
        kind::Tier::Production => spec::Tier::Production,
        kind::Tier::Preemptible => spec::Tier::Preemptible,
        kind::Tier::Revocable => spec::Tier::Revocable,
    }
}

fn after_record(after: &spec::After) -> Result<kind::Dependency, Refusal> {
    let condition = match after.when {
        spec::When::Success => kind::Condition::Success,
        spec::When::Failure => kind::Condition::Failure,
        spec::When::Any => kind::Condition::Any,
    };
    Ok(kind::Dependency { job: asked::job_name(&after.job)?, condition })
}

fn after_spec(after: &kind::Dependency) -> spec::After {
    spec::After { job: after.job.to_string(), when: when_spec(after.condition) }
}

/// A condition as the API shows it.
pub(super) const fn when_spec(condition: kind::Condition) -> spec::When {
    match condition {
        kind::Condition::Success => spec::When::Success,
        kind::Condition::Failure => spec::When::Failure,
        kind::Condition::Any => spec::When::Any,
    }
}

fn execution_spec(execution: kind::Execution, capabilities: &work::Capabilities) -> spec::Execution {
    spec::Execution {
        mode: if execution.at_most_once { spec::Mode::AtMostOnce } else { spec::Mode::AtLeastOnce },
        on_disconnect: if execution.stops_on_disconnect() {
            spec::OnDisconnect::Stop
        } else {
            spec::OnDisconnect::Keep
        },
        fenced: execution.is_fenced(),
        deterministic: capabilities.deterministic,
    }
}

fn budgets_record(resources: &spec::Resources) -> Budgets {
    Budgets {
        resources: resources::Resources {
            cpu: CpuMillis(resources.cpu_milli),
            memory: MemBytes(resources.memory_bytes.saturating_add(resources.scratch_bytes)),
        },
        fuel: Fuel(resources.fuel),
        timeout: resources.timeout_ms.map(Duration::from_millis),
        output: resources.output_bytes,
    }
}

fn dir_record(dir: &spec::DirGrant) -> work::DirGrant {
    work::DirGrant { name: dir.host.clone(), guest_path: dir.guest.clone(), writable: dir.writable }
}

fn net_record(net: &spec::NetGrant) -> work::NetGrant {
    work::NetGrant { host: net.host.clone(), port: net.port.into() }
}

fn net_spec(net: &work::NetGrant) -> spec::NetGrant {
    spec::NetGrant { host: net.host.clone(), port: u16::try_from(net.port).unwrap_or(u16::MAX) }
}

fn dir_spec(dir: &work::DirGrant) -> spec::DirGrant {
    spec::DirGrant { host: dir.name.clone(), guest: dir.guest_path.clone(), writable: dir.writable }
}

fn placement_record(placement: &spec::Placement) -> placement::Placement {
    let affinity = |affinity: &spec::Affinity| placement::Affinity {
        constraint: (&affinity.constraint).into(),
        weight: affinity.weight.into(),
    };
    placement::Placement {
        constraints: placement.constraints.iter().map(Into::into).collect(),
        affinities: placement.affinities.iter().map(affinity).collect(),
        spread: placement.spread.clone(),
        max_per_node: placement.max_per_node.unwrap_or(0),
        pool: placement.pool.clone(),
    }
}

fn placement_spec(placement: &placement::Placement) -> spec::Placement {
    let affinity = |affinity: &placement::Affinity| spec::Affinity {
        constraint: (&affinity.constraint).into(),
        weight: i8::try_from(affinity.weight).unwrap_or(if affinity.weight < 0 { i8::MIN } else { i8::MAX }),
    };
    spec::Placement {
        constraints: placement.constraints.iter().map(Into::into).collect(),
        affinities: placement.affinities.iter().map(affinity).collect(),
        spread: placement.spread.clone(),
        max_per_node: (placement.max_per_node > 0).then_some(placement.max_per_node),
        pool: placement.pool.clone(),
    }
}

#[cfg(test)]
mod tests {
    use weir_wire::codec::Document as _;

    use super::*;

    /// One of every kind, with the sections that go with it; `$M` is the module.
    const SPECS: &[&str] = &[
        "",
        "count = 9\nmax_running = 3\npriority = 80\nargs = [\"-v\", \"\"]\nenv = { B = \"2\", A = \"1\" }
        [resources]\ncpu = 0.25\nmemory = \"3MiB\"\nfuel = 77\ntimeout = \"1500ms\"\noutput = \"0B\"
        [[grants.dir]]\nhost = \"corpus\"\nguest = \"/data\"
        [retry]\nattempts = 2\nbackoff = \"10ms..1m\"
        [placement]\nconstraints = [\"arch == x86_64\"]",
        "tier = \"production\"\nmax_failed = 0\nstart_deadline = \"10m\"
        after = [\"a\", { job = \"b\", when = \"failure\" }, { job = \"c\", when = \"any\" }]\ninput_from = \"a\"
        [execution]\nmode = \"at_most_once\"",
        "tier = \"revocable\"\n[execution]\non_disconnect = \"stop\"",
        "[execution]\nfenced = true\n[retry]\nattempts = 100",
        "[execution]\ndeterministic = true",
        "[resources]\nscratch = \"5MiB\"",
        "[[grants.net]]\nhost = \"db.internal\"\nport = 5432\n[[grants.net]]\nhost = \"::1\"\nport = 1",
        "kind = \"service\"\ncount = 3\n[update]\nhealthy_after = \"0ms\"\n[retry]\nbackoff = \"2s..5m\"
        [execution]\nfenced = true\n[placement]\nspread = \"zone\"\nmax_per_node = 1",
        "kind = \"service\"\n[resources]\ntimeout = \"1d\"",
        "kind = \"cron\"\ncount = 4\nmax_failed = 3\n[cron]\nschedule = \"*/5 * * * *\"\noverlap = \"allow\"",
        "kind = \"cron\"\n[cron]\nschedule = \"@daily\"\ntime_zone = \"Europe/Berlin\"\noverlap = \"replace\"
        start_deadline = \"1s\"",
        "kind = \"cron\"\n[cron]\nschedule = \"0 0 12 * * MON\"",
        "kind = \"system\"\n[placement]\nconstraints = [\"gpu exists\"]\npool = \"gpu\"",
        "kind = \"function\"\nstart_deadline = \"5s\"",
        "kind = \"function\"\n[resources]\ntimeout = \"7d\"\n[retry]\nattempts = 1",
        "[placement]\nconstraints = [\"a == 1\", \"b != 2\", \"c in [3, \\\"4, 5\\\"]\", \"d not in [6]\", \"e matches ^x\",
            \"f version == 1\", \"f version != 2\", \"f version < 3\", \"f version <= 3\", \"f version > 0\",
            \"f version >= 0.1\", \"g exists\", \"h not exists\"]
        affinities = [\"zone == a : 100\", \"disk matches ssd : -100\", \"gpu exists : 1\"]",
    ];

    #[test]
    fn a_spec_of_every_kind_survives_being_stored() {
        let digest = Digest([7; 32]);
        for text in SPECS {
            let text = format!("[job]\nname = \"j\"\nmodule = \"{digest}\"\n{text}");
            let given = JobSpec::from_toml(&text).unwrap_or_else(|invalid| panic!("{text}: {invalid}"));
            let stored = record("n".parse().unwrap(), "j".parse().unwrap(), digest, &given, 5).unwrap();
            let read = JobRecord::from_bytes(&stored.to_bytes()).unwrap();
            assert_eq!(spec(&read), given, "{text}");
            assert_eq!(JobSpec::from_document(&spec(&read).to_document()).unwrap(), given, "{text}");
        }
    }
}
