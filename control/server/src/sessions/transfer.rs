//! Blobs between executors and the blob store.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::time::timeout;
use weir_link::{Answer, BlobReceiver, IncomingRequest};
use weir_scheduler::{RequestError, SessionId};
use weir_wire::{
    codec::Document as _,
    id::Digest,
    limits,
    message::{BlobReply, BlobRequest},
    outcome::BlobRef,
};

use crate::{
    blobs::{BlobError, Content},
    handle::{ControlHandle, Shared},
};

/// The longest silence inside a request or a body.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// One request of one executor.
pub(super) struct Transfer {
    pub(super) session: SessionId,
    pub(super) handle: ControlHandle,
    pub(super) shared: Arc<Shared>,
}

impl Transfer {
    pub(super) async fn serve(&self, request: IncomingRequest) {
        let (header, body, answer) = match timeout(SILENCE_MAX, request.read(limits::BLOB_LEN_MAX)).await {
            Ok(Ok(parts)) => parts,
            Ok(Err(error)) => return tracing::debug!(%error, "a request for a blob could not be read"),
            Err(_) => return tracing::debug!("a request for a blob did not come in time"),
        };
        let done = match BlobRequest::from_bytes(&header) {
            Ok(BlobRequest::Get(digest)) => self.get(&digest, answer).await,
            Ok(BlobRequest::Put(blob)) => {
                let reply = self.put(&blob, body).await;
                say(answer, &reply).await
            }
            Err(error) => {
                tracing::warn!(%error, "a malformed request for a blob");
                say(answer, &BlobReply::Failed(format!("malformed request: {error}"))).await
            }
        };
        if let Err(error) = done {
            tracing::debug!(%error, "a blob was not transferred");
        }
    }

    async fn get(&self, digest: &Digest, answer: Answer) -> Result<(), weir_link::Error> {
        let content = match self.open(digest).await {
            Ok(content) => content,
            Err(reply) => return say(answer, &reply).await,
        };
        let Content { len, stream } = content;
        let mut body = answer.start(&BlobReply::Ok(len).to_bytes()).await?;
        let mut stream = std::pin::pin!(stream);
        while let Some(part) = stream.next().await {
            match part {
                Ok(part) => {
                    self.shared.metrics.blob_bytes_sent.increment(part.len() as u64);
                    body.send(part).await?;
                }
                Err(error) => {
                    tracing::error!(%error, blob.digest = %digest, "a blob could not be read to its end");
                    // Dropping the body aborts it, so the executor sees that it is not whole.
                    return Ok(());
                }
            }
        }
        body.finish()
    }

    /// Finds a blob that the executor may have.
    async fn open(&self, digest: &Digest) -> Result<Content, BlobReply> {
        let (session, wanted) = (self.session, *digest);
        match self.handle.query(move |scheduler, _| scheduler.may_fetch(session, &wanted)).await {
            Ok(true) => {}
            Ok(false) => return Err(BlobReply::Forbidden(format!("no task of this node needs {digest}"))),
            Err(error @ (RequestError::Busy(_) | RequestError::NotLeader)) => {
                return Err(BlobReply::Failed(error.to_string()));
            }
            Err(error) => return Err(BlobReply::Failed(format!("unexpected: {error}"))),
        }
        match self.shared.blobs.get(digest).await {
            Ok(Some(content)) => Ok(content),
            Ok(None) => Err(BlobReply::NotFound),
            Err(error) => {
                tracing::error!(%error, blob.digest = %digest, "a blob could not be read");
                Err(BlobReply::Failed(format!("failed to {error}")))
            }
        }
    }

    async fn put(&self, blob: &BlobRef, body: BlobReceiver) -> BlobReply {
        let content = parts(body).inspect(|part| {
            if let Ok(part) = part {
                self.shared.metrics.blob_bytes_received.increment(part.len() as u64);
            }
        });
        match self.shared.blobs.put(&blob.digest, blob.len, content).await {
            Ok(stored) if stored.len == blob.len => BlobReply::Ok(stored.len),
            Ok(stored) => {
                let (len, announced) = (stored.len, blob.len);
                BlobReply::Failed(format!("the content has {len} bytes, not the announced {announced}"))
            }
            Err(error) => {
                match &error {
                    BlobError::Full => tracing::error!("the blob store is full: results cannot be taken"),
                    BlobError::Failed(_) => tracing::error!(%error, "a blob could not be stored"),
                    BlobError::Digest { .. } | BlobError::TooLong { .. } | BlobError::Source(_) => {
                        tracing::warn!(%error, "an executor brought a blob that was not taken");
                    }
                }
                BlobReply::Failed(format!("failed to {error}"))
            }
        }
    }
}

/// A body that breaks off, or in which nothing comes for too long, ends in an error.
fn parts(body: BlobReceiver) -> impl Stream<Item = Result<Bytes, String>> + Send {
    stream::unfold(Some(body), |body| async {
        let mut body = body?;
        match timeout(SILENCE_MAX, body.next()).await {
            Ok(Ok(Some(part))) => Some((Ok(part), Some(body))),
            Ok(Ok(None)) => None,
            Ok(Err(error)) => Some((Err(error.to_string()), None)),
            Err(_) => Some((Err("nothing came for too long".to_owned()), None)),
        }
    })
}

async fn say(answer: Answer, reply: &BlobReply) -> Result<(), weir_link::Error> {
    answer.start(&reply.to_bytes()).await?.finish()
}
