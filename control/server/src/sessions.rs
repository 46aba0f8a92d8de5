//! The sessions of executors: who may speak, what they say, and the blobs they fetch and bring.

mod transfer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use weir_link::{FrameReceiver, Link, Listener, Session};
use weir_scheduler::SessionId;
use weir_wire::{
    codec::Document as _,
    message::{CLOSE_STALE_TERM, RefuseCode, ToControl, ToExecutor},
    node::Hello,
};

use crate::{
    handle::{ControlHandle, Shared},
    outlets::{Outlet, SessionEvent},
};

/// Most events of sessions that wait for the driver; then the executors wait.
pub(crate) const EVENTS_MAX: usize = 128;
/// Most sessions at the same time.
const SESSIONS_MAX: usize = 20_000;
/// How long an executor may be silent before it is asked who it is.
const SILENCE_MAX: Duration = Duration::from_secs(1);
/// How long an executor may take to say who it is.
const HELLO_MAX: Duration = Duration::from_secs(5);
/// Most blobs in transfer at the same time, of all executors together.
const TRANSFERS_MAX: usize = 64;

/// Everything that sessions need of the rest of the process.
pub(crate) struct Sessions {
    events: mpsc::Sender<SessionEvent>,
    leading: watch::Receiver<bool>,
    handle: ControlHandle,
    shared: Arc<Shared>,
    /// Where blobs are hashed and stored, so that this does not hold up the link.
    transfer_runtime: Handle,
    transfers: Arc<Semaphore>,
    places: Arc<Semaphore>,
    next_id: AtomicU64,
}

/// Why a session was refused or ended by this side.
struct Refusal {
    code: RefuseCode,
    message: String,
}

impl Sessions {
    pub(crate) fn new(
        events: mpsc::Sender<SessionEvent>,
        leading: watch::Receiver<bool>,
        handle: ControlHandle,
        shared: Arc<Shared>,
        transfer_runtime: Handle,
    ) -> Self {
        Self {
            events,
            leading,
            handle,
            shared,
            transfer_runtime,
            transfers: Arc::new(Semaphore::new(TRANSFERS_MAX)),
            places: Arc::new(Semaphore::new(SESSIONS_MAX)),
            next_id: AtomicU64::new(1),
        }
    }

