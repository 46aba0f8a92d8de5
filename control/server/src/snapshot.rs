//! Snapshots: all that a cluster keeps, in one file.
//!
//! A snapshot is a line that says what it is, and frames: a tag, a length and so many bytes. First comes a header, then
//! every record of the store as of one revision, then every object of the blob store, and at last the SHA-256 of
//! everything before. Objects are listed after the revision was fixed, and an object is complete before a record names
//! it, so that none is missing.

mod read;
mod restore;
mod save;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use read::{Summary, inspect};
pub use restore::restore;
pub(crate) use save::save;

use crate::store::StoreError;

/// The first line of every snapshot; the number is the version of the format.
const MAGIC: &[u8] = b"weir-snapshot 1\n";
/// Longest content of a frame, bytes: no record and no part of an object is longer.
const FRAME_LEN_MAX: usize = 16 << 20;
/// Longest key or name, bytes.
const NAME_LEN_MAX: usize = 4096;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    /// The [`Header`] as JSON.
    Header = 1,
    /// A key, behind its length in two bytes, and its value.
    Record = 2,
    /// The length of an object in eight bytes, and its name.
    Object = 3,
    /// The next bytes of the object that was begun last.
    Part = 4,
    /// The SHA-256 of all bytes before this frame.
    End = 5,
}

impl Tag {
    const ALL: [Self; 5] = [Self::Header, Self::Record, Self::Object, Self::Part, Self::End];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|tag| *tag as u8 == byte)
    }
}

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The cluster.
    pub cluster: String,
    /// The version of the control plane that made it.
    pub version: String,
    /// When it was begun, Unix milliseconds.
    pub created_ms: u64,
    /// Whether the objects of the blob store are in it.
    pub blobs: bool,
}

/// Why a snapshot cannot be read, made or restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file cannot be read.
    #[error("read {}: {detail}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// The file is not a snapshot, or not one that this version reads.
    #[error("read the snapshot: {0}")]
    Format(&'static str),
    /// The file ends too early or was changed.
    #[error("read the snapshot: {0}; it is damaged, take another one")]
    Damaged(&'static str),
    /// The store cannot be used as it is.
    #[error("restore: {0}")]
    Refused(String),
    /// The store or the blob store failed.
    #[error("{0}")]
    Failed(String),
}

impl From<StoreError> for SnapshotError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<crate::blobs::BlobError> for SnapshotError {
    fn from(error: crate::blobs::BlobError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Appends a frame whose content is in several pieces.
fn frame(tag: Tag, pieces: &[&[u8]], out: &mut Vec<u8>) {
    let len: usize = pieces.iter().map(|piece| piece.len()).sum();
    debug_assert!(len <= FRAME_LEN_MAX, "records and parts are limited");
    out.push(tag as u8);
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}
