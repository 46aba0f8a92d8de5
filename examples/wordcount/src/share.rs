//! Which bytes of which files a task reads.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use weir_sdk::{Error, WrapErr, log};

/// A file to read, whole.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// A part of a file.
#[derive(Debug, PartialEq)]
pub(crate) struct Piece<'a> {
    pub(crate) path: &'a Path,
    pub(crate) range: Range<u64>,
}

/// Lists the files named and those below the directories named, in the same order for every task of a run. Links
/// inside a directory are left out: they would count a file twice, or lead out of what was published.
///
/// # Errors
/// Something cannot be read.
pub(crate) fn list_files(roots: &[PathBuf]) -> Result<Vec<Source>, Error> {
    let mut sources = Vec::new();
    for root in roots {
        let found = walk(root)?;
        sources.extend(found);
    }
    Ok(sources)
}

/// Cuts a range out of the files, as if they were one after the other.
pub(crate) fn cut(sources: &[Source], share: Range<u64>) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut begin: u64 = 0;
    for source in sources {
        let end = begin.saturating_add(source.bytes);
        let overlap = share.start.max(begin)..share.end.min(end);
        if !overlap.is_empty() {
            pieces.push(Piece { path: &source.path, range: overlap.start - begin..overlap.end - begin });
        }
        begin = end;
    }
    pieces
}

fn walk(root: &Path) -> Result<Vec<Source>, Error> {
    let metadata = fs::metadata(root).map_err(|error| unreadable(root, error))?;
    if metadata.is_file() {
        return Ok(vec![Source { path: root.to_owned(), bytes: metadata.len() }]);
    }
    let mut sources = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).map_err(|error| unreadable(&directory, error))? {
            let doing = || format!("failed to list {}", directory.display());
            let entry = entry.wrap_err(doing)?;
            let kind = entry.file_type().wrap_err(doing)?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() {
                let bytes = entry.metadata().wrap_err(doing)?.len();
                sources.push(Source { path: entry.path(), bytes });
            } else {
                log::debug!("left out {}: neither a file nor a directory", entry.path().display());
            }
        }
    }
    sources.sort();
    Ok(sources)
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    let hint = if error.kind() == io::ErrorKind::NotFound {
        " (a published directory is granted with `--grant dir:NAME:/data:ro`)"
    } else {
        ""
    };
    Error::from(error).wrap(format_args!("failed to read {}{hint}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(bytes: &[u64]) -> Vec<Source> {
        let names = ["a", "b", "c", "d"];
        names.iter().zip(bytes).map(|(name, &bytes)| Source { path: name.into(), bytes }).collect()
    }

    fn cut_text(bytes: &[u64], share: Range<u64>) -> String {
        let sources = sources(bytes);
        let pieces: Vec<_> = cut(&sources, share)
            .into_iter()
            .map(|piece| format!("{} {}..{}", piece.path.display(), piece.range.start, piece.range.end))
            .collect();
        pieces.join(", ")
    }

    #[test]
    fn cuts_a_range_across_files() {
        for (bytes, share, expected) in [
            (&[10, 20][..], 0..30, "a 0..10, b 0..20"),
            (&[10, 20], 0..10, "a 0..10"),
            (&[10, 20], 10..30, "b 0..20"),
            (&[10, 20], 9..11, "a 9..10, b 0..1"),
            (&[10, 0, 20], 5..15, "a 5..10, c 0..5"),
            (&[10, 20], 12..12, ""),
            (&[], 0..0, ""),
            (&[100], 25..50, "a 25..50"),
            (&[u64::MAX, 5], 0..3, "a 0..3"),
        ] {
            assert_eq!(cut_text(bytes, share.clone()), expected, "{share:?} of {bytes:?}");
        }
    }
}
