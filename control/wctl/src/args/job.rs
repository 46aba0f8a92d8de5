use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::deploy::{InputArgs, SpecArgs};

/// `wctl job`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// Write a job spec to start from
    Init(JobInitArgs),
    /// Check a job spec and its module locally
    Validate {
        /// A Wasm module, a job spec (TOML or JSON), or `-` for either on stdin
        #[arg(value_name = "m.wasm|job.toml|-")]
        source: String,
        #[command(flatten)]
        spec: Box<SpecArgs>,
    },
    /// Show what a deploy would change and where its tasks would go; nothing is changed
    Plan {
        /// A Wasm module, a job spec (TOML or JSON), or `-` for either on stdin
        #[arg(value_name = "m.wasm|job.toml|-")]
        source: String,
        #[command(flatten)]
        spec: Box<SpecArgs>,
        /// Exit with 10 when the deploy would change something
        #[arg(long)]
        exit_code: bool,
    },
    /// Show what differs between two versions of a job, or between its latest one and a spec
    Diff(JobDiffArgs),
    /// List the jobs of the namespace
    List,
    /// Show the spec of a job
    Inspect {
        /// The job
        job: String,
        /// A version [default: the latest]
        #[arg(long, value_name = "N")]
        version: Option<u32>,
    },
    /// List the versions of a job, newest first
    History {
        /// The job
        job: String,
    },
    /// Make an earlier version of a job the latest one, and update a service to it
    Revert(RevertArgs),
    /// Keep another number of tasks of a service running
    Scale {
        /// The service
        job: String,
        /// How many; 0 keeps none, and the service stays
        #[arg(value_name = "N")]
        count: u32,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Start none of a job's tasks and do not fire it; what runs goes on
    Pause {
        /// The job
        job: String,
        #[command(flatten)]
        change: MessageArgs,
    },
    /// End a pause
    Resume {
        /// The job
        job: String,
        #[command(flatten)]
        change: MessageArgs,
    },
    /// Start the tasks of a service or system job anew, a few at a time
    Restart {
        /// The job
        job: String,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Call a function: give it a payload, wait for its result and write that to stdout
    Dispatch(DispatchArgs),
    /// Fire a cron job at once, besides its schedule
    Trigger(TriggerArgs),
    /// Explain why tasks of a job's latest run, or of a run, are pending
    Why {
        /// The job or run
        #[arg(value_name = "JOB|RUN")]
        target: String,
    },
    /// Write the jobs and what they wait for as a graph in the DOT language of Graphviz
    Graph,
}

/// `wctl job init`.
#[derive(Clone, Debug, Args)]
pub(crate) struct JobInitArgs {
    /// The file to make [default: stdout]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Kind of the job
    #[arg(long, default_value = "batch")]
    pub(crate) kind: weir_api::spec::Kind,
    /// Name of the job [default: from the file's name, or the kind]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The module of the job
    #[arg(long, value_name = "FILE|DIGEST", default_value = "module.wasm")]
    pub(crate) module: String,
}

/// `wctl job diff`.
#[derive(Clone, Debug, Args)]
pub(crate) struct JobDiffArgs {
    /// A job, or a job spec that is compared with the latest version of its job
    #[arg(value_name = "JOB|job.toml|-")]
    pub(crate) target: String,
    /// The older version of the job [default: the one before]
    #[arg(long, value_name = "N")]
    pub(crate) from: Option<u32>,
    /// The newer version of the job [default: the latest]
    #[arg(long, value_name = "N")]
    pub(crate) to: Option<u32>,
    /// Exit with 10 when something differs
    #[arg(long)]
    pub(crate) exit_code: bool,
}

/// `wctl job revert`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RevertArgs {
    /// The job
    pub(crate) job: String,
    /// The version to go back to [default: the one before the latest]
    #[arg(value_name = "VERSION")]
    pub(crate) version: Option<u32>,
    /// Revert only if the latest version is this one
    #[arg(long, value_name = "VERSION")]
    pub(crate) check_revision: Option<u32>,
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
}

/// `wctl job dispatch`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DispatchArgs {
    /// The function
    pub(crate) job: String,
    #[command(flatten)]
    pub(crate) input: PayloadArgs,
    /// Name and value that the task sees as WEIR_META_NAME (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) meta: Vec<String>,
    /// Key under which a repeated command calls nothing new and gives the same result
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Only start it and show its run
    #[arg(long, conflicts_with_all = ["timeout", "output"])]
    pub(crate) detach: bool,
    /// Longest wait; passing it is exit code 8, and the call goes on
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<String>,
    /// Write the result to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Arguments of the program, after `--`; they replace the spec's
    #[arg(last = true, value_name = "ARG")]
    pub(crate) program_args: Vec<String>,
}

/// The payload of a function.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PayloadArgs {
    /// The payload: the text itself, @FILE, or - for stdin
    #[arg(long, value_name = "TEXT|@FILE|-", allow_hyphen_values = true)]
    pub(crate) input: Option<String>,
}

impl From<&PayloadArgs> for InputArgs {
    fn from(payload: &PayloadArgs) -> Self {
        Self { input: payload.input.clone(), items: None }
    }
}

/// `wctl job trigger` and `wctl cron trigger`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TriggerArgs {
    /// The cron job
    pub(crate) job: String,
    /// Key under which a repeated command fires nothing new
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
}

/// A note on a change.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct MessageArgs {
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
}

/// A note on a change, and whether its effect is waited for.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ChangeArgs {
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Stay until it has taken effect
    #[arg(long)]
    pub(crate) wait: bool,
    /// Longest wait with --wait; passing it is exit code 8
    #[arg(long, value_name = "DURATION", requires = "wait")]
    pub(crate) timeout: Option<String>,
}

/// `wctl cron`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum CronCommand {
    /// List the cron jobs of the namespace
    List,
    /// Fire a cron job no more; instants that pass meanwhile are not made up for
    Suspend {
        /// The cron job
        job: String,
        #[command(flatten)]
        change: MessageArgs,
    },
    /// Fire a cron job again
    Resume {
        /// The cron job
        job: String,
        #[command(flatten)]
        change: MessageArgs,
    },
    /// Fire a cron job at once, besides its schedule
    Trigger(TriggerArgs),
}
