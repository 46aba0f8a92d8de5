//! The committed inputs. Those of the wire are the samples that its format is tested with.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::Target;

/// One input and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name of its file.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The inputs of a target, by name.
///
/// # Errors
/// A directory that cannot be read, or has nothing in it.
pub fn read(target: Target) -> Result<Vec<Entry>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut entries = files(&here.join("corpus").join(target.name()))?;
    if target == Target::Wire {
        for Entry { name, bytes } in files(&here.join("../../proto/wire/testdata/v1"))? {
            let bytes = from_hex(&bytes).with_context(|| format!("{name} is not hexadecimal"))?;
            entries.push(Entry { name, bytes });
        }
    }
    ensure!(!entries.is_empty(), "the corpus of {target} is empty");
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn files(dir: &Path) -> Result<Vec<Entry>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let paths = fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?;
    paths.map(|entry| entry_of(&entry?.path())).collect()
}

fn entry_of(path: &PathBuf) -> Result<Entry> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Entry { name, bytes: fs::read(path).with_context(|| format!("read {}", path.display()))? })
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
