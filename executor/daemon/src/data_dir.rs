//! The executor's own directory: which one it is, who uses it, how often it was started, and its key.

mod witness;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context;
use weir_wire::id::Incarnation;

use crate::exit;
use witness::Witness;

const LOCK: &str = "lock";
const INSTALLATION: &str = "installation";
const INCARNATION: &str = "incarnation";
const KEY: &str = "cache-key";

/// A data directory that this process holds. The lock ends with it.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Tells this directory from another one that is used under the same name.
    pub(crate) installation: u64,
    /// Counts the starts in this directory.
    pub(crate) incarnation: Incarnation,
    /// Seals compiled modules; never leaves the machine.
    pub(crate) cache_key: [u8; 32],
    _lock: File,
}

impl DataDir {
    /// Takes the directory, making it if need be, and counts this start durably.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(path).with_context(|| format!("create {}", path.display()))?;
        let lock = lock(path)?;
        let (installation, incarnation) = begin(path)?;
        let cache_key = key(path).with_context(|| format!("read the key in {}", path.display()))?;
        Ok(Self { path: path.to_owned(), installation, incarnation, cache_key, _lock: lock })
    }

    pub(crate) fn compiled(&self) -> PathBuf {
        self.path.join("compiled")
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.path.join("scratch")
    }

    /// Removes what guests have left, also where there are no scratch directories any more.
    pub(crate) fn clear_scratch(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.scratch()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
    }
}

/// Fills an array from the system's random source.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn lock(path: &Path) -> anyhow::Result<File> {
    let name = path.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&name);
    let file = file.with_context(|| format!("open {}", name.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(exit::Error::DataDirInUse(path.display().to_string()).into()),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("lock {}", name.display())),
    }
}

/// Finds out which installation this is, and counts this start.
fn begin(path: &Path) -> anyhow::Result<(u64, Incarnation)> {
    let witness = Witness::read(path).with_context(|| format!("read what was counted in {}", path.display()))?;
    let installation = installation(path, witness.as_ref())
        .with_context(|| format!("read the installation's id in {}", path.display()))?;
    let incarnation = count_start(path, witness.as_ref().map(|witness| witness.incarnation))
        .with_context(|| format!("count this start in {}", path.display()))?;
    let counted = Witness { installation, incarnation: incarnation.0 };
    counted.write(path).with_context(|| format!("write down what was counted in {}", path.display()))?;
    Ok((installation, incarnation))
}

fn count_start(path: &Path, witnessed: Option<u64>) -> anyhow::Result<Incarnation> {
    let found = match fs::read(path.join(INCARNATION)) {
        Ok(text) => str::from_utf8(&text).ok().and_then(|text| text.trim().parse::<u64>().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => witnessed.is_none().then_some(0),
        Err(error) => return Err(error.into()),
    };
    let before = match (found, witnessed) {
        (Some(found), None) => found,
        (Some(found), Some(witnessed)) if found >= witnessed => found,
        (_, Some(witnessed)) => {
            tracing::warn!(file = INCARNATION, "a file of the data directory is damaged, and is written anew");
            witnessed
        }
        (None, None) => anyhow::bail!("the counter is damaged; remove the directory to start over"),
    };
    let next = before.checked_add(1).context("the counter is at its end")?;
    replace(path, INCARNATION, format!("{next}\n").as_bytes())?;
    Ok(Incarnation(next))
}

fn installation(path: &Path, witness: Option<&Witness>) -> anyhow::Result<u64> {
    let Some(witness) = witness else {
        let damaged = "the id is damaged; remove the directory to start over";
        return Ok(u64::from_le_bytes(drawn_once(path, INSTALLATION, damaged)?));
    };
    let bytes = witness.installation.to_le_bytes();
    if !fs::read(path.join(INSTALLATION)).is_ok_and(|found| found == bytes) {
        tracing::warn!(file = INSTALLATION, "a file of the data directory is damaged, and is written anew");
        replace(path, INSTALLATION, &bytes)?;
    }
    Ok(witness.installation)
}

fn key(path: &Path) -> anyhow::Result<[u8; 32]> {
    drawn_once(path, KEY, "the key is damaged; remove the file to make a new one")
}

/// Reads random bytes that are drawn at the first start and stay.
fn drawn_once<const N: usize>(path: &Path, name: &str, damaged: &'static str) -> anyhow::Result<[u8; N]> {
    match fs::read(path.join(name)) {
        Ok(bytes) => bytes.try_into().ok().context(damaged),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let bytes = random()?;
            replace(path, name, &bytes)?;
            Ok(bytes)
        }
        Err(error) => Err(error.into()),
    }
}

/// Replaces a file durably: a crash leaves the old content or the new one.
fn replace(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let part = dir.join(format!("{name}.part"));
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&part, dir.join(name))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_counts_and_keeps_what_was_drawn() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("data");
        let first = DataDir::open(&path).expect("opened");
        let (key, installation) = (first.cache_key, first.installation);
        drop(first);
        let second = DataDir::open(&path).expect("opened again");
        assert_eq!((second.incarnation, second.cache_key), (Incarnation(2), key));
        assert_eq!(second.installation, installation);
        let other = DataDir::open(&dir.path().join("other")).expect("opened");
        assert_ne!(other.installation, installation);
        assert_ne!(key, [0; 32]);
    }

    #[test]
    fn what_guests_left_is_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = DataDir::open(dir.path()).expect("opened");
        data.clear_scratch().expect("there is nothing");
        fs::create_dir_all(data.scratch().join("3/attempt")).expect("made");
        fs::write(data.scratch().join("3/attempt/file"), "secret").expect("written");
        data.clear_scratch().expect("removed");
        assert!(!data.scratch().exists());
    }

    #[test]
    fn a_directory_in_use_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let _held = DataDir::open(dir.path()).expect("opened");
        let error = DataDir::open(dir.path()).expect_err("in use");
        assert!(matches!(error.downcast_ref(), Some(exit::Error::DataDirInUse(_))), "{error:#}");
    }

    #[test]
    fn a_damaged_counter_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join(INCARNATION), "seven").expect("written");
        let error = DataDir::open(dir.path()).expect_err("damaged");
        assert!(format!("{error:#}").contains("the counter is damaged"), "{error:#}");
    }
    #[test]
    fn damaged_files_are_written_anew_and_no_start_is_counted_twice() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path();
        let first = DataDir::open(path).expect("opened").installation;
        let mut starts = 1;
        let mut open = |what: &str| {
            let opened = DataDir::open(path).expect(what);
            starts += 1;
            assert_eq!((opened.installation, opened.incarnation), (first, Incarnation(starts)), "{what}");
        };
        for damage in ["", "0", "1\n", "-4\n", "\u{1}"] {
            fs::write(path.join(INCARNATION), damage).expect("damaged");
            open("the counter");
            fs::write(path.join(INSTALLATION), damage).expect("damaged");
            open("the id");
            fs::write(path.join("witness"), damage).expect("damaged");
            open("the second copy");
        }
        fs::write(path.join(INSTALLATION), [7; 8]).expect("another id");
        open("another id");
        for file in [INCARNATION, INSTALLATION, "witness"] {
            fs::remove_file(path.join(file)).expect("removed");
            open(file);
        }
    }

    #[test]
    fn a_release_without_the_second_copy_may_have_counted_on() {
        let dir = tempfile::tempdir().expect("a directory");
        DataDir::open(dir.path()).expect("opened");
        fs::write(dir.path().join(INCARNATION), "5\n").expect("counted");
        assert_eq!(DataDir::open(dir.path()).expect("opened").incarnation, Incarnation(6));
    }
}
