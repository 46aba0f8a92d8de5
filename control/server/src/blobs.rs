//! The blob store: modules, large payloads, results and logs by digest, and the segment objects of the log.

mod clean;
mod partial;

use std::{
    error::Error as StdError,
    fmt::Display,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload, local::LocalFileSystem,
    path::Path as Key,
};
use sha2::{Digest as _, Sha256};
use tokio::sync::{RwLock, Semaphore};
use weir_wire::{blob, id::Digest, limits};

pub(crate) use clean::{DATED_WITHIN, Old};
pub(crate) use partial::Partial;
use partial::Uploads;

/// How much of a blob is gathered before it is written, bytes: object stores want parts of 5 MiB or more.
const PART_LEN: usize = 8 << 20;
/// Most blobs that are being stored at the same time: each holds up to one part in memory.
const PUTS_MAX: usize = 16;
/// Longest store id, bytes.
const STORE_ID_LEN_MAX: u64 = 256;

/// Why the blob store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    /// There is no room left where the blobs are kept.
    #[error("store a blob: the blob store is full; free some space or enlarge it")]
    Full,
    /// The content has another digest than it was announced with.
    #[error("store {expected}: the content has the digest {found}")]
    Digest {
        /// As announced.
        expected: Digest,
        /// As computed.
        found: Digest,
    },
    /// The content is longer than it may be.
    #[error("store a blob: it is longer than the limit of {max} bytes")]
    TooLong {
        /// The limit.
        max: u64,
    },
    /// The sender of the content failed.
    #[error("receive the content of a blob: {0}")]
    Source(String),
    /// The store failed.
    #[error("use the blob store: {0}")]
    Failed(String),
}

/// What became of a blob that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its length, bytes.
    pub(crate) len: u64,
    /// Whether it was not there before.
    pub(crate) created: bool,
}

/// A blob that is being read.
pub(crate) struct Content {
    /// Its length, bytes.
    pub(crate) len: u64,
    /// Its bytes.
    pub(crate) stream: BoxStream<'static, Result<Bytes, BlobError>>,
}

/// A handle on the blob store.
#[derive(Clone)]
pub(crate) struct Blobs {
    store: Arc<dyn ObjectStore>,
    puts: Arc<Semaphore>,
    /// Held for writing while old objects are deleted: nobody finds an object there that is about to go.
    deleting: Arc<RwLock<()>>,
    /// Where the local store is.
    directory: Option<PathBuf>,
    uploads: Uploads,
}

