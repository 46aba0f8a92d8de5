use clap::{Args, Subcommand};

use super::job::MessageArgs;

/// `wctl node`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the nodes
    List,
    /// Show one node
    Inspect {
        /// The node
        node: String,
    },
    /// Give a node no new work; what runs goes on
    Cordon {
        /// The node
        node: String,
        #[command(flatten)]
        change: MessageArgs,
    },
    /// Give a node new work again; ends a drain
    Uncordon {
        /// The node
        node: String,
        #[command(flatten)]
        change: MessageArgs,
    },
    /// Cordon a node and empty it
    Drain(DrainArgs),
    /// Set or remove labels of a node
    Label {
        /// The node
        node: String,
        /// NAME=VALUE sets a label, NAME- removes it
        #[arg(value_name = "NAME=VALUE|NAME-", required = true)]
        labels: Vec<String>,
    },
    /// Forget a node that is not connected
    Remove {
        /// The node
        node: String,
    },
}

/// `wctl node drain`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DrainArgs {
    /// The node
    pub(crate) node: String,
    /// End the drain and give the node new work again
    #[arg(long, conflicts_with_all = ["deadline", "force", "ignore_system", "wait"])]
    pub(crate) cancel: bool,
    /// How long batch, cron and function tasks may go on [default: until they end]
    #[arg(long, value_name = "DURATION", conflicts_with = "force")]
    pub(crate) deadline: Option<String>,
    /// Stop batch, cron and function tasks at once; they are started elsewhere
    #[arg(long)]
    pub(crate) force: bool,
    /// Leave the tasks of system jobs
    #[arg(long)]
    pub(crate) ignore_system: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Stay until the node is empty
    #[arg(long)]
    pub(crate) wait: bool,
    /// Longest wait with --wait; passing it is exit code 8, and the drain goes on
    #[arg(long, value_name = "DURATION", requires = "wait")]
    pub(crate) timeout: Option<String>,
}
