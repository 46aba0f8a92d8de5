//! Goes through a directory that a guest has filled: of any depth, with two descriptors.

use std::{
    collections::HashSet,
    ffi::CString,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, statat, unlinkat};

/// What is below a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Found {
    /// The space that it takes; holes count as if they were filled.
    pub(super) bytes: u64,
    /// Files, links and directories.
    pub(super) entries: u64,
}

impl Found {
    pub(super) const fn add(&mut self, more: &Self) {
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.entries = self.entries.saturating_add(more.entries);
    }
}

/// Counts what is below a directory.
pub(super) fn count(dir: BorrowedFd<'_>) -> io::Result<Found> {
    let mut walk = Walk { clear: false, ..Walk::default() };
    walk.all(dir)?;
    Ok(walk.found)
}

/// Removes what is below a directory.
pub(super) fn clear(dir: BorrowedFd<'_>) -> io::Result<()> {
    Walk { clear: true, ..Walk::default() }.all(dir)
}

#[derive(Default)]
struct Walk {
    clear: bool,
    found: Found,
    /// Files with several names, which count once.
    seen: HashSet<u64>,
}

/// A directory on the way down: its identity, the name of the one that is looked at in it, and those that follow.
struct Above {
    inode: u64,
    name: CString,
    left: Vec<CString>,
}

impl Walk {
    fn all(&mut self, root: BorrowedFd<'_>) -> io::Result<()> {
        let mut here = open(root, c".")?;
        let mut left = self.list(here.as_fd())?;
        let mut way: Vec<Above> = Vec::new();
        loop {
            if let Some(name) = left.pop() {
                let inode = fstat(&here)?.st_ino;
                let next = open(here.as_fd(), &name)?;
                let inner = self.list(next.as_fd())?;
                way.push(Above { inode, name, left: std::mem::replace(&mut left, inner) });
                here = next;
                continue;
            }
            let Some(above) = way.pop() else { return Ok(()) };
            here = open(here.as_fd(), c"..")?;
            // A write in the background cannot move a directory; nothing else is at work here. Still, never go astray.
            if fstat(&here)?.st_ino != above.inode {
                return Err(io::Error::other("a directory has been moved while it was looked at"));
            }
            if self.clear {
                unlinkat(&here, &above.name, AtFlags::REMOVEDIR)?;
            }
            left = above.left;
        }
    }

    /// Deals with what is no directory; gives the directories.
    fn list(&mut self, here: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
        // Read to its end before anything is removed: a file system may lose its place otherwise.
        let names = Dir::read_from(here)?.map(|entry| Ok(entry?.file_name().to_owned()));
        let names = names.collect::<io::Result<Vec<CString>>>()?;
        let mut dirs = Vec::new();
        for name in names.into_iter().filter(|name| &**name != c"." && &**name != c"..") {
            let stat = statat(here, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            let once = is_dir || stat.st_nlink <= 1 || self.seen.insert(stat.st_ino);
            if once {
                let size = if is_dir { 0 } else { u64::try_from(stat.st_size).unwrap_or(0) };
                let bytes = size.max(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512));
                self.found.bytes = self.found.bytes.saturating_add(bytes);
            }
            self.found.entries = self.found.entries.saturating_add(1);
            if is_dir {
                dirs.push(name);
            } else if self.clear {
                unlinkat(here, &name, AtFlags::empty())?;
            }
        }
        Ok(dirs)
    }
}

fn open(at: BorrowedFd<'_>, name: &std::ffi::CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn deep_trees_are_counted_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let root = OwnedFd::from(fs::File::open(dir.path()).unwrap());
        // Deeper than a path can name.
        let mut at = open(root.as_fd(), c".").unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "deep", Mode::RWXU).unwrap();
            at = open(at.as_fd(), c"deep").unwrap();
        }
        fs::write(dir.path().join("file"), [0; 5000]).unwrap();
        fs::hard_link(dir.path().join("file"), dir.path().join("again")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("link")).unwrap();
        let found = count(root.as_fd()).unwrap();
        assert_eq!(found.entries, 3003);
        assert!(found.bytes >= 5000, "{found:?}");
        let sparse = fs::File::create(dir.path().join("sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        assert!(count(root.as_fd()).unwrap().bytes > 1 << 30, "holes count");
        clear(root.as_fd()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(fs::exists("/etc").unwrap());
    }
}
