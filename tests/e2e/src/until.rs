//! Waiting for a state by asking for it: there is nothing else to wait for.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a state may take to come; generous, since two cores may be busy with everything else.
const LIMIT: Duration = Duration::from_secs(120);

/// Asks until there is an answer.
///
/// # Errors
/// The question fails, or there is no answer in time.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
    }
    bail!("not within {LIMIT:?}: {what}")
}
