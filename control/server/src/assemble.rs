//! Makes the payload of a run from the results of another one.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use weir_scheduler::Scheduler;
use weir_wire::{
    id::{Digest, RunId},
    items, limits,
    outcome::{BlobRef, Captured},
    segment::{Entries, Entry},
};

use crate::{
    blobs::{BlobError, Blobs},
    handle::Shared,
    index_set::IndexSet,
};

/// Most payloads that are being made at the same time: each is held in memory, up to [`limits::BLOB_LEN_MAX`].
const ASSEMBLIES_MAX: usize = 1;
/// Most payloads that wait to be made; more are refused, and asked for again.
pub(crate) const WAITING_MAX: usize = 256;
/// Longest segment object, bytes; they are closed at a few MiB.
const SEGMENT_LEN_MAX: u64 = 64 << 20;

/// Why a payload could not be made.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the results are {len} bytes together, more than the {} of a payload", limits::BLOB_LEN_MAX)]
    TooLarge { len: u64 },
    #[error("too many payloads wait to be made")]
    Busy,
    #[error("{name} is missing in the blob store")]
    Missing { name: String },
    #[error("decode what was stored: {0}")]
    Damaged(#[from] weir_wire::codec::Error),
    #[error("a result has another length than was recorded")]
    Length,
    #[error("{0}")]
    Blobs(#[from] BlobError),
}

/// What became of a payload.
#[derive(Debug)]
pub(crate) struct Assembled {
    /// Which leadership asked for it.
    epoch: u64,
    pub(crate) run: RunId,
    pub(crate) result: Result<BlobRef, String>,
}

/// Makes payloads on the runtime of the store.
pub(crate) struct Assembler {
    shared: Arc<Shared>,
    runtime: Handle,
    done: mpsc::Sender<Assembled>,
    turns: Arc<Semaphore>,
    working: JoinSet<()>,
    epoch: u64,
}

/// Where the results of a run are.
struct Results {
    run: RunId,
    count: u32,
    inline: Vec<Entry>,
    /// Names, newest first: where a task is in several, the newest counts.
    segments: Vec<String>,
}

/// The shape of a payload.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// An [`items`] blob, one item a task.
    Items,
    /// One line a task.
    Lines,
}

impl Assembler {
    pub(crate) fn new(shared: Arc<Shared>, runtime: Handle, done: mpsc::Sender<Assembled>) -> Self {
        let turns = Arc::new(Semaphore::new(ASSEMBLIES_MAX));
        Self { shared, runtime, done, turns, working: JoinSet::new(), epoch: 0 }
    }

    /// Begins to make the payload of `run` from the results of `from`.
    pub(crate) fn begin(&mut self, scheduler: &Scheduler, run: RunId, from: RunId, items: bool) {
        while self.working.try_join_next().is_some() {}
        let results = Results {
            run: from,
            count: scheduler.run_record(from).map_or(0, |record| record.count),
            inline: scheduler.inline_entries(from),
            segments: scheduler.segments(from).into_iter().rev().map(|segment| segment.name).collect(),
        };
        let shape = if items { Shape::Items } else { Shape::Lines };
        let (epoch, done, turns) = (self.epoch, self.done.clone(), Arc::clone(&self.turns));
        let (shared, busy) = (Arc::clone(&self.shared), self.working.len() >= WAITING_MAX);
        let work = async move {
            let result = match turns.acquire().await {
                Ok(_) if busy => Err(Error::Busy),
                Ok(_turn) => assemble(&shared.blobs, &results, shape).await,
                Err(_) => return,
            };
            let result = result.map_err(|error| {
                tracing::warn!(run.id = %run, from.id = %from, %error, "the input of a run could not be made");
                format!("the results of run {from} cannot become its input: {error}")
            });
            // Fails only when the driver is gone.
            drop(done.send(Assembled { epoch, run, result }).await);
        };
        self.working.spawn_on(work, &self.runtime);
    }

    /// Whether this answers a question of this leadership.
    pub(crate) fn accept(&self, assembled: &Assembled) -> bool {
        assembled.epoch == self.epoch
    }

    /// Gives up what was asked for, which is right only after leadership was lost.
    pub(crate) fn give_up(&mut self) {
        self.working.abort_all();
        self.epoch += 1;
    }
}

