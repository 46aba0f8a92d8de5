//! Questions and requests to the scheduler, with bounded waits while the store does not answer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use weir_api::Code;
use weir_scheduler::{Reply, Request, Scheduler};
use weir_wire::units::Now;

use super::{Api, refusal::Refusal};
use crate::status::Health;

/// How long a request waits for a store that does not answer.
pub(super) const STORE_WAIT_MAX: Duration = Duration::from_secs(10);
/// The `Retry-After` while the store does not answer, seconds.
const STORE_RETRY_AFTER_S: u32 = 5;

impl Api {
    /// Asks the scheduler, which answers only while nobody else can lead: what a client was told stays true.
    pub(super) async fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(&Scheduler, Now) -> R + Send + 'static,
    ) -> Result<R, Refusal> {
        let deadline = Instant::now() + STORE_WAIT_MAX;
        self.leading(deadline).await?;
        let answer = tokio::time::timeout_at(deadline, self.handle.query_certain(question)).await;
        answer.map_err(|_| self.unanswered())?.map_err(Refusal::from)
    }

    /// Has the scheduler change something.
    pub(super) async fn request(&self, request: Request) -> Result<Reply, Refusal> {
        let deadline = Instant::now() + STORE_WAIT_MAX;
        self.leading(deadline).await?;
        self.check_room()?;
        let answer = tokio::time::timeout_at(deadline, self.handle.request(request)).await;
        answer.map_err(|_| self.unrecorded())?.map_err(Refusal::from)
    }

    /// A change that was handed over was not recorded in time.
    fn unrecorded(&self) -> Refusal {
        let status = self.handle.status();
        let Health::Retrying { error, .. } = status.store else { return self.unanswered() };
        if !status.store_full {
            return self.unanswered();
        }
        let detail = format!(
            "the store is full, so the change that was asked for waits; it takes effect once there is room, and repeating \
             it with the same idempotency key is safe ({error})"
        );
        Refusal::new(Code::BackPressure, detail).retry_after(STORE_RETRY_AFTER_S)
    }

    /// Nothing that could not be recorded is accepted.
    fn check_room(&self) -> Result<(), Refusal> {
        let status = self.handle.status();
        let error = match status.store {
            Health::Retrying { error, .. } if status.store_full => error,
            // Where nothing is waiting to be written, nothing would find out that there is room again.
            Health::Retrying { .. } | Health::Unknown | Health::Ok => return Ok(()),
        };
        let detail = format!("the store is full, so nothing was done; it is tried again until there is room ({error})");
        Err(Refusal::new(Code::BackPressure, detail).retry_after(STORE_RETRY_AFTER_S))
    }

    /// Waits while this process does not lead because its store does not answer.
    async fn leading(&self, deadline: Instant) -> Result<(), Refusal> {
        let known = self.handle.wait_for(|status| match status.store {
            Health::Retrying { .. } => status.leading,
            Health::Unknown | Health::Ok => true,
        });
        tokio::time::timeout_at(deadline, known).await.map_err(|_| self.unanswered())
    }

    /// Nothing came back in time: says what the store is doing.
    fn unanswered(&self) -> Refusal {
        match self.handle.status().store {
            Health::Retrying { since_ms, error } => {
                let away_s = wall_ms().saturating_sub(since_ms) / 1000;
                let detail = format!(
                    "the store has not answered for {away_s} s and is asked again until it does ({error}); a change \
                     that was asked for may still take effect, and repeating it with the same idempotency key is safe"
                );
                Refusal::new(Code::StoreUnavailable, detail).retry_after(STORE_RETRY_AFTER_S)
            }
            Health::Unknown | Health::Ok => Refusal::new(
                Code::StoreUnavailable,
                "the store took too long; a change that was asked for may still take effect, and repeating it with \
                 the same idempotency key is safe",
            )
            .retry_after(STORE_RETRY_AFTER_S),
        }
    }
}

/// Unix time in milliseconds.
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