impl Blobs {
    /// Opens the blob store in a local directory, which is made if it is missing. What is stored there is durable.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub(crate) fn open_local(directory: &Path) -> Result<Self, BlobError> {
        let failed = |detail: &dyn Display| BlobError::Failed(format!("{}: {detail}", directory.display()));
        std::fs::create_dir_all(directory).map_err(|e| failed(&e))?;
        let store = LocalFileSystem::new_with_prefix(directory).map_err(|e| failed(&e))?;
        let blobs = Self::new(Arc::new(store.with_fsync(true)));
        Ok(Self { directory: Some(directory.to_owned()), ..blobs })
    }

    fn new(store: Arc<dyn ObjectStore>) -> Self {
        let puts = Arc::new(Semaphore::new(PUTS_MAX));
        Self { store, puts, deleting: Arc::default(), directory: None, uploads: Uploads::default() }
    }

    /// Stores a blob once its content proved to have this digest. One that is there and was stored lately is left as
    /// it is; an older one is stored anew, so that it does not look forgotten.
    ///
    /// # Errors
    /// [`BlobError::Digest`], [`BlobError::TooLong`], [`BlobError::Full`], or the failure of sender or store. Nothing
    /// is stored then.
    pub(crate) async fn put<S, E>(&self, digest: &Digest, len_max: u64, content: S) -> Result<Stored, BlobError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Display,
    {
        let _permit = self.puts.acquire().await.map_err(|e| BlobError::Failed(e.to_string()))?;
        let key = Key::from(blob::object_name(digest));
        let _uploading = self.uploads.begin(key.as_ref());
        let found = self.find(digest).await?;
        let wanted = found.as_ref().is_none_or(clean::is_old);
        let mut sink = Sink::new(self.store.as_ref(), key, wanted);
        match receive(&mut sink, digest, len_max.min(limits::BLOB_LEN_MAX), content).await {
            Ok(len) => {
                sink.finish().await?;
                Ok(Stored { len, created: found.is_none() })
            }
            Err(error) => {
                sink.abandon().await;
                Err(error)
            }
        }
    }

    /// Stores a blob that is in memory.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub(crate) async fn put_bytes(&self, digest: &Digest, content: Bytes) -> Result<Stored, BlobError> {
        let content = futures_util::stream::iter([Ok::<_, BlobError>(content)]);
        self.put(digest, limits::BLOB_LEN_MAX, content).await
    }

    /// Begins to read a blob; nothing when there is none.
    ///
    /// # Errors
    /// The store's failure.
    pub(crate) async fn get(&self, digest: &Digest) -> Result<Option<Content>, BlobError> {
        self.open(&blob::object_name(digest)).await
    }

    /// Reads a whole blob of at most `len_max` bytes; nothing when there is none.
    ///
    /// # Errors
    /// [`BlobError::TooLong`], or the store's failure.
    pub(crate) async fn read(&self, digest: &Digest, len_max: u64) -> Result<Option<Bytes>, BlobError> {
        self.read_object(&blob::object_name(digest), len_max).await
    }

    /// Finds a blob that is about to be referred to, and tells its length; nothing when there is none. One that was
    /// stored long ago is stored anew, so that it does not look forgotten before the reference is recorded.
    ///
    /// # Errors
    /// The store's failure.
    pub(crate) async fn hold(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        let Some(found) = self.find(digest).await? else { return Ok(None) };
        if clean::is_old(&found) {
            let Some(content) = self.get(digest).await? else { return Ok(None) };
            self.put(digest, limits::BLOB_LEN_MAX, content.stream).await?;
        }
        Ok(Some(found.size))
    }

    async fn find(&self, digest: &Digest) -> Result<Option<ObjectMeta>, BlobError> {
        let _nothing_is_deleted = self.deleting.read().await;
        match self.store.head(&Key::from(blob::object_name(digest))).await {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failure(&error)),
        }
    }

    /// Writes an object that is not named by its digest, over an older one if there is one; it is durable after.
    ///
    /// # Errors
    /// [`BlobError::Full`] or the store's failure.
    pub(crate) async fn write_object(&self, name: &str, content: Bytes) -> Result<(), BlobError> {
        let written = self.store.put(&Key::from(name), PutPayload::from_bytes(content)).await;
        written.map(drop).map_err(|e| failure(&e))
    }

    /// Reads an object of at most `len_max` bytes; nothing when there is none.
    ///
    /// # Errors
    /// [`BlobError::TooLong`], or the store's failure.
    pub(crate) async fn read_object(&self, name: &str, len_max: u64) -> Result<Option<Bytes>, BlobError> {
        let Some(content) = self.open(name).await? else { return Ok(None) };
        if content.len > len_max {
            return Err(BlobError::TooLong { max: len_max });
        }
        let parts = content.stream.try_fold(BytesMut::new(), |mut whole, part| async move {
            whole.extend_from_slice(&part);
            Ok(whole)
        });
        parts.await.map(|whole| Some(whole.freeze()))
    }

    /// The names of at most `limit` objects below a directory, in no order.
    ///
    /// # Errors
    /// The store's failure.
    pub(crate) async fn list(&self, directory: &str, limit: usize) -> Result<Vec<String>, BlobError> {
        let found = self.store.list(Some(&Key::from(directory))).take(limit);
        let names = found.map_ok(|meta| meta.location.to_string()).try_collect();
        names.await.map_err(|e| failure(&e))
    }

    /// The random id of this blob store, drawn when it is first asked for.
    ///
    /// # Errors
    /// The store's failure.
    pub(crate) async fn store_id(&self) -> Result<String, BlobError> {
        // Read before it is written: on a disk that is full the id is there as well.
        let mut found = self.read_object(blob::STORE_ID, STORE_ID_LEN_MAX).await?;
        if found.is_none() {
            let fresh = random_id()?;
            let create = PutPayload::from_bytes(Bytes::from(fresh.clone()));
            match self.store.put_opts(&Key::from(blob::STORE_ID), create, PutMode::Create.into()).await {
                Ok(_) => return Ok(fresh),
                Err(object_store::Error::AlreadyExists { .. }) => {}
                Err(error) => return Err(failure(&error)),
            }
            found = self.read_object(blob::STORE_ID, STORE_ID_LEN_MAX).await?;
        }
        let id = found.and_then(|id| String::from_utf8(id.to_vec()).ok()).unwrap_or_default();
        let id = id.trim();
        if id.is_empty() {
            return Err(BlobError::Failed(format!("its object {:?} is empty or not text", blob::STORE_ID)));
        }
        Ok(id.to_owned())
    }

    /// Begins to read an object; nothing when there is none.
    ///
    /// # Errors
    /// The store's failure.
    pub(crate) async fn open(&self, name: &str) -> Result<Option<Content>, BlobError> {
        match self.store.get(&Key::from(name)).await {
            Ok(found) => {
                let len = found.meta.size;
                let stream = found.into_stream().map_err(|e| failure(&e)).boxed();
                Ok(Some(Content { len, stream }))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failure(&error)),
        }
    }
}

