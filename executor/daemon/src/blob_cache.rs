//! Blobs on disk, by digest, up to a number of bytes.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use sha2::{Digest as _, Sha256};
use weir_wire::id::Digest;

/// A file younger than this is not evicted: the sandbox may be about to read it.
const KEEP: Duration = Duration::from_secs(60);

/// A directory of blobs. All calls block on the disk.
#[derive(Debug)]
pub(crate) struct BlobCache {
    dir: PathBuf,
    bytes_max: u64,
    parts: AtomicU64,
    /// Blobs whose content this process has checked; the directory is its own.
    checked: Mutex<BTreeSet<Digest>>,
}

/// A blob that is being written; dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Part {
    path: PathBuf,
    file: File,
    hash: Sha256,
    done: bool,
}

impl BlobCache {
    /// Opens the directory, making it if need be, and removes what an earlier process left unfinished.
    pub(crate) fn open(dir: PathBuf, bytes_max: u64) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "part") {
                fs::remove_file(path)?;
            }
        }
        Ok(Self { dir, bytes_max, parts: AtomicU64::new(0), checked: Mutex::default() })
    }

    /// The file of a blob, if it is here and undamaged. A damaged one is removed.
    pub(crate) fn find(&self, digest: &Digest) -> io::Result<Option<PathBuf>> {
        let path = self.path(digest);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let checked = self.checked().contains(digest);
        if !checked && hash(&mut file)? != *digest {
            tracing::warn!(blob = %digest, "damaged blob removed from the cache");
            fs::remove_file(&path)?;
            return Ok(None);
        }
        file.set_modified(SystemTime::now())?;
        self.checked().insert(*digest);
        Ok(Some(path))
    }

    /// Begins to write a blob.
    pub(crate) fn begin(&self) -> io::Result<Part> {
        let number = self.parts.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("{number}.part"));
        let file = File::create(&path)?;
        Ok(Part { path, file, hash: Sha256::new(), done: false })
    }

    /// Takes in a written blob; `None` when its content is not that of the digest.
    pub(crate) fn finish(&self, mut part: Part, digest: &Digest) -> io::Result<Option<PathBuf>> {
        if Digest(part.hash.clone().finalize().into()) != *digest {
            return Ok(None);
        }
        let path = self.path(digest);
        fs::rename(&part.path, &path)?;
        part.done = true;
        self.checked().insert(*digest);
        self.evict()?;
        Ok(Some(path))
    }

    /// A panic elsewhere cannot leave the set half changed, so a poisoned lock is as good as another.
    fn checked(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.to_hex())
    }

    /// Removes the longest unused blobs until the rest fits.
    fn evict(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            files.push((meta.modified()?, meta.len(), entry.path()));
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, len, _)| len).sum();
        let young = SystemTime::now() - KEEP;
        for (used, len, path) in files {
            if total <= self.bytes_max || used > young {
                break;
            }
            if is_part(&path) {
                continue;
            }
            fs::remove_file(&path)?;
            if let Some(digest) = path.file_name().and_then(|name| format!("sha256:{}", name.display()).parse().ok()) {
                self.checked().remove(&digest);
            }
            total -= len;
        }
        Ok(())
    }
}

impl Part {
    /// Appends content.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.file.write_all(bytes)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.done
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "unfinished blob not removed");
        }
    }
}

/// The digest of some bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

fn is_part(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "part")
}

fn hash(file: &mut File) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let len = file.read(&mut buffer)?;
        if len == 0 {
            return Ok(Digest(hash.finalize().into()));
        }
        hash.update(&buffer[..len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(cache: &BlobCache, content: &[u8]) -> PathBuf {
        let mut part = cache.begin().expect("begun");
        content.chunks(3).for_each(|chunk| part.write(chunk).expect("written"));
        cache.finish(part, &digest_of(content)).expect("finished").expect("the right digest")
    }

    #[test]
    fn a_blob_is_found_by_its_digest_and_checked() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = BlobCache::open(dir.path().join("blobs"), 1 << 20).expect("opened");
        let digest = digest_of(b"content");
        assert_eq!(cache.find(&digest).expect("looked"), None);
        let path = put(&cache, b"content");
        assert_eq!(cache.find(&digest).expect("looked"), Some(path.clone()));
        fs::write(&path, "c0ntent").expect("damaged");
        // What this process wrote it does not read again; the next one does.
        let cache = BlobCache::open(dir.path().join("blobs"), 1 << 20).expect("opened");
        assert_eq!(cache.find(&digest).expect("looked"), None);
        assert!(!path.exists());
    }

    #[test]
    fn wrong_and_unfinished_content_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = BlobCache::open(dir.path().to_owned(), 1 << 20).expect("opened");
        let mut part = cache.begin().expect("begun");
        part.write(b"other").expect("written");
        assert_eq!(cache.finish(part, &digest_of(b"content")).expect("checked"), None);
        drop(cache.begin().expect("begun"));
        fs::write(dir.path().join("9.part"), "left over").expect("written");
        BlobCache::open(dir.path().to_owned(), 1).expect("opened");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 0);
    }

    #[test]
    fn the_longest_unused_go_first_and_fresh_ones_stay() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = BlobCache::open(dir.path().to_owned(), 250).expect("opened");
        let old = SystemTime::now() - KEEP * 10;
        let age = |path: &Path, by: u32| File::open(path).expect("there").set_modified(old + KEEP * by).expect("set");
        let (first, second) = (put(&cache, &[1; 100]), put(&cache, &[2; 100]));
        age(&first, 2);
        age(&second, 1);
        let third = put(&cache, &[3; 100]);
        assert!(first.exists() && !second.exists() && third.exists());
        let fourth = put(&cache, &[4; 200]);
        assert!(!first.exists() && third.exists() && fourth.exists(), "over the limit, but in use");
    }
}
