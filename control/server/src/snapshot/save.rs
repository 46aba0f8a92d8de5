//! Making a snapshot of a cluster that runs.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::{sync::mpsc, time::timeout};
use weir_wire::key;

use super::{Header, MAGIC, SnapshotError, Tag, frame};
use crate::{
    garbage::DIRECTORIES,
    handle::Shared,
    store::{Pages, RECORDS},
};

/// Bytes that are gathered before they are sent.
const CHUNK_LEN: usize = 1 << 20;
/// How long a reader may take no chunk: meanwhile the blob store is not cleaned and no other snapshot is made.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Chunks on their way to a reader, and at last why there are no more of them, if it is not all.
pub(crate) type Chunks = mpsc::Sender<Result<Bytes, SnapshotError>>;

/// Where a snapshot goes: to a reader that may be slow or go away.
struct Sink {
    chunks: Chunks,
    gathered: Vec<u8>,
    hash: Sha256,
}

/// The reader went away or has fallen silent.
struct Gone;

impl Sink {
    async fn frame(&mut self, tag: Tag, pieces: &[&[u8]]) -> Result<(), Gone> {
        frame(tag, pieces, &mut self.gathered);
        if self.gathered.len() >= CHUNK_LEN { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        self.hash.update(&self.gathered);
        let chunk = Bytes::from(std::mem::take(&mut self.gathered));
        match timeout(SILENCE_MAX, self.chunks.send(Ok(chunk))).await {
            Ok(sent) => sent.map_err(|_| Gone),
            Err(_) => {
                tracing::warn!("a snapshot was given up: its reader took nothing for {} s", SILENCE_MAX.as_secs());
                Err(Gone)
            }
        }
    }
}

/// Why no whole snapshot was made.
enum Failure {
    Gone,
    Failed(SnapshotError),
}

impl From<Gone> for Failure {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl<E: Into<SnapshotError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Sends a snapshot in chunks, whole or without its last frame, and then the failure of the store or the blob store, if
/// there was one and the reader is still there. At the end `led` says whether this replica has led all the time: a
/// successor may have deleted objects that the records need.
pub(crate) async fn save(shared: &Shared, header: &Header, led: impl Future<Output = bool> + Send, chunks: Chunks) {
    let mut sink = Sink { chunks, gathered: MAGIC.to_vec(), hash: Sha256::new() };
    if let Err(Failure::Failed(error)) = write(shared, header, led, &mut sink).await {
        tracing::error!(%error, "a snapshot was not taken to its end");
        // It breaks off for a reader that is gone or silent as well.
        let _gone_or_silent = timeout(SILENCE_MAX, sink.chunks.send(Err(error))).await;
    }
}

async fn write(
    shared: &Shared,
    header: &Header,
    led: impl Future<Output = bool> + Send,
    sink: &mut Sink,
) -> Result<(), Failure> {
    let text = serde_json::to_vec(header).map_err(|error| SnapshotError::Failed(error.to_string()))?;
    sink.frame(Tag::Header, &[&text]).await?;
    let view = shared.store.view().await?;
    for prefix in std::iter::once(key::HEAD).chain(RECORDS) {
        let mut pages = Pages::of(prefix);
        while let Some(range) = pages.next() {
            let page = shared.store.scan_view(&view, range).await?;
            for (name, value) in &page {
                let len = u16::try_from(name.len()).map_err(|_| SnapshotError::Damaged("a key is too long"))?;
                sink.frame(Tag::Record, &[&len.to_le_bytes(), name.as_bytes(), value]).await?;
            }
            pages.read(&page);
        }
    }
    if header.blobs {
        for directory in DIRECTORIES {
            objects(shared, directory, sink).await?;
        }
    }
    sink.flush().await?;
    if !led.await {
        let lost = "this replica does not lead any more, and the next one may have cleaned up; take another snapshot";
        return Err(Failure::Failed(SnapshotError::Failed(lost.to_owned())));
    }
    let digest: [u8; 32] = sink.hash.clone().finalize().into();
    sink.frame(Tag::End, &[&digest]).await?;
    sink.flush().await?;
    Ok(())
}

async fn objects(shared: &Shared, directory: &str, sink: &mut Sink) -> Result<(), Failure> {
    let mut found = pin!(shared.blobs.dated(directory, std::time::SystemTime::UNIX_EPOCH));
    while let Some(object) = found.next().await {
        let name = object?.0.name;
        // It may have gone since: then nothing needs it.
        let Some(mut content) = shared.blobs.open(&name).await? else { continue };
        sink.frame(Tag::Object, &[&content.len.to_le_bytes(), name.as_bytes()]).await?;
        while let Some(part) = content.stream.next().await {
            for part in part?.chunks(CHUNK_LEN) {
                sink.frame(Tag::Part, &[part]).await?;
            }
        }
    }
    Ok(())
}
