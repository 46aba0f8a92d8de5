//! Old objects: how they are found, dated anew and deleted.
//!
//! Whether an object is needed is known elsewhere. Here it counts when it was stored: an object that is about to be
//! referred to is dated anew when it is older than [`DATED_WITHIN`], and only what is older than twice that is ever
//! deleted, so that a reference has that long to be recorded.

use std::time::{Duration, SystemTime};

use futures_util::{Stream, TryStreamExt as _};
use object_store::{ObjectMeta, ObjectStoreExt as _, path::Path as Key};

use super::{BlobError, Blobs, failure};

/// An object that is about to be referred to was stored within this time, or is stored anew.
pub(crate) const DATED_WITHIN: Duration = Duration::from_secs(3600);

/// An object that was stored before some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Old {
    /// Its name.
    pub(crate) name: String,
    /// Its length, bytes.
    pub(crate) len: u64,
}

impl Blobs {
    /// All objects below a directory, in no order, each with whether it was stored before a moment.
    pub(crate) fn dated(
        &self,
        directory: &str,
        before: SystemTime,
    ) -> impl Stream<Item = Result<(Old, bool), BlobError>> + Send + use<> {
        let dated = move |meta: ObjectMeta| {
            let old = stored(&meta) < before;
            (Old { name: meta.location.to_string(), len: meta.size }, old)
        };
        self.store.list(Some(&Key::from(directory))).map_ok(dated).map_err(|error| failure(&error))
    }

    /// Deletes those of some objects that are still as old as when they were found, and returns them.
    ///
    /// # Errors
    /// The store's failure; some may be deleted then.
    pub(crate) async fn delete_old(&self, objects: Vec<Old>, before: SystemTime) -> Result<Vec<Old>, BlobError> {
        let _nobody_looks = self.deleting.write().await;
        let mut deleted = Vec::with_capacity(objects.len());
        for object in objects {
            let key = Key::from(object.name.as_str());
            let meta = match self.store.head(&key).await {
                Ok(meta) => meta,
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(error) => return Err(failure(&error)),
            };
            if stored(&meta) < before {
                match self.store.delete(&key).await {
                    Ok(()) => deleted.push(object),
                    Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(failure(&error)),
                }
            }
        }
        Ok(deleted)
    }
}

/// Whether an object has to be dated anew before it is referred to.
pub(super) fn is_old(meta: &ObjectMeta) -> bool {
    SystemTime::now().duration_since(stored(meta)).is_ok_and(|age| age > DATED_WITHIN)
}

fn stored(meta: &ObjectMeta) -> SystemTime {
    meta.last_modified.into()
}

#[cfg(test)]
mod tests {
    use std::{fs::File, path::Path};

    use bytes::Bytes;
    use futures_util::StreamExt as _;
    use sha2::{Digest as _, Sha256};
    use weir_wire::{blob, id::Digest};

    use super::*;

    fn digest(content: &[u8]) -> Digest {
        Digest(Sha256::digest(content).into())
    }

    /// Stores a blob so that it looks as if that had been done three hours ago.
    async fn store_old(blobs: &Blobs, directory: &Path, content: &'static [u8]) -> Digest {
        let digest = digest(content);
        blobs.put_bytes(&digest, Bytes::from_static(content)).await.unwrap();
        let file = File::options().append(true).open(directory.join(blob::object_name(&digest))).unwrap();
        file.set_modified(SystemTime::now() - 3 * DATED_WITHIN).unwrap();
        digest
    }

    async fn old(blobs: &Blobs, before: SystemTime) -> Vec<Old> {
        let found = blobs.dated(blob::DIRECTORY, before);
        found.map(Result::unwrap).filter_map(|(found, old)| async move { old.then_some(found) }).collect().await
    }

    #[tokio::test]
    async fn what_is_stored_or_held_again_is_not_old() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::open_local(directory.path()).unwrap();
        let before = SystemTime::now() - 2 * DATED_WITHIN;
        let held = store_old(&blobs, directory.path(), b"held").await;
        let again = store_old(&blobs, directory.path(), b"again").await;
        let forgotten = store_old(&blobs, directory.path(), b"forgotten").await;
        blobs.put_bytes(&digest(b"new"), Bytes::from_static(b"new")).await.unwrap();
        let candidates = old(&blobs, before).await;
        assert_eq!(candidates.len(), 3);

        assert_eq!(blobs.hold(&held).await.unwrap(), Some(4));
        let stored = blobs.put_bytes(&again, Bytes::from_static(b"again")).await.unwrap();
        assert!(!stored.created, "it was there");
        let deleted = blobs.delete_old(candidates, before).await.unwrap();
        assert_eq!(deleted, [Old { name: blob::object_name(&forgotten), len: 9 }]);
        assert_eq!(blobs.hold(&forgotten).await.unwrap(), None);
        assert_eq!(blobs.read(&held, 10).await.unwrap().unwrap(), "held");
        assert_eq!(blobs.read(&again, 10).await.unwrap().unwrap(), "again");
        assert!(old(&blobs, before).await.is_empty());
    }
}
