//! The configuration: a file, the environment over it, flags over both; checked once, before anything is opened.

mod args;
mod setting;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use weir_sandbox::{Apart, Helper, NetworkPolicy};
use weir_wire::{
    limits::NODE_ATTRIBUTES_MAX,
    message::{WIRE_MAX, WIRE_MIN},
};

pub use args::Args;
pub use setting::{CpuCount, Isolation, Size, Span};

/// Most lanes of one worker: each reserves 8 GiB of address space.
const LANES_PER_WORKER_MAX: u32 = 1024;
/// Most workers.
const WORKERS_MAX: usize = 512;
/// Most published directories: each is an attribute of the node.
const PUBLISH_MAX: usize = 24;
/// Least address space in which the compiler can begin.
const COMPILE_MEMORY_MIN: u64 = 64 << 20;
/// Least time to compile in: the kernel counts CPU time in whole seconds.
const COMPILE_TIME_MIN: Duration = Duration::from_secs(1);
/// Most addresses of the control plane.
const CONTROL_MAX: usize = 16;

/// The settings of an executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Addresses of the control plane's replicas, `host:port`; 1 to 16. No default.
    pub control: Vec<String>,
    /// The certificate of the cluster's authority, PEM. No default.
    pub ca: PathBuf,
    /// This node's certificate, PEM; it names cluster and node. No default.
    pub cert: PathBuf,
    /// Its private key, PEM. No default.
    pub key: PathBuf,
    /// Where the executor keeps its incarnation and caches. Default `/var/lib/weir/executor`.
    pub data_dir: PathBuf,
    /// What it offers of the machine's CPUs, for example `1.5`. Default: all that it may use.
    pub cpus: Option<CpuCount>,
    /// What it offers of memory. Default: what the machine or its control group has, less a tenth, at least 256 MiB.
    pub memory: Option<Size>,
    /// Threads that run guests, 1 to 512. Default: one for each CPU offered.
    pub workers: Option<usize>,
    /// Where guests run: `process` or `in_process`. Default `process`.
    pub isolation: Isolation,
    /// What is started to compile modules and to run guests in processes of its own. Default: this program, whose `main`
    /// then has to call [`crate::run_helper`] first. Not a setting of files.
    #[serde(skip, default = "Helper::this_program")]
    pub helper: Helper,
    /// With `isolation = "process"`, how many processes share the workers, 1 up to their number. Default: one for each.
    pub worker_processes: Option<usize>,
    /// With `isolation = "process"`, namespaces whose guests share worker processes with nobody: names, and beginnings of
    /// names that end in `*`; `["*"]` is all. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub apart: Vec<String>,
    /// Attempts that one worker holds at a time, 1 to 1024. Default 64.
    pub lanes_per_worker: u32,
    /// How long running attempts may take after a request to end. Default `30s`.
    pub grace: Span,
    /// Most bytes of modules and payloads kept on disk. Default `4GiB`.
    pub blob_cache: Size,
    /// Most bytes of compiled modules kept on disk. Default `8GiB`.
    pub compile_cache: Size,
    /// Address space that compiling one module may take, at least 64 MiB. Default `4GiB`.
    pub compile_memory: Size,
    /// CPU time that compiling one module may take, at least 1 s. Default `5m`.
    pub compile_cpu: Span,
    /// Time by the clock that compiling one module may take, at least 1 s. Default `10m`.
    pub compile_timeout: Span,
    /// Most bytes of payloads kept in memory. Default `512MiB`.
    pub payload_memory: Size,
    /// A loopback address for `/metrics` and `/healthz`. Default: none.
    pub metrics: Option<SocketAddr>,
    /// Directories that jobs may ask for, by name.
    pub publish: BTreeMap<String, PathBuf>,
    /// Directories that jobs may change, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub publish_writable: BTreeMap<String, PathBuf>,
    /// Whether jobs may have scratch directories, below `data_dir`; they count as memory. Default `false`.
    pub scratch: bool,
    /// Where jobs may connect over TCP, if they name it: `public`, addresses, prefixes. Default: nowhere.
    pub network: Vec<String>,
    /// The newest wire version that it speaks with the control plane, while an upgrade is tried. Default: the newest one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire_max: Option<u32>,
    /// Labels for placement, over the facts that are found out (arch, os, cpus, kernel, hostname, version).
    pub labels: BTreeMap<String, String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            control: Vec::new(),
            ca: PathBuf::new(),
            cert: PathBuf::new(),
            key: PathBuf::new(),
            data_dir: "/var/lib/weir/executor".into(),
            cpus: None,
            memory: None,
            workers: None,
            helper: Helper::this_program(),
            isolation: Isolation::Process,
            worker_processes: None,
            apart: Vec::new(),
            lanes_per_worker: 64,
            grace: Span(Duration::from_secs(30)),
            blob_cache: Size(4 << 30),
            compile_cache: Size(8 << 30),
            compile_memory: Size(4 << 30),
            compile_cpu: Span(Duration::from_mins(5)),
            compile_timeout: Span(Duration::from_mins(10)),
            payload_memory: Size(512 << 20),
            metrics: None,
            publish: BTreeMap::new(),
            publish_writable: BTreeMap::new(),
            scratch: false,
            network: Vec::new(),
            wire_max: None,
            labels: BTreeMap::new(),
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use the setting {key}: {why}")]
pub struct Problem {
    /// The setting.
    pub key: String,
    /// Why it cannot be used, and what can.
    pub why: String,
}

