//! The embedded store: one file of one process.

mod quiet;

use std::{
    fmt::Display,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};
use weir_wire::{
    codec::Document,
    id::{ClusterName, Seq, Term},
    key,
    record::Head,
    txn::{CommitResult, Txn},
    units::Instant,
};

use super::{Leadership, PageRange, Pair, StoreError, corrupt};
use crate::status::{Part, StatusBoard};

/// All records, under the keys that etcd would have.
const RECORDS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("records");
/// The counters [`TERM`] and [`REVISION`].
const COUNTERS: TableDefinition<'static, &str, u64> = TableDefinition::new("counters");
const TERM: &str = "term";
const REVISION: &str = "revision";
/// Facts about the file.
const FACTS: TableDefinition<'static, &str, &str> = TableDefinition::new("facts");
const CLUSTER: &str = "cluster";
/// That the file was found damaged: redb goes back to the transaction before, which may have lost what was acknowledged.
const DAMAGED: &str = "damaged";
/// The file in the directory of the store.
const FILE_NAME: &str = "weir.redb";

/// A handle on the embedded store. Each commit is on disk when it returns.
#[derive(Clone)]
pub(crate) struct EmbeddedStore {
    file: Arc<File>,
    term: Term,
    board: StatusBoard,
}

/// The file; closed while it has to be opened again after a failed write.
struct File {
    path: PathBuf,
    database: Mutex<Option<Database>>,
}

impl EmbeddedStore {
    /// What the status shows as the version of this store.
    pub(crate) const VERSION: &str = "redb 4";

    /// Opens the store in `directory`, which is made if it is missing, and begins a new term.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it open, [`StoreError::Open`] when it cannot be opened or belongs
    /// to another cluster.
    pub(crate) async fn open(directory: &Path, cluster: &ClusterName, board: StatusBoard) -> Result<Self, StoreError> {
        let (directory, cluster) = (directory.to_owned(), cluster.clone());
        let path = directory.join(FILE_NAME);
        let open = move || quiet::while_running(|| Self::open_now(&directory, &cluster, board));
        let opened = tokio::task::spawn_blocking(open).await;
        // redb checks little of what it reads, and panics; what it says then is in the error.
        opened.unwrap_or_else(|error| Err(StoreError::Open { path, detail: damaged(&panic_text(error)) }))
    }

    /// As [`open`](Self::open), on this thread.
    pub(crate) fn open_now(directory: &Path, cluster: &ClusterName, board: StatusBoard) -> Result<Self, StoreError> {
        let path = directory.join(FILE_NAME);
        let failed = |detail: String| StoreError::Open { path: path.clone(), detail };
        std::fs::create_dir_all(directory).map_err(|e| failed(e.to_string()))?;
        let mut database = open_file(&path)?;
        verify(&mut database).map_err(&failed)?;
        let found = begin(&database, cluster).map_err(|e| failed(told(&e)))?;
        let term = found.map_err(|other| failed(format!("it belongs to the cluster {other:?}, not to {cluster}")))?;
        let file = Arc::new(File { path, database: Mutex::new(Some(database)) });
        board.answered(Part::Store);
        Ok(Self { file, term, board })
    }

    /// Leads from the opening of the file for as long as it is open.
    pub(super) fn leadership(&self) -> Leadership {
        Leadership { term: self.term, until: Instant(u64::MAX), lease: None }
    }

    pub(super) async fn commit(&self, txn: &Txn) -> CommitResult {
        let txn = txn.clone();
        let result = self.with(move |database| apply(database, &txn)).await;
        result.unwrap_or_else(|error| {
            self.board.failed(Part::Commits, &error.to_string());
            CommitResult::Unknown
        })
    }

    pub(super) async fn scan(&self, start: &str, end: &str, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let range = PageRange { start: start.to_owned(), end: end.to_owned(), limit };
        self.with(move |database| read_page(&database.begin_read()?, &range)).await
    }

    /// Fixes the state as it is now.
    pub(super) async fn reading(&self) -> Result<Arc<ReadTransaction>, StoreError> {
        self.with(|database| Ok(Arc::new(database.begin_read()?))).await
    }

    /// A page of the state that was fixed.
    pub(super) async fn scan_reading(reading: Arc<ReadTransaction>, range: PageRange) -> Result<Vec<Pair>, StoreError> {
        let read = tokio::task::spawn_blocking(move || read_page(&reading, &range).map_err(|failure| failure.0));
        join(read.await).and_then(|page| page)
    }

