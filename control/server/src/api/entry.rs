//! Where the result, log and usage of ended tasks are read from.

use bytes::Bytes;
use weir_scheduler::EntryLocation;
use weir_wire::{
    codec,
    id::RunId,
    outcome::Captured,
    segment::{Entries, Entry},
};

use super::{Api, refusal::Refusal};

/// Longest segment object, bytes; they are closed at a few MiB.
const SEGMENT_LEN_MAX: u64 = 64 << 20;

impl Api {
    /// Reads what was kept of an ended task.
    pub(super) async fn entry(&self, run: RunId, index: u32, at: EntryLocation) -> Result<Option<Entry>, Refusal> {
        let names = match at {
            EntryLocation::Inline(entry) => return Ok(Some(entry)),
            EntryLocation::None => return Ok(None),
            EntryLocation::Segments(names) => names,
        };
        for name in names {
            let segment = self.segment(&name).await?;
            let wanted = |found: &Result<(RunId, Entry), codec::Error>| match found {
                Ok((of, entry)) => *of == run && entry.index == index,
                Err(_) => true,
            };
            let found = Entries::new(&segment).map_err(damaged)?.find(wanted);
            if let Some(found) = found {
                return found.map(|(_, entry)| Some(entry)).map_err(damaged);
            }
        }
        Ok(None)
    }

    /// Reads a segment object.
    pub(super) async fn segment(&self, name: &str) -> Result<Bytes, Refusal> {
        let permit = self.large_reads.acquire().await;
        let _permit = permit.map_err(|error| Refusal::internal("read a segment", &error))?;
        let segment = self.handle.blobs().read_object(name, SEGMENT_LEN_MAX).await?;
        segment.ok_or_else(|| Refusal::internal("read a segment", &format!("{name} is missing")))
    }

    /// Reads captured bytes into memory.
    pub(super) async fn captured(&self, captured: &Captured) -> Result<Bytes, Refusal> {
        match captured {
            Captured::Empty => Ok(Bytes::new()),
            Captured::Inline(bytes) => Ok(Bytes::copy_from_slice(bytes)),
            Captured::Blob(blob) => {
                let found = self.handle.blobs().read(&blob.digest, blob.len).await?;
                found.ok_or_else(|| Refusal::internal("read a blob", &format!("{} is missing", blob.digest)))
            }
        }
    }
}

pub(super) fn damaged(error: codec::Error) -> Refusal {
    Refusal::internal("decode what was stored", &error)
}
