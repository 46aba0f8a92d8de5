//! Fetches and uploads over the link, each in a task of its own; the result comes back as an input of the agent.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use tokio::{sync::mpsc, task::spawn_blocking};
use weir_agent::{Input, Part};
use weir_link::Session;
use weir_wire::{
    codec::Document,
    id::{AttemptId, Digest, RunId},
    limits,
    message::{BlobReply, BlobRequest},
    outcome::BlobRef,
};

use crate::blob_cache::{BlobCache, digest_of};

/// How much of an upload is handed to the link at a time, bytes.
const CHUNK_LEN: usize = 64 << 10;

/// What a transfer came to.
#[derive(Debug)]
pub(crate) enum Done {
    /// An input as it is.
    Input(Input),
    /// A payload, to be kept before the agent hears of it.
    Payload { run: RunId, digest: Digest, bytes: Arc<[u8]> },
}

/// Starts transfers. They number no more than the agent's lanes, runs and modules; the link limits how many are under
/// way at a time.
#[derive(Debug)]
pub(crate) struct Transfers {
    cache: Arc<BlobCache>,
    done: mpsc::UnboundedSender<Done>,
}

/// Why a transfer failed.
#[derive(Debug)]
struct Failure {
    message: String,
    retry: bool,
}

impl Transfers {
    pub(crate) fn new(cache: BlobCache) -> (Self, mpsc::UnboundedReceiver<Done>) {
        let (done, results) = mpsc::unbounded_channel();
        (Self { cache: Arc::new(cache), done }, results)
    }

    pub(crate) fn module(&self, session: Option<Session>, digest: Digest) {
        let cache = Arc::clone(&self.cache);
        self.spawn(async move {
            let input = match fetch(session, cache, digest, limits::MODULE_LEN_MAX).await {
                Ok(path) => Input::ModuleStored { digest, path: path.to_string_lossy().into_owned() },
                Err(Failure { message, retry }) => Input::ModuleFailed { digest, message, retry },
            };
            Done::Input(input)
        });
    }

    pub(crate) fn payload(&self, session: Option<Session>, run: RunId, blob: BlobRef) {
        let cache = Arc::clone(&self.cache);
        self.spawn(async move {
            let digest = blob.digest;
            match payload(session, cache, blob).await {
                Ok(bytes) => Done::Payload { run, digest, bytes },
                Err(Failure { message, retry }) => Done::Input(Input::PayloadFailed { run, message, retry }),
            }
        });
    }

    /// A payload that is here already.
    pub(crate) fn have_payload(&self, run: RunId, digest: Digest, bytes: Arc<[u8]>) {
        self.spawn(async move { Done::Payload { run, digest, bytes } });
    }

    pub(crate) fn upload(&self, session: Option<Session>, id: AttemptId, part: Part, bytes: Box<[u8]>) {
        self.spawn(async move {
            // `Bytes` shares the content between the hash, the link and the copy that comes back after a failure.
            let bytes = Bytes::from(bytes);
            let input = match upload(session, bytes.clone()).await {
                Ok(blob) => Input::BlobUploaded { id, part, blob },
                Err(Failure { message, retry }) => {
                    Input::BlobUploadFailed { id, part, bytes: Box::from(&bytes[..]), message, retry }
                }
            };
            Done::Input(input)
        });
    }

    fn spawn(&self, transfer: impl Future<Output = Done> + Send + 'static) {
        let done = self.done.clone();
        tokio::spawn(async move {
            // Nobody listens only when the daemon ends.
            drop(done.send(transfer.await));
        });
    }
}

impl Failure {
    fn passing(message: impl ToString) -> Self {
        Self { message: message.to_string(), retry: true }
    }

    fn lasting(message: impl ToString) -> Self {
        Self { message: message.to_string(), retry: false }
    }
}

impl From<weir_link::Error> for Failure {
    fn from(error: weir_link::Error) -> Self {
        let retry = !matches!(error, weir_link::Error::BodyTooLong { .. } | weir_link::Error::FrameTooLong { .. });
        Self { message: error.to_string(), retry }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::passing(format!("the blob cache: {error}"))
    }
}

async fn payload(session: Option<Session>, cache: Arc<BlobCache>, blob: BlobRef) -> Result<Arc<[u8]>, Failure> {
    if blob.len > limits::BLOB_LEN_MAX {
        return Err(Failure::lasting("the payload is longer than any blob may be"));
    }
    let path = fetch(session, cache, blob.digest, blob.len).await?;
    Ok(blocking(move || std::fs::read(path)).await?.into())
}

/// The file of a blob: from the cache, or over the link into it.
async fn fetch(
    session: Option<Session>,
    cache: Arc<BlobCache>,
    digest: Digest,
    len_max: u64,
) -> Result<PathBuf, Failure> {
    let found = Arc::clone(&cache);
    if let Some(path) = blocking(move || found.find(&digest)).await? {
        return Ok(path);
    }
    let session = session.ok_or_else(|| Failure::passing("there is no session"))?;
    let request = session.request(&BlobRequest::Get(digest).to_bytes(), len_max).await?;
    request.body.finish()?;
    let (header, mut body) = request.response.read().await?;
    let len = accepted(&header)?;
    if len > len_max {
        return Err(Failure::lasting(format!("the blob has {len} bytes, {len_max} are allowed")));
    }
    let begun = Arc::clone(&cache);
    let mut part = blocking(move || begun.begin()).await?;
    while let Some(bytes) = body.next().await? {
        // Off this thread: a slow disk must not hold up a renewal.
        part = blocking(move || part.write(&bytes).map(|()| part)).await?;
    }
    let path = blocking(move || cache.finish(part, &digest)).await?;
    path.ok_or_else(|| Failure::passing("the content that came is not the one asked for"))
}

async fn upload(session: Option<Session>, bytes: Bytes) -> Result<BlobRef, Failure> {
    let session = session.ok_or_else(|| Failure::passing("there is no session"))?;
    let hashed = bytes.clone();
    let digest = blocking(move || Ok(digest_of(&hashed))).await?;
    let blob = BlobRef { digest, len: bytes.len() as u64 };
    let mut request = session.request(&BlobRequest::Put(blob).to_bytes(), 0).await?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let chunk = rest.split_to(rest.len().min(CHUNK_LEN));
        if request.body.send(chunk).await.is_err() {
            // The peer wants no more of it; its answer says why.
            break;
        }
    }
    if rest.is_empty() {
        request.body.finish()?;
    }
    let (header, _) = request.response.read().await?;
    accepted(&header).map(|_| blob)
}

fn accepted(header: &[u8]) -> Result<u64, Failure> {
    match BlobReply::from_bytes(header).map_err(Failure::lasting)? {
        BlobReply::Ok(len) => Ok(len),
        BlobReply::NotFound => Err(Failure::lasting("the cluster does not have it")),
        BlobReply::Failed(message) => Err(Failure::passing(message)),
        BlobReply::Forbidden(message) => Err(Failure::lasting(message)),
    }
}

async fn blocking<T: Send + 'static>(call: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, Failure> {
    match spawn_blocking(call).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(Failure::passing(error)),
    }
}