impl Config {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// The first setting that is missing or out of range.
    pub fn validate(&self) -> Result<(), Problem> {
        let given = |path: &PathBuf| !path.as_os_str().is_empty();
        let workers = self.workers.is_none_or(|workers| (1..=WORKERS_MAX).contains(&workers));
        let processes = self.worker_processes.is_none_or(|n| (1..=self.workers.unwrap_or(WORKERS_MAX)).contains(&n));
        let loopback = self.metrics.is_none_or(|addr| addr.ip().is_loopback());
        let checks = [
            ((1..=CONTROL_MAX).contains(&self.control.len()), "control", "give 1 to 16 addresses, host:port"),
            (given(&self.ca), "ca", "give the file of the cluster's certificate authority"),
            (given(&self.cert), "cert", "give the file of this node's certificate"),
            (given(&self.key), "key", "give the file of this node's private key"),
            (given(&self.data_dir), "data_dir", "give a directory"),
            (self.cpus.is_none_or(|cpus| cpus.0 > 0), "cpus", "it must be more than 0"),
            (self.memory.is_none_or(|size| size.0 >= 1 << 20), "memory", "it must be at least 1MiB"),
            (workers, "workers", "it must be 1 to 512"),
            (processes, "worker_processes", "it must be 1 up to the number of workers"),
            (
                self.apart.is_empty() || self.isolation == Isolation::Process,
                "apart",
                "it needs isolation = \"process\": on threads of the daemon, all guests are in one process",
            ),
            ((1..=LANES_PER_WORKER_MAX).contains(&self.lanes_per_worker), "lanes_per_worker", "it must be 1 to 1024"),
            (self.blob_cache.0 >= 1 << 20, "blob_cache", "it must be at least 1MiB"),
            (self.compile_cache.0 >= 1 << 20, "compile_cache", "it must be at least 1MiB"),
            (self.compile_memory.0 >= COMPILE_MEMORY_MIN, "compile_memory", "it must be at least 64MiB"),
            (self.compile_cpu.0 >= COMPILE_TIME_MIN, "compile_cpu", "it must be at least 1s"),
            (self.compile_timeout.0 >= COMPILE_TIME_MIN, "compile_timeout", "it must be at least 1s"),
            (loopback, "metrics", "it must be a loopback address: the text is not protected"),
            (self.publish.values().all(|path| path.is_absolute()), "publish", "directories must be absolute paths"),
            (
                self.publish_writable.values().all(|path| path.is_absolute()),
                "publish_writable",
                "directories must be absolute paths",
            ),
            (
                self.publish.len() + self.publish_writable.len() <= PUBLISH_MAX,
                "publish",
                "there may be at most 24, those of publish_writable included",
            ),
            (
                !self.publish.keys().any(|name| self.publish_writable.contains_key(name)),
                "publish_writable",
                "a name is that of a directory of `publish` as well",
            ),
            (
                self.wire_max.is_none_or(|wire| (WIRE_MIN..=WIRE_MAX).contains(&wire)),
                "wire_max",
                "it must be a wire version of this release, 1 or 2",
            ),
            (self.labels.len() <= NODE_ATTRIBUTES_MAX / 2, "labels", "there may be at most 32"),
        ];
        if let Some((_, key, why)) = checks.into_iter().find(|(holds, ..)| !holds) {
            return Err(Problem { key: key.to_owned(), why: why.to_owned() });
        }
        self.validate_texts()
    }

