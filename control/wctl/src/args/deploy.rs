use std::path::PathBuf;

use clap::Args;

/// `wctl deploy`.
#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// A Wasm module, a job spec (TOML or JSON), or `-` for either on stdin
    #[arg(value_name = "m.wasm|job.toml|-")]
    pub(crate) source: String,
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    #[command(flatten)]
    pub(crate) input: InputArgs,
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
    /// Show what would change and where tasks would go, as `job plan` does; nothing is changed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Update the job only if its latest version is this one; 0 means that it must not exist
    #[arg(long, value_name = "VERSION")]
    pub(crate) check_revision: Option<u32>,
}

/// `wctl run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// A Wasm module, a job spec, `-`, or the name of a job
    #[arg(value_name = "m.wasm|job.toml|JOB|-")]
    pub(crate) source: String,
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    #[command(flatten)]
    pub(crate) input: InputArgs,
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
    /// Write the result to this file; the results of several tasks follow each other, each ending its line
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Run it in this process, in the sandbox of an executor and within the same limits, without a cluster; each task is
    /// attempted once
    #[cfg(feature = "dev")]
    #[arg(long, conflicts_with_all = ["detach", "wait_timeout", "idempotency_key", "meta", "message"])]
    pub(crate) local: bool,
    /// With --local: sample the first task, for a minute at most, and write a profile for https://profiler.firefox.com
    #[arg(long, value_name = "FILE", requires = "local")]
    pub(crate) profile: Option<PathBuf>,
    /// With --local: publish a directory to the task (repeatable)
    #[cfg(feature = "dev")]
    #[arg(long, value_name = "NAME=DIR", requires = "local")]
    pub(crate) publish: Vec<String>,
    /// With --local: publish a directory that the task may change (repeatable)
    #[cfg(feature = "dev")]
    #[arg(long, value_name = "NAME=DIR", requires = "local")]
    pub(crate) publish_writable: Vec<String>,
    /// Exit with the guest's own code (one task)
    #[arg(long)]
    pub(crate) propagate_exit: bool,
    /// Arguments of the program, after `--`; they replace the spec's
    #[arg(last = true, value_name = "ARG")]
    pub(crate) program_args: Vec<String>,
}

/// Flags that set or replace fields of the job spec.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Job spec")]
pub(crate) struct SpecArgs {
    /// Name of the job [default: from the file's name]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Kind of the job: batch, service, cron, system or function [default: batch]
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Number of tasks [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<String>,
    /// Most tasks that run at once
    #[arg(long, value_name = "N")]
    pub(crate) max_running: Option<String>,
    /// CPU rate of a task in cores, 0.01 to 1 [default: 0.1]
    #[arg(long, value_name = "CORES")]
    pub(crate) cpu: Option<String>,
    /// Memory of a task [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Fuel of an attempt [default: 10e9]
    #[arg(long, value_name = "N")]
    pub(crate) fuel: Option<String>,
    /// Wall clock of an attempt [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<String>,
    /// Captured output of an attempt [default: 1MiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) output_limit: Option<String>,
    /// Size of the directory /tmp of an attempt, removed after it [default: none]
    #[arg(long, value_name = "SIZE")]
    pub(crate) scratch: Option<String>,
    /// Environment variable (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Argument of the program (repeatable)
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) arg: Vec<String>,
    /// Published directory: `dir:NAME:GUEST[:ro|:rw]`, read-only unless it says `rw`; or a place to connect to over TCP:
    /// `net:HOST:PORT` (repeatable)
    #[arg(long, value_name = "GRANT")]
    pub(crate) grant: Vec<String>,
    /// Times that a failed attempt is tried again [default: 2; with `run` of a module: 0]
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<u32>,
    /// Wait between attempts [default: 1s..30s]
    #[arg(long, value_name = "MIN..MAX")]
    pub(crate) backoff: Option<String>,
    /// Placement order, 0 to 100, higher first [default: 50]
    #[arg(long, value_name = "N")]
    pub(crate) priority: Option<String>,
    /// Tier: production, preemptible or revocable [default: preemptible]
    #[arg(long)]
    pub(crate) tier: Option<String>,
    /// Condition on nodes, such as `zone in [a, b]`, `arch == x86_64` or `gpu exists` (repeatable)
    #[arg(long, value_name = "CONDITION")]
    pub(crate) constraint: Vec<String>,
    /// Wish about nodes with a weight from -100 to 100, such as `disk == ssd : 50` (repeatable)
    #[arg(long, value_name = "CONDITION : WEIGHT")]
    pub(crate) affinity: Vec<String>,
    /// Attribute over whose values tasks are spread
    #[arg(long, value_name = "ATTRIBUTE")]
    pub(crate) spread: Option<String>,
    /// Most tasks of a run on one node
    #[arg(long, value_name = "N")]
    pub(crate) max_per_node: Option<String>,
    /// Dedicated nodes to use
    #[arg(long, value_name = "NAME")]
    pub(crate) pool: Option<String>,
    /// End a run early when more tasks than this have failed for good
    #[arg(long, value_name = "N")]
    pub(crate) max_failed: Option<String>,
    /// How long after its submission a task may still be started
    #[arg(long, value_name = "DURATION")]
    pub(crate) start_deadline: Option<String>,
    /// Job that has to end first: success (the default), failure or any (repeatable)
    #[arg(long, value_name = "JOB[:WHEN]")]
    pub(crate) after: Vec<String>,
    /// The one of --after whose results are the input
    #[arg(long, value_name = "JOB")]
    pub(crate) input_from: Option<String>,
    /// When a cron job fires: five or six fields, or a name such as @hourly; makes the job one
    #[arg(long, value_name = "CRON")]
    pub(crate) schedule: Option<String>,
    /// Time zone of the schedule [default: UTC]
    #[arg(long, value_name = "ZONE")]
    pub(crate) tz: Option<String>,
    /// What happens while an earlier firing runs: allow, forbid or replace [default: forbid]
    #[arg(long)]
    pub(crate) overlap: Option<String>,
    /// How long a task of a service has to run before it counts as healthy [default: 5s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) healthy_after: Option<String>,
    /// How often an attempt may execute: at_least_once or at_most_once
    #[arg(long)]
    pub(crate) mode: Option<String>,
    /// Give every attempt of a task the same clocks and random numbers
    #[arg(long)]
    pub(crate) deterministic: bool,
}

/// Where the tasks' input comes from.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Input")]
pub(crate) struct InputArgs {
    /// Input of every task: the text itself, @FILE, or - for stdin
    #[arg(long, value_name = "TEXT|@FILE|-", conflicts_with = "items", allow_hyphen_values = true)]
    pub(crate) input: Option<String>,
    /// Line i of this file (or - for stdin) is the input of task i
    #[arg(long, value_name = "FILE")]
    pub(crate) items: Option<String>,
}

/// How a started run is followed.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Following")]
pub(crate) struct FollowArgs {
    /// Name and value that tasks see as WEIR_META_NAME (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) meta: Vec<String>,
    /// Only start the run and show it
    #[arg(long, conflicts_with = "wait")]
    pub(crate) detach: bool,
    /// Follow it (the default): a run to its end, a service until it is healthy
    #[arg(long)]
    pub(crate) wait: bool,
    /// Stop following after this time, with exit code 8; the run goes on
    #[arg(long, value_name = "DURATION")]
    pub(crate) wait_timeout: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Key under which a repeated command starts nothing new
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}
