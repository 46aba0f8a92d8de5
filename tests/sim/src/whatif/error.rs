//! What is wrong with an input, and where.

/// An input that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A line of a file is wrong.
    #[error("{file} line {line}: {what}")]
    Line {
        /// The file, as it was named.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A file is wrong as a whole, or cannot be read.
    #[error("{file}: {what}")]
    File {
        /// The file, as it was named.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// The scheduler refuses something.
    #[error("the scheduler refuses {what}: {why}")]
    Refused {
        /// What was asked of it.
        what: String,
        /// Its answer.
        why: String,
    },
}

impl Error {
    pub(super) fn line(file: &str, line: usize, what: impl Into<String>) -> Self {
        Self::Line { file: file.to_owned(), line, what: what.into() }
    }

    pub(super) fn file(file: &str, what: impl Into<String>) -> Self {
        Self::File { file: file.to_owned(), what: what.into() }
    }
}

/// Reads a file of bounded size.
pub(super) fn read(path: &std::path::Path, bytes_max: u64) -> Result<String, Error> {
    let name = path.display().to_string();
    let failed = |error: std::io::Error| Error::file(&name, error.to_string());
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    let limited = &mut std::io::Read::take(file, bytes_max + 1);
    std::io::Read::read_to_string(limited, &mut text).map_err(failed)?;
    if text.len() as u64 > bytes_max {
        return Err(Error::file(&name, format!("has more than {bytes_max} bytes")));
    }
    Ok(text)
}
