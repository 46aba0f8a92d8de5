use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `wctl cluster snapshot`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Write everything that the cluster keeps into a file, while it runs
    Save(SaveArgs),
    /// Check a snapshot and show what is in it
    Inspect {
        /// The snapshot
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Write a snapshot into an empty store, while no control plane runs on it
    Restore(RestoreArgs),
}

/// `wctl cluster snapshot save`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SaveArgs {
    /// A file that does not exist
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Only the records of the store, without modules, payloads, results and logs
    #[arg(long)]
    pub(crate) no_blobs: bool,
}

/// `wctl cluster snapshot restore`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The snapshot
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The settings of the control plane, as weir-control takes them, after `--`
    #[arg(last = true, value_name = "SETTING")]
    pub(crate) settings: Vec<String>,
}
