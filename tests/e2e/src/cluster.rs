//! A cluster: etcd (or the embedded store), a control plane, executors; each a process of its own.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{
    binaries,
    daemon::{Daemon, free_port},
    disk::Disk,
    etcd::{Access, Etcd},
    network::Network,
    wctl::Answer,
};

/// Where a cluster keeps its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Store {
    /// A file of the control plane's own.
    #[default]
    Embedded,
    /// A real etcd.
    Etcd,
}

/// How a cluster is started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The store.
    pub store: Store,
    /// Replicas of the control plane beside the first one; they share its blob store.
    pub standbys: usize,
    /// Members of the etcd, which replicate one another; 0 is one.
    pub etcd_members: usize,
    /// Lead what the control plane says to etcd and to executors through a [`Network`] that can be cut.
    pub network: bool,
    /// The number of executors.
    pub executors: usize,
    /// Executors that may be started later.
    pub spare: usize,
    /// What each executor offers, in cores and as a size; all of the machine where none is given.
    pub offer: Option<(&'static str, &'static str)>,
    /// Directories that the executors publish, by name.
    pub publish: Vec<(String, PathBuf)>,
    /// The same, but of each executor the directory of its name in there.
    pub publish_own: Vec<(String, PathBuf)>,
    /// Further arguments of each replica of the control plane.
    pub control_args: Vec<String>,
    /// Further arguments of each executor.
    pub executor_args: Vec<String>,
    /// Environment of the daemons, beside that of the test.
    pub environment: Vec<(String, String)>,
    /// A directory that gets all logs as files.
    pub logs: Option<PathBuf>,
}

/// A running cluster; everything ends when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// Before the directory that they are mounted in, which is removed when they are gone.
    disks: Vec<(PathBuf, Disk)>,
    dir: TempDir,
    options: Options,
    token: String,
    replicas: Vec<Replica>,
    executors: Vec<Option<Daemon>>,
    etcd: Vec<Etcd>,
    etcd_access: Option<Access>,
    network: Option<Network>,
    blobs: Option<PathBuf>,
}

/// One replica of the control plane.
#[derive(Debug)]
struct Replica {
    http_port: u16,
    link_port: u16,
    daemon: Option<Daemon>,
}

impl Replica {
    fn new() -> Result<Self> {
        Ok(Self { http_port: free_port()?, link_port: free_port()?, daemon: None })
    }

    fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.http_port)
    }
}

/// The longest wait for a daemon to be ready; generous, since two cores may be busy with everything else.
const READY: Duration = Duration::from_secs(120);

impl Cluster {
    /// Starts everything and waits until it is ready.
    ///
    /// # Errors
    /// Something does not start; its log is in the error.
    pub fn start(options: &Options) -> Result<Self> {
        let mut cluster = Self::prepare(options)?;
        cluster.start_all()?;
        Ok(cluster)
    }

    /// Starts everything that was prepared and waits until it is ready.
    ///
    /// # Errors
    /// Something does not start; its log is in the error.
    pub fn start_all(&mut self) -> Result<()> {
        if self.options.store == Store::Etcd {
            self.etcd = match self.options.etcd_members {
                0 | 1 => vec![Etcd::start(self.dir.path())?],
                members => Etcd::start_members(self.dir.path(), members)?,
            };
        }
        if self.options.network {
            self.network = Some(self.make_network()?);
        }
        self.start_control()?;
        for standby in 1..=self.options.standbys {
            self.start_standby(standby)?;
        }
        for executor in 0..self.options.executors {
            self.start_executor(executor)?;
        }
        Ok(())
    }