/// Makes the payload and stores it. Lengths are read first, so that the payload is in memory once, and nothing else is.
async fn assemble(blobs: &Blobs, results: &Results, shape: Shape) -> Result<BlobRef, Error> {
    let mut lengths = vec![shape.room(&[]); results.count as usize];
    let mut large = Vec::new();
    let mut filled = 0;
    results
        .each(blobs, |entry| {
            let Some(length) = lengths.get_mut(entry.index as usize) else { return };
            match &entry.result {
                Captured::Empty => return,
                Captured::Inline(bytes) => *length = shape.room(bytes),
                Captured::Blob(blob) => {
                    *length = blob.len;
                    large.push((entry.index, *blob));
                }
            }
            filled += 1;
        })
        .await?;
    if shape == Shape::Lines {
        // Whether a large result ends its line is not known before it was read.
        check_len(lengths.iter().fold(0, |sum, length| u64::saturating_add(sum, *length)))?;
        for (index, blob) in &large {
            lengths[*index as usize] = shape.room(&read(blobs, blob).await?);
        }
    }
    let mut payload = Payload::new(&lengths, shape)?;
    results
        .each(blobs, |entry| match &entry.result {
            Captured::Empty | Captured::Blob(_) => {}
            Captured::Inline(bytes) => payload.put(entry.index, bytes),
        })
        .await?;
    for (index, blob) in large {
        payload.put(index, &read(blobs, &blob).await?);
    }
    let content = payload.finish(filled)?;
    let digest = Digest(Sha256::digest(&content).into());
    let stored = blobs.put_bytes(&digest, content).await?;
    Ok(BlobRef { digest, len: stored.len })
}

async fn read(blobs: &Blobs, blob: &BlobRef) -> Result<Bytes, Error> {
    let missing = || Error::Missing { name: blob.digest.to_string() };
    blobs.read(&blob.digest, blob.len).await?.ok_or_else(missing)
}

fn check_len(len: u64) -> Result<usize, Error> {
    let fits = usize::try_from(len).ok().filter(|_| len <= limits::BLOB_LEN_MAX);
    fits.ok_or(Error::TooLarge { len })
}

impl Shape {
    /// What a result takes in the payload, bytes: one that does not end its line is ended.
    fn room(self, result: &[u8]) -> u64 {
        let ends = self == Self::Items || result.last() == Some(&b'\n');
        result.len() as u64 + u64::from(!ends)
    }
}

impl Results {
    /// Calls `take` with the entry that counts of each task.
    async fn each(&self, blobs: &Blobs, mut take: impl FnMut(&Entry)) -> Result<(), Error> {
        let mut taken = IndexSet::new(self.count);
        for entry in &self.inline {
            if taken.insert(entry.index) {
                take(entry);
            }
        }
        for name in &self.segments {
            let segment = blobs.read_object(name, SEGMENT_LEN_MAX).await?;
            let segment = segment.ok_or_else(|| Error::Missing { name: name.clone() })?;
            for entry in Entries::new(&segment)? {
                let (run, entry) = entry?;
                if run == self.run && taken.insert(entry.index) {
                    take(&entry);
                }
            }
        }
        Ok(())
    }
}

/// A payload with room for each result at its place.
struct Payload {
    content: Vec<u8>,
    /// Where each result goes, and one more.
    places: Vec<usize>,
    shape: Shape,
    filled: usize,
}

impl Payload {
    fn new(lengths: &[u64], shape: Shape) -> Result<Self, Error> {
        let head = match shape {
            Shape::Items => items::HEAD_LEN as u64 + (lengths.len() as u64 + 1) * 8,
            Shape::Lines => 0,
        };
        let whole = lengths.iter().fold(head, |sum, length| sum.saturating_add(*length));
        let len = check_len(whole)?;
        let mut content = match shape {
            Shape::Items => {
                let prefix = items::prefix(lengths.iter().copied());
                prefix.map_err(|_| Error::TooLarge { len: whole })?
            }
            Shape::Lines => Vec::new(),
        };
        let mut places = Vec::with_capacity(lengths.len() + 1);
        let mut at = content.len();
        places.push(at);
        for length in lengths {
            at += check_len(*length)?;
            places.push(at);
        }
        assert_eq!(at, len, "the places end where the payload does");
        content.resize(len, b'\n');
        Ok(Self { content, places, shape, filled: 0 })
    }

