//! Flags and environment.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    net::SocketAddr,
    path::PathBuf,
};

use anyhow::Context;
use clap::CommandFactory;

use super::{
    Config, Problem,
    setting::{CpuCount, Isolation, Size, Span},
};

/// What the name of each variable begins with.
const PREFIX: &str = "WEIR_EXECUTOR_";
/// Largest configuration file read, bytes.
const FILE_LEN_MAX: u64 = 1 << 20;

/// Runs tasks of a weir cluster on this machine.
#[derive(Debug, Default, clap::Parser)]
#[command(name = "weir-executor", version)]
pub struct Args {
    /// Read settings from this TOML file; flags and environment go over it
    #[arg(long, env = "WEIR_EXECUTOR_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address of a control-plane replica (repeatable)
    #[arg(long, env = "WEIR_EXECUTOR_CONTROL", value_name = "HOST:PORT", value_delimiter = ',')]
    pub control: Vec<String>,
    /// Certificate of the cluster's authority
    #[arg(long, env = "WEIR_EXECUTOR_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Certificate of this node
    #[arg(long, env = "WEIR_EXECUTOR_CERT", value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Private key of this node
    #[arg(long, env = "WEIR_EXECUTOR_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Directory of the executor's own data [default: /var/lib/weir/executor]
    #[arg(long, env = "WEIR_EXECUTOR_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// CPUs offered to tasks [default: all]
    #[arg(long, env = "WEIR_EXECUTOR_CPUS", value_name = "N")]
    pub cpus: Option<CpuCount>,
    /// Memory offered to tasks [default: what there is, less a tenth]
    #[arg(long, env = "WEIR_EXECUTOR_MEMORY", value_name = "SIZE")]
    pub memory: Option<Size>,
    /// Threads that run guests [default: one for each CPU]
    #[arg(long, env = "WEIR_EXECUTOR_WORKERS", value_name = "N")]
    pub workers: Option<usize>,
    /// Run guests in processes of their own or on threads of the daemon [default: process]
    #[arg(long, env = "WEIR_EXECUTOR_ISOLATION", value_name = "WHERE")]
    pub isolation: Option<Isolation>,
    /// Processes that share the workers, with --isolation process [default: one for each worker]
    #[arg(long, env = "WEIR_EXECUTOR_WORKER_PROCESSES", value_name = "N")]
    pub worker_processes: Option<usize>,
    /// Namespaces whose guests share worker processes with nobody: names, or beginnings that end in * (repeatable)
    #[arg(long, env = "WEIR_EXECUTOR_APART", value_name = "NAMESPACE", value_delimiter = ',')]
    pub apart: Vec<String>,
    /// Attempts that one worker holds at a time [default: 64]
    #[arg(long, env = "WEIR_EXECUTOR_LANES_PER_WORKER", value_name = "N")]
    pub lanes_per_worker: Option<u32>,
    /// Time for running attempts after SIGTERM [default: 30s]
    #[arg(long, env = "WEIR_EXECUTOR_GRACE", value_name = "TIME")]
    pub grace: Option<Span>,
    /// Bytes of modules and payloads kept on disk [default: 4GiB]
    #[arg(long, env = "WEIR_EXECUTOR_BLOB_CACHE", value_name = "SIZE")]
    pub blob_cache: Option<Size>,
    /// Bytes of compiled modules kept on disk [default: 8GiB]
    #[arg(long, env = "WEIR_EXECUTOR_COMPILE_CACHE", value_name = "SIZE")]
    pub compile_cache: Option<Size>,
    /// Address space that compiling one module may take [default: 4GiB]
    #[arg(long, env = "WEIR_EXECUTOR_COMPILE_MEMORY", value_name = "SIZE")]
    pub compile_memory: Option<Size>,
    /// CPU time that compiling one module may take [default: 5m]
    #[arg(long, env = "WEIR_EXECUTOR_COMPILE_CPU", value_name = "TIME")]
    pub compile_cpu: Option<Span>,
    /// Time by the clock that compiling one module may take [default: 10m]
    #[arg(long, env = "WEIR_EXECUTOR_COMPILE_TIMEOUT", value_name = "TIME")]
    pub compile_timeout: Option<Span>,
    /// Bytes of payloads kept in memory [default: 512MiB]
    #[arg(long, env = "WEIR_EXECUTOR_PAYLOAD_MEMORY", value_name = "SIZE")]
    pub payload_memory: Option<Size>,
    /// Serve /metrics and /healthz on this loopback address
    #[arg(long, env = "WEIR_EXECUTOR_METRICS", value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,
    /// Publish a directory to jobs (repeatable)
    #[arg(long, env = "WEIR_EXECUTOR_PUBLISH", value_name = "NAME=DIR", value_delimiter = ',')]
    pub publish: Vec<String>,
    /// Publish a directory that jobs may change (repeatable)
    #[arg(long, env = "WEIR_EXECUTOR_PUBLISH_WRITABLE", value_name = "NAME=DIR", value_delimiter = ',')]
    pub publish_writable: Vec<String>,
    /// Offer scratch directories to jobs; they count as memory
    #[arg(long, env = "WEIR_EXECUTOR_SCRATCH")]
    pub scratch: bool,
    /// Let jobs connect there over TCP, if they name it: `public`, an address, a prefix (repeatable)
    #[arg(long, env = "WEIR_EXECUTOR_NETWORK", value_name = "WHERE", value_delimiter = ',')]
    pub network: Vec<String>,
    /// Label for placement (repeatable)
    #[arg(long, env = "WEIR_EXECUTOR_LABEL", value_name = "KEY=VALUE", value_delimiter = ',')]
    pub label: Vec<String>,
    /// Speak no newer wire version with the control plane [default: the newest one]
    #[arg(long, env = "WEIR_EXECUTOR_WIRE_MAX", value_name = "N")]
    pub wire_max: Option<u32>,
    /// Write the log as JSON
    #[arg(long, env = "WEIR_EXECUTOR_LOG_JSON")]
    pub log_json: bool,
    /// Show the resulting configuration and exit
    #[arg(long)]
    pub print_config: bool,
}

