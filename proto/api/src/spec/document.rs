//! The canonical form of a job spec: the same structure as the TOML, with every default written out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{JobSpec, Kind, Mode, ModuleRef, OnDisconnect, Tier};
use crate::units::{format_duration_ms, format_size};

/// A job spec as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = JobSpec)]
pub struct Document {
    /// What to run.
    pub job: JobDocument,
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
    /// `batch`.
    pub kind: String,
    /// Tasks of a run.
    pub count: u32,
    /// The most tasks that execute at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_running: Option<u32>,
    /// 0 to 100, higher first.
    pub priority: u8,
    /// `preemptible`.
    pub tier: String,
    /// `sha256:…`, or a path in a file that a client reads.
    pub module: String,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment.
    pub env: BTreeMap<String, String>,
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
    /// Wall clock of one attempt, such as `30s`.
    pub timeout: String,
    /// Captured output, such as `1MiB`.
    pub output: String,
}

/// The section `grants`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GrantsDocument {
    /// Published directories.
    pub dir: Vec<DirDocument>,
}

/// One entry of `grants.dir`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DirDocument {
    /// The published name.
    pub host: String,
    /// The path in the guest.
    pub guest: String,
    /// `ro`.
    pub mode: String,
}

/// The section `execution`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExecutionDocument {
    /// `at_least_once`.
    pub mode: String,
    /// `keep`.
    pub on_disconnect: String,
    /// Whether two copies must never run at once.
    pub fenced: bool,
}

/// The section `retry`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RetryDocument {
    /// Attempts that may end in a counted failure.
    pub attempts: u32,
    /// The shortest and longest wait, such as `1s..30s`.
    pub backoff: String,
}

/// The section `placement`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlacementDocument {
    /// Conditions such as `arch == x86_64`.
    pub constraints: Vec<String>,
}

impl From<&JobSpec> for Document {
    fn from(spec: &JobSpec) -> Self {
        Self {
            job: job(spec),
            resources: ResourcesDocument {
                cpu: f64::from(spec.resources.cpu_milli) / 1_000.0,
                memory: format_size(spec.resources.memory_bytes),
                fuel: spec.resources.fuel,
                timeout: format_duration_ms(spec.resources.timeout_ms),
                output: format_size(spec.resources.output_bytes),
            },
            grants: GrantsDocument {
                dir: spec
                    .dirs
                    .iter()
                    .map(|dir| DirDocument { host: dir.host.clone(), guest: dir.guest.clone(), mode: "ro".to_owned() })
                    .collect(),
            },
            execution: ExecutionDocument {
                mode: match spec.mode {
                    Mode::AtLeastOnce => "at_least_once".to_owned(),
                },
                on_disconnect: match spec.on_disconnect {
                    OnDisconnect::Keep => "keep".to_owned(),
                },
                fenced: spec.fenced,
            },
            retry: RetryDocument {
                attempts: spec.retry.attempts,
                backoff: format!(
                    "{}..{}",
                    format_duration_ms(spec.retry.backoff_min_ms),
                    format_duration_ms(spec.retry.backoff_max_ms)
                ),
            },
            placement: PlacementDocument {
                constraints: spec.constraints.iter().map(|c| format!("{} == {}", c.attribute, c.value)).collect(),
            },
        }
    }
}

fn job(spec: &JobSpec) -> JobDocument {
    JobDocument {
        name: spec.name.clone(),
        kind: match spec.kind {
            Kind::Batch => "batch".to_owned(),
        },
        count: spec.count,
        max_running: spec.max_running,
        priority: spec.priority,
        tier: match spec.tier {
            Tier::Preemptible => "preemptible".to_owned(),
        },
        module: match &spec.module {
            ModuleRef::Path(path) => path.clone(),
            ModuleRef::Digest(digest) => digest.clone(),
        },
        args: spec.args.clone(),
        env: spec.env.clone(),
    }
}