    /// Puts a result at its place; one of another length than was announced is left out, which the end notices.
    fn put(&mut self, index: u32, bytes: &[u8]) {
        let index = index as usize;
        let (Some(from), Some(to)) = (self.places.get(index), self.places.get(index + 1)) else { return };
        if (to - from) as u64 == self.shape.room(bytes) {
            self.content[*from..*from + bytes.len()].copy_from_slice(bytes);
            self.filled += 1;
        }
    }

    fn finish(self, filled: usize) -> Result<Bytes, Error> {
        if self.filled == filled { Ok(self.content.into()) } else { Err(Error::Length) }
    }
}

#[cfg(test)]
mod tests {
    use weir_wire::{
        id::{Seq, Term},
        outcome::Usage,
        segment::{self, Builder},
    };

    use super::*;

    const RUN: RunId = RunId(7);

    fn entry(index: u32, result: Captured) -> Entry {
        Entry { index, usage: Usage::default(), result, log: Captured::Empty }
    }

    async fn store(blobs: &Blobs, bytes: &[u8]) -> BlobRef {
        let digest = Digest(Sha256::digest(bytes).into());
        blobs.put_bytes(&digest, Bytes::copy_from_slice(bytes)).await.unwrap();
        BlobRef { digest, len: bytes.len() as u64 }
    }

    /// Results of four tasks: one in line, one large, one in two segments of which the newer counts, one empty.
    async fn results(blobs: &Blobs) -> Results {
        let large = store(blobs, b"large one\n").await;
        let mut segments = Vec::new();
        for (seq, newest) in [(1, "old"), (2, "newer")] {
            let mut builder = Builder::default();
            builder.push(RUN, &entry(2, Captured::inline(newest.as_bytes())));
            builder.push(RunId(8), &entry(3, Captured::inline(b"of another run")));
            builder.push(RUN, &entry(1, Captured::Blob(large)));
            let name = segment::object_name(Seq(seq), Term(1));
            blobs.write_object(&name, builder.finish().into()).await.unwrap();
            segments.insert(0, name);
        }
        Results { run: RUN, count: 4, inline: vec![entry(0, Captured::inline(b"first"))], segments }
    }

    async fn content(blobs: &Blobs, results: &Results, shape: Shape) -> Bytes {
        let blob = assemble(blobs, results, shape).await.unwrap();
        blobs.read(&blob.digest, blob.len).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn results_become_a_payload_in_the_order_of_their_tasks() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::open_local(directory.path()).unwrap();
        let results = results(&blobs).await;
        assert_eq!(content(&blobs, &results, Shape::Lines).await, "first\nlarge one\nnewer\n\n");
        let expected = [&b"first"[..], b"large one\n", b"newer", b""];
        let expected = items::encode(expected.into_iter()).unwrap();
        assert_eq!(content(&blobs, &results, Shape::Items).await, expected);
    }

    #[tokio::test]
    async fn what_is_missing_or_too_large_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::open_local(directory.path()).unwrap();
        let mut results = results(&blobs).await;
        let lost = BlobRef { digest: Digest([1; 32]), len: 5 };
        results.inline = vec![entry(0, Captured::Blob(lost))];
        let error = assemble(&blobs, &results, Shape::Lines).await.unwrap_err();
        assert!(matches!(&error, Error::Missing { name } if *name == lost.digest.to_string()), "{error}");
        let huge = |index| entry(index, Captured::Blob(BlobRef { digest: lost.digest, len: limits::BLOB_LEN_MAX / 2 }));
        results.inline = vec![huge(0), huge(3)];
        for shape in [Shape::Lines, Shape::Items] {
            let error = assemble(&blobs, &results, shape).await.unwrap_err();
            assert!(matches!(error, Error::TooLarge { .. }), "{error}");
        }
        results.inline.clear();
        results.segments.push("segments/gone".to_owned());
        let error = assemble(&blobs, &results, Shape::Lines).await.unwrap_err();
        assert!(error.to_string().contains("segments/gone"), "{error}");
    }
}
