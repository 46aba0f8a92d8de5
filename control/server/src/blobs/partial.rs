//! Files of objects that were never stored to their end, as a process leaves them that is killed meanwhile.
//!
//! The local store writes an object into a file beside its place, named after it with `#` and a number, and renames
//! that at the end. No listing shows such a file.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::{BlobError, Blobs};

/// How deep the directories of the blob store are.
const DEPTH_MAX: u32 = 4;

/// The names of objects that this process is storing, each with how often.
#[derive(Clone, Debug, Default)]
pub(super) struct Uploads {
    names: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// An object is being stored, until this is dropped.
#[derive(Debug)]
pub(super) struct Upload {
    uploads: Uploads,
    name: String,
}

impl Uploads {
    pub(super) fn begin(&self, name: &str) -> Upload {
        *self.lock().entry(name.to_owned()).or_default() += 1;
        Upload { uploads: self.clone(), name: name.to_owned() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut names = self.uploads.lock();
        if let Some(count) = names.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                names.remove(&self.name);
            }
        }
    }
}

/// Partial files and their bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partial {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl Blobs {
    /// Deletes partial files to which nothing was written since a moment and which this process is not writing; with
    /// `dry_run`, only counts them. An upload of another process whose file goes fails, and may be repeated.
    ///
    /// # Errors
    /// The failure of the directory; some may be deleted then.
    pub(crate) async fn delete_partial(&self, before: SystemTime, dry_run: bool) -> Result<Partial, BlobError> {
        let Some(root) = self.directory.clone() else { return Ok(Partial::default()) };
        let uploads = self.uploads.clone();
        let cleaned = tokio::task::spawn_blocking(move || {
            let mut cleaner = Cleaner { root: &root, uploads: &uploads, before, dry_run, found: Partial::default() };
            cleaner.directory(&root, DEPTH_MAX).map(|()| cleaner.found)
        });
        let cleaned = cleaned.await.map_err(|error| BlobError::Failed(error.to_string()))?;
        cleaned.map_err(|error| BlobError::Failed(format!("look for partial uploads: {error}")))
    }
}

struct Cleaner<'a> {
    root: &'a Path,
    uploads: &'a Uploads,
    before: SystemTime,
    dry_run: bool,
    found: Partial,
}

impl Cleaner<'_> {
    fn directory(&mut self, directory: &Path, depth: u32) -> io::Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let (kind, path) = (entry.file_type()?, entry.path());
            if kind.is_dir() && depth > 1 {
                self.directory(&path, depth - 1)?;
            } else if kind.is_file()
                && let Some(object) = object_of(&path)
            {
                match self.file(&path, &object) {
                    // Its upload has ended meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    done => done?,
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, object: &Path) -> io::Result<()> {
        let name = object.strip_prefix(self.root).unwrap_or(object).to_string_lossy().into_owned();
        // Held until the file is gone, so that no upload begins with it.
        let names = self.uploads.lock();
        let about = path.symlink_metadata()?;
        if names.contains_key(&name) || about.modified()? >= self.before {
            return Ok(());
        }
        if !self.dry_run {
            std::fs::remove_file(path)?;
            tracing::debug!(file = %path.display(), bytes = about.len(), "deleted what an upload has left behind");
        }
        self.found.files += 1;
        self.found.bytes += about.len();
        Ok(())
    }
}

/// The path of the object that a partial file was to become; nothing of other files.
fn object_of(path: &Path) -> Option<PathBuf> {
    let (object, number) = path.file_name().and_then(OsStr::to_str)?.rsplit_once('#')?;
    let numbered = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    (numbered && !object.is_empty()).then(|| path.with_file_name(object))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use bytes::Bytes;
    use sha2::{Digest as _, Sha256};
    use weir_wire::{blob, id::Digest};

    use super::*;
    use crate::blobs::PART_LEN;

    /// Begins to store an object with two parts, of which the first is written, and gives its name.
    fn begin(blobs: &Blobs, byte: u8) -> (String, tokio::task::JoinHandle<()>) {
        let content = vec![byte; PART_LEN + 1];
        let digest = Digest(Sha256::digest(&content).into());
        let first = futures_util::stream::iter([Ok::<_, BlobError>(Bytes::from(content[..PART_LEN].to_vec()))]);
        let stuck = futures_util::StreamExt::chain(first, futures_util::stream::pending());
        let (putting, name) = (blobs.clone(), blob::object_name(&digest));
        (name, tokio::spawn(async move { drop(putting.put(&digest, u64::MAX, stuck).await) }))
    }

    fn date(path: &Path) {
        let file = File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3 * 3600)).unwrap();
    }

    #[tokio::test]
    async fn what_a_killed_upload_left_goes_and_what_is_uploaded_stays() {
        let folder = tempfile::tempdir().unwrap();
        let live = Blobs::open_local(folder.path()).unwrap();
        let before = SystemTime::now() - Duration::from_secs(7200);
        let (going, uploading) = begin(&live, 2);
        let left = blob::object_name(&Digest(Sha256::digest(b"left").into()));
        let files = [left, going].map(|name| folder.path().join(format!("{name}#1")));
        while !files[1].metadata().is_ok_and(|about| about.len() == PART_LEN as u64) {
            tokio::task::yield_now().await;
        }
        std::fs::create_dir_all(files[0].parent().unwrap()).unwrap();
        std::fs::write(&files[0], vec![1; PART_LEN]).unwrap();
        let young = live.delete_partial(before, false).await.unwrap();
        assert_eq!(young, Partial::default(), "both were written to lately");

        files.iter().for_each(|file| date(file));
        let named = folder.path().join("sha256/notes#old");
        File::create(&named).unwrap();
        date(&named);
        let one = Partial { files: 1, bytes: PART_LEN as u64 };
        assert_eq!(live.delete_partial(before, true).await.unwrap(), one);
        assert_eq!(live.delete_partial(before, false).await.unwrap(), one);
        assert_eq!(files.map(|file| file.exists()), [false, true], "one is being uploaded");
        assert!(named.exists(), "what is named otherwise is none of ours");
        uploading.abort();
    }

    #[test]
    fn names_tell_partial_files() {
        for (name, object) in
            [("a#1", Some("a")), ("a#1#22", Some("a#1")), ("a#", None), ("#1", None), ("a", None), ("a#1b", None)]
        {
            assert_eq!(object_of(Path::new(name)), object.map(PathBuf::from), "{name}");
        }
    }
}