    /// Gives the control plane and each executor a small disk for its directory, where the machine allows it; to be called
    /// before anything is started. Gives whether it does.
    ///
    /// # Errors
    /// A directory cannot be made.
    pub fn mount_disks(&mut self, mib: u32) -> Result<bool> {
        let executors = (0..self.executors.len()).map(|executor| self.executor_dir(executor));
        for dir in [self.control_dir()].into_iter().chain(executors).collect::<Vec<_>>() {
            match Disk::mount(&dir, mib)? {
                Some(disk) => self.disks.push((dir, disk)),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The small disk that is mounted on a directory.
    #[must_use]
    pub fn disk(&self, dir: &Path) -> Option<&Disk> {
        self.disks.iter().find(|(of, _)| of == dir).map(|(_, disk)| disk)
    }

    /// The directory of all replicas of the control plane.
    #[must_use]
    pub fn control_dir(&self) -> PathBuf {
        self.dir.path().join("control")
    }

    /// The directory of an executor.
    #[must_use]
    pub fn executor_dir(&self, executor: usize) -> PathBuf {
        self.dir.path().join(node_name(executor))
    }

    /// Makes directories, certificates and ports; starts nothing.
    ///
    /// # Errors
    /// `wctl cluster init` does not succeed.
    pub fn prepare(options: &Options) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("weir-e2e-").tempdir().context("make a temporary directory")?;
        let mut init = Command::new(binaries::program("wctl")?);
        init.args(["cluster", "init"]).arg(dir.path().join("pki")).args(["--name", "e2e", "--host", "127.0.0.1"]);
        for executor in 0..(options.executors + options.spare).max(1) {
            init.arg("--node").arg(node_name(executor));
        }
        let token = Answer::of(&mut init, b"")?.expect(0)?.text().trim().to_owned();
        Ok(Self {
            disks: Vec::new(),
            dir,
            options: options.clone(),
            token,
            replicas: (0..=options.standbys).map(|_| Replica::new()).collect::<Result<_>>()?,
            executors: (0..options.executors + options.spare).map(|_| None).collect(),
            etcd: Vec::new(),
            etcd_access: None,
            network: None,
            blobs: None,
        })
    }

    fn make_network(&self) -> Result<Network> {
        let members: Vec<u16> = self.etcd.iter().map(Etcd::client_port).collect();
        let links: Vec<u16> = self.replicas.iter().map(|replica| replica.link_port).collect();
        Network::start(&members, &links, self.executors.len())
    }

    /// Uses this etcd, which need not run yet.
    pub fn set_etcd(&mut self, etcd: Etcd) {
        self.etcd = vec![etcd];
    }

    /// Reaches the etcd in this way, and not as it would have it.
    pub fn set_etcd_access(&mut self, access: Access) {
        self.etcd_access = Some(access);
    }

    /// Keeps the blob store in this directory.
    pub fn set_blobs(&mut self, dir: PathBuf) {
        self.blobs = Some(dir);
    }

    /// The directory of the blob store.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.blobs.clone().unwrap_or_else(|| self.control_dir().join("blobs"))
    }

    /// The temporary directory of the cluster.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The address of the HTTP API of the first replica.
    #[must_use]
    pub fn address(&self) -> String {
        self.replicas[0].address()
    }

    /// The address of the HTTP API of a replica.
    #[must_use]
    pub fn address_of(&self, replica: usize) -> String {
        self.replicas[replica].address()
    }

    /// The address of the link to executors of the first replica.
    #[must_use]
    pub fn link_address(&self) -> String {
        format!("127.0.0.1:{}", self.replicas[0].link_port)
    }

    /// The replica that leads, as the cluster says.
    ///
    /// # Errors
    /// No replica answers.
    pub fn leader(&self) -> Result<Option<usize>> {
        let info = self.wctl(["cluster", "info", "-o", "json"])?.expect(0)?.json()?;
        let leader = info.get("leader").and_then(serde_json::Value::as_str);
        Ok(self.replicas.iter().position(|replica| leader == Some(replica.address().as_str())))
    }

    /// The admin token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The certificate of the cluster's authority.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn ca_pem(&self) -> Result<Vec<u8>> {
        std::fs::read(self.pki("ca.pem")).context("read ca.pem")
    }

    /// A file that `wctl cluster init` wrote.
    #[must_use]
    pub fn pki(&self, file: &str) -> PathBuf {
        self.dir.path().join("pki").join(file)
    }

    /// The URL of the cluster's etcd.
    #[must_use]
    pub fn etcd_url(&self) -> Option<String> {
        self.etcd.first().map(Etcd::url)
    }

    /// The etcd.
    ///
    /// # Panics
    /// On a cluster without one.
    pub fn etcd_mut(&mut self) -> &mut Etcd {
        self.member_mut(0)
    }

    /// A member of the etcd; 0 is the first one.
    ///
    /// # Panics
    /// On a cluster without one.
    pub fn member_mut(&mut self, member: usize) -> &mut Etcd {
        self.etcd.get_mut(member).expect("the cluster was started on etcd")
    }

