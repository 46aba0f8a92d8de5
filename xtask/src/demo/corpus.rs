//! Real text for the word count: what every Debian machine has, its licences and copyright notices.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Less text than this makes no work worth watching.
const BYTES_MIN: u64 = 1 << 20;
/// More text than this only takes longer.
const BYTES_MAX: u64 = 8 << 20;
/// A notice of several MiB is a list of file names, and would drown the prose.
const FILE_BYTES_MAX: u64 = 256 << 10;

const LICENCES: &str = "/usr/share/common-licenses";
const NOTICES: &str = "/usr/share/doc";

/// What the corpus was made of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Corpus {
    licences: usize,
    notices: usize,
    own: usize,
    /// How often the same text was put in to reach the least size; 1 when there was enough.
    rounds: usize,
    bytes: u64,
}

impl Corpus {
    /// Its size.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Copies files until there is enough; returns how many.
    fn take(&mut self, folder: &Path, kind: &str, files: &[PathBuf]) -> Result<usize> {
        let mut taken = 0;
        for file in files {
            if self.bytes >= BYTES_MAX {
                break;
            }
            // A file that cannot be read is left out: the corpus needs text, not this text.
            let Ok(text) = fs::read(file) else { continue };
            let place = folder.join(format!("{kind}-{}-{taken:04}.txt", self.rounds));
            fs::write(&place, &text).with_context(|| format!("cannot write {}", place.display()))?;
            self.bytes += u64::try_from(text.len()).context("a file is too large")?;
            taken += 1;
        }
        Ok(taken)
    }
}

impl fmt::Display for Corpus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} licences ({LICENCES}), {} copyright notices ({NOTICES}) and {} documents of this repository, {} KiB",
            self.licences,
            self.notices,
            self.own,
            self.bytes >> 10
        )?;
        if self.rounds > 1 { write!(formatter, ", each {} times", self.rounds) } else { Ok(()) }
    }
}

/// Fills `folder`, which is emptied before, from this machine's files.
///
/// # Errors
/// When the folder cannot be written.
pub(super) fn make(folder: &Path, repository: &Path) -> Result<Corpus> {
    let licences = plain_files(Path::new(LICENCES), None);
    let notices = plain_files(Path::new(NOTICES), Some("copyright"));
    let own = ["README.md", "LICENSE", "docs/ARCHITECTURE.md", "docs/SPEC.md"].map(|name| repository.join(name));
    fill(folder, &licences, &notices, &own)
}

fn fill(folder: &Path, licences: &[PathBuf], notices: &[PathBuf], own: &[PathBuf]) -> Result<Corpus> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut corpus = Corpus::default();
    while corpus.bytes < BYTES_MIN {
        let before = corpus.bytes;
        corpus.licences = corpus.take(folder, "licence", licences)?;
        corpus.notices = corpus.take(folder, "notice", notices)?;
        corpus.own = corpus.take(folder, "own", own)?;
        corpus.rounds += 1;
        ensure!(corpus.bytes > before, "there is no text on this machine to count the words of");
    }
    Ok(corpus)
}

/// The files of a folder, or with `below` that file of each of its folders; links are left out, as they repeat text.
fn plain_files(folder: &Path, below: Option<&str>) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let named = paths.map(|path| below.map_or_else(|| path.clone(), |name| path.join(name)));
    let mut files: Vec<PathBuf> = named
        .filter(|path| fs::symlink_metadata(path).is_ok_and(|about| about.is_file() && about.len() <= FILE_BYTES_MAX))
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("weir-corpus-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn little_text_is_repeated_and_none_is_an_error() {
        let scratch = Scratch::new("little");
        let source = scratch.0.join("source");
        fs::write(&source, "word ".repeat(100_000)).unwrap();
        let corpus = fill(&scratch.0.join("corpus"), &[source], &[], &[]).unwrap();
        assert_eq!((corpus.rounds, corpus.bytes, corpus.licences), (3, 1_500_000, 1));
        assert_eq!(fs::read_dir(scratch.0.join("corpus")).unwrap().count(), 3);
        assert!(fill(&scratch.0.join("corpus"), &[], &[], &[scratch.0.join("missing")]).is_err());
    }

    #[test]
    fn this_machine_has_enough_text() {
        let scratch = Scratch::new("machine");
        let corpus = make(&scratch.0, &crate::workspace::root().unwrap()).unwrap();
        assert!(corpus.bytes >= BYTES_MIN, "{corpus}");
    }
}
