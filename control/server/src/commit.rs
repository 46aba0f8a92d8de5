//! The committer: makes one transaction durable, however often it takes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{runtime::Handle, sync::mpsc, task::JoinHandle, time::sleep};
use weir_wire::{
    id::Seq,
    txn::{CommitResult, Txn},
};

use crate::{clock, handle::Shared, status::Part, store::Store};

/// The first pause before a transaction is submitted again; doubled each time up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// What became of a transaction.
#[derive(Debug)]
pub(crate) struct Done {
    /// The number of the attempt to commit, to tell answers that nobody waits for any more.
    ticket: u64,
    pub(crate) seq: Seq,
    pub(crate) result: CommitResult,
}

/// Commits one transaction after the other, on the runtime of the store.
pub(crate) struct Committer {
    store: Store,
    shared: Arc<Shared>,
    runtime: Handle,
    done: mpsc::Sender<Done>,
    tickets: u64,
    in_flight: Option<(u64, JoinHandle<()>)>,
}

impl Committer {
    pub(crate) fn new(store: Store, shared: Arc<Shared>, runtime: Handle, done: mpsc::Sender<Done>) -> Self {
        Self { store, shared, runtime, done, tickets: 0, in_flight: None }
    }

    /// Begins to commit: the object first, so that it is complete before anything refers to it.
    pub(crate) fn begin(&mut self, txn: Txn, object: Option<(String, Vec<u8>)>) {
        assert!(self.in_flight.is_none(), "the scheduler has one transaction in flight");
        self.tickets += 1;
        let (ticket, done) = (self.tickets, self.done.clone());
        let (store, shared) = (self.store.clone(), Arc::clone(&self.shared));
        let task = self.runtime.spawn(async move {
            let seq = txn.seq;
            let result = commit(&store, &shared, &txn, object).await;
            // Fails only when the driver is gone.
            drop(done.send(Done { ticket, seq, result }).await);
        });
        self.in_flight = Some((ticket, task));
    }

    /// Whether this is the answer to the transaction in flight; it then is in flight no more.
    pub(crate) fn accept(&mut self, done: &Done) -> bool {
        let current = self.in_flight.as_ref().is_some_and(|(ticket, _)| *ticket == done.ticket);
        if current {
            self.in_flight = None;
        }
        current
    }

    /// Gives the transaction in flight up, which is right only after leadership was lost.
    pub(crate) fn give_up(&mut self) {
        if let Some((_, task)) = self.in_flight.take() {
            task.abort();
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.give_up();
    }
}

async fn commit(store: &Store, shared: &Shared, txn: &Txn, object: Option<(String, Vec<u8>)>) -> CommitResult {
    let begun = clock::mono();
    if let Some((name, content)) = object {
        write(shared, &name, content.into()).await;
    }
    let mut pause = RETRY_FIRST;
    loop {
        let result = store.commit(txn).await;
        match result {
            CommitResult::Unknown => {}
            CommitResult::Committed { .. } => {
                shared.metrics.committed(clock::mono().since(begun));
                shared.status.answered(Part::Commits);
                return result;
            }
            CommitResult::Deposed => return result,
            CommitResult::Gap { head } => {
                tracing::error!(txn.seq = txn.seq.0, store.head = head.0, "the store has lost committed transactions");
                return result;
            }
        }
        shared.metrics.commit_retries.increment(1);
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

async fn write(shared: &Shared, name: &str, content: Bytes) {
    let mut pause = RETRY_FIRST;
    while let Err(error) = shared.blobs.write_object(name, content.clone()).await {
        shared.metrics.commit_retries.increment(1);
        shared.status.failed(Part::Blobs, &format!("results cannot be written: failed to {error}"));
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
    shared.status.answered(Part::Blobs);
}
