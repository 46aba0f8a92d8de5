//! What a cluster writes to etcd, seen by a watch on everything.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use etcd_client::{Client, EventType, WatchOptions};
use tokio::task::JoinHandle;

/// Everything of the cluster that a bench starts.
const PREFIX: &str = "/weir/e2e/";
/// Put at the end: events come in the order of the store, so that what was written before has been seen by then.
const END: &str = "weir-bench/end-of-watch";

/// A watch that counts.
pub(super) struct Meter {
    client: Client,
    task: JoinHandle<Result<Written>>,
}

/// Puts and their bytes, keys and values, by kind of key.
#[derive(Debug, Default)]
pub(super) struct Written {
    kinds: BTreeMap<String, (u64, u64)>,
}

impl Meter {
    /// Starts to count what is put from here on.
    pub(super) async fn start(url: &str) -> Result<Self> {
        let mut client = Client::connect([url], None).await.context("connect to etcd")?;
        let options = WatchOptions::new().with_all_keys();
        let mut watch = client.watch("", Some(options)).await.context("watch etcd")?;
        let task = tokio::spawn(async move {
            let mut written = Written::default();
            while let Some(response) = watch.message().await.context("read the watch")? {
                anyhow::ensure!(!response.canceled(), "etcd ended the watch: {}", response.cancel_reason());
                for event in response.events().iter().filter(|event| event.event_type() == EventType::Put) {
                    let Some(put) = event.kv() else { continue };
                    if put.key() == END.as_bytes() {
                        return Ok(written);
                    }
                    written.count(put.key(), put.value());
                }
            }
            anyhow::bail!("the watch ended early")
        });
        Ok(Self { client, task })
    }

    /// Waits for all that was put until here.
    pub(super) async fn finish(mut self) -> Result<Written> {
        self.client.put(END, "", None).await.context("mark the end of the watch")?;
        self.task.await.context("the watch")?
    }
}

impl Written {
    fn count(&mut self, key: &[u8], value: &[u8]) {
        let Some(rest) = String::from_utf8_lossy(key).strip_prefix(PREFIX).map(str::to_owned) else { return };
        let kind = rest.split('/').next().unwrap_or_default().to_owned();
        let (puts, bytes) = self.kinds.entry(kind).or_default();
        *puts += 1;
        *bytes += (key.len() + value.len()) as u64;
    }

    /// All bytes, for each of so many tasks.
    pub(super) fn bytes_per_task(&self, tasks: u32) -> f64 {
        self.kinds.values().map(|(_, bytes)| *bytes as f64).sum::<f64>() / f64::from(tasks)
    }

    /// The kinds of keys, how often they were put, and their bytes.
    pub(super) fn kinds(&self) -> String {
        let kinds = self.kinds.iter().map(|(kind, (puts, bytes))| format!("{kind} {puts} x, {bytes} B"));
        kinds.collect::<Vec<_>>().join("; ")
    }
}
