//! Directories that the operator published: opened once, granted by name, read-only unless both say otherwise.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use cap_std::{ambient_authority, fs::Dir};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};
use weir_wire::{work::DirGrant, worker::PublishedName};

use crate::config::SandboxConfig;

/// The published directories, held open so that a name keeps meaning the directory it meant at the start.
#[derive(Debug, Default)]
pub(crate) struct Published(BTreeMap<String, Directory>);

#[derive(Debug)]
struct Directory {
    dir: Dir,
    writable: bool,
}

/// A directory to be mounted for a guest.
#[derive(Debug, Clone)]
pub(crate) struct Mount {
    host_path: PathBuf,
    guest_path: String,
    writable: bool,
}

impl Published {
    /// Opens all directories.
    ///
    /// # Errors
    /// The path that cannot be opened, and why.
    pub(crate) fn open(config: &SandboxConfig) -> Result<Self, (PathBuf, io::Error)> {
        let mut dirs = BTreeMap::new();
        for (paths, writable) in [(&config.published, false), (&config.published_writable, true)] {
            for (name, path) in paths {
                let opened = Dir::open_ambient_dir(path, ambient_authority());
                let dir = opened.map_err(|error| (path.clone(), error))?;
                if dirs.insert(name.clone(), Directory { dir, writable }).is_some() {
                    let twice = format!("the name {name:?} is that of another one as well");
                    return Err((path.clone(), io::Error::new(io::ErrorKind::AlreadyExists, twice)));
                }
            }
        }
        Ok(Self(dirs))
    }

    /// Directories that another process opened.
    pub(crate) fn received(dirs: impl IntoIterator<Item = (PublishedName, OwnedFd)>) -> Self {
        let directory = |(name, dir): (PublishedName, OwnedFd)| {
            (name.name, Directory { dir: Dir::from_std_file(dir.into()), writable: name.writable })
        };
        Self(dirs.into_iter().map(directory).collect())
    }

    /// Their names, in order.
    pub(crate) fn names(&self) -> Vec<PublishedName> {
        let name = |(name, dir): (&String, &Directory)| PublishedName { name: name.clone(), writable: dir.writable };
        self.0.iter().map(name).collect()
    }

    /// All of them in the order of their names, and whether they may be changed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        self.0.values().map(|directory| (directory.dir.as_fd(), directory.writable))
    }

    /// Resolves the grants of a job.
    ///
    /// # Errors
    /// What is not granted, for people.
    pub(crate) fn resolve(&self, grants: &[DirGrant]) -> Result<Vec<Mount>, String> {
        grants
            .iter()
            .map(|grant| {
                let Some(Directory { dir, writable }) = self.0.get(&grant.name) else {
                    return Err(format!("this node publishes no directory {:?}", grant.name));
                };
                if grant.writable && !writable {
                    return Err(format!("directory {:?} is published read-only", grant.name));
                }
                // The descriptor's own path leads to the opened directory, not to what has its name by then.
                let host_path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
                Ok(Mount { host_path, guest_path: grant.guest_path.clone(), writable: grant.writable })
            })
            .collect()
    }
}

impl Mount {
    pub(crate) fn add_to(&self, builder: &mut WasiCtxBuilder) -> wasmtime::Result<()> {
        let perms = if self.writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        builder.preopened_dir(&self.host_path, &self.guest_path, perms).map(|_builder| ())
    }
}