impl Args {
    /// Puts these settings over those of the file, and checks all of them.
    ///
    /// # Errors
    /// A file that cannot be read or understood, a variable that is no setting, or a [`Problem`] with a setting.
    pub fn resolve(&self) -> anyhow::Result<Config> {
        check_variables(std::env::vars_os().map(|(name, _)| name))?;
        let mut config = match &self.config {
            Some(path) => read(path)?,
            None => Config::default(),
        };
        self.apply(&mut config)?;
        config.validate()?;
        Ok(config)
    }

    fn apply(&self, config: &mut Config) -> Result<(), Problem> {
        fn set<T: Clone>(target: &mut T, source: Option<&T>) {
            if let Some(source) = source {
                target.clone_from(source);
            }
        }
        if !self.control.is_empty() {
            config.control.clone_from(&self.control);
        }
        if !self.apart.is_empty() {
            config.apart.clone_from(&self.apart);
        }
        set(&mut config.ca, self.ca.as_ref());
        set(&mut config.cert, self.cert.as_ref());
        set(&mut config.key, self.key.as_ref());
        set(&mut config.data_dir, self.data_dir.as_ref());
        set(&mut config.lanes_per_worker, self.lanes_per_worker.as_ref());
        set(&mut config.grace, self.grace.as_ref());
        set(&mut config.blob_cache, self.blob_cache.as_ref());
        set(&mut config.compile_cache, self.compile_cache.as_ref());
        set(&mut config.compile_memory, self.compile_memory.as_ref());
        set(&mut config.compile_cpu, self.compile_cpu.as_ref());
        set(&mut config.compile_timeout, self.compile_timeout.as_ref());
        set(&mut config.payload_memory, self.payload_memory.as_ref());
        config.cpus = self.cpus.or(config.cpus);
        config.memory = self.memory.or(config.memory);
        set(&mut config.isolation, self.isolation.as_ref());
        config.worker_processes = self.worker_processes.or(config.worker_processes);
        config.workers = self.workers.or(config.workers);
        config.wire_max = self.wire_max.or(config.wire_max);
        config.metrics = self.metrics.or(config.metrics);
        let writable = pairs("publish_writable", &self.publish_writable)?;
        config.publish_writable.extend(writable.into_iter().map(|(name, dir)| (name, dir.into())));
        config.publish.extend(pairs("publish", &self.publish)?.into_iter().map(|(name, dir)| (name, dir.into())));
        config.scratch |= self.scratch;
        config.network.extend(self.network.iter().cloned());
        config.labels.extend(pairs("label", &self.label)?);
        Ok(())
    }
}