    /// Writes records as they are, and deletes one.
    pub(super) async fn import(&self, puts: Vec<Pair>, delete: Option<&'static str>) -> Result<(), StoreError> {
        self.with(move |database| {
            let write = database.begin_write()?;
            {
                let mut records = write.open_table(RECORDS)?;
                for (name, value) in &puts {
                    records.insert(name.as_str(), value.as_slice())?;
                }
                if let Some(name) = delete {
                    records.remove(name)?;
                }
            }
            Ok(write.commit()?)
        })
        .await
    }

    /// Creates a record unless it is there, and returns the one that is.
    pub(super) async fn create(&self, name: &'static str, value: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        self.with(move |database| {
            let write = database.begin_write()?;
            let recorded = {
                let mut records = write.open_table(RECORDS)?;
                let found = records.get(name)?.map(|found| found.value().to_vec());
                match found {
                    Some(found) => found,
                    None => {
                        records.insert(name, value.as_slice())?;
                        value
                    }
                }
            };
            write.commit()?;
            Ok(recorded)
        })
        .await
    }

    /// Runs `work` on a blocking thread. After a failure the file is opened again: redb refuses further use of a
    /// database that failed to write.
    async fn with<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<R, StoreFailure> + Send + 'static,
    ) -> Result<R, StoreError> {
        let file = Arc::clone(&self.file);
        let done = tokio::task::spawn_blocking(move || {
            let mut slot = file.database.lock().unwrap_or_else(PoisonError::into_inner);
            let database = match &mut *slot {
                Some(database) => database,
                empty => empty.insert(open_file(&file.path)?),
            };
            work(database).map_err(|failure| {
                *slot = None;
                failure.0
            })
        });
        let result = join(done.await).and_then(|result| result);
        match &result {
            Ok(_) => self.board.answered(Part::Store),
            Err(error) => self.board.failed(Part::Store, &error.to_string()),
        }
        result
    }
}

fn read_page(reading: &ReadTransaction, range: &PageRange) -> Result<Vec<Pair>, StoreFailure> {
    let records = reading.open_table(RECORDS)?;
    let found = records.range::<&str>(range.start.as_str()..range.end.as_str())?.take(range.limit);
    let pair = |entry: Result<(_, _), redb::StorageError>| {
        let (key, value): (redb::AccessGuard<'_, &str>, redb::AccessGuard<'_, &[u8]>) = entry?;
        Ok((key.value().to_owned(), value.value().to_vec()))
    };
    Ok(found.map(pair).collect::<Result<_, redb::StorageError>>()?)
}

/// A failure of redb, or a value that cannot be read.
struct StoreFailure(StoreError);

impl<E: Into<redb::Error>> From<E> for StoreFailure {
    fn from(error: E) -> Self {
        Self(StoreError::Unavailable(error.into().to_string()))
    }
}

fn join<T>(result: Result<T, tokio::task::JoinError>) -> Result<T, StoreError> {
    result.map_err(|error| StoreError::Unavailable(damaged(&panic_text(error))))
}

/// What redb said when it gave up.
fn panic_text(error: tokio::task::JoinError) -> String {
    let said = error.try_into_panic().map(|panic| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => {
            other.downcast::<&str>().map_or_else(|_| "it cannot be read".to_owned(), |text| (*text).to_owned())
        }
    });
    said.unwrap_or_else(|cancelled| cancelled.to_string())
}

fn open_file(path: &Path) -> Result<Database, StoreError> {
    // redb would make a new store of it, and a cluster that forgot everything would look like one that has just begun.
    if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
        let detail = format!("{}; if nothing was ever stored in it, delete it", damaged(&"it is empty"));
        return Err(StoreError::Open { path: path.to_owned(), detail });
    }
    Database::create(path).map_err(|error| {
        if matches!(error, DatabaseError::DatabaseAlreadyOpen) {
            StoreError::InUse(path.to_owned())
        } else {
            StoreError::Open { path: path.to_owned(), detail: told(&error.into()) }
        }
    })
}

