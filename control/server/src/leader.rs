//! The candidate: campaigns, reads the store when it has won, and keeps the lease alive.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use weir_scheduler::Loaded;
use weir_wire::{id::Term, record::Leader, units};

use crate::{
    blobs::Blobs,
    status::StatusBoard,
    store::{Campaign, Leadership, Store, StoreError},
};

/// How often the lease is renewed.
const KEEP_EVERY: Duration = Duration::from_millis(750);
/// The first pause after a failed renewal; doubled each time up to [`KEEP_EVERY`].
const KEEP_RETRY_FIRST: Duration = Duration::from_millis(50);
/// How often a candidate looks whether somebody still leads: it adds to the time of a failover.
const CAMPAIGN_EVERY: Duration = Duration::from_millis(250);
/// The first pause after a failure of the store; doubled each time up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// How often a candidate looks whether what holds it back is gone.
const HELD_BACK_RETRY: Duration = Duration::from_secs(5);
/// How often it looks who leads meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the stop may take to be heard here after the driver has heard it.
const STOP_WAIT: Duration = Duration::from_secs(1);
/// How long resigning may take.
const RESIGN_MAX: Duration = Duration::from_secs(3);

/// What the driver hears of leadership.
#[derive(Debug)]
pub(crate) enum LeaderEvent {
    /// This process leads, and this is what the store holds.
    Elected { term: Term, loaded: Box<Loaded> },
    /// Leadership is certain until then.
    Until(units::Instant),
    /// This process leads no more.
    Deposed,
}

/// One replica's wish to lead.
pub(crate) struct Candidate {
    pub(crate) store: Store,
    pub(crate) blobs: Blobs,
    /// Where this replica is reached.
    pub(crate) me: Leader,
    pub(crate) board: StatusBoard,
    pub(crate) events: mpsc::Sender<LeaderEvent>,
    /// The newest term of which a refused transaction said that it is over.
    pub(crate) refused: watch::Receiver<Term>,
    /// The id of the blob store, once the cluster's is known to be the same.
    pub(crate) claimed: OnceLock<String>,
    /// Whether the store is known not to hold the beginning of a snapshot.
    pub(crate) whole: AtomicBool,
}

/// How a term ended.
enum End {
    /// Why somebody else may lead.
    Lost(&'static str),
    /// The content of the store cannot be used by this build.
    Unusable(StoreError),
}

impl Candidate {
    /// Campaigns and leads until `stop`, and then resigns.
    pub(crate) async fn run(self, stop: CancellationToken) {
        while let Some(leadership) = stop.run_until_cancelled(self.win()).await {
            let end = stop.run_until_cancelled(self.lead(&leadership)).await;
            self.board.leading(None);
            self.board.certain_until(None);
            self.board.leader(None);
            // Fails only when the driver is gone, and then the stop follows.
            drop(self.events.send(LeaderEvent::Deposed).await);
            self.resign(&leadership).await;
            match end {
                None => return,
                Some(End::Lost(reason)) => {
                    tracing::warn!(leader.term = leadership.term.0, reason, "leadership was lost");
                }
                Some(End::Unusable(error)) => {
                    let reason = error.to_string();
                    if self.board.read().held_back.as_ref() != Some(&reason) {
                        tracing::error!(%error, "this replica cannot use what the store holds, so it does not lead");
                    }
                    self.board.held_back(Some(reason));
                    stop.run_until_cancelled(sleep(HELD_BACK_RETRY)).await;
                }
            }
            if let Store::Embedded(_) = self.store
                && leadership.term <= *self.refused.borrow()
            {
                let reason = "another process has used the store since this one opened it; stop one of the two";
                tracing::error!("{reason}");
                self.board.held_back(Some(reason.to_owned()));
                return stop.cancelled().await;
            }
        }
    }