    /// Accepts executors until `stop`, and waits until the driver has told those that are connected.
    pub(crate) async fn run(self: Arc<Self>, listener: &Listener, stop: CancellationToken) {
        while let Some(Some(link)) = stop.run_until_cancelled(listener.accept()).await {
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                tracing::error!("more executors connect than this control plane takes");
                link.session.close(weir_link::CODE_NORMAL, "too many executors");
                continue;
            };
            let sessions = Arc::clone(&self);
            tokio::spawn(async move {
                sessions.serve(link).await;
                drop(place);
            });
        }
        // Closed when the driver has ended.
        let mut leading = self.leading.clone();
        while leading.changed().await.is_ok() {}
    }

    async fn serve(&self, link: Link) {
        let Link { session, sender, mut receiver } = link;
        let outlet = Outlet { session: session.clone(), sender };
        let hello = match self.greet(&outlet, &mut receiver).await {
            Ok(Some(hello)) => hello,
            Ok(None) => return session.close(weir_link::CODE_NORMAL, "this replica stops"),
            Err(refusal) => return self.refuse(outlet, refusal).await,
        };
        let id = SessionId(self.next_id.fetch_add(1, Ordering::Relaxed));
        self.shared.metrics.sessions.increment(1.0);
        let connected = SessionEvent::Connected { session: id, hello, outlet: outlet.clone() };
        if self.events.send(connected).await.is_ok() {
            let end = tokio::select! {
                end = self.hear(id, &mut receiver) => end,
                end = self.hear_logs(id, &session) => end,
                end = self.serve_requests(id, &session) => end,
            };
            if let Some(why) = outlet.session.close_reason().as_ref().and_then(stale_store) {
                tracing::warn!(
                    peer.role = ?outlet.session.peer().role,
                    why,
                    "an executor has seen a later state of this cluster than is in the store; after a snapshot was restored, \
                     restart that executor"
                );
            }
            // Fails only when the driver is gone.
            drop(self.events.send(SessionEvent::Disconnected { session: id }).await);
            if let Err(refusal) = end {
                self.refuse(outlet, refusal).await;
            }
        }
        self.shared.metrics.sessions.decrement(1.0);
    }

    async fn refuse(&self, outlet: Outlet, refusal: Refusal) {
        let Refusal { code, message } = refusal;
        let peer = outlet.session.peer().clone();
        if code == RefuseCode::NotLeader {
            tracing::debug!(peer.addr = %peer.addr, peer.role = ?peer.role, message, "refused an executor");
        } else {
            tracing::warn!(peer.addr = %peer.addr, peer.role = ?peer.role, ?code, message, "refused an executor");
        }
        self.shared.metrics.sessions_refused.increment(1);
        outlet.refuse(code, &message).await;
    }

    /// Waits for the first message. An executor may keep a session with a standby without a word: it is asked who it is
    /// once this replica leads. Nothing when that executor left, or this replica stops.
    async fn first_frame(&self, outlet: &Outlet, receiver: &mut FrameReceiver) -> Result<Option<Bytes>, Refusal> {
        let mut leading = self.leading.clone();
        let asked = async {
            if *leading.borrow_and_update() {
                // Whoever came to speak has spoken by then.
                tokio::time::sleep(SILENCE_MAX).await;
            } else if leading.wait_for(|leading| *leading).await.is_err() {
                return false;
            }
            // Whether it arrives shows in whether there is an answer.
            drop(outlet.sender.try_send(&ToExecutor::Present.to_bytes()));
            true
        };
        let frame = tokio::select! {
            biased;
            frame = receiver.recv() => frame,
            asked = asked => match asked {
                false => return Ok(None),
                true => match timeout(HELLO_MAX, receiver.recv()).await {
                    Ok(frame) => frame,
                    Err(_) => return Err(malformed("the first message did not come in time")),
                },
            },
        };
        match frame {
            Ok(Some(frame)) => Ok(Some(frame)),
            Ok(None) => Err(malformed("the stream ended before the first message")),
            Err(error) => {
                tracing::debug!(peer.addr = %outlet.session.peer().addr, %error, "an executor left before it spoke");
                Ok(None)
            }
        }
    }

    /// Waits for the first message and makes sure that it comes from whom it says.
    async fn greet(&self, outlet: &Outlet, receiver: &mut FrameReceiver) -> Result<Option<Box<Hello>>, Refusal> {
        let peer = outlet.session.peer();
        if peer.role.node().is_none() {
            let message = format!("a session is one of a node, and the certificate is that of {:?}", peer.role);
            return Err(Refusal { code: RefuseCode::Identity, message });
        }
        let Some(frame) = self.first_frame(outlet, receiver).await? else { return Ok(None) };
        let hello = match ToControl::from_bytes(&frame) {
            Ok(ToControl::Hello(hello)) => hello,
            Ok(
                ToControl::State(_)
                | ToControl::Report(_)
                | ToControl::Renew(_)
                | ToControl::Output(_)
                | ToControl::Draining
                | ToControl::Inspected(_)
                | ToControl::Speed(_),
            ) => return Err(malformed("the first message is not a hello")),
            Err(error) => return Err(malformed(error.to_string())),
        };
        if peer.role.node() != Some(&hello.node) {
            return Err(Refusal {
                code: RefuseCode::Identity,
                message: format!("it says that it is {}, but its certificate is that of {:?}", hello.node, peer.role),
            });
        }
        if !*self.leading.borrow() {
            return Err(Refusal { code: RefuseCode::NotLeader, message: "this replica is not the leader".to_owned() });
        }
        Ok(Some(hello))
    }

    /// Passes messages on until the session ends.
    async fn hear(&self, session: SessionId, receiver: &mut FrameReceiver) -> Result<(), Refusal> {
        loop {
            // An error is the end of the connection, of which its cause was logged where it was closed.
            let Ok(Some(frame)) = receiver.recv().await else { return Ok(()) };
            let message = Box::new(decode(&frame)?);
            if let ToControl::Report(report) = &*message {
                self.shared.metrics.reported(report);
            }
            if self.events.send(SessionEvent::Message { session, message }).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Passes the output of followed tasks on: it has streams of its own, so that it never holds up a report.
    async fn hear_logs(&self, session: SessionId, link: &Session) -> Result<(), Refusal> {
        loop {
            let mut stream = match link.accept_log_stream().await {
                Ok(stream) => stream,
                Err(weir_link::Error::Protocol(what)) => return Err(malformed(what)),
                Err(_) => return Ok(()),
            };
            while let Ok(Some(frame)) = stream.recv().await {
                let message = Box::new(decode(&frame)?);
                let ToControl::Output(_) = &*message else {
                    return Err(malformed("a log stream carries something else than output"));
                };
                if self.events.send(SessionEvent::Message { session, message }).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// Serves requests for blobs, each in a task of its own, until the session ends.
    async fn serve_requests(&self, session: SessionId, link: &Session) -> Result<(), Refusal> {
        loop {
            let Ok(request) = link.accept_request().await else { return Ok(()) };
            let transfer =
                transfer::Transfer { session, handle: self.handle.clone(), shared: Arc::clone(&self.shared) };
            let transfers = Arc::clone(&self.transfers);
            self.transfer_runtime.spawn(async move {
                // Never closed.
                let _permit = transfers.acquire_owned().await;
                transfer.serve(request).await;
            });
        }
    }
}

/// The words of an executor that left because this leader's term is over.
fn stale_store(end: &weir_link::Error) -> Option<&str> {
    let weir_link::Error::ClosedByPeer { code, reason } = end else { return None };
    (*code == u64::from(CLOSE_STALE_TERM)).then_some(reason)
}

/// Reads a message after the first.
fn decode(frame: &[u8]) -> Result<ToControl, Refusal> {
    match ToControl::from_bytes(frame) {
        Ok(ToControl::Hello(_)) => Err(malformed("a second hello")),
        Ok(message) => Ok(message),
        Err(error) => Err(malformed(error.to_string())),
    }
}

fn malformed(message: impl Into<String>) -> Refusal {
    Refusal { code: RefuseCode::Malformed, message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_executor_that_has_seen_a_later_term_tells_of_an_old_store() {
        let closed = |code| weir_link::Error::ClosedByPeer { code, reason: "69 was seen".to_owned() };
        assert_eq!(stale_store(&closed(u64::from(CLOSE_STALE_TERM))), Some("69 was seen"));
        assert_eq!(stale_store(&closed(u64::from(weir_link::CODE_NORMAL))), None);
        assert_eq!(stale_store(&weir_link::Error::Closed), None);
    }
}
