//! Reading back what every task returned.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use weir_client::Client;

use crate::{null, system::NAMESPACE};

/// Reads all outcomes and results of a run of null tasks, and checks each.
pub(crate) async fn check(client: &Client, run: &str, tasks: u32) -> Result<()> {
    let mut results = client.run_results(NAMESPACE, run).await.context("open the results")?;
    let (mut seen, mut sum) = (vec![false; tasks as usize], 0u64);
    while let Some(result) = results.next().await.context("read the results")? {
        let bytes = match (&result.text, &result.base64) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(text)) => base64::engine::general_purpose::STANDARD.decode(text).context("decode a result")?,
            (None, None) => Vec::new(),
        };
        let bytes: [u8; 4] =
            bytes.as_slice().try_into().with_context(|| format!("task {} returned {bytes:?}", result.index))?;
        let value = u32::from_le_bytes(bytes);
        ensure!(value == null::expected(result.index), "task {} returned {value}", result.index);
        let slot = seen.get_mut(result.index as usize).context("a result of no task")?;
        ensure!(!std::mem::replace(slot, true), "task {} has two results", result.index);
        sum += u64::from(value);
    }
    ensure!(seen.iter().all(|seen| *seen), "results are missing");
    let wanted: u64 = (0..tasks).map(|index| u64::from(null::expected(index))).sum();
    ensure!(sum == wanted, "the checksum is {sum} and not {wanted}");
    Ok(())
}
