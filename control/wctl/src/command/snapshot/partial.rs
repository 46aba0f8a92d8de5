//! The file that a snapshot is written to before it is whole.
//!
//! It is locked for as long as its process lives. So what a process left behind that was killed is told from what another
//! one still writes, and the next one in that directory takes it away.

use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use tempfile::NamedTempFile;

/// What its name begins with.
const PREFIX: &str = ".weir-snapshot-";

/// Creates such a file in a directory, without those that nobody writes any more.
pub(super) fn create(directory: &Path) -> io::Result<NamedTempFile> {
    // What cannot be taken away does not keep anybody from writing another one.
    let _left_where_it_is = clean(directory);
    loop {
        let partial = tempfile::Builder::new().prefix(PREFIX).tempfile_in(directory)?;
        match partial.as_file().try_lock() {
            // Another process is about to take it away, or has done so.
            Err(TryLockError::WouldBlock) => continue,
            Ok(()) if partial.as_file().metadata()?.nlink() == 0 => continue,
            // Where files cannot be locked, nobody takes them away.
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(partial),
        }
    }
}

fn clean(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !is_partial(&entry.file_name()) || !entry.file_type()?.is_file() {
            continue;
        }
        // It may have gone, or be somebody else's.
        let Ok(file) = File::open(entry.path()) else { continue };
        if file.try_lock().is_ok() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn is_partial(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_process_left_is_taken_away_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for name in [".weir-snapshot-left", "weir-snapshot-whole", ".snapshot-other"] {
            fs::write(path.join(name), "x").unwrap();
        }
        let written = create(path).unwrap();
        let beside = create(path).unwrap();
        let name = |partial: &NamedTempFile| partial.path().file_name().unwrap().to_string_lossy().into_owned();
        let mut expected =
            vec![".snapshot-other".to_owned(), name(&written), name(&beside), "weir-snapshot-whole".into()];
        expected.sort();
        assert_eq!(names(path), expected);
        drop((written, beside));
        assert_eq!(names(path), [".snapshot-other", "weir-snapshot-whole"]);
    }
}
