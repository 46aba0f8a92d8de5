//! Running `wctl` as a user does.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Answer {
    /// The exit code; 128 + n for signal n.
    pub code: i32,
    /// All of its stdout.
    pub stdout: Vec<u8>,
    /// All of its stderr.
    pub stderr: String,
}

impl Answer {
    /// Runs a prepared command, with bytes for its stdin.
    ///
    /// # Errors
    /// A command that cannot be started.
    pub fn of(command: &mut Command, stdin: &[u8]) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        if let Some(mut pipe) = child.stdin.take() {
            // A command that does not read its stdin closes it early; that is its right.
            let _unread = pipe.write_all(stdin);
        }
        let output = child.wait_with_output().context("wait for the command")?;
        let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
        Ok(Self {
            code: output.status.code().unwrap_or_else(|| 128 + signal.unwrap_or(0)),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Its stdout as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Its stdout as JSON.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.stdout)
            .with_context(|| format!("parse as JSON: {:?}; stderr: {}", self.text(), self.stderr))
    }

    /// Itself, if it ended with this code.
    ///
    /// # Errors
    /// Another code; with everything it said.
    pub fn expect(self, code: i32) -> Result<Self> {
        ensure!(
            self.code == code,
            "exit code {} and not {code}\nstdout: {}\nstderr: {}",
            self.code,
            self.text(),
            self.stderr
        );
        Ok(self)
    }
}

/// A field of a JSON answer by a dotted path.
///
/// # Errors
/// There is no such field.
pub fn field<'a>(value: &'a Value, path: &str) -> Result<&'a Value> {
    path.split('.').try_fold(value, |value, key| {
        let next = key.parse::<usize>().map_or_else(|_| value.get(key), |index| value.get(index));
        next.ok_or_else(|| anyhow!("no field {path} in {value}"))
    })
}
