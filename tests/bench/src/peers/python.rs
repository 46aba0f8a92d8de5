//! A virtual environment with packages from PyPI, beside the benchmark program, and programs that run in it.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use weir_e2e::binaries;

/// What makes virtual environments on Debian, where it is a package of its own.
const DEBIAN_PACKAGE: &str = "python3-venv";

/// An environment in which a peer is installed.
#[derive(Debug)]
pub(super) struct Python {
    program: PathBuf,
}

impl Python {
    /// Makes the environment `name` with these packages, or takes the one of an earlier run.
    pub(super) fn with(name: &str, packages: &[&str]) -> Result<Self> {
        let dir = binaries::directory()?.join("bench-peers").join(name);
        let this = Self { program: dir.join("bin").join("python") };
        if this.versions(packages).is_ok() {
            return Ok(this);
        }
        let mut make = Command::new("python3");
        make.args(["-m", "venv", "--clear"]).arg(&dir);
        if let Err(error) = output(&mut make) {
            let mut install = Command::new("apt-get");
            install.args(["install", "--yes", "--no-install-recommends", DEBIAN_PACKAGE]);
            output(&mut install)
                .with_context(|| format!("install {DEBIAN_PACKAGE}, as there is no venv: {error:#}"))?;
            output(&mut make).context("make a virtual environment")?;
        }
        let mut install = Command::new(&this.program);
        output(install.args(["-m", "pip", "install", "--quiet"]).args(packages)).context("install from PyPI")?;
        this.versions(packages).context("find what was installed")?;
        Ok(this)
    }

    /// The versions of the packages.
    pub(super) fn versions(&self, packages: &[&str]) -> Result<String> {
        let names: Vec<&str> = packages.iter().filter_map(|package| package.split('[').next()).collect();
        let script = "import sys, importlib.metadata as m; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]))";
        let found = output(Command::new(&self.program).args(["-c", script]).args(names))?;
        Ok(String::from_utf8_lossy(&found.stdout).trim().to_owned())
    }

    /// Runs a script that takes a number of tasks and of cores, checks every result, and prints how many seconds its
    /// tasks took.
    pub(super) fn tasks_per_s(&self, script: &str, tasks: u32, cores: usize) -> Result<f64> {
        let mut command = Command::new(&self.program);
        command.args(["-c", script]).arg(tasks.to_string()).arg(cores.to_string());
        let said = String::from_utf8(output(&mut command)?.stdout).context("read the seconds")?;
        let seconds: f64 = said.lines().last().unwrap_or_default().trim().parse().context("read the seconds")?;
        Ok(f64::from(tasks) / seconds)
    }
}

fn output(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {:?}", command.get_program()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().take(8).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("; ");
    ensure!(output.status.success(), "{:?} failed: {last}", command.get_program());
    Ok(output)
}
