//! How an attempt gets to know the addresses of what its job names.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{mpsc::UnboundedSender, oneshot};
use weir_wire::{
    id::AttemptId,
    work::NetGrant,
    worker::{FromWorker, Pinned, Resolved},
};

use crate::{network, network_policy::NetworkPolicy, verdict::Unresolved};

/// Who asks the name servers.
#[derive(Debug, Clone)]
pub(crate) enum Resolver {
    /// Nobody: there is no network.
    None,
    /// This process, by this policy.
    Here(NetworkPolicy),
    /// The daemon, which this process asks.
    Daemon(Arc<Questions>),
}

/// What a worker process has asked the daemon.
#[derive(Debug)]
pub(crate) struct Questions {
    daemon: UnboundedSender<FromWorker>,
    open: Mutex<HashMap<AttemptId, oneshot::Sender<Resolved>>>,
}

impl Questions {
    pub(crate) fn new(daemon: UnboundedSender<FromWorker>) -> Self {
        Self { daemon, open: Mutex::default() }
    }

    /// Takes the daemon's answer; nobody waits for it if the attempt is over.
    pub(crate) fn answered(&self, resolved: Resolved) {
        if let Some(waiting) = self.open().remove(&resolved.id) {
            let _over = waiting.send(resolved);
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<AttemptId, oneshot::Sender<Resolved>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that is forgotten with the attempt that waits for its answer.
struct Asked<'a> {
    questions: &'a Questions,
    id: AttemptId,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.questions.open().remove(&self.id);
    }
}

impl Resolver {
    /// Finds out the addresses of what an attempt may connect to.
    ///
    /// # Errors
    /// What cannot be found out, for people.
    pub(crate) async fn resolve(&self, id: AttemptId, grants: &[NetGrant]) -> Result<Vec<Pinned>, Unresolved> {
        match self {
            Self::None => Err(Unresolved { why: "this node offers no network".to_owned(), denied: true }),
            Self::Here(policy) => {
                let (grants, policy) = (grants.to_vec(), policy.clone());
                let found = tokio::task::spawn_blocking(move || network::resolve(&grants, &policy)).await;
                found.unwrap_or_else(|error| Err(Unresolved { why: error.to_string(), denied: false }))
            }
            Self::Daemon(questions) => {
                let (answer, waiting) = oneshot::channel();
                questions.open().insert(id, answer);
                let _forgotten = Asked { questions, id };
                let asked = questions.daemon.send(FromWorker::Resolve(id));
                let resolved = if asked.is_ok() { waiting.await.ok() } else { None };
                let Some(Resolved { pins, error, denied, .. }) = resolved else {
                    return Err(Unresolved { why: "the daemon does not answer".to_owned(), denied: false });
                };
                error.map_or(Ok(pins), |why| Err(Unresolved { why, denied }))
            }
        }
    }
}
