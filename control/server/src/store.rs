//! The durable store: transactions fenced by the term, a paged scan, and the leader key.

mod embedded;
mod etcd;
mod load;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc};

use redb::ReadTransaction;
use weir_api::StoreKind;
use weir_scheduler::Loaded;
use weir_wire::{
    codec,
    id::Term,
    key,
    record::Leader,
    txn::{CommitResult, Txn},
    units::Instant,
};

pub(crate) use embedded::EmbeddedStore;
pub(crate) use etcd::EtcdStore;
pub(crate) use load::{PageRange, Pages, RECORDS, after, after_prefix};

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// No answer, or one that may be another next time.
    #[error("reach the store: {0}")]
    Unavailable(String),
    /// The store understood and refused.
    #[error("use the store: it refused: {0}")]
    Refused(String),
    /// Another process has the file open.
    #[error("open {}: it is already in use by another process", .0.display())]
    InUse(PathBuf),
    /// The file cannot be opened.
    #[error("open {}: {detail}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The settings cannot be used.
    #[error("use the store settings: {0}")]
    Settings(String),
    /// One setting cannot be used.
    #[error("use the setting {key}: {problem}")]
    Setting {
        /// The setting as it is named in the file.
        key: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A stored value cannot be read.
    #[error(
        "read the stored value of {key:?}: {error}; a later version of the control plane has written it, or the store is \
         damaged: start that version, or restore a snapshot into an empty store"
    )]
    Corrupt {
        /// Its key.
        key: String,
        /// What is wrong with it.
        error: codec::Error,
    },
    /// A snapshot was not restored to its end.
    #[error(
        "use the store: a snapshot is being restored, or was not restored to its end; let the command \
         `wctl cluster snapshot restore` finish, or repeat it with the same file; to give it up, empty the store"
    )]
    HalfRestored,
    /// A stored key is not one that this build knows.
    #[error("read the store: the key {0:?} is not one that this build knows")]
    UnknownKey(String),
}

/// A key and its value.
pub(crate) type Pair = (String, Vec<u8>);

/// What became of an attempt to lead.
#[derive(Debug)]
pub(crate) enum Campaign {
    /// This process leads.
    Won(Leadership),
    /// Somebody else does.
    Lost {
        /// Where it is reached, if its key can be read.
        leader: Option<Leader>,
    },
}

/// The right to write, until somebody else has it.
#[derive(Debug, Clone)]
pub(crate) struct Leadership {
    /// The term.
    pub(crate) term: Term,
    /// Leadership is certain until then, unless it is renewed.
    pub(crate) until: Instant,
    lease: Option<etcd::Lease>,
}

/// The state of a store as it was at some moment.
pub(crate) enum StoreView {
    /// A revision of etcd.
    Etcd(i64),
    /// A transaction that only reads.
    Embedded(Arc<ReadTransaction>),
}

/// One of the two stores.
#[derive(Clone)]
pub(crate) enum Store {
    /// An etcd cluster.
    Etcd(EtcdStore),
    /// A file.
    Embedded(EmbeddedStore),
}

impl Store {
    pub(crate) fn kind(&self) -> StoreKind {
        match self {
            Self::Etcd(_) => StoreKind::Etcd,
            Self::Embedded(_) => StoreKind::Embedded,
        }
    }

    /// Asks the store for its version.
    pub(crate) async fn version(&self) -> Result<String, StoreError> {
        match self {
            Self::Etcd(store) => store.version().await,
            Self::Embedded(_) => Ok(EmbeddedStore::VERSION.to_owned()),
        }
    }

    /// Carries out a transaction; see [`Txn`]. The same transaction may be submitted any number of times.
    pub(crate) async fn commit(&self, txn: &Txn) -> CommitResult {
        match self {
            Self::Etcd(store) => store.commit(txn).await,
            Self::Embedded(store) => store.commit(txn).await,
        }
    }

    /// Reads the whole cluster, page by page.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], or a key or value that this build cannot read.
    pub(crate) async fn load(&self) -> Result<Loaded, StoreError> {
        load::load(self).await
    }

    /// Tries once to become leader and says where this process is reached.
    ///
    /// # Errors
    /// The store's failure; whether this process leads is then settled by the next try.
    pub(crate) async fn campaign(&self, me: &Leader) -> Result<Campaign, StoreError> {
        match self {
            Self::Etcd(store) => store.campaign(me).await,
            Self::Embedded(store) => Ok(Campaign::Won(store.leadership())),
        }
    }

