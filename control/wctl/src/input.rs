//! Bytes that a person names: a file, stdin, or the text itself.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use sha2::{Digest as _, Sha256};

use crate::{
    exit::Exit,
    failure::{Failure, Result},
};

/// Reads a file, or stdin for `-`, up to `len_max` bytes.
pub(crate) fn read(name: &str, len_max: u64) -> Result<Vec<u8>> {
    if name == "-" {
        return read_limited(&mut io::stdin().lock(), "stdin", len_max);
    }
    let path = Path::new(name);
    let failed = |error: io::Error| {
        let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Usage };
        Failure::new(exit, format!("failed to read {name}")).because(error)
    };
    if path.is_dir() {
        return Err(Failure::usage(format!("failed to read {name}: it is a directory")));
    }
    read_limited(&mut File::open(path).map_err(failed)?, name, len_max)
}

/// Reads the value of `--input`: `@FILE`, `-`, or the text itself.
pub(crate) fn read_value(value: &str, len_max: u64) -> Result<Vec<u8>> {
    match value.strip_prefix('@') {
        Some(file) => read(file, len_max),
        None if value == "-" => read("-", len_max),
        None => Ok(value.as_bytes().to_vec()),
    }
}

/// The lines of a text without their ends; `\r\n` counts as one end, and a last empty line as none.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let some = if text.is_empty() { None } else { Some(text) };
    some.into_iter()
        .flat_map(|text| text.split(|byte| *byte == b'\n'))
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// The digest of bytes as the API writes it.
pub(crate) fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
    }
    text
}

fn read_limited(reader: &mut impl Read, name: &str, len_max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = reader.take(len_max.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| Failure::new(Exit::Usage, format!("failed to read {name}")).because(error))?;
    if bytes.len() as u64 > len_max {
        return Err(Failure::new(
            Exit::Invalid,
            format!("{name} is larger than {}", weir_api::units::format_size(len_max)),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_items() {
        for (text, expected) in [
            (&b""[..], vec![]),
            (b"\n", vec![]),
            (b"a", vec![&b"a"[..]]),
            (b"a\n", vec![b"a"]),
            (b"a\r\n\nb\n", vec![b"a", b"", b"b"]),
            (b"a\n\n", vec![b"a", b""]),
        ] {
            assert_eq!(lines(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }

    #[test]
    fn input_is_text_or_a_file() {
        assert_eq!(read_value("{\"n\":1}", 100).unwrap(), b"{\"n\":1}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "content").unwrap();
        let name = file.path().to_str().unwrap();
        assert_eq!(read_value(&format!("@{name}"), 100).unwrap(), b"content");
        assert_eq!(read(name, 3).unwrap_err().exit(), Exit::Invalid);
        assert_eq!(read("/nonexistent/x", 3).unwrap_err().exit(), Exit::NotFound);
    }

    #[test]
    fn digests_are_canonical() {
        assert_eq!(digest(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert!(weir_api::spec::check_digest(&digest(b"x")).is_ok());
    }
}
