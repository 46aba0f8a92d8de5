//! What replicas say to etcd and executors to replicas, led through relays of the harness that can be cut.
//!
//! Relays work everywhere; network namespaces and packet filters need rights that a test may not have.

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

mod relay;

use relay::Relay;
pub use relay::Way;

/// The relays of one cluster; they end when it is dropped.
#[derive(Debug)]
pub struct Network {
    /// By replica and member of the etcd.
    to_etcd: Vec<Vec<Relay>>,
    /// By executor and replica.
    links: Vec<Vec<Relay>>,
    _runtime: Runtime,
}

impl Network {
    /// Starts the relays to these ports of etcd's members and of the replicas' links.
    ///
    /// # Errors
    /// No free ports.
    pub fn start(members: &[u16], replicas: &[u16], executors: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.context("start the relays")?;
        let (to_etcd, links) = runtime.block_on(async {
            let mut to_etcd = Vec::new();
            for _ in replicas {
                to_etcd.push(relays(members, async |port| Relay::tcp(port).await).await?);
            }
            let mut links = Vec::new();
            for _ in 0..executors {
                links.push(relays(replicas, async |port| Relay::udp(port).await).await?);
            }
            anyhow::Ok((to_etcd, links))
        })?;
        Ok(Self { to_etcd, links, _runtime: runtime })
    }

    /// The URLs under which a replica reaches etcd.
    #[must_use]
    pub fn etcd_urls(&self, replica: usize) -> Vec<String> {
        self.to_etcd[replica].iter().map(|relay| format!("http://127.0.0.1:{}", relay.port)).collect()
    }

    /// The port under which an executor reaches a replica.
    #[must_use]
    pub fn link_port(&self, executor: usize, replica: usize) -> u16 {
        self.links[executor][replica].port
    }

    /// Opens or cuts the way from a replica to all members of the etcd.
    pub fn set_etcd(&self, replica: usize, way: Way) {
        self.to_etcd[replica].iter().for_each(|relay| relay.set(way));
    }

    /// Opens or cuts the link between a replica and all executors.
    pub fn set_links_of_replica(&self, replica: usize, way: Way) {
        self.links.iter().for_each(|of_executor| of_executor[replica].set(way));
    }

    /// Opens or cuts the links between an executor and all replicas.
    pub fn set_links_of_executor(&self, executor: usize, way: Way) {
        self.links[executor].iter().for_each(|relay| relay.set(way));
    }
}

async fn relays(ports: &[u16], start: impl AsyncFn(u16) -> Result<Relay>) -> Result<Vec<Relay>> {
    let mut relays = Vec::new();
    for port in ports {
        relays.push(start(*port).await?);
    }
    Ok(relays)
}

#[cfg(test)]
mod tests;