    /// Who leads, as far as the store knows.
    ///
    /// # Errors
    /// The store's failure.
    pub(crate) async fn leader(&self) -> Result<Option<Leader>, StoreError> {
        match self {
            Self::Etcd(store) => store.leader().await,
            Self::Embedded(_) => Ok(None),
        }
    }

    /// Renews leadership and says until when it is certain; nothing when it is lost.
    ///
    /// # Errors
    /// The store's failure; leadership may be kept by trying again soon.
    pub(crate) async fn renew(&self, leadership: &Leadership) -> Result<Option<Instant>, StoreError> {
        match (self, &leadership.lease) {
            (Self::Etcd(store), Some(lease)) => store.renew(lease).await,
            (Self::Etcd(_) | Self::Embedded(_), _) => Ok(Some(leadership.until)),
        }
    }

    /// Gives leadership up at once, so that a successor does not have to wait.
    ///
    /// # Errors
    /// The store's failure; the lease then ends by itself.
    pub(crate) async fn resign(&self, leadership: &Leadership) -> Result<(), StoreError> {
        match (self, &leadership.lease) {
            (Self::Etcd(store), Some(lease)) => store.revoke(lease).await,
            (Self::Etcd(_) | Self::Embedded(_), _) => Ok(()),
        }
    }

    /// Records the id of the blob store unless one is recorded, and returns the one that is.
    ///
    /// # Errors
    /// The store's failure, or a record that cannot be read.
    pub(crate) async fn claim_blob_store(&self, id: &str) -> Result<String, StoreError> {
        use weir_wire::{codec::Document as _, record::BlobStore};
        let value = BlobStore { id: id.to_owned() }.to_bytes();
        let recorded = match self {
            Self::Etcd(store) => store.create(key::BLOB_STORE, value).await?,
            Self::Embedded(store) => store.create(key::BLOB_STORE, value).await?,
        };
        let record = BlobStore::from_bytes(&recorded).map_err(|error| corrupt(key::BLOB_STORE, error))?;
        Ok(record.id)
    }

    /// Fixes the state as it is now, to be read with [`scan_view`](Self::scan_view).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(crate) async fn view(&self) -> Result<StoreView, StoreError> {
        match self {
            Self::Etcd(store) => store.revision().await.map(StoreView::Etcd),
            Self::Embedded(store) => store.reading().await.map(StoreView::Embedded),
        }
    }

    /// A page of the state that was fixed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], also when etcd has compacted that state away since.
    pub(crate) async fn scan_view(&self, view: &StoreView, range: PageRange) -> Result<Vec<Pair>, StoreError> {
        match (self, view) {
            (Self::Etcd(store), StoreView::Etcd(revision)) => store.scan_at(range, Some(*revision)).await,
            (_, StoreView::Embedded(reading)) => EmbeddedStore::scan_reading(Arc::clone(reading), range).await,
            (Self::Embedded(_), StoreView::Etcd(_)) => Err(StoreError::Refused("a view of another store".to_owned())),
        }
    }

    /// Writes records as they are and deletes one, in one transaction, while this process leads.
    ///
    /// # Errors
    /// The store's failure, or that this process does not lead any more.
    pub(crate) async fn import(
        &self,
        leadership: &Leadership,
        records: Vec<Pair>,
        delete: Option<&'static str>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Etcd(store) => store.import(leadership.term, records, delete).await,
            Self::Embedded(store) => store.import(records, delete).await,
        }
    }

    /// Whether the store holds the beginning of a snapshot, which nobody may use.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(crate) async fn is_half_restored(&self) -> Result<bool, StoreError> {
        load::is_half_restored(self).await
    }

    /// At most `limit` pairs of the keys from `start` to before `end`, in order. Keys are relative to the cluster.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(crate) async fn scan(&self, start: &str, end: &str, limit: usize) -> Result<Vec<Pair>, StoreError> {
        match self {
            Self::Etcd(store) => store.scan(start, end, limit).await,
            Self::Embedded(store) => store.scan(start, end, limit).await,
        }
    }
}

fn corrupt(key: &str, error: codec::Error) -> StoreError {
    StoreError::Corrupt { key: key.to_owned(), error }
}
