//! What the leaders recorded, read from etcd's log of deltas as it grows: each outcome is in there once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use etcd_client::{Client, EventType, WatchOptions};
use tokio::{
    runtime::Runtime,
    time::{Duration, interval, timeout},
};
use weir_wire::{codec::Document as _, key, record::Delta, task::Status};

use super::history::{End, Recorded};

/// A member that is silent for so long is left for the next one: the cron job alone makes a delta every other second.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How soon the next member is asked.
const AGAIN: Duration = Duration::from_millis(200);

/// What has been read so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Audit {
    /// Outcomes in the order in which they were recorded.
    pub(super) recorded: Vec<Recorded>,
    /// Whether deltas were compacted away before they were read.
    pub(super) incomplete: bool,
    /// The first revision that was not read.
    revision: i64,
}

/// Reads on until it is dropped with its runtime.
#[derive(Debug)]
pub(super) struct Auditor {
    audit: Arc<Mutex<Audit>>,
}

impl Auditor {
    /// Begins with the first delta that there ever was.
    pub(super) fn start(runtime: &Runtime, members: Vec<String>) -> Self {
        let audit = Arc::new(Mutex::new(Audit { revision: 1, ..Audit::default() }));
        let shared = Arc::clone(&audit);
        runtime.spawn(async move {
            let mut pace = interval(AGAIN);
            for member in members.iter().cycle() {
                pace.tick().await;
                // It ends whenever its member is killed, asleep or cut off: the next one has the same log.
                let _ended = follow(member, &shared).await;
            }
        });
        Self { audit }
    }

    /// The newest revision that has been read.
    pub(super) fn revision(&self) -> i64 {
        lock(&self.audit).revision - 1
    }

    pub(super) fn audit(&self) -> Audit {
        lock(&self.audit).clone()
    }
}

async fn follow(member: &str, audit: &Mutex<Audit>) -> Result<()> {
    let mut client = timeout(SILENCE_MAX, Client::connect([member], None)).await??;
    let options = WatchOptions::new().with_prefix().with_start_revision(lock(audit).revision);
    let prefix = format!("/weir/e2e/{}", key::LOG);
    let mut watch = timeout(SILENCE_MAX, client.watch(prefix, Some(options))).await??;
    loop {
        let response = timeout(SILENCE_MAX, watch.message()).await??.context("the member ended")?;
        let mut audit = lock(audit);
        if response.compact_revision() > 0 {
            audit.incomplete = true;
            audit.revision = response.compact_revision();
            bail!("compacted");
        }
        for event in response.events().iter().filter(|event| event.event_type() == EventType::Put) {
            let entry = event.kv().context("a key")?;
            let delta = Delta::from_bytes(entry.value()).context("a delta")?;
            audit.recorded.extend(delta.runs.iter().flat_map(|run| {
                run.ended.iter().map(|ended| Recorded {
                    run: run.run.to_string(),
                    first: ended.first,
                    len: ended.len,
                    end: end_of(ended.status),
                })
            }));
            audit.revision = audit.revision.max(entry.mod_revision() + 1);
        }
    }
}

fn lock(audit: &Mutex<Audit>) -> MutexGuard<'_, Audit> {
    audit.lock().unwrap_or_else(PoisonError::into_inner)
}

const fn end_of(status: Status) -> End {
    match status {
        Status::Succeeded => End::Succeeded,
        Status::Failed => End::Failed,
        Status::Lost => End::Lost,
        Status::Killed | Status::Rejected => End::Other,
    }
}
