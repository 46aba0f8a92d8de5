//! Bringing a snapshot back into an empty store, while no control plane runs on it.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use weir_wire::{blob, id::Digest, key, limits, record::Leader};

use super::{
    SnapshotError, Summary, inspect,
    read::{Item, Reader},
};
use crate::{
    blobs::{BlobError, Blobs},
    config::Config,
    garbage::DIRECTORIES,
    server::{initial_status, load_identity, open_store},
    status::StatusBoard,
    store::{Campaign, Leadership, Pair, RECORDS, Store},
};

/// How long an earlier leader's lease may take to lapse.
const LEAD_MAX: Duration = Duration::from_secs(10);
/// The pause between two tries to lead, and between two renewals of the lease.
const RETRY: Duration = Duration::from_millis(500);
/// Most records and bytes of one transaction; an operation is left for the mark.
const BATCH_RECORDS: usize = 100;
const BATCH_BYTES: usize = 1 << 20;
/// Longest object that is not a blob, bytes.
const OBJECT_LEN_MAX: u64 = 64 << 20;

/// Writes a snapshot into the store and the blob store of these settings. The store must be empty, or hold the beginning
/// of the same snapshot: a restore that was cut off goes on when it is repeated, and until then no control plane leads.
///
/// # Errors
/// [`SnapshotError::Refused`] when the store is in use or not empty, or what is wrong with the snapshot or the stores.
pub async fn restore(config: &Config, path: &Path) -> Result<Summary, SnapshotError> {
    let summary = inspect(path).await?;
    // Nothing is written for a control plane that could not start with it.
    load_identity(config).map_err(|error| {
        let hint = "a snapshot is restored under another cluster name with the certificates of a cluster of that name, \
                    from `wctl cluster init --name`";
        SnapshotError::Refused(format!("{error:#}; {hint}"))
    })?;
    let board = StatusBoard::new(initial_status(config));
    let store = open_store(config, &board).await?;
    let blobs = Blobs::open_local(&config.blobs)?;
    let leadership = lead(&store).await?;
    let outcome = tokio::select! {
        outcome = fill(&store, &leadership, (&blobs, &config.blobs), path, &summary) => outcome,
        lost = keep(&store, &leadership) => Err(lost),
    };
    if let Err(error) = store.resign(&leadership).await {
        tracing::debug!(%error, "could not resign; the lease ends by itself");
    }
    outcome.map(|()| summary)
}

/// Makes sure that nobody else writes.
async fn lead(store: &Store) -> Result<Leadership, SnapshotError> {
    let deadline = Instant::now() + LEAD_MAX;
    loop {
        let campaign = timeout_at(deadline, store.campaign(&Leader::default())).await;
        match campaign.map_err(|_| SnapshotError::Failed("the store does not answer".to_owned()))? {
            Ok(Campaign::Won(leadership)) => return Ok(leadership),
            Ok(Campaign::Lost { leader }) if Instant::now() + RETRY > deadline => {
                let leader = leader.unwrap_or_default().http;
                let message = format!("a control plane leads at {leader}; stop all of its replicas first");
                return Err(SnapshotError::Refused(message));
            }
            Err(error) if Instant::now() + RETRY > deadline => return Err(error.into()),
            Ok(Campaign::Lost { .. }) | Err(_) => sleep(RETRY).await,
        }
    }
}

/// Keeps the lease; returns when it is lost. Every transaction is fenced by it, so that a renewal that comes too late
/// does no harm.
async fn keep(store: &Store, leadership: &Leadership) -> SnapshotError {
    loop {
        sleep(RETRY).await;
        if let Ok(None) = store.renew(leadership).await {
            return SnapshotError::Failed("the lease was lost; run the command again".to_owned());
        }
    }
}

