//! The way to the control plane: one session at a time, for ever.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, watch};
use weir_link::{Backoff, CODE_NORMAL, Connector, Error, FrameSender, Link, Session};
use weir_wire::{
    codec::Document,
    message::{CLOSE_STALE_TERM, ToControl, ToExecutor},
};

use crate::scout::{self, Call, Scout};

/// First and longest wait between two attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), weir_wire::limits::RECONNECT_WAIT_MAX);
/// Most messages that wait for the driver; the link's flow control holds back the rest.
const EVENTS_MAX: usize = 64;
/// How long the control plane may leave a full queue unread before the session counts as lost.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one of several replicas may take to be reached.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long an executor that had a leader waits for the call of the next one before it asks around: twice what a replica
/// needs to be elected once the lease is free.
const CALL_WAIT: Duration = Duration::from_secs(1);
/// First and longest wait after a control plane was left because its term is over: it stays so until a person acts, and
/// each session is a line in its log.
const STALE_BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long the last frames may take at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What happens on the way.
#[derive(Debug)]
pub(crate) enum Event {
    Connected(Session, FrameSender),
    Message(ToExecutor),
    Disconnected,
    /// No session will ever come.
    Failed(Error),
}

/// The driver's end.
#[derive(Debug)]
pub(crate) struct Uplink {
    events: mpsc::Receiver<Event>,
    open: Option<(Session, FrameSender)>,
    verdict: Arc<Verdict>,
}

/// What the driver made of a session, for the next wait.
#[derive(Debug, Default)]
struct Verdict {
    /// A leader accepted it.
    accepted: AtomicBool,
    /// The peer leads in a term that is over.
    stale: AtomicBool,
}

/// The waits between sessions.
struct Pace {
    usual: Backoff,
    stale: Backoff,
}

/// The task that connects and reads.
struct Dialler {
    connector: Connector,
    control: Vec<String>,
    events: mpsc::Sender<Event>,
    verdict: Arc<Verdict>,
    ever_accepted: bool,
    random: u64,
    /// The replica with which the session is, by its place in the list.
    active: watch::Sender<Option<usize>>,
}

/// How a session ended.
enum End {
    Over,
    /// Another replica leads, and has called.
    Called(Call),
}

impl Uplink {
    /// Starts connecting to the first of the addresses that leads.
    pub(crate) fn start(connector: Connector, control: Vec<String>, random: u64) -> Self {
        let (events, inbox) = mpsc::channel(EVENTS_MAX);
        let verdict = Arc::<Verdict>::default();
        let active = watch::Sender::new(None);
        let (calls, called) = mpsc::channel(control.len().max(1));
        for (replica, address) in control.iter().enumerate().filter(|_| control.len() > 1) {
            let (connector, address, calls) = (connector.clone(), address.clone(), calls.clone());
            let random = random.rotate_left(u32::try_from(replica).unwrap_or(0));
            let scout = Scout { connector, replica, address, active: active.subscribe(), calls, random };
            tokio::spawn(scout.run());
        }
        let shared = Arc::clone(&verdict);
        let dialler = Dialler { connector, control, events, verdict: shared, ever_accepted: false, random, active };
        // One sender is kept, so that there may be no scouts.
        tokio::spawn(dialler.run(calls, called));
        Self { events: inbox, open: None, verdict }
    }

