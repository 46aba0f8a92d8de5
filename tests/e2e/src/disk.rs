//! Small file systems that can be filled.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// What takes all room while a disk is full.
const FILLING: &str = "filling";
/// It is filled in steps of these sizes in bytes, so that nothing is left in the end.
const STEPS: [usize; 3] = [1 << 20, 4096, 1];

/// A small file system of its own; unmounted when dropped.
#[derive(Debug)]
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts one of so many MiB; gives nothing where the machine does not allow that.
    ///
    /// # Errors
    /// The mount point cannot be made.
    pub fn mount(dir: &Path, mib: u32) -> Result<Option<Self>> {
        fs::create_dir_all(dir).context("make the mount point")?;
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir).output();
        Ok(mounted.is_ok_and(|output| output.status.success()).then(|| Self(dir.to_owned())))
    }

    /// Takes all room that is left.
    ///
    /// # Errors
    /// It cannot be written for another reason than that it is full.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::create(self.0.join(FILLING)).context("begin to fill a disk")?;
        for step in STEPS {
            let block = vec![0; step];
            loop {
                match file.write_all(&block) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => bail!("fill {}: {error}", self.0.display()),
                }
            }
        }
        Ok(())
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// The file that took it cannot be removed.
    pub fn free(&self) -> Result<()> {
        fs::remove_file(self.0.join(FILLING)).with_context(|| format!("free {}", self.0.display()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, since daemons may still have files open.
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}
