//! Wall clocks of daemons that a test can set, by Debian's faketime.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// A wall clock that all daemons share which are started in its environment.
#[derive(Debug)]
pub struct FakedClock {
    dir: TempDir,
    preload: String,
}

impl FakedClock {
    /// Makes one that is right; gives nothing where the machine has no faketime.
    ///
    /// # Errors
    /// Its file cannot be written.
    pub fn make() -> Result<Option<Self>> {
        let Ok(asked) = Command::new("faketime").args(["-f", "+0", "printenv", "LD_PRELOAD"]).output() else {
            return Ok(None);
        };
        let preload = String::from_utf8(asked.stdout).context("what faketime loads")?.trim().to_owned();
        let dir = tempfile::Builder::new().prefix("weir-clock-").tempdir().context("make a directory")?;
        let clock = Self { dir, preload };
        clock.set(0)?;
        Ok(Some(clock))
    }

    /// Sets it to so many seconds after the right time.
    ///
    /// # Errors
    /// Its file cannot be written.
    pub fn set(&self, offset_s: i64) -> Result<()> {
        // Whoever reads the time meanwhile finds the old file or the new one.
        let draft = self.dir.path().join("draft");
        fs::write(&draft, format!("{offset_s:+}")).context("set the clock")?;
        fs::rename(draft, self.file()).context("set the clock")
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("clock")
    }

    /// What makes a process follow it.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let set = [
            ("LD_PRELOAD", self.preload.clone()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            // Leases are measured by clocks that nobody sets.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        set.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }
}