    /// Waits for events and moves them to `events`; dropping the wait loses nothing.
    pub(crate) async fn next(&mut self, events: &mut Vec<Event>) {
        if self.events.recv_many(events, EVENTS_MAX).await == 0 {
            // The dialler has ended after `Failed`, which ends the driver.
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn opened(&mut self, session: Session, sender: FrameSender) {
        self.open = Some((session, sender));
    }

    pub(crate) fn session(&self) -> Option<Session> {
        self.open.as_ref().map(|(session, _)| session.clone())
    }

    /// A leader accepted the session: the next loss is worth a quick return.
    pub(crate) fn accepted(&self) {
        self.verdict.accepted.store(true, Ordering::Relaxed);
    }

    /// Leaves a control plane whose term is over, and says so to it.
    pub(crate) fn leave_stale(&mut self, why: &str) {
        self.verdict.stale.store(true, Ordering::Relaxed);
        if let Some((session, _)) = self.open.take() {
            session.close(CLOSE_STALE_TERM, why);
        }
    }

    /// Sends a message. What people look at live is dropped when the queue is full; anything else waits, and ends the
    /// session when that takes too long.
    pub(crate) async fn send(&mut self, message: &ToControl) {
        let Some((_, sender)) = &self.open else { return };
        let frame = message.to_bytes();
        let sent = if is_dispensable(message) {
            match sender.try_send(&frame) {
                Ok(()) | Err(weir_link::TrySendError::Full) => Ok(()),
                Err(weir_link::TrySendError::Failed(error)) => Err(error.to_string()),
            }
        } else {
            match tokio::time::timeout(SEND_TIMEOUT, sender.send(&frame)).await {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(_) => Err("it does not read".to_owned()),
            }
        };
        if let Err(why) = sent {
            self.close(&why);
        }
    }

    /// Closes the session; the dialler comes with another.
    pub(crate) fn close(&mut self, why: &str) {
        if let Some((session, _)) = self.open.take() {
            session.close(CODE_NORMAL, why);
        }
    }

    /// Closes the session once the peer has what was sent.
    pub(crate) async fn finish(mut self) {
        if let Some((session, sender)) = self.open.take() {
            if !matches!(tokio::time::timeout(CLOSE_TIMEOUT, sender.finish()).await, Ok(Ok(()))) {
                tracing::debug!("the last frames were not confirmed");
            }
            session.close(CODE_NORMAL, "the executor ends");
        }
    }
}

/// Whether nothing but somebody's view is lost with a message.
fn is_dispensable(message: &ToControl) -> bool {
    match message {
        ToControl::Output(output) => !output.last,
        ToControl::Inspected(_) => true,
        ToControl::Hello(_)
        | ToControl::State(_)
        | ToControl::Report(_)
        | ToControl::Renew(_)
        | ToControl::Draining
        | ToControl::Speed(_) => false,
    }
}

impl Pace {
    fn new() -> Self {
        let backoff = |(first, longest)| Backoff::new(first, longest);
        Self { usual: backoff(BACKOFF), stale: backoff(STALE_BACKOFF) }
    }

    /// How long to wait after a session that was accepted, left as one of a term that is over, or neither.
    fn next_wait(&mut self, accepted: bool, stale: bool, random: u64) -> Duration {
        if accepted {
            *self = Self::new();
        }
        if stale { self.stale.next_wait(random) } else { self.usual.next_wait(random) }
    }
}

impl Dialler {
    async fn run(mut self, _calls: mpsc::Sender<Call>, mut called: mpsc::Receiver<Call>) {
        let mut pace = Pace::new();
        let mut turn = 0;
        let mut next = None;
        let mut served = false;
        loop {
            let found = match next.take() {
                Some(call) => Ok(call),
                None => tokio::select! {
                    Some(call) = called.recv() => Ok(call),
                    found = self.connect(turn) => found,
                },
            };
            match found {
                Ok((replica, link)) => {
                    turn = replica;
                    self.active.send_replace(Some(replica));
                    let end = self.serve(link, &mut called).await;
                    self.active.send_replace(None);
                    match end {
                        Ok(End::Over) => {}
                        Ok(End::Called(call)) => {
                            next = Some(call);
                            continue;
                        }
                        Err(_) => return,
                    }
                }
                Err(error) if error.is_transient() || self.ever_accepted || matches!(error, Error::NoAddress) => {
                    tracing::warn!(%error, "control plane not reached");
                }
                Err(error) => {
                    // Nobody listens only when the daemon ends.
                    drop(self.events.send(Event::Failed(error)).await);
                    return;
                }
            }
            let accepted = self.verdict.accepted.swap(false, Ordering::Relaxed);
            if accepted {
                (self.ever_accepted, served) = (true, true);
            }
            let stale = self.verdict.stale.swap(false, Ordering::Relaxed);
            // That replica does not lead, or fell silent, and a dead address takes long to be given up: begin with the next.
            let left = turn;
            turn += 1;
            let mut wait = pace.next_wait(accepted, stale, scout::next_random(&mut self.random));
            if std::mem::take(&mut served) && self.control.len() > 1 {
                // Whoever leads next calls, over a session that asking around would end.
                wait = wait.max(CALL_WAIT);
            }
            next = wait_for_call(&mut called, wait, stale.then_some(left)).await;
        }
    }

    /// Connects to the first replica that answers, beginning with the one whose turn it is. Of several errors, a refusal
    /// needs a person.
    async fn connect(&self, turn: usize) -> Result<Call, Error> {
        let count = self.control.len();
        let mut worst = Error::NoAddress;
        for replica in (turn..turn + count).map(|at| at % count) {
            let connecting = scout::connect(&self.connector, &self.control[replica]);
            // Where there are others, an address at which nobody is must not hold them up.
            let found =
                if count > 1 { tokio::time::timeout(CONNECT_MAX, connecting).await } else { Ok(connecting.await) };
            match found.unwrap_or_else(|_elapsed| Err(silent(&self.control[replica]))) {
                Ok(link) => return Ok((replica, link)),
                Err(error) if matches!(worst, Error::Refused { .. }) => tracing::debug!(%error, "no connection"),
                Err(error) => worst = error,
            }
        }
        Err(worst)
    }

    /// Passes on what one session brings, until it ends or another replica calls; an error when nobody listens any more.
    async fn serve(&self, link: Link, called: &mut mpsc::Receiver<Call>) -> Result<End, mpsc::error::SendError<Event>> {
        let Link { session, sender, mut receiver } = link;
        tracing::info!(control.addr = %session.peer().addr, "connected");
        self.events.send(Event::Connected(session.clone(), sender)).await?;
        let mut heard = false;
        let end = loop {
            let frame = tokio::select! {
                biased;
                Some(call) = called.recv() => {
                    if Some(call.0) == *self.active.borrow() {
                        continue;
                    }
                    session.close(CODE_NORMAL, "another replica leads");
                    self.events.send(Event::Disconnected).await?;
                    return Ok(End::Called(call));
                }
                frame = receiver.recv() => frame,
            };
            match frame {
                Ok(Some(frame)) => match ToExecutor::from_bytes(&frame) {
                    // It asks who is here, which it is being told.
                    Ok(ToExecutor::Present) if !heard => {}
                    Ok(message) => {
                        heard = true;
                        self.events.send(Event::Message(message)).await?;
                    }
                    Err(error) => {
                        session.close(CODE_NORMAL, "a message cannot be read");
                        break format!("a message cannot be read: {error}");
                    }
                },
                Ok(None) => break "the control plane ended it".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        tracing::info!(control.addr = %session.peer().addr, end, "disconnected");
        self.events.send(Event::Disconnected).await?;
        Ok(End::Over)
    }
}

/// Waits for the call of a replica, but for that of one that was left because its term is over: it leads still, and would
/// call again at once.
async fn wait_for_call(called: &mut mpsc::Receiver<Call>, wait: Duration, stale: Option<usize>) -> Option<Call> {
    let until = tokio::time::Instant::now() + wait;
    loop {
        tokio::select! {
            Some(call) = called.recv() => {
                if Some(call.0) != stale {
                    return Some(call);
                }
                call.1.session.close(CODE_NORMAL, "its store is older than what was seen");
            }
            () = tokio::time::sleep_until(until) => return None,
        }
    }
}

/// What there is to say of an address that has not answered in time.
fn silent(address: &str) -> Error {
    let detail = format!("no answer within {} s", CONNECT_MAX.as_secs());
    match address.parse() {
        Ok(addr) => Error::Unreachable { addr, detail },
        Err(_name) => Error::Lost(format!("{detail} from {address}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_plane_of_an_old_term_is_asked_ever_more_rarely_until_one_is_accepted() {
        let mut pace = Pace::new();
        let waits: Vec<u128> = (0..7).map(|_| pace.next_wait(false, true, 0).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 15_000, 15_000], "without its random part");
        assert!(pace.next_wait(false, false, 0) < Duration::from_millis(50), "another failure has its own pace");
        assert_eq!(pace.next_wait(true, true, 0), Duration::from_millis(500));
    }
}