    /// What can be cut.
    ///
    /// # Panics
    /// On a cluster that was started without.
    #[must_use]
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("the cluster was started with a network")
    }

    /// The control plane; of several replicas, the first one.
    ///
    /// # Panics
    /// While it is not started.
    pub fn control_mut(&mut self) -> &mut Daemon {
        self.replica_mut(0)
    }

    /// A replica of the control plane; 0 is the first one.
    ///
    /// # Panics
    /// While it is not started.
    pub fn replica_mut(&mut self, replica: usize) -> &mut Daemon {
        self.replicas[replica].daemon.as_mut().expect("the replica was started")
    }

    /// An executor.
    ///
    /// # Panics
    /// While it is not started.
    pub fn executor_mut(&mut self, executor: usize) -> &mut Daemon {
        self.executors[executor].as_mut().expect("the executor was started")
    }

    /// All processes by role.
    #[must_use]
    pub fn pids(&self) -> Vec<(&'static str, u32)> {
        let etcd = self.etcd.iter().filter_map(Etcd::pid).map(|pid| ("etcd", pid));
        let control = self.replicas.iter().filter_map(|replica| replica.daemon.as_ref());
        let control = control.map(|daemon| ("control", daemon.pid()));
        let executors = self.executors.iter().flatten().map(|daemon| ("executor", daemon.pid()));
        etcd.chain(control).chain(executors).collect()
    }

    /// The command that starts the control plane; of several replicas, the first one.
    ///
    /// # Errors
    /// The program is missing.
    pub fn control_command(&self) -> Result<Command> {
        self.replica_command(0)
    }

    /// The command that starts a replica of the control plane.
    ///
    /// # Errors
    /// The program is missing.
    pub fn replica_command(&self, replica: usize) -> Result<Command> {
        let Replica { http_port, link_port, .. } = &self.replicas[replica];
        let mut command = Command::new(binaries::program("weir-control")?);
        command.args(["--cluster", "e2e"]);
        command.arg("--identity").arg(self.pki("control"));
        command.arg("--data-dir").arg(self.control_dir());
        command.arg("--listen-http").arg(format!("127.0.0.1:{http_port}"));
        command.arg("--listen-quic").arg(format!("127.0.0.1:{link_port}"));
        command.args(&self.options.control_args);
        if let Some(blobs) = &self.blobs {
            command.arg("--blobs").arg(blobs);
        }
        match self.etcd.first() {
            Some(etcd) => {
                let mut access = self.etcd_access.clone().unwrap_or_else(|| etcd.access());
                if let Some(network) = &self.network {
                    access.endpoints = network.etcd_urls(replica);
                }
                access.add_to(&mut command);
            }
            None => drop(command.arg("--embedded").arg(self.dir.path().join("store"))),
        }
        Ok(command)
    }

    /// Starts the control plane without waiting for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn_control(&mut self) -> Result<&mut Daemon> {
        self.spawn_replica(0)
    }

    /// Starts a replica of the control plane, or starts it again, without waiting for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn_replica(&mut self, replica: usize) -> Result<&mut Daemon> {
        let daemon = self.daemon(&format!("weir-control-{replica}"), &mut self.replica_command(replica)?)?;
        Ok(self.replicas[replica].daemon.insert(daemon))
    }

    fn daemon(&self, name: &str, command: &mut Command) -> Result<Daemon> {
        command.envs(self.options.environment.iter().map(|(name, value)| (name, value)));
        Daemon::start_logged(name, command, self.options.logs.as_deref())
    }

    /// Starts another replica, or starts it again, and waits until it knows who leads.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn start_standby(&mut self, replica: usize) -> Result<()> {
        self.spawn_replica(replica)?.wait_for_line(&["another replica leads", "leading"], READY).map(drop)
    }

    /// Starts the control plane, or starts it again, and waits until it leads.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn start_control(&mut self) -> Result<()> {
        self.spawn_control()?.wait_for_line(&["leading"], READY)?;
        Ok(())
    }

    /// The command that starts an executor.
    ///
    /// # Errors
    /// The program is missing.
    pub fn executor_command(&self, executor: usize) -> Result<Command> {
        let name = node_name(executor);
        let mut command = Command::new(binaries::program("weir-executor")?);
        let identity = self.pki("nodes").join(&name);
        for (number, replica) in self.replicas.iter().enumerate() {
            let relay = self.network.as_ref().map(|network| network.link_port(executor, number));
            command.arg("--control").arg(format!("127.0.0.1:{}", relay.unwrap_or(replica.link_port)));
        }
        command.arg("--ca").arg(identity.join("ca.pem"));
        command.arg("--cert").arg(identity.join("executor.pem"));
        command.arg("--key").arg(identity.join("executor.key"));
        command.arg("--data-dir").arg(self.executor_dir(executor));
        if let Some((cpus, memory)) = self.options.offer {
            command.args(["--cpus", cpus, "--memory", memory]);
        }
        command.args(&self.options.executor_args);
        let own = self.options.publish_own.iter().map(|(shown, dir)| (shown, dir.join(&name)));
        for (shown, dir) in self.options.publish.iter().map(|(shown, dir)| (shown, dir.clone())).chain(own) {
            command.arg("--publish").arg(format!("{shown}={}", dir.display()));
        }
        Ok(command)
    }

    /// Gives executors that are started from here on other further arguments.
    pub fn set_executor_args(&mut self, args: &[&str]) {
        self.options.executor_args = args.iter().map(ToString::to_string).collect();
    }

    /// Gives daemons that are started from here on another environment.
    pub fn set_environment(&mut self, environment: &[(String, String)]) {
        self.options.environment = environment.to_vec();
    }

    /// Starts an executor, or starts it again, and waits until it has joined.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn start_executor(&mut self, executor: usize) -> Result<()> {
        self.spawn_executor(executor)?.wait_for_line(&["joined"], READY).map(drop)
    }

    /// Starts an executor, or starts it again, without waiting for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn_executor(&mut self, executor: usize) -> Result<&mut Daemon> {
        let daemon = self.daemon(&node_name(executor), &mut self.executor_command(executor)?)?;
        Ok(self.executors[executor].insert(daemon))
    }

    /// A `wctl` command against this cluster, with its address, CA and token.
    ///
    /// # Errors
    /// The program is missing.
    pub fn wctl_command<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Command> {
        let mut command = Command::new(binaries::program("wctl")?);
        command.env_remove("WCTL_NAMESPACE").env_remove("WCTL_CONTEXT").env("HOME", self.dir.path());
        let addresses: Vec<String> = self.replicas.iter().map(Replica::address).collect();
        command.env("WCTL_ADDR", addresses.join(",")).env("WCTL_TOKEN", &self.token).env("WCTL_CA", self.pki("ca.pem"));
        command.current_dir(self.dir.path()).args(arguments);
        Ok(command)
    }

    /// Has etcd do something over a connection of its own.
    ///
    /// # Errors
    /// A cluster without etcd, or what etcd says.
    pub fn ask_etcd<T>(
        &self,
        question: impl AsyncFnOnce(etcd_client::Client) -> Result<T, etcd_client::Error>,
    ) -> Result<T> {
        let url = self.etcd_url().context("the cluster has no etcd")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let asked = async { question(etcd_client::Client::connect([url], None).await?).await };
        runtime.block_on(asked).context("ask etcd")
    }

    /// Runs `wctl` against this cluster.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn wctl<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Answer> {
        Answer::of(&mut self.wctl_command(arguments)?, b"")
    }

    /// The last lines of every daemon's log, for the message of a failed test.
    #[must_use]
    pub fn logs(&self) -> String {
        let replicas = self.replicas.iter().filter_map(|replica| replica.daemon.as_ref());
        let daemons = replicas.chain(self.executors.iter().flatten());
        daemons.map(|daemon| format!("{daemon:?}\n{}", daemon.tail(30))).collect()
    }
}

/// Runs a test on a cluster with a real etcd; where there is none, the test is counted as skipped.
///
/// # Panics
/// The test fails; what the daemons wrote last is in the message.
pub fn on_etcd(test: &str, options: Options, run: impl FnOnce(&mut Cluster) -> Result<()>) {
    if !Etcd::is_installed() {
        return crate::skip::note(test, "etcd is not installed");
    }
    let mut cluster = Cluster::start(&Options { store: Store::Etcd, ..options }).expect("the cluster starts");
    if let Err(error) = run(&mut cluster) {
        panic!("{test}: {error:?}\n{}", cluster.logs());
    }
}

/// The name of an executor by number.
#[must_use]
pub fn node_name(executor: usize) -> String {
    format!("node-{}", executor + 1)
}
