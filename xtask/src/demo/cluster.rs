//! A `wctl dev` of one's own: started, asked, stopped.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use crate::process::{POLL_INTERVAL, capture, print, program, run, say, wait_for};

/// A cluster in one process answers within a second or two; a loaded machine gets more.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Draining takes as long as the attempts that run, and the demo leaves none.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Lines of its log that are shown when it does not start.
const LOG_LINES: usize = 20;

/// A running `wctl dev`; dropping it ends it.
pub(super) struct Cluster {
    wctl: PathBuf,
    address: String,
    process: Child,
    log: PathBuf,
}

impl Cluster {
    /// Starts a cluster with fresh data below `place`, which publishes `corpus`, and waits until its node is ready.
    ///
    /// # Errors
    /// When it ends or is not ready in time; its last log lines are part of the error.
    pub(super) fn start(wctl: &Path, place: &Path, corpus: &Path) -> Result<Self> {
        let data = place.join("data");
        if data.exists() {
            fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
        }
        let log = place.join("cluster.log");
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let (listen, link) = free_ports()?;
        let publish = format!("corpus={}", corpus.display());
        let mut command = program(wctl);
        command.args(["dev", "--listen", &listen, "--link", &link, "--publish", &publish, "--data-dir"]).arg(&data);
        say(format!("$ wctl dev --data-dir … --publish corpus=…   (its log is {})", log.display()));
        command.stdout(output.try_clone().context("cannot share the log")?).stderr(output);
        let process = command.spawn().context("cannot start wctl")?;
        let mut cluster = Self { wctl: wctl.to_owned(), address: format!("http://{listen}"), process, log };
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    /// Shows a command and runs it.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn show(&self, arguments: &[&str]) -> Result<()> {
        announce(arguments);
        run(&mut self.wctl(arguments)).map_err(|error| self.with_log(error))
    }

    /// Shows a command, runs it, shows and returns what it wrote.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn show_result(&self, arguments: &[&str]) -> Result<String> {
        announce(arguments);
        let result = capture(&mut self.wctl(arguments)).map_err(|error| self.with_log(error))?;
        print(result.trim_end());
        Ok(result)
    }

    /// Runs a command that prints JSON.
    ///
    /// # Errors
    /// When it fails or prints something else.
    pub(super) fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let text = capture(&mut self.wctl(arguments))?;
        serde_json::from_str(&text).context("wctl did not print JSON")
    }

    /// Asks the cluster to end and waits for it.
    ///
    /// # Errors
    /// When it does not end in time, or ends with a failure.
    pub(super) fn stop(mut self) -> Result<()> {
        run(program("kill").arg("-TERM").arg(self.process.id().to_string()))?;
        match wait_for(&mut self.process, STOP_LIMIT)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.with_log(anyhow!("the cluster ended with {status} on SIGTERM"))),
            None => Err(self.with_log(anyhow!("the cluster has not ended {} s after SIGTERM", STOP_LIMIT.as_secs()))),
        }
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let give_up = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = self.process.try_wait().context("cannot watch the cluster")? {
                return Err(self.with_log(anyhow!("the cluster ended at once ({status})")));
            }
            // Until it listens, wctl says that it cannot reach the cluster; that is expected and not shown.
            let asked = self.wctl(&["cluster", "info", "-o", "json"]).stderr(Stdio::null()).output();
            let info: Option<Value> = asked.ok().and_then(|output| serde_json::from_slice(&output.stdout).ok());
            if info.is_some_and(|info| info["totals"]["ready_nodes"].as_u64() >= Some(1)) {
                return Ok(());
            }
            if Instant::now() >= give_up {
                return Err(self.with_log(anyhow!("no node was ready after {} s", START_LIMIT.as_secs())));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    fn wctl(&self, arguments: &[&str]) -> Command {
        let mut command = program(&self.wctl);
        // A cluster that the user has configured for daily work is not meant here.
        for name in ["WCTL_TOKEN", "WCTL_CA", "WCTL_NAMESPACE", "WCTL_CONTEXT"] {
            command.env_remove(name);
        }
        command.env("WCTL_ADDR", &self.address).args(arguments);
        command
    }

    fn with_log(&self, error: anyhow::Error) -> anyhow::Error {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        error.context(format!("the end of {}:\n{}\nand the failure", self.log.display(), last_lines(&text, LOG_LINES)))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Both fail only when the process has ended already, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Ports that nobody used a moment ago, one for HTTP (TCP) and one for the link (UDP).
fn free_ports() -> Result<(String, String)> {
    let loopback = (Ipv4Addr::LOCALHOST, 0);
    let listen = TcpListener::bind(loopback).and_then(|socket| socket.local_addr()).context("no free TCP port")?;
    let link = UdpSocket::bind(loopback).and_then(|socket| socket.local_addr()).context("no free UDP port")?;
    Ok((listen.to_string(), link.to_string()))
}

fn announce(arguments: &[&str]) {
    let words =
        arguments.iter().map(|word| if word.contains(['{', ' ']) { format!("'{word}'") } else { (*word).to_owned() });
    say(format!("\n$ wctl {}", words.collect::<Vec<_>>().join(" ")));
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_a_log_is_shown() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a\n", 2), "a");
        assert_eq!(last_lines("", 2), "");
    }
}
