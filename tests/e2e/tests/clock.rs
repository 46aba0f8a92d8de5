//! Wall clocks that are set while everything runs.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_e2e::{
    Cluster, Options,
    cluster::on_etcd,
    faked_clock::FakedClock,
    guests::{self, CAT, SLEEP},
    skip, until,
    wctl::field,
};

const NAME: &str = "clocks_that_are_set_lose_nothing_and_stop_nothing";
/// Tasks of each batch.
const TASKS: u64 = 2_000;

/// Runs a batch to its end; gives when it was submitted, as the control plane has it.
fn batch(cluster: &Cluster, module: &str, name: &str) -> Result<u64> {
    let count = TASKS.to_string();
    let arguments = ["deploy", module, "--name", name, "--count", &count, "--input", "x", "-o", "json"];
    let run = cluster.wctl(arguments)?.expect(0)?.json()?;
    ensure!(field(&run, "tasks.succeeded")? == TASKS, "{run}");
    field(&run, "created_ms")?.as_u64().context("a time")
}

/// Adds the runs of the cron job that the overview shows, with the instants for which they were fired.
fn look(cluster: &Cluster, fired: &mut BTreeMap<String, u64>) -> Result<()> {
    let list = cluster.wctl(["status", "-o", "json"])?.expect(0)?.json()?;
    for run in field(&list, "items")?.as_array().context("a list")? {
        let instant = run.get("scheduled_ms").and_then(Value::as_u64);
        if let (Some(instant), Some(id)) = (instant, run.get("id").and_then(Value::as_str)) {
            fired.insert(id.to_owned(), instant);
        }
    }
    Ok(())
}

#[test]
fn clocks_that_are_set_lose_nothing_and_stop_nothing() {
    let Some(clock) = FakedClock::make().expect("a clock") else {
        return skip::note(NAME, "the Debian package faketime is not installed");
    };
    let environment = clock.environment();
    let options = Options { standbys: 1, executors: 2, environment, ..Options::default() };
    on_etcd(NAME, options, |cluster| {
        let sleep = guests::write(cluster.dir(), "sleep", SLEEP)?;
        let cat = guests::write(cluster.dir(), "cat", CAT)?;
        let service = ["--name", "web", "--kind", "service", "--count", "3", "--healthy-after", "200ms", "-o", "json"];
        let service = cluster.wctl(["deploy", &sleep].into_iter().chain(service))?.expect(0)?.json()?;
        let service = field(&service, "id")?.as_str().context("an id")?.to_owned();
        let tick = ["--name", "tick", "--kind", "cron", "--schedule", "* * * * * *", "--tz", "UTC"];
        cluster.wctl(["deploy", &cat].into_iter().chain(tick))?.expect(0)?;
        let mut fired = BTreeMap::new();
        until("the cron job fires", || {
            look(cluster, &mut fired)?;
            Ok((fired.len() > 1).then_some(()))
        })?;

        let before = batch(cluster, &cat, "before")?;
        clock.set(2 * 3600)?;
        let ahead = batch(cluster, &cat, "ahead")?;
        ensure!(ahead > before + 7_000_000, "the clock was not set: {before}, {ahead}");
        until("the cron job fires then too", || {
            look(cluster, &mut fired)?;
            Ok(fired.values().any(|instant| *instant > ahead).then_some(()))
        })?;
        clock.set(0)?;
        batch(cluster, &cat, "back")?;
        // Another leader goes on from what the store has.
        let leader = cluster.leader()?.context("a leader")?;
        cluster.replica_mut(leader).kill9()?;
        until("another replica leads", || Ok(cluster.leader()?.filter(|other| *other != leader)))?;
        batch(cluster, &cat, "after")?;

        look(cluster, &mut fired)?;
        let instants: BTreeSet<&u64> = fired.values().collect();
        ensure!(instants.len() == fired.len(), "an instant fired twice: {fired:?}");
        let service = cluster.wctl(["status", &service, "-o", "json"])?.expect(0)?.json()?;
        ensure!(field(&service, "tasks.running")? == 3, "{service}");
        ensure!(service.get("retries").is_none_or(|retries| retries == 0), "a task was started again: {service}");
        let nodes = cluster.wctl(["node", "list", "-o", "json"])?.expect(0)?.json()?;
        let nodes = field(&nodes, "items")?.as_array().context("a list")?;
        ensure!(nodes.iter().all(|node| node["state"] == "ready" && node["incarnation"] == 1), "{nodes:?}");
        Ok(())
    });
}
