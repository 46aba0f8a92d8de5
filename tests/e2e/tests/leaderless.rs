//! What a cluster says of itself while nobody leads.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_e2e::{Cluster, Options, cluster::on_etcd, guests, until, wctl::field};

/// What a replica says of the cluster.
fn info(cluster: &Cluster, replica: usize) -> Result<Value> {
    let address = cluster.address_of(replica);
    cluster.wctl(["cluster", "info", "--addr", &address, "-o", "json"])?.expect(0)?.json()
}

#[test]
fn a_cluster_without_a_leader_says_so_and_why() {
    let options = Options { standbys: 1, executors: 1, ..Options::default() };
    on_etcd("a_cluster_without_a_leader_says_so_and_why", options, |cluster| {
        let cat = guests::write(cluster.dir(), "cat", guests::CAT)?;
        cluster.wctl(["deploy", &cat, "--name", "one", "--input", "x"])?.expect(0)?;
        let leader = cluster.leader()?.context("a leader")?;
        let (standby, address) = (1 - leader, cluster.address_of(leader));
        cluster.etcd_mut().kill9()?;
        // A leader that is well is asked, also by a standby that is cut off from the store.
        let seen = until("the store is missed", || {
            Ok(Some(info(cluster, standby)?).filter(|seen| seen["store"]["status"] == "retrying"))
        })?;
        ensure!(field(&seen, "leader")? == &address && field(&seen, "totals.jobs")? == 1, "{seen}");

        cluster.replica_mut(leader).kill9()?;
        let seen = info(cluster, standby)?;
        for absent in ["leader", "term", "revision", "totals"] {
            ensure!(seen.get(absent).is_none(), "{absent} is not known: {seen}");
        }
        ensure!(field(&seen, "store.status")? == "retrying", "{seen}");
        ensure!(field(&seen, "no_leader.last_leader")? == &address, "{seen}");
        let reason = field(&seen, "no_leader.reason")?.as_str().context("a text")?;
        ensure!(reason.contains("cannot be reached") && reason.contains("cannot campaign"), "{reason}");
        let since = field(&seen, "no_leader.since_ms")?.as_u64();
        ensure!(field(&info(cluster, standby)?, "no_leader.since_ms")?.as_u64() == since, "{since:?} does not move");
        let shown = cluster.wctl(["cluster", "info", "--addr", &cluster.address_of(standby)])?.expect(0)?.text();
        for part in ["none for", "last leader", "unknown"] {
            ensure!(shown.contains(part), "{part}: {shown}");
        }
        ensure!(!shown.contains("0 ready of 0"), "{shown}");

        cluster.etcd_mut().restart()?;
        let seen = until("the standby leads", || {
            Ok(Some(info(cluster, standby)?).filter(|seen| seen.get("leader").is_some()))
        })?;
        ensure!(field(&seen, "totals.jobs")? == 1 && seen.get("no_leader").is_none(), "{seen}");
        Ok(())
    });
}
