//! Sessions with replicas that do not lead: kept without a word, so that the next leader can call at once.
//!
//! Without them an executor would notice a dead leader by its silence, and then try one replica after the other.

use std::time::Duration;

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use weir_link::{Backoff, CODE_NORMAL, CONTROL_SERVER_NAME, Connector, Error, Link};

/// First and longest wait before a replica is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// A replica that speaks sooner than this may have led all along: whoever has a session may have it with that very replica,
/// under another address. If it was elected just now, the session ends within this time as well.
const LED_BEFORE: Duration = Duration::from_secs(2);

/// A replica that called, by its place in the list of addresses, and the session with it.
pub(crate) type Call = (usize, Link);

/// One replica and the wish to hear from it.
pub(crate) struct Scout {
    pub(crate) connector: Connector,
    pub(crate) replica: usize,
    pub(crate) address: String,
    /// The replica with which the session is.
    pub(crate) active: watch::Receiver<Option<usize>>,
    pub(crate) calls: mpsc::Sender<Call>,
    pub(crate) random: u64,
}

impl Scout {
    /// Keeps a session with the replica while the one that counts is with another; ends with whoever takes the calls.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        // The value is looked at before its end is: that has to be asked for.
        while self.active.has_changed().is_ok()
            && self.active.wait_for(|active| *active != Some(self.replica)).await.is_ok()
        {
            // An attempt that was begun while nobody was there repeats its first packet ever more slowly.
            let found = tokio::select! {
                found = connect(&self.connector, &self.address) => found,
                () = self.leader_lost() => {
                    backoff.reset();
                    continue;
                }
            };
            match found {
                Ok(link) => {
                    if self.listen(link, &mut backoff).await.is_err() {
                        return;
                    }
                }
                Err(error) => tracing::debug!(control.addr = self.address, %error, "a replica is not reached"),
            }
            let wait = backoff.next_wait(next_random(&mut self.random));
            tokio::select! {
                () = sleep(wait) => {}
                // This replica may be the next to lead, and could not call yet.
                () = self.leader_lost() => backoff.reset(),
            }
        }
    }

    /// Returns once there is no session any more; never, if there was none when it was asked.
    async fn leader_lost(&self) {
        let mut active = self.active.clone();
        if active.borrow_and_update().is_none() {
            return std::future::pending().await;
        }
        // Fails only when the uplink is gone, and then this ends too.
        drop(active.wait_for(Option::is_none).await);
    }

    /// Waits until the replica speaks, which it does when it leads, or until the session is with it anyway.
    async fn listen(&mut self, mut link: Link, backoff: &mut Backoff) -> Result<(), mpsc::error::SendError<Call>> {
        let (replica, begun) = (self.replica, Instant::now());
        let elsewhere = async { self.active.wait_for(|active| *active == Some(replica)).await.map(drop) };
        let frame = tokio::select! {
            frame = link.receiver.recv() => frame,
            _ended = elsewhere => {
                link.session.close(CODE_NORMAL, "there is another session");
                backoff.reset();
                return Ok(());
            }
        };
        // Without a session, the one that speaks is welcome: asking may hang at an address where nobody is.
        if begun.elapsed() < LED_BEFORE {
            let lost = timeout(LED_BEFORE, self.active.wait_for(Option::is_none)).await.map(drop);
            if lost.is_err() {
                link.session.close(CODE_NORMAL, "nobody was to speak yet");
                return Ok(());
            }
        }
        backoff.reset();
        if let Ok(Some(_)) = frame {
            tracing::info!(control.addr = self.address, "another replica leads");
            return self.calls.send((replica, link)).await;
        }
        Ok(())
    }
}

/// A further random number, only used to spread waits.
pub(crate) const fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 11
}

/// Connects to a replica under any of the addresses that its name has.
pub(crate) async fn connect(connector: &Connector, address: &str) -> Result<Link, Error> {
    match tokio::net::lookup_host(address).await {
        Ok(found) => connector.connect(&found.collect::<Vec<_>>(), CONTROL_SERVER_NAME).await,
        Err(error) => {
            tracing::warn!(control.addr = address, %error, "address not resolved");
            Err(Error::NoAddress)
        }
    }
}
