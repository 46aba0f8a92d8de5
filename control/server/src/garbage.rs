//! Objects of the blob store that nothing needs any more: found by looking at everything that refers to one.
//!
//! What the state of the leader refers to is marked first, run by run, and what the segment objects of those runs refer
//! to. Then everything that is not marked and was stored long enough ago is deleted. What is stored or referred to
//! meanwhile is younger than that (`blobs::clean`), so nothing has to stand still.

use std::{
    collections::HashSet,
    pin::pin,
    time::{Duration, SystemTime},
};

use futures_util::StreamExt as _;
use weir_scheduler::{Reference, RequestError};
use weir_wire::{
    blob,
    id::{Digest, Term},
    segment::{self, Entries},
};

use crate::{
    blobs::{BlobError, DATED_WITHIN, Old, Partial},
    clock,
    handle::ControlHandle,
};

/// The age below which nothing is ever deleted.
pub(crate) const AGE_MIN: Duration = DATED_WITHIN.saturating_mul(2);
/// How long a replica has to lead before it deletes: executors report first what was not recorded yet.
const LED_MIN: Duration = Duration::from_secs(LED_MIN_S as u64);
/// The same, seconds.
pub(crate) const LED_MIN_S: u32 = 30;
/// Runs that are looked at in one question to the scheduler.
const PAGE_RUNS: usize = 1024;
/// Objects that are deleted together; whoever looks for one waits meanwhile.
const BATCH_OBJECTS: usize = 64;
/// Longest segment object, bytes; they are closed at a few MiB.
const SEGMENT_LEN_MAX: u64 = 64 << 20;
/// The directories with objects that may be needed no more.
pub(crate) const DIRECTORIES: [&str; 3] = [blob::DIRECTORY, segment::DIRECTORY, MODULE_DIRECTORY];
/// Where the descriptions of modules are, by the digits of their digests.
pub(crate) const MODULE_DIRECTORY: &str = "modules";

/// Why it could not be done, or not to the end. What was deleted until then was needed by nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// This replica does not lead, or not any more, or too much waits for it.
    #[error(transparent)]
    Leader(#[from] RequestError),
    /// It leads, but not for long.
    #[error("this replica has led for less than {} s; executors may still report results of before", LED_MIN_S)]
    TooEarly,
    /// The blob store failed.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// A segment object cannot be used, so that it is not known what it refers to.
    #[error("read {name}: {problem}")]
    Segment {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Numbers of objects and their lengths, bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

impl Tally {
    fn add(&mut self, len: u64) {
        self.objects += 1;
        self.bytes += len;
    }
}

/// What was found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Collected {
    /// Needed.
    pub(crate) needed: Tally,
    /// Not needed, but not old enough.
    pub(crate) young: Tally,
    /// Deleted, or what would be.
    pub(crate) deleted: Tally,
    /// Of uploads that were cut off; deleted, or what would be.
    pub(crate) partial: Partial,
}

/// The names of everything that is needed.
#[derive(Default)]
struct Needed {
    blobs: HashSet<Digest>,
    segments: HashSet<String>,
}

impl Needed {
    fn add(&mut self, reference: Reference) {
        match reference {
            Reference::Blob(digest) => drop(self.blobs.insert(digest)),
            Reference::Segment(seq, term) => drop(self.segments.insert(segment::object_name(seq, term))),
        }
    }

    /// Whether an object is needed. What has a name that is not understood is left alone.
    fn has(&self, name: &str) -> bool {
        if self.segments.contains(name) {
            return true;
        }
        if segment::parse_object_name(name).is_some() {
            return false;
        }
        let digits = name.rsplit('/').next().unwrap_or_default();
        format!("sha256:{digits}").parse().map_or(true, |digest: Digest| self.blobs.contains(&digest))
    }
}

/// Deletes what nothing needs and what was stored longer than `min_age` ago; with `dry_run`, only counts it.
///
/// # Errors
/// See [`Error`].
pub(crate) async fn collect(handle: &ControlHandle, min_age: Duration, dry_run: bool) -> Result<Collected, Error> {
    let status = handle.status();
    let (Some(term), Some(since)) = (status.term, status.leading_since) else {
        return Err(RequestError::NotLeader.into());
    };
    if clock::mono() < since + LED_MIN {
        return Err(Error::TooEarly);
    }
    let before = SystemTime::now().checked_sub(min_age.max(AGE_MIN)).unwrap_or(SystemTime::UNIX_EPOCH);
    let needed = mark(handle).await?;
    let mut collected = Collected::default();
    for directory in DIRECTORIES {
        let mut objects = pin!(handle.blobs().dated(directory, before));
        let mut batch = Vec::new();
        while let Some(object) = objects.next().await {
            let (object, old) = object?;
            if needed.has(&object.name) {
                collected.needed.add(object.len);
            } else if !old {
                collected.young.add(object.len);
            } else if dry_run {
                collected.deleted.add(object.len);
            } else {
                batch.push(object);
            }
            if batch.len() == BATCH_OBJECTS {
                delete(handle, term, std::mem::take(&mut batch), before, &mut collected).await?;
            }
        }
        delete(handle, term, batch, before, &mut collected).await?;
    }
    collected.partial = handle.blobs().delete_partial(before, dry_run).await?;
    Ok(collected)
}

/// Everything that is needed.
async fn mark(handle: &ControlHandle) -> Result<Needed, Error> {
    let mut needed = Needed::default();
    needed.blobs.extend(handle.query(|scheduler, _| scheduler.modules()).await?);
    let mut from = Some(0);
    while let Some(cursor) = from {
        let page = handle.query(move |scheduler, _| scheduler.references(cursor, PAGE_RUNS)).await?;
        page.0.into_iter().for_each(|reference| needed.add(reference));
        from = page.1;
    }
    for name in &needed.segments {
        let object = handle.blobs().read_object(name, SEGMENT_LEN_MAX).await?;
        let unusable = |problem: String| Error::Segment { name: name.clone(), problem };
        let object = object.ok_or_else(|| unusable("it is missing".to_owned()))?;
        for entry in Entries::new(&object).map_err(|error| unusable(error.to_string()))? {
            let (_, entry) = entry.map_err(|error| unusable(error.to_string()))?;
            for reference in Reference::of(&entry) {
                if let Reference::Blob(digest) = reference {
                    needed.blobs.insert(digest);
                }
            }
        }
    }
    Ok(needed)
}

/// Deletes some objects, while this replica still leads as it did when they were found.
async fn delete(
    handle: &ControlHandle,
    term: Term,
    batch: Vec<Old>,
    before: SystemTime,
    collected: &mut Collected,
) -> Result<(), Error> {
    if batch.is_empty() {
        return Ok(());
    }
    let lead = handle.query(move |scheduler, _| scheduler.term() == Some(term)).await?;
    if !lead {
        return Err(RequestError::NotLeader.into());
    }
    for object in handle.blobs().delete_old(batch, before).await? {
        tracing::debug!(object.name = object.name, object.bytes = object.len, "deleted an object that nothing needs");
        collected.deleted.add(object.len);
    }
    Ok(())
}
