//! How often a call is tried, and where.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use weir_api::Code;

use crate::{Client, Error, Result, transport::is_tls};

/// The most times a repeatable call is sent.
const TRIES_MAX: u32 = 5;
/// How long one is sent again while a replica says that nobody leads: a failover takes up to 6 s.
const FAILOVER_MAX: Duration = Duration::from_secs(10);
/// The wait before the second try; it doubles with each, up to the longest.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_millis(800);

/// The tries of one call.
pub(crate) struct Tries<'a> {
    client: &'a Client,
    repeatable: bool,
    index: usize,
    count: u32,
    begun: Instant,
    backoff: Duration,
    /// Addresses that may know of another leader than one that was cut off from its store, and answers so after a long
    /// wait. Of these, one is asked: if it says the same, it is the store.
    elsewhere: usize,
    /// What a replica answered tells more than that another address is dead.
    told: Option<Error>,
}

impl<'a> Tries<'a> {
    pub(crate) async fn of(client: &'a Client, repeatable: bool) -> Self {
        let mut index = client.preferred.load(Ordering::Relaxed);
        if !client.settled.load(Ordering::Relaxed) {
            index = client.first_to_answer(index).await;
        }
        Self {
            client,
            repeatable,
            index,
            count: 0,
            begun: Instant::now(),
            backoff: BACKOFF_MIN,
            elsewhere: client.addresses.len() - 1,
            told: None,
        }
    }

    /// Where the next try goes.
    pub(crate) fn address(&self) -> &'a str {
        &self.client.addresses[self.index % self.client.addresses.len()]
    }

    /// The last try was answered, by this address.
    pub(crate) fn answered(self) -> String {
        self.client.preferred.store(self.index % self.client.addresses.len(), Ordering::Relaxed);
        self.client.settled.store(true, Ordering::Relaxed);
        self.address().to_owned()
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// The failure of the last try, or of an earlier one that tells more, when there is no further one.
    pub(crate) async fn again(&mut self, error: Error) -> Result<()> {
        self.count += 1;
        if matches!(error, Error::Connect { .. } | Error::Exchange { .. }) {
            self.client.settled.store(false, Ordering::Relaxed);
        }
        let store_away = error.code() == Some(Code::StoreUnavailable);
        if (store_away && self.elsewhere == 0) || !worth_repeating(&error, self.repeatable) {
            return Err(error);
        }
        let known = if matches!(error, Error::Connect { .. }) { self.told.take() } else { None };
        let error = known.unwrap_or(error);
        let in_failover = error.code() == Some(Code::NoLeader) && self.begun.elapsed() < FAILOVER_MAX;
        if self.count >= TRIES_MAX && !in_failover {
            return Err(error);
        }
        self.told = Some(error).filter(|error| error.code().is_some());
        self.elsewhere = if store_away { 0 } else { self.elsewhere.saturating_sub(1) };
        tokio::time::sleep(self.backoff).await;
        self.index = self.client.first_to_answer(self.index.wrapping_add(1)).await;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        Ok(())
    }
}

fn worth_repeating(error: &Error, repeatable: bool) -> bool {
    match error {
        // Nothing was sent. A refused certificate will be refused again.
        Error::Connect { source, .. } => !is_tls(source),
        Error::Exchange { source, .. } => repeatable && !source.is_timeout() && !source.is_builder(),
        Error::Api(problem) => repeatable && matches!(problem.code, Code::NoLeader | Code::StoreUnavailable),
        Error::Options(_) | Error::Answer { .. } => false,
    }
}
