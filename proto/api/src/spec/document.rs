//! The canonical form of a job spec: the same structure as the TOML, with every default written out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Affinity, After, Cron, DirGrant, JobSpec, ModuleRef, NetGrant, Placement};
use crate::units::{format_duration_ms, format_size};

/// A job spec as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = JobSpec)]
pub struct Document {
    /// What to run.
    pub job: JobDocument,
    /// When to run it; cron jobs only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<CronDocument>,
    /// How to pass to a new version; services only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateDocument>,
    /// The budgets of one attempt.
    pub resources: ResourcesDocument,
    /// What the guest may reach.
    pub grants: GrantsDocument,
    /// How often and under which fence attempts execute.
    pub execution: ExecutionDocument,
    /// Retries.
    pub retry: RetryDocument,
    /// Where tasks may run.
    pub placement: PlacementDocument,
}

/// The section `job`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobDocument {
    /// The name, unique in the namespace.
    pub name: String,
    /// `batch`, `service`, `cron`, `system` or `function`.
    pub kind: String,
    /// Tasks of a run; absent for functions (one) and system jobs (one on every matching node).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// The most tasks that execute at once; batch and cron jobs only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_running: Option<u32>,
    /// A run is stopped when more tasks than this have failed for good; batch and cron jobs only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failed: Option<u32>,
    /// How long after its submission a task may still be started, such as `10m`; batch, cron and function jobs only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_deadline: Option<String>,
    /// The jobs that have to end first; batch jobs only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AfterDocument>,
    /// The one of `after` whose results are the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_from: Option<String>,
    /// 0 to 100, higher first.
    pub priority: u8,
    /// `production`, `preemptible` or `revocable`.
    pub tier: String,
    /// `sha256:…`, or a path in a file that a client reads.
    pub module: String,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment.
    pub env: BTreeMap<String, String>,
}

/// One entry of `job.after`; in a spec, a name alone stands for success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AfterDocument {
    /// The job.
    pub job: String,
    /// `success`, `failure` or `any`.
    pub when: String,
}

/// The section `cron`.
///
/// When clocks are changed, a schedule that names its times (no `*` and `/` in seconds, minutes and hours) fires once for
/// each: right after the gap when the time is skipped, the first time when it is repeated. One with `*` or `/` there
/// follows the time that passes: it does not fire for what is skipped, and twice for what is repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CronDocument {
    /// Five or six fields (the first of six are seconds), or a name such as `@hourly`.
    pub schedule: String,
    /// An IANA name, such as `Europe/Berlin`.
    pub time_zone: String,
    /// `allow`, `forbid` or `replace`.
    pub overlap: String,
    /// How late a missed firing may still start, such as `1h`.
    pub start_deadline: String,
}

/// The section `update`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UpdateDocument {
    /// How long a new task has to run before it counts as healthy, such as `5s`.
    pub healthy_after: String,
}

/// The section `resources`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResourcesDocument {
    /// A rate: 0.5 is half a core of CPU time.
    pub cpu: f64,
    /// A size, such as `64MiB`.
    pub memory: String,
    /// A total budget, the same on every machine.
    pub fuel: u64,
    /// Wall clock of one attempt, such as `30s`, or `none`.
    pub timeout: String,
    /// Captured output, such as `1MiB`.
    pub output: String,
    /// Size of the directory `/tmp`, such as `64MiB`; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<String>,
}

/// The section `grants`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GrantsDocument {
    /// Published directories.
    pub dir: Vec<DirDocument>,
    /// Where it may connect to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub net: Vec<NetDocument>,
}

/// One entry of `grants.net`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NetDocument {
    /// A name or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// One entry of `grants.dir`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DirDocument {
    /// The published name.
    pub host: String,
    /// The path in the guest.
    pub guest: String,
    /// `ro`, or `rw` where the guest may change it.
    pub mode: String,
}

/// The section `execution`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExecutionDocument {
    /// `at_least_once` or `at_most_once`.
    pub mode: String,
    /// `keep` or `stop`.
    pub on_disconnect: String,
    /// Whether two copies must never run at once.
    pub fenced: bool,
    /// Whether clocks and random numbers are the same at every attempt of a task.
    #[serde(default)]
    pub deterministic: bool,
}

