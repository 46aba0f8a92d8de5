use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use weir_api::TaskState;

/// `wctl dev`.
#[cfg(feature = "dev")]
#[derive(Clone, Debug, Args)]
pub(crate) struct DevArgs {
    /// Loopback address of the HTTP API, without TLS and token
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4640")]
    pub(crate) listen: std::net::SocketAddr,
    /// Loopback address of the link to the executor
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4641")]
    pub(crate) link: std::net::SocketAddr,
    /// Where everything is kept [default: $XDG_DATA_HOME/weir/dev or ~/.local/share/weir/dev]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Publish a directory to tasks (repeatable)
    #[arg(long, value_name = "NAME=DIR")]
    pub(crate) publish: Vec<String>,
    /// Cores that the executor offers, such as 2 or 0.5 [default: all]
    #[arg(long, value_name = "CORES")]
    pub(crate) cpus: Option<String>,
    /// Memory that the executor offers, such as 4GiB [default: the executor's]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
}

/// `wctl logs`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogsArgs {
    /// A task (RUN.INDEX), run or job; ids may be cut to a unique prefix
    #[arg(value_name = "TASK|RUN|JOB")]
    pub(crate) target: String,
    /// Stay until the tasks end
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only this task of the run
    #[arg(long, value_name = "N")]
    pub(crate) index: Option<u32>,
    /// Only the last records
    #[arg(long, value_name = "N")]
    pub(crate) tail: Option<u32>,
    /// Only what the guest wrote to stdout (with --stderr: both, without its log calls' levels)
    #[arg(long)]
    pub(crate) stdout: bool,
    /// Only what the guest wrote to stderr, and its log calls
    #[arg(long)]
    pub(crate) stderr: bool,
    /// Put the time since the attempt's start before each line
    #[arg(long)]
    pub(crate) timestamps: bool,
}

/// `wctl status`.
#[derive(Clone, Debug, Args)]
pub(crate) struct StatusArgs {
    /// A job, run, task or node; the cluster without it
    #[arg(value_name = "JOB|RUN|TASK|NODE")]
    pub(crate) target: Option<String>,
}

/// `wctl wait`.
#[derive(Clone, Debug, Args)]
pub(crate) struct WaitArgs {
    /// Jobs (their latest run), runs or tasks
    #[arg(value_name = "JOB|RUN|TASK", required = true)]
    pub(crate) targets: Vec<String>,
    /// How far they have to come
    #[arg(long = "for", value_enum, default_value_t)]
    pub(crate) until: WaitFor,
    /// Longest wait; passing it is exit code 8
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<String>,
}

/// What `wctl wait` waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitFor {
    /// The end; anything but success is exit code 11
    #[default]
    Succeeded,
    /// The start of a task, or the end; of a service, that all of its tasks run
    Running,
    /// That all tasks of a service have run long enough; the end of anything else
    Healthy,
    /// The end, whatever it is
    Terminal,
}

/// `wctl stop`.
#[derive(Clone, Debug, Args)]
pub(crate) struct StopArgs {
    /// Jobs (their latest run), runs or tasks
    #[arg(value_name = "JOB|RUN|TASK", required = true)]
    pub(crate) targets: Vec<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Stay until they have ended
    #[arg(long)]
    pub(crate) wait: bool,
    /// Longest wait with --wait; passing it is exit code 8
    #[arg(long, value_name = "DURATION", requires = "wait")]
    pub(crate) timeout: Option<String>,
}

/// `wctl module`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ModuleCommand {
    /// Check a module and store it under its digest
    Push {
        /// The file, or - for stdin
        file: String,
    },
    /// List the stored modules
    List,
    /// Show what a module is: a file, or a stored one by its digest
    Inspect {
        /// A file, - for stdin, or a digest (a unique prefix is enough)
        #[arg(value_name = "FILE|DIGEST")]
        target: String,
    },
    /// Check locally whether a module would be accepted
    Validate {
        /// The file, or - for stdin
        file: String,
    },
}

/// `wctl task`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// List the tasks of a run, or of a job's latest run
    List {
        /// The run or job
        #[arg(value_name = "RUN|JOB")]
        target: String,
        /// Only tasks in this state
        #[arg(long)]
        state: Option<TaskState>,
        /// The most tasks to show; 0 for all
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// Show one task and, while it runs, what it does at this moment
    Inspect {
        /// The task: RUN.INDEX, or a run or job of one task
        task: String,
    },
    /// Explain why a task is pending
    Why {
        /// The task: RUN.INDEX, or a run or job of one task
        task: String,
    },
    /// Sample a running task, and write a profile for https://profiler.firefox.com to stdout
    Profile {
        /// The task: RUN.INDEX, or a run or job of one task
        task: String,
        /// How long to sample it, at most a minute
        #[arg(long = "for", value_name = "DURATION", default_value = "5s")]
        time: String,
        /// Write it to this file
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Write the result of a task to stdout
    Result {
        /// The task: RUN.INDEX, or a run or job of one task
        task: String,
        /// Write it to this file
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// `wctl cluster`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Make the certificates and the admin token of a new cluster
    Init(InitArgs),
    /// Show what the cluster is and how it is doing
    Info,
    /// Start the work of vanished nodes elsewhere although many vanished at once
    ReleaseBrake {
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        message: Option<String>,
    },
    /// Delete modules, payloads, results and logs from the blob store that nothing needs any more
    Gc(GcArgs),
    /// Save, check and restore everything that the cluster keeps
    #[cfg(feature = "dev")]
    #[command(subcommand)]
    Snapshot(super::SnapshotCommand),
}

/// `wctl cluster gc`.
#[derive(Clone, Debug, Args)]
pub(crate) struct GcArgs {
    /// Only count what would be deleted
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Leave what was stored within this time; at least 2h [default: 24h]
    #[arg(long, value_name = "DURATION")]
    pub(crate) min_age: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
}

/// `wctl cluster init`.
#[derive(Clone, Debug, Args)]
pub(crate) struct InitArgs {
    /// A directory that does not exist or is empty
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Name of the cluster
    #[arg(long, default_value = "weir")]
    pub(crate) name: String,
    /// Name of a machine that gets an executor (repeatable)
    #[arg(long = "node", value_name = "NAME", required = true)]
    pub(crate) nodes: Vec<String>,
    /// DNS name or IP address of the control plane (repeatable); localhost is always included
    #[arg(long = "host", value_name = "NAME|IP", required = true)]
    pub(crate) hosts: Vec<String>,
    /// How long the certificates count
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: u32,
}

/// `wctl completion`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}
