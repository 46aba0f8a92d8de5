//! Looking for faults with tests that start real processes.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::suite::Suite;
use crate::process::{cargo, program, run, wait_for};
use crate::test;

/// How long the tests may take with one fault, without building them.
const TESTS_MAX: Duration = Duration::from_secs(600);
/// What begins the line of a test or of the harness that says what is wrong.
const SIGNS: [&str; 4] = ["VIOLATION", "panicked at", "Error:", "... FAILED"];
/// Characters of that line that are shown.
const SHOWN_MAX: usize = 160;

/// Where the copy is built and tested.
pub(super) struct Processes {
    pub(super) source: PathBuf,
    pub(super) target: PathBuf,
    /// The guests' own target folder.
    pub(super) guests: PathBuf,
}

impl Processes {
    /// Builds what a suite needs and runs it; gives what it found. That something does not build is an error.
    pub(super) fn look(&self, suite: &Suite) -> Result<Option<String>> {
        if suite.needs_programs() {
            run(self.cargo().args(["build", "--quiet", "--offline", "--workspace", "--bins"]))?;
        }
        let mut command = match suite {
            Suite::Simulator => bail!("the simulator is no suite of processes"),
            Suite::Tests { package, filter } => self.tests(package, &["--tests"], filter)?,
            Suite::EndToEnd { name } => self.tests("weir-e2e", &["--test", name], "")?,
            Suite::Chaos { seed, seconds } => {
                let minutes = format!("{}", f64::from(*seconds) / 60.0);
                let mut harness = program(self.programs().join("weir-chaos"));
                harness.args(["--seed", &seed.to_string(), "--minutes", &minutes]);
                harness
            }
        };
        self.judge(command.env(test::PROGRAM_VARIABLE, self.programs()).env(test::GUEST_VARIABLE, &self.guests))
    }

    fn programs(&self) -> PathBuf {
        self.target.join("debug")
    }

    fn cargo(&self) -> Command {
        let mut command = cargo();
        command.current_dir(&self.source).env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// Builds tests; gives the command that runs them.
    fn tests(&self, package: &str, which: &[&str], filter: &str) -> Result<Command> {
        let arguments = ["test", "--quiet", "--offline", "--package", package];
        run(self.cargo().args(arguments).args(which).arg("--no-run"))?;
        let mut command = self.cargo();
        command.args(arguments).args(which).arg(filter);
        Ok(command)
    }

    /// Runs it; nothing when it succeeds, else the first line that says why not.
    fn judge(&self, command: &mut Command) -> Result<Option<String>> {
        let path = self.target.join("found.txt");
        let file = File::create(&path).context("cannot write what the tests find")?;
        let errors = file.try_clone().context("cannot write what the tests find")?;
        // A group of its own, so that the daemons can be ended with it.
        let mut child =
            command.stdout(file).stderr(errors).process_group(0).spawn().context("cannot start the tests")?;
        let Some(status) = wait_for(&mut child, TESTS_MAX)? else {
            run(program("kill").args(["-KILL", "--", &format!("-{}", child.id())]))?;
            child.wait().context("cannot wait for the tests")?;
            bail!("the tests took longer than {} s", TESTS_MAX.as_secs());
        };
        if status.success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&fs::read(&path).context("cannot read what the tests found")?).into_owned();
        let line = text.lines().find(|line| SIGNS.iter().any(|sign| line.contains(sign)));
        let line = line.with_context(|| format!("the tests ended with {status} and name no failure"))?;
        Ok(Some(line.trim().chars().take(SHOWN_MAX).collect()))
    }
}