    fn validate_texts(&self) -> Result<(), Problem> {
        Apart::new(&self.apart).map_err(|error| Problem { key: "apart".to_owned(), why: error.to_string() })?;
        let addr = |text: &&String| {
            text.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err())
        };
        if let Some(bad) = self.control.iter().find(addr) {
            return Err(Problem { key: "control".to_owned(), why: format!("{bad:?} is not host:port") });
        }
        self.network_policy()?;
        let published = self.publish.keys().map(|name| ("publish", name));
        let writable = self.publish_writable.keys().map(|name| ("publish_writable", name));
        let names = published.chain(writable).chain(self.labels.keys().map(|name| ("labels", name)));
        for (key, name) in names {
            if !is_name(name) {
                let why = format!("{name:?} is not a name: 1 to 63 of a-z, 0-9, '-', '_' and '.'");
                return Err(Problem { key: key.to_owned(), why });
            }
        }
        Ok(())
    }

    /// Where guests may connect.
    ///
    /// # Errors
    /// An entry of `network` that is none.
    pub fn network_policy(&self) -> Result<NetworkPolicy, Problem> {
        NetworkPolicy::parse(&self.network).map_err(|why| Problem { key: "network".to_owned(), why })
    }

    /// The configuration as a file would say it.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
    }
}

fn is_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    (1..=63).contains(&text.len()) && text.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn usable() -> Config {
        let [ca, cert, key] = ["/ca", "/cert", "/key"].map(PathBuf::from);
        Config { control: vec!["c1:4641".into()], ca, cert, key, ..Config::default() }
    }

    #[test]
    fn problems_are_named_by_their_key() {
        type Change = fn(&mut Config);
        let cases: [(Change, &str); 19] = [
            (|c| c.control.clear(), "control"),
            (|c| c.control = vec!["nowhere".into()], "control"),
            (|c| c.control = vec!["h:99999".into()], "control"),
            (|c| c.key = PathBuf::new(), "key"),
            (|c| c.cpus = Some(CpuCount(0)), "cpus"),
            (|c| c.memory = Some(Size(1)), "memory"),
            (|c| c.workers = Some(0), "workers"),
            (|c| (c.workers, c.worker_processes) = (Some(2), Some(3)), "worker_processes"),
            (|c| c.apart = vec!["Team-*".into()], "apart"),
            (|c| (c.apart, c.isolation) = (vec!["*".into()], Isolation::InProcess), "apart"),
            (|c| c.lanes_per_worker = 5000, "lanes_per_worker"),
            (|c| c.wire_max = Some(0), "wire_max"),
            (|c| c.wire_max = Some(WIRE_MAX + 1), "wire_max"),
            (|c| c.compile_memory = Size(1 << 20), "compile_memory"),
            (|c| c.compile_cpu = Span(Duration::ZERO), "compile_cpu"),
            (|c| c.compile_timeout = Span(Duration::from_millis(999)), "compile_timeout"),
            (|c| c.metrics = Some(([0, 0, 0, 0], 9000).into()), "metrics"),
            (|c| drop(c.publish.insert("x".into(), "relative".into())), "publish"),
            (|c| drop(c.labels.insert("Bad Name".into(), String::new())), "labels"),
        ];
        assert_eq!(usable().validate(), Ok(()));
        for (change, key) in cases {
            let mut config = usable();
            change(&mut config);
            assert_eq!(config.validate().map_err(|problem| problem.key), Err(key.to_owned()));
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let config = Config {
            cpus: Some(CpuCount(1500)),
            memory: Some(Size(3 << 29)),
            apart: vec!["payments".to_owned(), "team-*".to_owned()],
            labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
            ..usable()
        };
        assert_eq!(toml::from_str::<Config>(&config.to_toml()), Ok(config));
    }
}