/// What redb says, and what to do where the file is to blame.
fn told(error: &redb::Error) -> String {
    let unreadable = |io: &std::io::Error| matches!(io.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof);
    let to_blame = matches!(error, redb::Error::Corrupted(_)) || matches!(error, redb::Error::Io(io) if unreadable(io));
    if to_blame { damaged(error) } else { error.to_string() }
}

fn damaged(error: &dyn Display) -> String {
    format!(
        "{error}; the file is damaged, or no store of Weir: name an empty directory and bring a snapshot back with \
         `wctl cluster snapshot restore`, or begin without what was stored"
    )
}

/// Reads the whole file and compares all checksums, which redb does by itself only after a crash.
fn verify(database: &mut Database) -> Result<(), String> {
    let whole = database.check_integrity().map_err(|error| damaged(&error))?;
    let marked = if whole { is_marked(database) } else { mark(database).map(|()| true) };
    match marked {
        Ok(false) => Ok(()),
        Ok(true) => Err(damaged(&"its checksums do not agree")),
        Err(error) => Err(damaged(&error)),
    }
}

fn is_marked(database: &Database) -> Result<bool, redb::Error> {
    match database.begin_read()?.open_table(FACTS) {
        Ok(facts) => Ok(facts.get(DAMAGED)?.is_some()),
        // A new file.
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The next start must not take what redb went back to for what was stored.
fn mark(database: &Database) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(FACTS)?.insert(DAMAGED, "")?;
    write.commit()?;
    Ok(())
}

/// Raises the term; or returns the cluster that the file belongs to, if that is another one.
fn begin(database: &Database, cluster: &ClusterName) -> Result<Result<Term, String>, redb::Error> {
    let write = database.begin_write()?;
    let found = {
        let mut facts = write.open_table(FACTS)?;
        let found = facts.get(CLUSTER)?.map(|found| found.value().to_owned());
        if found.is_none() {
            facts.insert(CLUSTER, cluster.as_str())?;
        }
        found
    };
    if let Some(other) = found.filter(|found| found != cluster.as_str()) {
        write.abort()?;
        return Ok(Err(other));
    }
    write.open_table(RECORDS)?;
    let term = raise(&write, TERM)?;
    write.commit()?;
    Ok(Ok(Term(term)))
}

fn raise(write: &WriteTransaction, counter: &str) -> Result<u64, redb::Error> {
    let mut counters = write.open_table(COUNTERS)?;
    let next = counters.get(counter)?.map_or(0, |value| value.value()).saturating_add(1);
    counters.insert(counter, next)?;
    Ok(next)
}

fn apply(database: &Database, txn: &Txn) -> Result<CommitResult, StoreFailure> {
    let write = database.begin_write()?;
    let refused = check(&write, txn)?;
    if let Some(refused) = refused {
        write.abort()?;
        return Ok(refused);
    }
    {
        let mut records = write.open_table(RECORDS)?;
        for (name, value) in &txn.puts {
            records.insert(name.as_str(), value.as_slice())?;
        }
        for range in &txn.deletes {
            records.retain_in::<&str, _>(range.start.as_str()..range.end.as_str(), |_, _| false)?;
        }
        let head = Head { seq: txn.seq }.to_bytes();
        records.insert(key::HEAD, head.as_slice())?;
    }
    let revision = raise(&write, REVISION)?;
    write.commit()?;
    Ok(CommitResult::Committed { revision })
}

/// Says why a transaction cannot be carried out, if so.
fn check(write: &WriteTransaction, txn: &Txn) -> Result<Option<CommitResult>, StoreFailure> {
    let counters = write.open_table(COUNTERS)?;
    let counter = |name: &str| -> Result<u64, redb::StorageError> { Ok(counters.get(name)?.map_or(0, |v| v.value())) };
    if counter(TERM)? != txn.term.0 {
        return Ok(Some(CommitResult::Deposed));
    }
    let records = write.open_table(RECORDS)?;
    let head = match records.get(key::HEAD)? {
        Some(value) => {
            let head = Head::from_bytes(value.value());
            head.map_err(|error| StoreFailure(corrupt(key::HEAD, error)))?.seq
        }
        None => Seq(0),
    };
    if head >= txn.seq {
        let revision = counter(REVISION)?;
        return Ok(Some(CommitResult::Committed { revision }));
    }
    Ok((head.0.checked_add(1) != Some(txn.seq.0)).then_some(CommitResult::Gap { head }))
}
