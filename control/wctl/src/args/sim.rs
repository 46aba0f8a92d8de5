use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What `wctl sim --help` adds to the flags.
const FILES: &str = "\
nodes.toml describes machines in groups, and quotas of namespaces:
  [[node]]
  name = \"web\"                      # machines are web-0, web-1, …; default node
  count = 40                         # default 1
  cpu = 16                           # cores
  memory = \"64GiB\"
  lanes = 1024                       # most tasks at one time; default 1024
  attributes = { zone = \"a\" }
  [[quota]]
  namespace = \"web\"
  weight = 100                       # share of what is scarce, 1 to 1000; default 100
  cpu = 200                          # of production tasks; also memory, running

trace.jsonl has one run a line; only job and, unless it is a service or system job, duration are required:
  {\"at\":60, \"job\":\"index\", \"namespace\":\"search\", \"kind\":\"batch\", \"tier\":\"production\", \"priority\":50,
   \"count\":200, \"max_running\":50, \"cpu\":0.5, \"memory\":\"1GiB\", \"duration\":{\"mean\":120,\"sigma\":0.8},
   \"usage\":{\"cpu\":0.4,\"memory\":0.7}, \"constraints\":[\"zone in [a, b]\"], \"spread\":\"zone\", \"max_per_node\":2,
   \"pool\":\"gpu\", \"after\":[\"extract\"]}
  at and durations are seconds; kinds are batch, function, service and system; a duration is a number, a list,
  {min, max}, {mean} or {mean, sigma}; usage says which part of what they reserve tasks really use.

docs/SIMULATOR.md has the rest.";

/// `wctl sim`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, after_help = FILES)]
pub(crate) struct SimArgs {
    #[command(subcommand)]
    pub(crate) command: Option<SimCommand>,
    /// The cluster, as TOML
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) nodes: Option<PathBuf>,
    /// The runs, as a JSON object a line
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) workload: Option<PathBuf>,
    /// Fill nodes evenly, or one after the other
    #[arg(long, value_enum, default_value_t)]
    pub(crate) placement: PlacementArg,
    /// Seed of all that is drawn; the same seed gives the same report
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How long a transaction of the store takes
    #[arg(long, value_name = "DURATION", default_value = "1ms")]
    pub(crate) commit_delay: String,
    /// When the simulation ends [default: when all work that ends by itself has ended]
    #[arg(long, value_name = "DURATION")]
    pub(crate) until: Option<String>,
    /// Simulate the same without revocable work as well, and say what it adds
    #[arg(long)]
    pub(crate) compare: bool,
}

/// How nodes are filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlacementArg {
    /// Evenly
    #[default]
    Spread,
    /// One after the other, so that others stay empty
    Pack,
}

/// `wctl sim …`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SimCommand {
    /// Turn tables of a public trace into a workload (batch_task.csv) or nodes (machine_meta.csv), on stdout
    Convert(ConvertArgs),
}

/// `wctl sim convert`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConvertArgs {
    /// Whose trace it is
    #[arg(long = "format", value_enum)]
    pub(crate) trace_format: TraceFormat,
    /// The table, in one or more parts
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Memory of the largest machine, of which the trace gives parts
    #[arg(long, value_name = "SIZE", default_value = "512GiB")]
    pub(crate) largest_memory: String,
}

/// A public trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TraceFormat {
    /// Alibaba's cluster-trace-v2018
    #[value(name = "alibaba-2018")]
    Alibaba2018,
}
