//! Reading the whole cluster at the start of a term.

use weir_scheduler::Loaded;
use weir_wire::{codec::Document, key, key::Checkpoint, record::Head};

use super::{Pair, Store, StoreError, corrupt};

/// Most pairs of one page.
const PAGE_LEN_MAX: usize = 4096;
/// Pairs of the first page of a kind: with the longest value of 1 MiB it stays below what the client accepts.
const PAGE_LEN_FIRST: usize = 32;
/// The page length is steered so that a page has about this many bytes.
const PAGE_BYTES_TARGET: usize = 4 << 20;

/// Reads every record of the cluster. Once the leader key belongs to this process, nobody else can change any.
pub(super) async fn load(store: &Store) -> Result<Loaded, StoreError> {
    let mut loaded = Loaded::default();
    let head = store.scan(key::HEAD, &after(key::HEAD), 1).await?;
    if let Some((name, value)) = head.first() {
        loaded.head = decode::<Head>(name, value)?.seq;
    }
    for prefix in [key::JOBS, key::SUBMISSIONS, key::CHECKPOINTS, key::LOG, key::NODES, key::JOB_STATES, key::QUOTAS] {
        let end = key_after_prefix(prefix);
        let mut start = prefix.to_owned();
        let mut limit = PAGE_LEN_FIRST;
        loop {
            let page = store.scan(&start, &end, limit).await?;
            for pair in &page {
                place(&mut loaded, prefix, pair)?;
            }
            let Some((last, _)) = page.last().filter(|_| page.len() >= limit) else { break };
            start = after(last);
            limit = next_limit(&page);
        }
    }
    Ok(loaded)
}

fn place(loaded: &mut Loaded, prefix: &str, (name, value): &Pair) -> Result<(), StoreError> {
    let unknown = || StoreError::UnknownKey(name.clone());
    match prefix {
        key::JOBS => loaded.jobs.push(decode(name, value)?),
        key::SUBMISSIONS => {
            let seq = key::parse_seq(name).ok_or_else(unknown)?;
            loaded.submissions.push((seq, decode(name, value)?));
        }
        key::CHECKPOINTS => match key::parse_checkpoint(name).ok_or_else(unknown)? {
            Checkpoint::Meta(run) => loaded.metas.push((run, decode(name, value)?)),
            Checkpoint::Block(run, block) => loaded.blocks.push((run, block, decode(name, value)?)),
        },
        key::LOG => {
            let seq = key::parse_seq(name).ok_or_else(unknown)?;
            loaded.deltas.push((seq, decode(name, value)?));
            loaded.log_bytes += value.len();
        }
        key::NODES => loaded.nodes.push(decode(name, value)?),
        key::JOB_STATES => loaded.job_states.push(decode(name, value)?),
        key::QUOTAS => loaded.quotas.push(decode(name, value)?),
        _ => return Err(unknown()),
    }
    Ok(())
}

fn decode<T: Document>(name: &str, value: &[u8]) -> Result<T, StoreError> {
    T::from_bytes(value).map_err(|error| corrupt(name, error))
}

fn next_limit(page: &[Pair]) -> usize {
    let bytes: usize = page.iter().map(|(_, value)| value.len() + 1).sum();
    let mean = (bytes / page.len().max(1)).max(1);
    // At most eight times as many as before, so that one page of small values does not ask for gigabytes of large ones.
    (PAGE_BYTES_TARGET / mean).clamp(1, PAGE_LEN_MAX.min(page.len().saturating_mul(8).max(1)))
}

/// The first key after `key`.
pub(super) fn after(key: &str) -> String {
    format!("{key}\0")
}

/// The first key after all that begin with `prefix`, which ends in a slash.
fn key_after_prefix(prefix: &str) -> String {
    let stem = prefix.strip_suffix('/').unwrap_or(prefix);
    // '0' follows '/'.
    format!("{stem}0")
}
