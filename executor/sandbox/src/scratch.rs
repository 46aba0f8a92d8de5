//! Scratch directories: one for each attempt that asks, of bounded size, gone with it.
//!
//! A file system has no limit that one directory could be given without rights to mount, so the limit is kept where guests
//! ask for space: each call that can take some is charged beforehand with the most that it can take, and refused beyond
//! the limit. What is charged so is more than what is used. When the charges reach the limit, what is there is counted
//! (`walk`), and replaces them.

mod ledger;
mod preview1;
mod preview2;
mod stream;
mod walk;

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder, WasiView, filesystem::Descriptor};
use weir_wire::id::AttemptId;

use crate::{state::State, usage::Counters};

use ledger::Ledger;
pub(crate) use preview1::add_to_modules;
pub(crate) use preview2::add_to_components;

/// Where guests see it.
pub(crate) const GUEST_PATH: &str = "/tmp";

/// The directory that has the scratch directories of one process.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    /// Makes a directory if need be, and empties it of what another process has left.
    ///
    /// # Errors
    /// It cannot be made, opened or emptied.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).create(path)?;
        let dir = OwnedFd::from(fs::File::open(path)?);
        walk::clear(dir.as_fd())?;
        Ok(Self(dir))
    }

    /// A directory that another process opened.
    pub(crate) const fn received(dir: OwnedFd) -> Self {
        Self(dir)
    }

    /// Empties it of what a process has left that is gone.
    pub(crate) fn clear(&self) {
        if let Err(error) = walk::clear(self.0.as_fd()) {
            tracing::warn!(%error, "scratch directories of a worker process that is gone cannot be removed");
        }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The scratch directory of one attempt. Dropped, it is removed.
#[derive(Debug)]
pub(crate) struct Scratch {
    root: Arc<Root>,
    name: String,
    ledger: Arc<Ledger>,
    /// What a guest's descriptors in it are known by: numbers in preview 1, handles in preview 2.
    inside: BTreeSet<u32>,
    counted: Option<Arc<Counters>>,
    removed: bool,
}

impl Scratch {
    /// Makes the directory of an attempt, which may take so many bytes.
    ///
    /// # Errors
    /// The file system does not have it.
    pub(crate) fn new(root: &Arc<Root>, id: AttemptId, max: u64, counters: Option<Arc<Counters>>) -> io::Result<Self> {
        let name = format!("{}-{}-{}", id.task, id.term, id.grant.0);
        mkdirat(root, &name, Mode::RWXU)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = openat(root, &name, flags, Mode::empty())?;
        // All of it is reserved, so all of it counts.
        if let Some(counters) = &counters {
            counters.grew(max);
        }
        let ledger = Arc::new(Ledger::new(dir, max));
        Ok(Self { root: Arc::clone(root), name, ledger, inside: BTreeSet::new(), counted: counters, removed: false })
    }

    /// Has a guest see it, behind so many other directories.
    pub(crate) fn add_to(&mut self, builder: &mut WasiCtxBuilder, others: usize) -> wasmtime::Result<()> {
        // In preview 1, directories are open as the first descriptors behind the three streams.
        self.enter(3 + u32::try_from(others)?);
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.ledger.dir().as_raw_fd()));
        builder.preopened_dir(path, GUEST_PATH, FsPerms::ReadWrite).map(|_builder| ())
    }

    /// What has to be done to remove it, for a thread that may wait.
    pub(crate) fn removal(&mut self) -> impl FnOnce() + Send + 'static {
        self.removed = true;
        let (root, name, ledger) = (Arc::clone(&self.root), self.name.clone(), Arc::clone(&self.ledger));
        move || {
            let cleared = walk::clear(ledger.dir()).and_then(|()| Ok(unlinkat(&*root, &name, AtFlags::REMOVEDIR)?));
            if let Err(error) = cleared {
                tracing::warn!(%error, scratch = name, "a scratch directory stays until this process is started again");
            }
        }
    }

    fn is_inside(&self, number: u32) -> bool {
        self.inside.contains(&number)
    }

    fn enter(&mut self, number: u32) {
        self.inside.insert(number);
    }

    fn leave(&mut self, number: u32) {
        self.inside.remove(&number);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.removed {
            self.removal()();
        }
        if let Some(counters) = &self.counted {
            counters.shrank(self.ledger.max());
        }
    }
}

/// Notes the files that an attempt has open: one that is removed while it is open still takes space.
fn note_open_files(state: &mut State) {
    let Some(scratch) = &state.scratch else { return };
    let ledger = Arc::clone(&scratch.ledger);
    let table = state.wasi.ctx().table;
    let files = (0..u32::try_from(crate::limits::HANDLES_MAX).unwrap_or(u32::MAX)).filter_map(|rep| {
        let entry = table.get_any_mut(rep).ok()?;
        match entry.downcast_ref()? {
            Descriptor::File(file) => Some(Arc::downgrade(&file.file)),
            Descriptor::Dir(_) => None,
        }
    });
    ledger.note_open(files.collect::<Vec<Weak<fs::File>>>());
}
