//! What a scratch directory is charged with.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::walk::{self, Found};

/// Bytes in which file systems give out space.
const BLOCK: u64 = 4096;
/// Most files and directories of one attempt.
const ENTRIES_MAX: u64 = 4096;

/// The account of one attempt.
#[derive(Debug)]
pub(super) struct Ledger {
    dir: OwnedFd,
    max: u64,
    account: Mutex<Account>,
}

#[derive(Debug, Default)]
struct Account {
    /// At least what is used.
    charged: Found,
    /// What writes in the background may still take.
    writing: u64,
    /// Files that are or were open.
    open: Vec<Weak<File>>,
}

impl Ledger {
    /// The account of an empty directory.
    pub(super) const fn new(dir: OwnedFd, max: u64) -> Self {
        let account = Account { charged: Found { bytes: 0, entries: 0 }, writing: 0, open: Vec::new() };
        Self { dir, max, account: Mutex::new(account) }
    }

    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    pub(super) const fn max(&self) -> u64 {
        self.max
    }

    /// Charges a write of so many bytes; whether there is room.
    pub(super) fn write(&self, len: u64) -> bool {
        self.charge(Found { bytes: blocks(len), entries: 0 })
    }

    /// Charges a new entry of a directory, which may be a new directory; whether there is room.
    pub(super) fn create(&self) -> bool {
        self.charge(Found { bytes: 2 * BLOCK, entries: 1 })
    }

    /// Charges a write in the background, until that is over.
    pub(super) fn begin(self: &Arc<Self>, len: u64) -> Option<Writing> {
        if !self.write(len) {
            return None;
        }
        self.account().writing += blocks(len);
        Some(Writing { ledger: Arc::clone(self), bytes: blocks(len) })
    }

    /// Notes files that are open, each once.
    pub(super) fn note_open(&self, files: Vec<Weak<File>>) {
        let mut account = self.account();
        account.open.retain(|known| known.strong_count() > 0);
        for file in files {
            if !account.open.iter().any(|known| known.ptr_eq(&file)) {
                account.open.push(file);
            }
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn charge(&self, more: Found) -> bool {
        let mut account = self.account();
        if self.fits(&account.charged, &more) {
            account.charged.add(&more);
            return true;
        }
        // What is not known to fit does not.
        let Ok(found) = self.count(&mut account) else { return false };
        account.charged = found;
        let fits = self.fits(&account.charged, &more);
        if fits {
            account.charged.add(&more);
        }
        fits
    }

    fn fits(&self, charged: &Found, more: &Found) -> bool {
        charged.bytes.saturating_add(more.bytes) <= self.max
            && charged.entries.saturating_add(more.entries) <= ENTRIES_MAX
    }

    /// Counts what is there: below the directory, removed and still open, and on its way.
    fn count(&self, account: &mut Account) -> io::Result<Found> {
        let mut found = walk::count(self.dir())?;
        account.open.retain(|known| known.strong_count() > 0);
        for file in account.open.iter().filter_map(Weak::upgrade) {
            let meta = file.metadata()?;
            if meta.nlink() == 0 {
                found.add(&Found { bytes: meta.len().max(meta.blocks().saturating_mul(512)), entries: 1 });
            }
        }
        found.bytes = found.bytes.saturating_add(account.writing);
        Ok(found)
    }
}

/// A write that may still take space.
#[derive(Debug)]
pub(super) struct Writing {
    ledger: Arc<Ledger>,
    bytes: u64,
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut account = self.ledger.account();
        account.writing = account.writing.saturating_sub(self.bytes);
    }
}

/// The most that writing so many bytes anywhere can take.
const fn blocks(len: u64) -> u64 {
    (len.div_ceil(BLOCK)).saturating_add(1).saturating_mul(BLOCK)
}
