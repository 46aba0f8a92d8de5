//! A real etcd of its own, on free ports, with its data in a temporary directory.

mod access;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use access::Protection;
pub use access::{Access, PASSWORD, USER};

use crate::daemon::{Daemon, free_port};

/// A running etcd, alone or as a member of several.
#[derive(Debug)]
pub struct Etcd {
    name: String,
    data: PathBuf,
    client_port: u16,
    peer_port: u16,
    /// Names and peer URLs of all members, as etcd wants them; of this one alone where it is empty.
    members: String,
    daemon: Option<Daemon>,
    protection: Option<Protection>,
    quota_bytes: Option<u64>,
}

/// How an etcd gives tokens to those who have logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// It remembers them until it ends.
    Remembered,
    /// It signs them; they expire after this time, in whole seconds, or when users change.
    Signed(Duration),
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
        let mut etcd = Self::stopped(dir)?;
        etcd.restart()?;
        Ok(etcd)
    }

    /// Reserves ports for an etcd that is started later.
    ///
    /// # Errors
    /// No free ports.
    pub fn stopped(dir: &Path) -> Result<Self> {
        Self::named("etcd", dir)
    }

    /// Starts an etcd that takes no more than so many bytes.
    ///
    /// # Errors
    /// An etcd that does not come up.
    pub fn with_quota(dir: &Path, quota_bytes: u64) -> Result<Self> {
        let mut etcd = Self { quota_bytes: Some(quota_bytes), ..Self::stopped(dir)? };
        etcd.restart()?;
        Ok(etcd)
    }

    /// Starts members that replicate one another, with their data below `dir`.
    ///
    /// # Errors
    /// A member that does not come up.
    pub fn start_members(dir: &Path, count: usize) -> Result<Vec<Self>> {
        let members = (1..=count).map(|member| Self::named(&format!("etcd-{member}"), dir));
        let mut members: Vec<Self> = members.collect::<Result<_>>()?;
        let all: Vec<String> = members.iter().map(|member| format!("{}={}", member.name, member.peer_url())).collect();
        for member in &mut members {
            member.members = all.join(",");
            member.spawn()?;
        }
        // None of them is ready before most of them run.
        for member in &mut members {
            member.wait_ready()?;
        }
        Ok(members)
    }

    fn named(name: &str, dir: &Path) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            data: dir.join(name),
            client_port: free_port()?,
            peer_port: free_port()?,
            members: String::new(),
            daemon: None,
            protection: None,
            quota_bytes: None,
        })
    }

    /// Starts an etcd that is reached over TLS with a client certificate; it asks for no user before
    /// [`enable_users`](Self::enable_users).
    ///
    /// # Errors
    /// An etcd that does not come up.
    pub fn with_certificates(dir: &Path, tokens: Tokens) -> Result<Self> {
        let tokens = match tokens {
            Tokens::Remembered => "simple".to_owned(),
            Tokens::Signed(lifetime) => {
                format!("jwt,sign-method=HS256,priv-key=DIR/token.key,ttl={}s", lifetime.as_secs())
            }
        };
        let protection = Protection::make(&dir.join("etcd-access"), &tokens)?;
        let mut etcd = Self { protection: Some(protection), ..Self::stopped(dir)? };
        etcd.restart()?;
        Ok(etcd)
    }

    /// Has it let in its users only.
    ///
    /// # Errors
    /// An etcd without certificates, or that does not take the users.
    pub fn enable_users(&self) -> Result<()> {
        self.protection()?.enable_users(&self.url())
    }

    /// The URL for clients.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.protection.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.client_port)
    }

    /// The port for clients.
    #[must_use]
    pub fn client_port(&self) -> u16 {
        self.client_port
    }

    /// How `weir-control` reaches it.
    #[must_use]
    pub fn access(&self) -> Access {
        match &self.protection {
            Some(protection) => protection.access(self.url()),
            None => Access { endpoints: vec![self.url()], ..Access::default() },
        }
    }

    /// A file with another password than that of the user.
    ///
    /// # Errors
    /// An etcd without certificates.
    pub fn wrong_password(&self) -> Result<PathBuf> {
        self.protection().map(|protection| protection.file("wrong-password"))
    }

    /// Changes the password of the user, which ends the validity of all tokens.
    ///
    /// # Errors
    /// An etcd without certificates, or that does not answer.
    pub fn set_password(&self, password: &str) -> Result<()> {
        self.protection()?.set_password(&self.url(), password)
    }

    fn protection(&self) -> Result<&Protection> {
        self.protection.as_ref().context("this etcd has no certificates")
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

    /// Sends it a signal by name, while it runs.
    ///
    /// # Errors
    /// A signal that cannot be sent.
    pub fn signal(&self, signal: &str) -> Result<()> {
        self.daemon.as_ref().map_or(Ok(()), |daemon| daemon.signal(signal))
    }

    /// Starts it again on the same ports and data.
    ///
    /// # Errors
    /// An etcd that does not come up.
    pub fn restart(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait_ready()
    }

    /// Starts it, or starts it again, without waiting for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(&mut self) -> Result<()> {
        let (client, peer) = (self.url(), self.peer_url());
        let mut command = Command::new("etcd");
        command.arg(format!("--name={}", self.name)).arg(format!("--data-dir={}", self.data.display()));
        command.arg(format!("--listen-client-urls={client}")).arg(format!("--advertise-client-urls={client}"));
        command.arg(format!("--listen-peer-urls={peer}")).arg(format!("--initial-advertise-peer-urls={peer}"));
        let alone = format!("{}={peer}", self.name);
        let members = if self.members.is_empty() { &alone } else { &self.members };
        command.arg(format!("--initial-cluster={members}")).arg("--log-level=info");
        if let Some(quota) = self.quota_bytes {
            command.arg(format!("--quota-backend-bytes={quota}"));
        }
        if let Some(protection) = &self.protection {
            protection.add_to(&mut command);
        }
        self.daemon = Some(Daemon::start(&self.name, &mut command)?);
        Ok(())
    }

    fn wait_ready(&mut self) -> Result<()> {
        let ready = ["ready to serve client requests", "serving insecure client"];
        let daemon = self.daemon.as_mut().context("etcd was not started")?;
        daemon.wait_for_line(&ready, Duration::from_secs(60)).map(drop)
    }

    fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }
}
