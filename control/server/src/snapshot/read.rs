//! Reading a snapshot from its file, and what is in it.

use std::path::Path;

use sha2::{Digest as _, Sha256};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, BufReader},
};
use weir_wire::key;

use super::{FRAME_LEN_MAX, Header, MAGIC, NAME_LEN_MAX, SnapshotError, Tag};

/// What is in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// What it says of itself.
    #[serde(flatten)]
    pub header: Header,
    /// Versions of jobs.
    pub job_versions: u64,
    /// Submissions, of one or several runs each.
    pub submissions: u64,
    /// All records.
    pub records: u64,
    /// Their bytes.
    pub record_bytes: u64,
    /// Objects of the blob store.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// The SHA-256 of all of it, hexadecimal: its name.
    pub digest: String,
}

/// One thing in a snapshot.
pub(super) enum Item {
    Record {
        key: String,
        value: Vec<u8>,
    },
    Object {
        name: String,
        len: u64,
    },
    Part(Vec<u8>),
    /// It was whole, and this is its digest.
    End([u8; 32]),
}

/// Reads a snapshot item by item.
pub(super) struct Reader {
    file: BufReader<File>,
    hash: Sha256,
    /// Bytes of the current object that are still to come.
    missing: u64,
    pub(super) header: Header,
}

impl Reader {
    /// Opens a snapshot and reads its header.
    pub(super) async fn open(path: &Path) -> Result<Self, SnapshotError> {
        let failed = |error: std::io::Error| SnapshotError::File { path: path.to_owned(), detail: error.to_string() };
        let mut file = BufReader::with_capacity(1 << 20, File::open(path).await.map_err(failed)?);
        let mut magic = [0; MAGIC.len()];
        let foreign = SnapshotError::Format("this is not a snapshot, or one of a later version");
        if file.read_exact(&mut magic).await.is_err() || magic != MAGIC {
            return Err(foreign);
        }
        let mut hash = Sha256::new();
        hash.update(MAGIC);
        let header = Header { cluster: String::new(), version: String::new(), created_ms: 0, blobs: false };
        let mut reader = Self { file, hash, missing: 0, header };
        let (Tag::Header, text) = reader.frame().await? else { return Err(foreign) };
        reader.header = serde_json::from_slice(&text).map_err(|_| foreign)?;
        Ok(reader)
    }

    /// The next item; nothing comes after [`Item::End`].
    pub(super) async fn next(&mut self) -> Result<Item, SnapshotError> {
        let before = self.hash.clone();
        let (tag, content) = self.frame().await?;
        if self.missing > 0 && tag != Tag::Part {
            return Err(SnapshotError::Damaged("an object is not whole"));
        }
        match tag {
            Tag::Header => Err(SnapshotError::Damaged("it has two headers")),
            Tag::Record => record(&content).ok_or(SnapshotError::Damaged("a record is malformed")),
            Tag::Object => {
                let (name, len) = object(&content).ok_or(SnapshotError::Damaged("an object is malformed"))?;
                self.missing = len;
                Ok(Item::Object { name, len })
            }
            Tag::Part => {
                let left = self.missing.checked_sub(content.len() as u64);
                self.missing = left.ok_or(SnapshotError::Damaged("an object is too long"))?;
                Ok(Item::Part(content))
            }
            Tag::End => {
                let digest: [u8; 32] = before.finalize().into();
                if content != digest {
                    return Err(SnapshotError::Damaged("its checksum is wrong"));
                }
                if self.file.read(&mut [0]).await.is_ok_and(|more| more > 0) {
                    return Err(SnapshotError::Damaged("something follows its end"));
                }
                Ok(Item::End(digest))
            }
        }
    }

    async fn frame(&mut self) -> Result<(Tag, Vec<u8>), SnapshotError> {
        let short = |_| SnapshotError::Damaged("it ends too early");
        let mut head = [0; 5];
        self.file.read_exact(&mut head).await.map_err(short)?;
        let [tag, len @ ..] = head;
        let tag = Tag::of(tag).ok_or(SnapshotError::Damaged("it holds something unknown"))?;
        let len = u32::from_le_bytes(len) as usize;
        if len > FRAME_LEN_MAX {
            return Err(SnapshotError::Damaged("a part is too long"));
        }
        let mut content = vec![0; len];
        self.file.read_exact(&mut content).await.map_err(short)?;
        self.hash.update(head);
        self.hash.update(&content);
        Ok((tag, content))
    }
}

fn record(content: &[u8]) -> Option<Item> {
    let (len, rest) = content.split_first_chunk::<2>()?;
    let (key, value) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
    Some(Item::Record { key: text(key)?, value: value.to_vec() })
}

fn object(content: &[u8]) -> Option<(String, u64)> {
    let (len, name) = content.split_first_chunk::<8>()?;
    Some((text(name)?, u64::from_le_bytes(*len)))
}

fn text(bytes: &[u8]) -> Option<String> {
    (bytes.len() <= NAME_LEN_MAX).then(|| std::str::from_utf8(bytes).ok().map(str::to_owned)).flatten()
}

/// Reads a snapshot to its end and says what is in it.
///
/// # Errors
/// [`SnapshotError`] of a file that is not a whole snapshot.
pub async fn inspect(path: &Path) -> Result<Summary, SnapshotError> {
    let mut reader = Reader::open(path).await?;
    let mut summary = Summary {
        header: reader.header.clone(),
        job_versions: 0,
        submissions: 0,
        records: 0,
        record_bytes: 0,
        objects: 0,
        object_bytes: 0,
        digest: String::new(),
    };
    loop {
        match reader.next().await? {
            Item::Record { key, value } => {
                summary.job_versions += u64::from(key.starts_with(key::JOBS));
                summary.submissions += u64::from(key.starts_with(key::SUBMISSIONS));
                summary.records += 1;
                summary.record_bytes += value.len() as u64;
            }
            Item::Object { len, .. } => {
                summary.objects += 1;
                summary.object_bytes += len;
            }
            Item::Part(_) => {}
            Item::End(digest) => {
                summary.digest = weir_wire::id::Digest(digest).to_hex();
                return Ok(summary);
            }
        }
    }
}