/// The section `retry`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RetryDocument {
    /// Attempts that may end in a counted failure; absent for services and system jobs, which are always started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The shortest and longest wait, such as `1s..30s`.
    pub backoff: String,
}

/// The section `placement`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlacementDocument {
    /// Conditions such as `arch == x86_64`.
    pub constraints: Vec<String>,
    /// Wishes; in a spec, `zone == a : 50` is short for one.
    #[serde(default)]
    pub affinities: Vec<AffinityDocument>,
    /// The attribute over whose values tasks are spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<String>,
    /// The most tasks of a run on one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_node: Option<u32>,
    /// The dedicated nodes that the job uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
}

/// One entry of `placement.affinities`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AffinityDocument {
    /// A condition such as `disk == ssd`.
    pub constraint: String,
    /// -100 to 100, not 0.
    pub weight: i8,
}

impl From<&JobSpec> for Document {
    fn from(spec: &JobSpec) -> Self {
        Self {
            job: job(spec),
            cron: spec.cron.as_ref().map(cron),
            update: spec
                .update
                .map(|update| UpdateDocument { healthy_after: format_duration_ms(update.healthy_after_ms) }),
            resources: ResourcesDocument {
                cpu: f64::from(spec.resources.cpu_milli) / 1_000.0,
                memory: format_size(spec.resources.memory_bytes),
                fuel: spec.resources.fuel,
                timeout: spec.resources.timeout_ms.map_or_else(|| "none".to_owned(), format_duration_ms),
                output: format_size(spec.resources.output_bytes),
                scratch: (spec.resources.scratch_bytes > 0).then(|| format_size(spec.resources.scratch_bytes)),
            },
            grants: GrantsDocument {
                dir: spec.dirs.iter().map(dir).collect(),
                net: spec.nets.iter().map(net).collect(),
            },
            execution: ExecutionDocument {
                mode: spec.execution.mode.to_string(),
                on_disconnect: spec.execution.on_disconnect.to_string(),
                fenced: spec.execution.fenced,
                deterministic: spec.execution.deterministic,
            },
            retry: RetryDocument {
                attempts: spec.retry.attempts,
                backoff: format!(
                    "{}..{}",
                    format_duration_ms(spec.retry.backoff_min_ms),
                    format_duration_ms(spec.retry.backoff_max_ms)
                ),
            },
            placement: placement(&spec.placement),
        }
    }
}

fn job(spec: &JobSpec) -> JobDocument {
    JobDocument {
        name: spec.name.clone(),
        kind: spec.kind.to_string(),
        count: spec.kind.counts().then_some(spec.count),
        max_running: spec.max_running,
        max_failed: spec.max_failed,
        start_deadline: spec.start_deadline_ms.map(format_duration_ms),
        after: spec.after.iter().map(after).collect(),
        input_from: spec.input_from.clone(),
        priority: spec.priority,
        tier: spec.tier.to_string(),
        module: match &spec.module {
            ModuleRef::Path(path) => path.clone(),
            ModuleRef::Digest(digest) => digest.clone(),
        },
        args: spec.args.clone(),
        env: spec.env.clone(),
    }
}

fn after(after: &After) -> AfterDocument {
    AfterDocument { job: after.job.clone(), when: after.when.to_string() }
}

fn cron(cron: &Cron) -> CronDocument {
    CronDocument {
        schedule: cron.schedule.clone(),
        time_zone: cron.time_zone.clone(),
        overlap: cron.overlap.to_string(),
        start_deadline: format_duration_ms(cron.start_deadline_ms),
    }
}

fn net(net: &NetGrant) -> NetDocument {
    NetDocument { host: net.host.clone(), port: net.port }
}

fn dir(dir: &DirGrant) -> DirDocument {
    DirDocument {
        host: dir.host.clone(),
        guest: dir.guest.clone(),
        mode: if dir.writable { "rw" } else { "ro" }.to_owned(),
    }
}

fn placement(placement: &Placement) -> PlacementDocument {
    PlacementDocument {
        constraints: placement.constraints.iter().map(ToString::to_string).collect(),
        affinities: placement.affinities.iter().map(affinity).collect(),
        spread: placement.spread.clone(),
        max_per_node: placement.max_per_node,
        pool: placement.pool.clone(),
    }
}

fn affinity(affinity: &Affinity) -> AffinityDocument {
    AffinityDocument { constraint: affinity.constraint.to_string(), weight: affinity.weight }
}
