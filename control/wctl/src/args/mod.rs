//! The command line as types; one file for each group of commands.

mod deploy;
mod job;
mod node;
mod nouns;
mod quota;
#[cfg(feature = "sim")]
mod sim;
#[cfg(feature = "dev")]
mod snapshot;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};
pub(crate) use deploy::{DeployArgs, FollowArgs, InputArgs, RunArgs, SpecArgs};
pub(crate) use job::{
    ChangeArgs, CronCommand, DispatchArgs, JobCommand, JobDiffArgs, JobInitArgs, RevertArgs, TriggerArgs,
};
pub(crate) use node::{DrainArgs, NodeCommand};
#[cfg(feature = "dev")]
pub(crate) use nouns::DevArgs;
pub(crate) use nouns::{
    ClusterCommand, CompletionArgs, GcArgs, InitArgs, LogsArgs, ModuleCommand, StatusArgs, StopArgs, TaskCommand,
    WaitArgs, WaitFor,
};
pub(crate) use quota::{NamespaceCommand, QuotaCommand, QuotaSetArgs};
#[cfg(feature = "sim")]
pub(crate) use sim::{ConvertArgs, PlacementArg, SimArgs, SimCommand, TraceFormat};
#[cfg(feature = "dev")]
pub(crate) use snapshot::{RestoreArgs, SaveArgs, SnapshotCommand};

use crate::output::Format;

/// The command line of Weir, a cluster that runs WebAssembly in sandboxes.
#[derive(Debug, Parser)]
#[command(name = "wctl", version, about, propagate_version = false, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// How data is written to stdout
    #[arg(short = 'o', value_name = "FORMAT", value_enum, default_value_t, global = true)]
    pub(crate) format: Format,
    /// Address of the control plane, such as https://control-1:4640 (repeatable) [default: http://127.0.0.1:4640]
    #[arg(long, value_name = "URL", env = "WCTL_ADDR", value_delimiter = ',', global = true)]
    pub(crate) addr: Vec<String>,
    /// Bearer token
    #[arg(long, value_name = "TOKEN", env = "WCTL_TOKEN", hide_env_values = true, global = true)]
    pub(crate) token: Option<String>,
    /// The cluster's CA certificate, for https addresses
    #[arg(long, value_name = "FILE", env = "WCTL_CA", global = true)]
    pub(crate) ca: Option<PathBuf>,
    /// Namespace of jobs and runs [default: default]
    #[arg(short = 'n', long, value_name = "NAME", env = "WCTL_NAMESPACE", global = true)]
    pub(crate) namespace: Option<String>,
    /// Show the causes of errors
    #[arg(short = 'v', long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole cluster in this process
    #[cfg(feature = "dev")]
    Dev(DevArgs),
    /// Upload a module, create or update its job, start a run and follow it
    Deploy(Box<DeployArgs>),
    /// Run a module or job once: follow its log, write its result, exit with its outcome
    Run(Box<RunArgs>),
    /// Show what tasks wrote
    Logs(LogsArgs),
    /// Show the cluster, or one job, run, task or node
    Status(StatusArgs),
    /// Wait until jobs, runs or tasks have come as far as asked
    Wait(WaitArgs),
    /// Stop a job's latest run, a run or a task
    Stop(StopArgs),
    /// Wasm modules
    #[command(subcommand)]
    Module(ModuleCommand),
    /// Jobs
    #[command(subcommand)]
    Job(JobCommand),
    /// Cron jobs
    #[command(subcommand)]
    Cron(CronCommand),
    /// Tasks
    #[command(subcommand)]
    Task(TaskCommand),
    /// Nodes
    #[command(subcommand)]
    Node(NodeCommand),
    /// Namespaces
    #[command(subcommand)]
    Namespace(NamespaceCommand),
    /// Quotas and weights of namespaces
    #[command(subcommand)]
    Quota(QuotaCommand),
    /// The cluster itself
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Run your own cluster and workload through the scheduler, on a virtual clock
    #[cfg(feature = "sim")]
    Sim(Box<SimArgs>),
    /// Write a completion script for a shell to stdout
    Completion(CompletionArgs),
    /// Show the version of this program
    Version,
}

#[cfg(test)]
mod tests;