async fn fill(
    store: &Store,
    leadership: &Leadership,
    (blobs, directory): (&Blobs, &Path),
    path: &Path,
    summary: &Summary,
) -> Result<(), SnapshotError> {
    let begun = check_empty(store, summary).await?;
    if !begun && summary.header.blobs {
        check_no_objects(blobs, directory).await?;
    }
    let mark = (key::RESTORING.to_owned(), summary.digest.clone().into_bytes());
    store.import(leadership, vec![mark], None).await?;
    let mut reader = Reader::open(path).await?;
    let (mut batch, mut batch_bytes) = (Vec::new(), 0);
    // Written last: without it, the store counts as empty.
    let mut head: Option<Pair> = None;
    loop {
        match reader.next().await? {
            Item::Record { key, value } if key == key::HEAD => head = Some((key, value)),
            Item::Record { key, value } => {
                if !RECORDS.iter().any(|prefix| key.starts_with(prefix)) {
                    return Err(SnapshotError::Format("it has records that this version does not know"));
                }
                if batch.len() == BATCH_RECORDS || batch_bytes + value.len() > BATCH_BYTES {
                    store.import(leadership, std::mem::take(&mut batch), None).await?;
                    batch_bytes = 0;
                }
                batch_bytes += value.len();
                batch.push((key, value));
            }
            Item::Object { name, len } => object(blobs, &mut reader, &name, len).await?,
            Item::Part(_) => return Err(SnapshotError::Damaged("a part belongs to no object")),
            Item::End(_) => break,
        }
    }
    store.import(leadership, batch, None).await?;
    store.import(leadership, head.into_iter().collect(), Some(key::RESTORING)).await?;
    Ok(())
}

/// Nothing may be lost or mixed up by a restore. Tells whether the store holds the beginning of this snapshot already.
async fn check_empty(store: &Store, summary: &Summary) -> Result<bool, SnapshotError> {
    let begun = store.scan(key::RESTORING, &crate::store::after(key::RESTORING), 1).await?;
    match begun.first() {
        Some((_, name)) if *name == summary.digest.as_bytes() => return Ok(true),
        Some(_) => {
            let message = "the store holds the beginning of another snapshot; empty it first";
            return Err(SnapshotError::Refused(message.to_owned()));
        }
        None => {}
    }
    for prefix in std::iter::once(key::HEAD).chain(RECORDS) {
        let found = store.scan(prefix, &crate::store::after_prefix(prefix), 1).await?;
        if let Some((name, _)) = found.first() {
            let message = format!(
                "the store is not empty (it has {name:?}); a snapshot is restored into an empty store, or under \
                 the name of another cluster and with its certificates"
            );
            return Err(SnapshotError::Refused(message));
        }
    }
    Ok(false)
}

/// The objects of another cluster are not mixed with those of the snapshot: nobody could tell them apart again.
async fn check_no_objects(blobs: &Blobs, directory: &Path) -> Result<(), SnapshotError> {
    for kind in DIRECTORIES {
        if let Some(found) = blobs.list(kind, 1).await?.first() {
            let message = format!(
                "the blob store {} is not empty (it has {found:?}); a snapshot with its objects is restored into an \
                 empty directory: empty this one, or name another one with --blobs",
                directory.display()
            );
            return Err(SnapshotError::Refused(message));
        }
    }
    Ok(())
}

/// Stores the object that was begun.
async fn object(blobs: &Blobs, reader: &mut Reader, name: &str, len: u64) -> Result<(), SnapshotError> {
    if len > limits::BLOB_LEN_MAX {
        return Err(SnapshotError::Damaged("an object is too long"));
    }
    let Some(digest) = digest(name) else {
        if len > OBJECT_LEN_MAX || !DIRECTORIES.iter().any(|known| name.starts_with(known)) {
            return Err(SnapshotError::Damaged("an object has a name that is not known"));
        }
        let mut content = Vec::new();
        while (content.len() as u64) < len {
            content.extend(part(reader).await?);
        }
        return Ok(blobs.write_object(name, content.into()).await?);
    };
    let (parts, received) = mpsc::channel::<Result<Bytes, BlobError>>(4);
    let send = async {
        let mut sent = 0;
        while sent < len {
            let part = part(reader).await?;
            sent += part.len() as u64;
            // Closed when the blob store failed, which the other side says.
            if parts.send(Ok(part.into())).await.is_err() {
                break;
            }
        }
        drop(parts);
        Ok::<_, SnapshotError>(())
    };
    let (sent, stored) = tokio::join!(send, blobs.put(&digest, len, ReceiverStream::new(received)));
    sent?;
    stored?;
    Ok(())
}

async fn part(reader: &mut Reader) -> Result<Vec<u8>, SnapshotError> {
    match reader.next().await? {
        Item::Part(content) => Ok(content),
        Item::Record { .. } | Item::Object { .. } | Item::End(_) => {
            Err(SnapshotError::Damaged("an object is not whole"))
        }
    }
}

/// The digest in the name of a blob.
fn digest(name: &str) -> Option<Digest> {
    let digits = name.strip_prefix(blob::DIRECTORY)?.rsplit('/').next()?;
    let digest: Digest = format!("sha256:{digits}").parse().ok()?;
    (blob::object_name(&digest) == name).then_some(digest)
}