    /// Campaigns until this replica has won.
    async fn win(&self) -> Leadership {
        let mut pause = RETRY_FIRST;
        let mut waiting_for = None;
        loop {
            let outcome = self.try_once().await;
            match outcome {
                Ok(Some(Campaign::Won(leadership))) => return leadership,
                Ok(Some(Campaign::Lost { leader })) => {
                    pause = RETRY_FIRST;
                    self.wait_for(leader, &mut waiting_for).await;
                }
                Ok(None) => self.stay_back().await,
                Err(error) => {
                    tracing::debug!(%error, "could not campaign");
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Waits before it looks again, and sees who leads meanwhile: requests are passed on there.
    async fn stay_back(&self) {
        let until = Instant::now() + HELD_BACK_RETRY;
        while Instant::now() < until {
            match self.store.leader().await {
                Ok(leader) => self.board.leader(leader),
                Err(error) => tracing::debug!(%error, "could not read who leads"),
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Campaigns once; nothing when this replica may not.
    async fn try_once(&self) -> Result<Option<Campaign>, StoreError> {
        if self.board.read().store_version.is_none() {
            let version = self.store.version().await?;
            tracing::info!(store.kind = %self.store.kind(), store.version = version, "the store answers");
            self.board.store_version(&version);
        }
        let mut checked = self.check_restored().await?;
        if checked.is_ok() {
            checked = self.check_blobs().await?;
        }
        if let Err(reason) = checked {
            if self.board.read().held_back.as_ref() != Some(&reason) {
                tracing::error!(reason, "this replica does not campaign");
            }
            self.board.held_back(Some(reason));
            return Ok(None);
        }
        self.store.campaign(&self.me).await.map(Some)
    }

    /// Makes sure that the store does not hold the beginning of a snapshot; says what to do about it.
    async fn check_restored(&self) -> Result<Result<(), String>, StoreError> {
        // Looked at once: a standby campaigns four times a second, and who is elected looks again.
        if self.whole.load(Ordering::Relaxed) || !self.store.is_half_restored().await? {
            self.whole.store(true, Ordering::Relaxed);
            return Ok(Ok(()));
        }
        Ok(Err(StoreError::HalfRestored.to_string()))
    }

    /// Makes sure that the blob store is the one that belongs to this cluster; says why not.
    async fn check_blobs(&self) -> Result<Result<(), String>, StoreError> {
        let id = match self.blobs.store_id().await {
            Ok(id) => id,
            Err(error) => return Ok(Err(format!("cannot read the id of the blob store: failed to {error}"))),
        };
        // Asked for once: the question is a write, and a standby campaigns four times a second.
        if self.claimed.get() == Some(&id) {
            return Ok(Ok(()));
        }
        let recorded = self.store.claim_blob_store(&id).await?;
        if recorded == id {
            // Set already only where it is the same.
            let _same = self.claimed.set(id);
            return Ok(Ok(()));
        }
        Ok(Err(format!(
            "the blob store has the id {id}, but the cluster's modules and results are in the one with the id \
             {recorded}; give this replica that blob store"
        )))
    }

    async fn wait_for(&self, leader: Option<Leader>, said: &mut Option<Leader>) {
        let found = leader.clone().unwrap_or_default();
        if said.as_ref() != Some(&found) {
            if found == self.me {
                tracing::info!("waiting for the lease of this replica's previous process to lapse");
            } else {
                tracing::info!(leader.http = found.http, leader.link = found.link, "another replica leads; waiting");
            }
            *said = Some(found);
        }
        self.board.held_back(None);
        self.board.leader(leader);
        sleep(CAMPAIGN_EVERY).await;
    }

    /// Leads until the lease is lost or a transaction was refused.
    async fn lead(&self, leadership: &Leadership) -> End {
        let term = leadership.term;
        tracing::info!(leader.term = term.0, "elected; reading the store");
        // The one before leads no more.
        self.board.leader(None);
        self.tell(LeaderEvent::Until(leadership.until)).await;
        let mut refused = self.refused.clone();
        let serve = async {
            match self.load().await {
                Ok(loaded) => self.tell(LeaderEvent::Elected { term, loaded }).await,
                Err(error) => {
                    self.whole.store(false, Ordering::Relaxed);
                    return End::Unusable(error);
                }
            }
            self.board.held_back(None);
            self.board.leading(Some(term));
            self.board.leader(Some(self.me.clone()));
            if refused.wait_for(|refused| *refused >= term).await.is_err() {
                // The driver is gone, most likely since this replica stops, and was refused nothing. Where it does not,
                // somebody else is to lead.
                sleep(STOP_WAIT).await;
                return End::Lost("the scheduler of this replica has ended");
            }
            End::Lost("the store refused a transaction, since another replica has led")
        };
        tokio::select! {
            () = self.keep(leadership) => End::Lost("the store no longer has its lease"),
            end = serve => end,
        }
    }

    /// Renews leadership until it is lost. A store that does not answer is asked again: it may still count the lease.
    async fn keep(&self, leadership: &Leadership) {
        let mut pause = KEEP_RETRY_FIRST;
        self.board.certain_until(Some(leadership.until));
        loop {
            let begun = Instant::now();
            match self.store.renew(leadership).await {
                Ok(Some(until)) => {
                    self.board.certain_until(Some(until));
                    self.tell(LeaderEvent::Until(until)).await;
                    pause = KEEP_RETRY_FIRST;
                    sleep_until(begun + KEEP_EVERY).await;
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(%error, "could not renew the lease");
                    sleep(pause).await;
                    pause = (pause * 2).min(KEEP_EVERY);
                }
            }
        }
    }

    async fn load(&self) -> Result<Box<Loaded>, StoreError> {
        let mut pause = RETRY_FIRST;
        loop {
            match self.store.load().await {
                Ok(loaded) => return Ok(Box::new(loaded)),
                Err(StoreError::Unavailable(_)) => {
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn resign(&self, leadership: &Leadership) {
        match tokio::time::timeout(RESIGN_MAX, self.store.resign(leadership)).await {
            Ok(Ok(())) => tracing::info!(leader.term = leadership.term.0, "resigned"),
            Ok(Err(error)) => tracing::debug!(%error, "could not resign; the lease ends by itself"),
            Err(_) => tracing::debug!("resigning took too long; the lease ends by itself"),
        }
    }

    async fn tell(&self, event: LeaderEvent) {
        // Fails only when the driver is gone, and then the stop follows.
        drop(self.events.send(event).await);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::{store::EmbeddedStore, testing};

    #[tokio::test]
    async fn a_driver_that_is_gone_is_not_taken_for_another_leader() {
        let folder = tempfile::tempdir().unwrap();
        let board = testing::board();
        let store =
            EmbeddedStore::open(&folder.path().join("store"), &testing::cluster(), board.clone()).await.unwrap();
        let (events_tx, mut events) = mpsc::channel(8);
        let (refused_tx, refused) = watch::channel(Term(0));
        let candidate = Candidate {
            store: Store::Embedded(store),
            blobs: Blobs::open_local(&folder.path().join("blobs")).unwrap(),
            me: Leader::default(),
            board,
            events: events_tx,
            refused,
            claimed: OnceLock::new(),
            whole: AtomicBool::new(false),
        };
        let leadership = candidate.win().await;
        let mut lead = pin!(candidate.lead(&leadership));
        let elected = async { while !matches!(events.recv().await, Some(LeaderEvent::Elected { .. })) {} };
        tokio::select! {
            end = &mut lead => panic!("{}", lost(&end)),
            () = testing::within("the election", elected) => {}
        }
        drop(refused_tx);
        tokio::select! {
            biased;
            end = &mut lead => panic!("{}", lost(&end)),
            () = std::future::ready(()) => {}
        }
    }

    fn lost(end: &End) -> &'static str {
        match end {
            End::Lost(reason) => reason,
            End::Unusable(_) => "the store cannot be used",
        }
    }
}
