//! Directories that the operator published: opened once, granted by name, read-only.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use cap_std::{ambient_authority, fs::Dir};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};
use weir_wire::work::DirGrant;

/// The published directories, held open so that a name keeps meaning the directory it meant at the start.
#[derive(Debug, Default)]
pub(crate) struct Published(BTreeMap<String, Dir>);

/// A directory to be mounted for a guest.
#[derive(Debug, Clone)]
pub(crate) struct Mount {
    host_path: PathBuf,
    guest_path: String,
}

impl Published {
    /// Opens all directories.
    ///
    /// # Errors
    /// The path that cannot be opened, and why.
    pub(crate) fn open(paths: &BTreeMap<String, PathBuf>) -> Result<Self, (PathBuf, io::Error)> {
        let open = |path: &Path| Dir::open_ambient_dir(path, ambient_authority());
        let mut dirs = BTreeMap::new();
        for (name, path) in paths {
            dirs.insert(name.clone(), open(path).map_err(|error| (path.clone(), error))?);
        }
        Ok(Self(dirs))
    }

    /// Directories that another process opened.
    pub(crate) fn received(dirs: impl IntoIterator<Item = (String, OwnedFd)>) -> Self {
        Self(dirs.into_iter().map(|(name, dir)| (name, Dir::from_std_file(dir.into()))).collect())
    }

    /// All of them, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, BorrowedFd<'_>)> {
        self.0.iter().map(|(name, dir)| (name, dir.as_fd()))
    }

    /// Resolves the grants of a job.
    ///
    /// # Errors
    /// What is not granted, for people.
    pub(crate) fn resolve(&self, grants: &[DirGrant]) -> Result<Vec<Mount>, String> {
        grants
            .iter()
            .map(|grant| {
                let Some(dir) = self.0.get(&grant.name) else {
                    return Err(format!("this node publishes no directory {:?}", grant.name));
                };
                if grant.writable {
                    return Err(format!("directory {:?} is published read-only", grant.name));
                }
                // The descriptor's own path leads to the opened directory, not to what has its name by then.
                let host_path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
                Ok(Mount { host_path, guest_path: grant.guest_path.clone() })
            })
            .collect()
    }
}

impl Mount {
    pub(crate) fn add_to(&self, builder: &mut WasiCtxBuilder) -> wasmtime::Result<()> {
        builder.preopened_dir(&self.host_path, &self.guest_path, FsPerms::ReadOnly).map(|_builder| ())
    }
}
