//! Counts words. The tasks of a run divide the files into shares of equally many bytes; large files are split at word
//! borders, so that every word is counted by exactly one task.

#![forbid(unsafe_code)]

mod share;
mod words;

use std::fs::File;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use weir_sdk::{Error, WrapErr, bail, ensure, log};

use crate::share::Piece;
use crate::words::Words;

/// Where the published directory is expected when the input names no files.
const PATH_DEFAULT: &str = "/data";
/// Words listed in the output when the input does not say how many.
const TOP_DEFAULT: usize = 10;
/// Most words the output lists; it keeps the result small.
const TOP_MAX: usize = 1_000;
/// Progress reports of a task, about: a corpus may have very many small files.
const REPORTS: u64 = 20;

/// What to count. All of it has defaults, and so has an empty payload.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Input {
    /// A file, or a directory with everything below it.
    path: Option<PathBuf>,
    /// Files or directories, when it is more than one.
    files: Vec<PathBuf>,
    /// How many of the most frequent words to list.
    top: Option<usize>,
}

/// The counts of this task's share.
#[derive(Debug, PartialEq, Serialize)]
struct Output {
    /// Files of which at least a part is in the share.
    files: usize,
    /// Bytes in the share.
    bytes: u64,
    /// Words that begin in the share. The sum over all tasks is the number of words in the files.
    words: u64,
    /// Different words among them.
    distinct: usize,
    /// The most frequent ones, the most frequent first.
    top: Vec<Count>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Count {
    word: String,
    count: u64,
}

#[weir_sdk::task]
fn wordcount(input: Option<Input>) -> Result<Output, Error> {
    let input = input.unwrap_or_default();
    let top = input.top.unwrap_or(TOP_DEFAULT);
    ensure!(top <= TOP_MAX, "top is {top}, the most is {TOP_MAX}");

    let files = share::list_files(&roots(input)?)?;
    let bytes_all = files.iter().map(|file| file.bytes).sum();
    let context = weir_sdk::context();
    let share = context.share(bytes_all);
    let bytes = share.end - share.start;
    let pieces = share::cut(&files, share);
    log::info!("task {} of {}: {bytes} of {bytes_all} bytes in {} files", context.index, context.count, pieces.len());

    let words = count(&pieces, bytes)?;
    let top = words.top(top).map(|(word, count)| Count { word: word.to_owned(), count }).collect();
    Ok(Output { files: pieces.len(), bytes, words: words.total(), distinct: words.distinct(), top })
}

fn count(pieces: &[Piece<'_>], bytes: u64) -> Result<Words, Error> {
    let mut words = Words::default();
    let (mut done, mut reported) = (0, 0);
    for piece in pieces {
        let doing = || format!("failed to read {}", piece.path.display());
        let mut file = File::open(piece.path).wrap_err(doing)?;
        words.count(&mut file, piece.range.clone()).wrap_err(doing)?;
        done += piece.range.end - piece.range.start;
        if done - reported >= bytes / REPORTS {
            weir_sdk::progress(done, bytes);
            reported = done;
        }
    }
    Ok(words)
}

fn roots(input: Input) -> Result<Vec<PathBuf>, Error> {
    match (input.path, input.files) {
        (Some(_), files) if !files.is_empty() => bail!("give either `path` or `files`, not both"),
        (Some(path), _) => Ok(vec![path]),
        (None, files) if files.is_empty() => Ok(vec![PATH_DEFAULT.into()]),
        (None, files) => Ok(files),
    }
}

#[cfg(test)]
mod tests;
