//! A real etcd of its own, on free ports, with its data in a temporary directory.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Result;

use crate::daemon::{Daemon, free_port};

/// A running etcd.
#[derive(Debug)]
pub struct Etcd {
    data: PathBuf,
    client_port: u16,
    peer_port: u16,
    daemon: Option<Daemon>,
}

impl Etcd {
    /// Whether the machine has an etcd.
    #[must_use]
    pub fn is_installed() -> bool {
        Command::new("etcd").arg("--version").output().is_ok_and(|output| output.status.success())
    }

    /// Starts an etcd with its data below `dir`.
    ///
    /// # Errors
    /// An etcd that does not come up.
    pub fn start(dir: &Path) -> Result<Self> {
        let mut etcd =
            Self { data: dir.join("etcd"), client_port: free_port()?, peer_port: free_port()?, daemon: None };
        etcd.restart()?;
        Ok(etcd)
    }

    /// Reserves ports for an etcd that is started later.
    ///
    /// # Errors
    /// No free ports.
    pub fn stopped(dir: &Path) -> Result<Self> {
        Ok(Self { data: dir.join("etcd"), client_port: free_port()?, peer_port: free_port()?, daemon: None })
    }

    /// The URL for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Daemon::pid)
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    /// It cannot be ended.
    pub fn kill9(&mut self) -> Result<()> {
        self.daemon.take().map_or(Ok(()), |mut daemon| daemon.kill9())
    }

    /// Starts it again on the same ports and data.
    ///
    /// # Errors
    /// An etcd that does not come up.
    pub fn restart(&mut self) -> Result<()> {
        let client = self.url();
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let mut command = Command::new("etcd");
        command.arg("--name=weir").arg(format!("--data-dir={}", self.data.display()));
        command.arg(format!("--listen-client-urls={client}")).arg(format!("--advertise-client-urls={client}"));
        command.arg(format!("--listen-peer-urls={peer}")).arg(format!("--initial-advertise-peer-urls={peer}"));
        command.arg(format!("--initial-cluster=weir={peer}")).arg("--log-level=info");
        let mut daemon = Daemon::start("etcd", &mut command)?;
        daemon
            .wait_for_line(&["ready to serve client requests", "serving insecure client"], Duration::from_secs(60))?;
        self.daemon = Some(daemon);
        Ok(())
    }
}
