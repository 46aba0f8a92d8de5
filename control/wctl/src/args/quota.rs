use clap::{Args, Subcommand};

/// `wctl quota`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum QuotaCommand {
    /// List the quotas with what is used of them
    List,
    /// Set the quota and weight of a namespace; what is not given is not limited
    Set(QuotaSetArgs),
    /// Remove the quota and weight of a namespace
    Rm {
        /// The namespace
        namespace: String,
    },
}

/// `wctl quota set`.
#[derive(Clone, Debug, Args)]
pub(crate) struct QuotaSetArgs {
    /// The namespace
    pub(crate) namespace: String,
    /// Most CPU of its production tasks, in cores
    #[arg(long, value_name = "CORES")]
    pub(crate) cpu: Option<String>,
    /// Most memory of its production tasks
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Most production tasks at one time
    #[arg(long, value_name = "N")]
    pub(crate) running: Option<u32>,
    /// Its share between namespaces; 100 by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) weight: Option<u32>,
}

/// `wctl namespace`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum NamespaceCommand {
    /// List the namespaces with what they run
    List,
}