/// Refuses the names with the prefix that no flag reads: a misspelt one would otherwise change nothing.
fn check_variables(names: impl Iterator<Item = OsString>) -> Result<(), Problem> {
    let command = Args::command();
    let known = |name: &OsStr| command.get_arguments().any(|arg| arg.get_env() == Some(name));
    for name in names {
        if name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) && !known(&name) {
            let why = "no setting has this environment variable; --help shows those that there are".to_owned();
            return Err(Problem { key: name.to_string_lossy().into_owned(), why });
        }
    }
    Ok(())
}

fn read(path: &PathBuf) -> anyhow::Result<Config> {
    let what = || format!("read the configuration {}", path.display());
    let len = std::fs::metadata(path).with_context(what)?.len();
    anyhow::ensure!(len <= FILE_LEN_MAX, "{}: it is longer than {FILE_LEN_MAX} bytes", what());
    let text = std::fs::read_to_string(path).with_context(what)?;
    toml::from_str(&text).map_err(|error| Problem { key: path.display().to_string(), why: error.to_string() }.into())
}

fn pairs(key: &str, texts: &[String]) -> Result<BTreeMap<String, String>, Problem> {
    let pair = |text: &String| {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| Problem { key: key.to_owned(), why: format!("{text:?} is not NAME=VALUE") })?;
        Ok((name.to_owned(), value.to_owned()))
    };
    texts.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn resolve(file: &str, flags: &[&str]) -> anyhow::Result<Config> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("executor.toml");
        std::fs::write(&path, file).expect("written");
        let path = path.to_str().expect("UTF-8");
        let args = ["weir-executor", "--config", path].into_iter().chain(flags.iter().copied());
        Args::try_parse_from(args).expect("flags").resolve()
    }

    const FILE: &str = "control = ['a:1']\nca = '/ca'\ncert = '/c'\nkey = '/k'\nmemory = '2GiB'\ncpus = 1.5\napart = ['a']\n\
                        [publish]\ncorpus = '/srv/corpus'\n[labels]\nzone = 'a'\n";

    #[test]
    fn flags_go_over_the_file() {
        let config = resolve(FILE, &["--memory", "1GiB", "--label", "zone=b", "--label", "rack=7"]).expect("usable");
        assert_eq!((config.memory, config.cpus), (Some(Size(1 << 30)), Some(CpuCount(1500))));
        assert_eq!(
            config.labels.into_iter().collect::<Vec<_>>(),
            [("rack".into(), "7".into()), ("zone".into(), "b".into())]
        );
        assert_eq!(config.publish["corpus"], PathBuf::from("/srv/corpus"));
        assert_eq!(config.apart, ["a"]);
        let config = resolve(FILE, &["--apart", "b,team-*", "--apart", "c"]).expect("usable");
        assert_eq!(config.apart, ["b", "team-*", "c"]);
    }

    #[test]
    fn unknown_keys_and_bad_values_are_errors() {
        for (file, part) in [
            ("controll = ['a:1']", "controll"),
            ("memory = '64MB'", "64MB"),
            ("[labels]\nzone = 7", "zone"),
            ("grace = ", "grace"),
        ] {
            let error = resolve(file, &[]).expect_err(file);
            assert!(error.is::<Problem>() && format!("{error:#}").contains(part), "{error:#}");
        }
        assert!(resolve(FILE, &["--publish", "nodir"]).is_err());
        let error = resolve(FILE, &["--isolation", "in_process"]).expect_err("namespaces cannot be kept apart");
        assert!(error.to_string().contains("apart"), "{error:#}");
    }

    #[test]
    fn unknown_variables_with_the_prefix_are_errors() {
        let check = |names: &[&str]| check_variables(names.iter().map(OsString::from)).map_err(|problem| problem.key);
        let good = ["PATH", "WEIR_CONTROL_X", "WEIR_EXECUTOR_CONTROL", "WEIR_EXECUTOR_LOG_JSON", "WEIR_EXECUTOR"];
        assert_eq!(check(&good), Ok(()));
        for bad in ["WEIR_EXECUTOR_BOGUS", "WEIR_EXECUTOR_", "WEIR_EXECUTOR_control"] {
            assert_eq!(check(&["PATH", bad]), Err(bad.to_owned()));
        }
    }

    #[test]
    fn the_flags_make_a_valid_command() {
        Args::command().debug_assert();
    }
}