/// Hashes the content on its way into the sink and returns its length.
async fn receive<S, E>(sink: &mut Sink<'_>, digest: &Digest, len_max: u64, content: S) -> Result<u64, BlobError>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: Display,
{
    let mut content = std::pin::pin!(content);
    let mut hash = Sha256::new();
    let mut len = 0u64;
    while let Some(part) = content.next().await {
        let part = part.map_err(|e| BlobError::Source(e.to_string()))?;
        len = len.saturating_add(part.len() as u64);
        if len > len_max {
            return Err(BlobError::TooLong { max: len_max });
        }
        hash.update(&part);
        sink.write(&part).await?;
    }
    let found = Digest(hash.finalize().into());
    if found == *digest { Ok(len) } else { Err(BlobError::Digest { expected: *digest, found }) }
}

/// A blob on its way into the store. Nothing is visible there before [`finish`](Self::finish).
struct Sink<'a> {
    store: &'a dyn ObjectStore,
    key: Key,
    /// Whether the content is to be kept; otherwise it is only looked at.
    wanted: bool,
    part: BytesMut,
    upload: Option<Box<dyn MultipartUpload>>,
}

impl<'a> Sink<'a> {
    fn new(store: &'a dyn ObjectStore, key: Key, wanted: bool) -> Self {
        Self { store, key, wanted, part: BytesMut::new(), upload: None }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        if !self.wanted {
            return Ok(());
        }
        self.part.extend_from_slice(bytes);
        if self.part.len() < PART_LEN {
            return Ok(());
        }
        if self.upload.is_none() {
            self.upload = Some(self.store.put_multipart(&self.key).await.map_err(|e| failure(&e))?);
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), BlobError> {
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let part = self.part.split().freeze();
        upload.put_part(PutPayload::from_bytes(part)).await.map_err(|e| failure(&e))
    }

    async fn finish(mut self) -> Result<(), BlobError> {
        if !self.wanted {
            return Ok(());
        }
        if self.upload.is_some() {
            let result = self.complete().await;
            if result.is_err() {
                self.abandon().await;
            }
            return result;
        }
        let content = PutPayload::from_bytes(self.part.split().freeze());
        // Over what somebody else stored meanwhile, which is the same.
        self.store.put(&self.key, content).await.map(drop).map_err(|e| failure(&e))
    }

    async fn complete(&mut self) -> Result<(), BlobError> {
        if !self.part.is_empty() {
            self.flush().await?;
        }
        let Some(upload) = &mut self.upload else { return Ok(()) };
        upload.complete().await.map(drop).map_err(|e| failure(&e))
    }

    async fn abandon(&mut self) {
        if let Some(mut upload) = self.upload.take()
            && let Err(error) = upload.abort().await
        {
            tracing::debug!(%error, "a partial upload was left behind");
        }
    }
}

fn random_id() -> Result<String, BlobError> {
    let mut bytes = [0; 16];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| BlobError::Failed("no random numbers".to_owned()))?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}

