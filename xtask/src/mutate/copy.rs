//! A copy of the crates that the simulator is made of, as a workspace of its own, or of the whole workspace.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::program;

/// What the simulator is made of, and what a crate of it names as a dependency that may be left out.
const CRATES: [&str; 6] =
    ["proto/wire", "proto/api", "proto/module", "control/scheduler", "executor/agent", "tests/sim"];

/// The copy.
pub(crate) struct Copy {
    root: PathBuf,
    folder: PathBuf,
}

impl Copy {
    /// Makes the copy, or brings an earlier one up to date. What has not changed is not written, so that it is not
    /// compiled again.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub(crate) fn new(root: &Path, folder: &Path) -> Result<Self> {
        let copy = Self { root: root.to_owned(), folder: folder.join("source") };
        let manifest = fs::read_to_string(root.join("Cargo.toml")).context("cannot read Cargo.toml")?;
        copy.write("Cargo.toml", &with_members(&manifest)?)?;
        copy.write("Cargo.lock", &fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?)?;
        for name in CRATES {
            copy.bring(name)?;
        }
        Ok(copy)
    }

    /// Makes a copy of everything, or brings an earlier one up to date.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub(crate) fn whole(root: &Path, folder: &Path) -> Result<Self> {
        let copy = Self { root: root.to_owned(), folder: folder.join("source") };
        let listed = program("git")
            .current_dir(root)
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .output();
        let listed = listed.context("cannot list the files of the repository")?;
        let listed = String::from_utf8(listed.stdout).context("a file has an unreadable name")?;
        for file in listed.split('\0').filter(|file| !file.is_empty()) {
            // One that was removed and not committed is listed too.
            if let Ok(content) = fs::read(root.join(file)) {
                copy.write_bytes(file, &content)?;
            }
        }
        Ok(copy)
    }

    /// The root of the copied workspace.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file without faults.
    pub(crate) fn original(&self, file: &str) -> Result<String> {
        fs::read_to_string(self.root.join(file)).with_context(|| format!("cannot read {file}"))
    }

    /// Writes a file of the copy unless it is like that already.
    pub(crate) fn write(&self, file: &str, text: &str) -> Result<()> {
        self.write_bytes(file, text.as_bytes())
    }

    fn write_bytes(&self, file: &str, content: &[u8]) -> Result<()> {
        let path = self.folder.join(file);
        if fs::read(&path).is_ok_and(|found| found == content) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Takes a fault out of a file.
    pub(crate) fn restore(&self, file: &str) -> Result<()> {
        self.write(file, &self.original(file)?)
    }

    /// Copies the sources below a folder, and removes what is gone.
    fn bring(&self, name: &str) -> Result<()> {
        let (from, to) = (self.root.join(name), self.folder.join(name));
        if let Ok(entries) = fs::read_dir(&to) {
            for entry in entries {
                let path = entry?.path();
                if !path.file_name().is_some_and(|file| from.join(file).exists()) {
                    let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                    removed.with_context(|| format!("cannot remove {}", path.display()))?;
                }
            }
        }
        for entry in fs::read_dir(&from).with_context(|| format!("cannot read {}", from.display()))? {
            let entry = entry?;
            let file = format!("{name}/{}", entry.file_name().to_string_lossy());
            let path = entry.path();
            if path.is_dir() {
                self.bring(&file)?;
            } else if path.extension().is_some_and(|extension| ["rs", "toml", "txt"].iter().any(|it| extension == *it))
            {
                self.restore(&file)?;
            }
        }
        Ok(())
    }
}

/// The root manifest with the copied crates as its only members.
fn with_members(manifest: &str) -> Result<String> {
    let begin = manifest.find("members = [").context("Cargo.toml has no members")?;
    let end = begin + manifest[begin..].find(']').context("the members in Cargo.toml do not end")?;
    let members: Vec<String> = CRATES.iter().map(|name| format!("\"{name}\"")).collect();
    Ok(format!("{}members = [{}{}", &manifest[..begin], members.join(", "), &manifest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_members_of_the_manifest_change() {
        let manifest = with_members("[workspace]\nmembers = [\n  \"a\",\n]\nexclude = [\"b\"]\n").unwrap();
        let members =
            "\"proto/wire\", \"proto/api\", \"proto/module\", \"control/scheduler\", \"executor/agent\", \"tests/sim\"";
        assert_eq!(manifest, format!("[workspace]\nmembers = [{members}]\nexclude = [\"b\"]\n"));
    }
}
