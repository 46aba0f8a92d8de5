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

/// Where all records are, in the order in which they are read.
pub(crate) const RECORDS: [&str; 7] =
    [key::JOBS, key::SUBMISSIONS, key::CHECKPOINTS, key::LOG, key::NODES, key::JOB_STATES, key::QUOTAS];

/// Reads every record of the cluster. Once the leader key belongs to this process, nobody else can change any.
pub(super) async fn load(store: &Store) -> Result<Loaded, StoreError> {
    let mut loaded = Loaded::default();
    if is_half_restored(store).await? {
        return Err(StoreError::HalfRestored);
    }
    let head = store.scan(key::HEAD, &after(key::HEAD), 1).await?;
    if let Some((name, value)) = head.first() {
        loaded.head = decode::<Head>(name, value)?.seq;
    }
    for prefix in RECORDS {
        let mut pages = Pages::of(prefix);
        while let Some(range) = pages.next() {
            let page = store.scan(&range.start, &range.end, range.limit).await?;
            for pair in &page {
                place(&mut loaded, prefix, pair)?;
            }
            pages.read(&page);
        }
    }
    Ok(loaded)
}

/// Whether a restore was begun and not ended.
pub(super) async fn is_half_restored(store: &Store) -> Result<bool, StoreError> {
    Ok(!store.scan(key::RESTORING, &after(key::RESTORING), 1).await?.is_empty())
}

/// All keys below a prefix, or one key alone, in pages of a steady size.
#[derive(Debug)]
pub(crate) struct Pages {
    next: Option<PageRange>,
}

/// What the next page is to hold.
#[derive(Debug, Clone)]
pub(crate) struct PageRange {
    pub(crate) start: String,
    pub(crate) end: String,
    pub(crate) limit: usize,
}

impl Pages {
    /// Before the first page.
    pub(crate) fn of(prefix: &str) -> Self {
        let end = if prefix.ends_with('/') { after_prefix(prefix) } else { after(prefix) };
        Self { next: Some(PageRange { start: prefix.to_owned(), end, limit: PAGE_LEN_FIRST }) }
    }

    /// The next page; nothing after the last one.
    pub(crate) fn next(&self) -> Option<PageRange> {
        self.next.clone()
    }

    /// This is that page.
    pub(crate) fn read(&mut self, page: &[Pair]) {
        let Some(range) = &mut self.next else { return };
        match page.last().filter(|_| page.len() >= range.limit) {
            Some((last, _)) => {
                range.start = after(last);
                range.limit = next_limit(page);
            }
            None => self.next = None,
        }
    }
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
pub(crate) fn after(key: &str) -> String {
    format!("{key}\0")
}

/// The first key after all that begin with `prefix`, which ends in a slash.
pub(crate) fn after_prefix(prefix: &str) -> String {
    let stem = prefix.strip_suffix('/').unwrap_or(prefix);
    // '0' follows '/'.
    format!("{stem}0")
}
