//! The driver's side of the sessions: what it hears of them, and the way to each executor.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::timeout;
use weir_link::{CODE_NORMAL, FrameSender, Session, TrySendError};
use weir_scheduler::SessionId;
use weir_wire::{
    codec::Document as _,
    message::{Refuse, RefuseCode, ToControl, ToExecutor},
    node::Hello,
};

/// How long an executor may take to receive what was sent before its connection is closed.
const FINISH_MAX: Duration = Duration::from_secs(2);
/// The close code for an executor that does not keep up.
const CODE_SLOW: u32 = 1;

/// What the driver hears of sessions.
#[derive(Debug)]
pub(crate) enum SessionEvent {
    /// An executor connected and said who it is, which its certificate confirms.
    Connected { session: SessionId, hello: Box<Hello>, outlet: Outlet },
    /// It said something else.
    Message { session: SessionId, message: Box<ToControl> },
    /// It is gone.
    Disconnected { session: SessionId },
}

/// The way to one executor. Its queue is bounded by [`weir_link::Config::queue_bytes_max`].
#[derive(Debug, Clone)]
pub(crate) struct Outlet {
    pub(crate) session: Session,
    pub(crate) sender: FrameSender,
}

impl Outlet {
    /// Sends a last message, and closes the connection once it has arrived.
    pub(crate) async fn refuse(self, code: RefuseCode, message: &str) {
        let message = message.to_owned();
        let refuse = ToExecutor::Refuse(Refuse { code, message }).to_bytes();
        match self.sender.try_send(&refuse) {
            Ok(()) => self.finish().await,
            Err(error) => {
                tracing::debug!(%error, "could not say why the session ends");
                self.session.close(CODE_NORMAL, "refused");
            }
        }
    }

    /// Closes the connection once what was sent has arrived.
    async fn finish(self) {
        let finished = timeout(FINISH_MAX, self.sender.finish()).await;
        tracing::trace!(?finished, "closing a session");
        self.session.close(CODE_NORMAL, "done");
    }
}

/// The ways to all connected executors.
#[derive(Default)]
pub(crate) struct Outlets {
    outlets: BTreeMap<SessionId, Outlet>,
}

impl Outlets {
    pub(crate) fn add(&mut self, session: SessionId, outlet: Outlet) {
        self.outlets.insert(session, outlet);
    }

    pub(crate) fn contains(&self, session: SessionId) -> bool {
        self.outlets.contains_key(&session)
    }

    pub(crate) fn forget(&mut self, session: SessionId) {
        self.outlets.remove(&session);
    }

    /// Queues a message. An executor whose queue is full is cut off: it comes back with its full state.
    pub(crate) fn send(&mut self, session: SessionId, message: &ToExecutor) {
        let Some(outlet) = self.outlets.get(&session) else { return };
        match outlet.sender.try_send(&message.to_bytes()) {
            Ok(()) => return,
            Err(TrySendError::Full) => {
                tracing::warn!(peer = ?outlet.session.peer().role, "an executor does not keep up and is cut off");
                outlet.session.close(CODE_SLOW, "too many messages wait for this executor");
            }
            Err(TrySendError::Failed(error)) => {
                tracing::debug!(%error, "could not send to an executor");
                outlet.session.close(CODE_NORMAL, "a message could not be sent");
            }
        }
        // That it is gone is heard from its session.
        self.outlets.remove(&session);
    }

    /// Closes a connection once what was sent has arrived.
    pub(crate) fn close(&mut self, session: SessionId) {
        if let Some(outlet) = self.outlets.remove(&session) {
            tokio::spawn(outlet.finish());
        }
    }

    /// Tells all executors to look for another leader.
    pub(crate) fn refuse_all(&mut self, why: &'static str) {
        for (_, outlet) in std::mem::take(&mut self.outlets) {
            tokio::spawn(outlet.refuse(RefuseCode::NotLeader, why));
        }
    }

    /// As [`refuse_all`](Self::refuse_all), and waits until they were told.
    pub(crate) async fn close_all(&mut self, why: &'static str) {
        let told = std::mem::take(&mut self.outlets).into_values();
        let told = told.map(|outlet| outlet.refuse(RefuseCode::NotLeader, why));
        futures_util::future::join_all(told).await;
    }
}
