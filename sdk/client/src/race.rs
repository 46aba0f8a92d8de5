//! Which of several addresses is asked: the first one that answers.
//!
//! A request that may not arrive twice cannot be sent to one address and then, since that is silent, to another. So a
//! question without consequences goes first, to one address after the other with a head start for each (RFC 8305 does so
//! with connections). Unlike an open connection, its answer also tells that there is somebody awake behind it; and the
//! request goes over the connection that it came by.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use weir_api::routes;

use crate::Client;

/// How long an address may be silent before the next one is tried beside it.
pub(crate) const HEAD_START: Duration = Duration::from_millis(300);
/// How long all of them may be silent.
const RACE_MAX: Duration = Duration::from_secs(5);

impl Client {
    /// The index of the address that answers first, where each has a head start over those behind it, counted from
    /// `from`; `from` itself where none answers, so that a request tells why.
    pub(crate) async fn first_to_answer(&self, from: usize) -> usize {
        let count = self.addresses.len();
        if count == 1 {
            return from;
        }
        let (end, mut begun, mut racing) = (Instant::now() + RACE_MAX, 0, JoinSet::new());
        loop {
            if begun < count {
                let index = from.wrapping_add(begun) % count;
                let question = self.http.get(format!("{}{}", self.addresses[index], routes::HEALTH));
                racing.spawn(async move { question.send().await.is_ok().then_some(index) });
                begun += 1;
            }
            let left = end.saturating_duration_since(Instant::now());
            let wait = if begun < count { self.head_start.min(left) } else { left };
            match timeout(wait, racing.join_next()).await {
                Ok(Some(Ok(Some(index)))) => return index,
                // The next one need not wait for an address that is known to be dead.
                Ok(Some(Ok(None) | Err(_))) => {}
                Ok(None) => return from,
                Err(_) if begun == count || Instant::now() >= end => return from,
                Err(_) => {}
            }
        }
    }
}