/// Tells a full disk from other failures: the remedy is another one.
fn failure(error: &object_store::Error) -> BlobError {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = cause {
        cause = current.source();
        if let Some(io) = current.downcast_ref::<io::Error>() {
            if matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
                return BlobError::Full;
            }
            // An error that was wrapped in an I/O error is not its source, but that error's source is.
            cause = io.get_ref().map(|inner| inner as &(dyn StdError + 'static));
        }
    }
    BlobError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn digest(content: &[u8]) -> Digest {
        Digest(Sha256::digest(content).into())
    }

    fn parts(content: &[u8], len: usize) -> Vec<Result<Bytes, String>> {
        content.chunks(len).map(|part| Ok(Bytes::copy_from_slice(part))).collect()
    }

    /// All files below a directory, staged ones included.
    fn files(directory: &Path) -> usize {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
    }

    #[tokio::test]
    async fn blobs_of_every_length_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open_local(folder.path()).unwrap();
        for len in [0, 1, PART_LEN - 1, PART_LEN, PART_LEN + 1, 2 * PART_LEN + 5] {
            let content: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let digest = digest(&content);
            assert_eq!(blobs.hold(&digest).await.unwrap(), None);
            assert!(blobs.get(&digest).await.unwrap().is_none());
            for created in [true, false] {
                let stored = blobs.put(&digest, u64::MAX, stream::iter(parts(&content, 60_000))).await.unwrap();
                assert_eq!(stored, Stored { len: len as u64, created });
            }
            assert_eq!(blobs.read(&digest, len as u64).await.unwrap().unwrap(), content);
            if len > 0 {
                let short = blobs.read(&digest, len as u64 - 1).await;
                assert!(matches!(short, Err(BlobError::TooLong { .. })));
            }
        }
    }

    #[tokio::test]
    async fn what_is_not_what_it_is_called_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open_local(folder.path()).unwrap();
        let content = vec![7; 2 * PART_LEN];
        let right = digest(&content);
        let wrong = digest(b"something else");
        let error = blobs.put(&wrong, u64::MAX, stream::iter(parts(&content, 1 << 20))).await.unwrap_err();
        assert!(matches!(error, BlobError::Digest { expected, found } if expected == wrong && found == right));
        let error = blobs.put(&right, 100, stream::iter(parts(&content, 1 << 20))).await.unwrap_err();
        assert!(matches!(error, BlobError::TooLong { max: 100 }));
        let mut broken = parts(&content, 1 << 20);
        broken.truncate(12);
        broken.push(Err("connection lost".to_owned()));
        let error = blobs.put(&right, u64::MAX, stream::iter(broken)).await.unwrap_err();
        assert!(matches!(&error, BlobError::Source(why) if why == "connection lost"), "{error}");
        assert_eq!(files(folder.path()), 0);
    }

    #[tokio::test]
    async fn objects_are_listed_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open_local(folder.path()).unwrap();
        assert_eq!(blobs.read_object("segments/1", 10).await.unwrap(), None);
        for content in ["a", "b"] {
            blobs.write_object("segments/1", Bytes::from(content)).await.unwrap();
            assert_eq!(blobs.read_object("segments/1", 10).await.unwrap().unwrap(), content);
        }
        assert_eq!(blobs.list("segments", 10).await.unwrap(), ["segments/1"]);
        let id = blobs.store_id().await.unwrap();
        assert_eq!(Blobs::open_local(folder.path()).unwrap().store_id().await.unwrap(), id);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(Blobs::open_local(other.path()).unwrap().store_id().await.unwrap(), id);
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let error = |kind| object_store::Error::Generic {
            store: "test",
            source: Box::new(io::Error::other(io::Error::from(kind))),
        };
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            assert!(matches!(failure(&error(kind)), BlobError::Full), "{kind:?}");
        }
        assert!(matches!(failure(&error(io::ErrorKind::PermissionDenied)), BlobError::Failed(_)));
    }

    /// Names the small disk to the second process of the test below.
    const DISK: &str = "WEIR_TEST_SMALL_DISK";

    /// Runs itself again in a mount namespace of its own, with a disk of 2 MiB.
    #[test]
    fn a_full_disk_is_reported_as_such() {
        const NAME: &str = "blobs::tests::a_full_disk_is_reported_as_such";
        if let Some(disk) = std::env::var_os(DISK) {
            return fill(Path::new(&disk));
        }
        let folder = tempfile::tempdir().unwrap();
        let unshare = |script: &str| {
            let mut command = std::process::Command::new("unshare");
            command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(folder.path());
            command
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", NAME, "--nocapture"])
                .env(DISK, folder.path());
            command.output()
        };
        const MOUNT: &str = "mount -t tmpfs -o size=2m tmpfs \"$1\"";
        if !unshare(MOUNT).is_ok_and(|output| output.status.success()) {
            return crate::testing::skip(NAME, "this machine allows no mount namespaces");
        }
        let output = unshare(&format!("{MOUNT} && shift && exec \"$@\"")).unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}{:?}", output.stderr);
    }

    #[tokio::main(flavor = "current_thread")]
    async fn fill(disk: &Path) {
        let blobs = Blobs::open_local(disk).unwrap();
        let id = blobs.store_id().await.unwrap();
        for len in [3 << 20, PART_LEN + 1] {
            let content = vec![1; len];
            let error =
                blobs.put(&digest(&content), u64::MAX, stream::iter(parts(&content, 1 << 16))).await.unwrap_err();
            assert!(matches!(error, BlobError::Full), "{len} bytes: {error}");
        }
        let error = blobs.write_object("segments/1", Bytes::from(vec![1; 3 << 20])).await.unwrap_err();
        assert!(matches!(error, BlobError::Full), "{error}");
        assert_eq!(files(disk), 1, "what did not fit is removed");
        blobs.put_bytes(&digest(b"small"), Bytes::from_static(b"small")).await.unwrap();
        // Filled to its last byte, it still says which one it is: a replica without that could not be elected.
        std::fs::write(disk.join("filler"), vec![0; 2 << 20]).unwrap_err();
        assert_eq!(blobs.store_id().await.unwrap(), id);
        std::fs::remove_file(disk.join("filler")).unwrap();
        assert_eq!(Blobs::open_local(disk).unwrap().store_id().await.unwrap(), id);
    }
}
