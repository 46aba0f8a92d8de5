//! Where work goes, what makes room for what, and what an operator does with nodes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_e2e::{
    Cluster, Options,
    cluster::on_etcd,
    guests::{self, SLEEP},
    until,
    wctl::field,
};

/// Small nodes, so that a few tasks fill them.
fn small(executors: usize) -> Options {
    Options { executors, offer: Some(("1", "1GiB")), ..Options::default() }
}

/// Starts sleeping tasks without waiting, and gives the run's id.
fn deploy(cluster: &Cluster, name: &str, flags: &[&str]) -> Result<String> {
    let sleep = guests::write(cluster.dir(), "sleep", SLEEP)?;
    let all = ["deploy", &sleep, "--name", name, "--timeout", "10m", "--detach", "-o", "json"];
    let run = cluster.wctl(all.iter().chain(flags))?.expect(0)?.json()?;
    Ok(field(&run, "id")?.as_str().context("an id")?.to_owned())
}

/// The number of running tasks of a run on each node.
fn placed_on(cluster: &Cluster, run: &str) -> Result<BTreeMap<String, usize>> {
    let list = cluster.wctl(["task", "list", run, "--state", "running", "--limit", "0", "-o", "json"])?;
    let list = list.expect(0)?.json()?;
    let mut places = BTreeMap::new();
    for task in field(&list, "items")?.as_array().context("a list")? {
        *places.entry(field(task, "node")?.as_str().context("a node")?.to_owned()).or_default() += 1;
    }
    Ok(places)
}

fn until_placed(cluster: &Cluster, run: &str, count: usize) -> Result<BTreeMap<String, usize>> {
    until(&format!("{count} tasks of {run} run"), || {
        let places = placed_on(cluster, run)?;
        Ok((places.values().sum::<usize>() == count).then_some(places))
    })
}

fn run_of(cluster: &Cluster, run: &str) -> Result<Value> {
    cluster.wctl(["status", run, "-o", "json"])?.expect(0)?.json()
}

fn stop(cluster: &Cluster, run: &str) -> Result<()> {
    cluster.wctl(["stop", run, "--wait", "--timeout", "60s"])?.expect(0).map(drop)
}

#[test]
fn constraints_spread_pools_and_labels_decide_where_tasks_run() {
    on_etcd("constraints_spread_pools_and_labels_decide_where_tasks_run", small(3), |cluster| {
        for (node, labels) in [("node-1", ["zone=a", "disk=ssd"]), ("node-2", ["zone=b", "disk=hdd"])] {
            cluster.wctl(["node", "label", node].iter().chain(&labels))?.expect(0)?;
        }
        cluster.wctl(["node", "label", "node-3", "zone=b", "pool=batch"])?.expect(0)?;
        let only = |places: &BTreeMap<String, usize>, node: &str| places.keys().all(|found| found == node);

        let here = deploy(cluster, "ssd", &["--constraint", "disk in [ssd, nvme]", "--count", "2"])?;
        let there = deploy(cluster, "hdd", &["--constraint", "zone != a", "--count", "2"])?;
        let pool = deploy(cluster, "pooled", &["--pool", "batch", "--count", "2"])?;
        let spread = deploy(cluster, "spread", &["--spread", "zone", "--count", "4", "--cpu", "0.05"])?;
        let each = deploy(cluster, "each", &["--max-per-node", "1", "--count", "2", "--cpu", "0.05"])?;
        for (run, node) in [(&here, "node-1"), (&there, "node-2"), (&pool, "node-3")] {
            let places = until_placed(cluster, run, 2)?;
            ensure!(only(&places, node), "{run} is to run on {node}: {places:?}");
        }
        let places = until_placed(cluster, &spread, 4)?;
        ensure!(places.get("node-1") == Some(&2) && places.get("node-2") == Some(&2), "{places:?}");
        let places = until_placed(cluster, &each, 2)?;
        ensure!(places.values().all(|count| *count == 1), "{places:?}");

        let nowhere = deploy(cluster, "nowhere", &["--constraint", "disk matches ^floppy"])?;
        let why = cluster.wctl(["job", "why", &nowhere])?.expect(0)?.text();
        ensure!(why.contains("disk"), "{why}");
        let why = cluster.wctl(["task", "why", &format!("{nowhere}.0")])?.expect(0)?.text();
        ensure!(why.contains("disk"), "{why}");
        cluster.wctl(["node", "label", "node-2", "disk=floppy-3.5"])?.expect(0)?;
        let places = until_placed(cluster, &nowhere, 1)?;
        ensure!(only(&places, "node-2"), "{places:?}");
        Ok(())
    });
}

#[test]
fn production_makes_room_for_itself_and_quotas_hold() {
    on_etcd("production_makes_room_for_itself_and_quotas_hold", small(1), |cluster| {
        let batch = deploy(cluster, "batch", &["--count", "4", "--cpu", "0.25"])?;
        until_placed(cluster, &batch, 4)?;

        // What a deploy would do is said before it is done.
        let sleep = guests::write(cluster.dir(), "sleep", SLEEP)?;
        let flags = ["--name", "prod", "--tier", "production", "--count", "2", "--cpu", "0.25"];
        let plan = ["job", "plan", &sleep, "--exit-code", "-o", "json"].into_iter().chain(flags);
        let plan = cluster.wctl(plan)?.expect(10)?.json()?;
        ensure!(plan.to_string().contains("batch"), "the plan names the victims: {plan}");
        ensure!(placed_on(cluster, &batch)?.values().sum::<usize>() == 4, "a plan changes nothing");

        let prod = deploy(cluster, "prod", &flags[2..])?;
        until_placed(cluster, &prod, 2)?;
        until_placed(cluster, &batch, 2)?;
        let why = cluster.wctl(["job", "why", &batch])?.expect(0)?.text();
        ensure!(why.contains("cpu"), "{why}");
        stop(cluster, &prod)?;
        until_placed(cluster, &batch, 4)?;
        let state = run_of(cluster, &batch)?;
        ensure!(field(&state, "tasks.failed")? == 0, "pre-empted tasks are not failed: {state}");

        cluster.wctl(["quota", "set", "default", "--cpu", "0.5", "--running", "3"])?.expect(0)?;
        let over = ["deploy", &sleep, "--name", "prod", "--tier", "production", "--count", "4", "--detach"];
        let over = cluster.wctl(over)?.expect(9)?;
        ensure!(over.stderr.contains("quota"), "{}", over.stderr);
        let quotas = cluster.wctl(["quota", "list", "-o", "json"])?.expect(0)?.json()?;
        ensure!(field(&quotas, "items.0.namespace")? == "default", "{quotas}");
        cluster.wctl(["quota", "rm", "default"])?.expect(0)?;
        let again = deploy(cluster, "prod", &["--tier", "production", "--count", "4", "--cpu", "0.05"])?;
        until_placed(cluster, &again, 4)?;
        let namespaces = cluster.wctl(["namespace", "list", "-o", "name"])?.expect(0)?.text();
        ensure!(namespaces.lines().any(|line| line == "default"), "{namespaces}");
        Ok(())
    });
}

#[test]
fn revocable_work_runs_on_what_its_owners_reserve_and_do_not_use() {
    on_etcd("revocable_work_runs_on_what_its_owners_reserve_and_do_not_use", small(1), |cluster| {
        let owner = deploy(cluster, "owner", &["--tier", "production", "--count", "4", "--cpu", "0.25"])?;
        until_placed(cluster, &owner, 4)?;
        let firm = deploy(cluster, "firm", &["--count", "1", "--cpu", "0.25"])?;
        let slack = deploy(cluster, "slack", &["--tier", "revocable", "--count", "2", "--cpu", "0.25"])?;
        until_placed(cluster, &slack, 2)?;
        ensure!(placed_on(cluster, &firm)?.is_empty(), "all cpu is reserved, and only revocable work may borrow it");
        let why = cluster.wctl(["job", "why", &firm])?.expect(0)?.text();
        ensure!(why.contains("cpu"), "{why}");
        ensure!(placed_on(cluster, &owner)?.values().sum::<usize>() == 4, "the owners run on");
        Ok(())
    });
}

#[test]
fn a_node_is_cordoned_drained_and_removed() {
    on_etcd("a_node_is_cordoned_drained_and_removed", small(2), |cluster| {
        let service = deploy(
            cluster,
            "web",
            &["--kind", "service", "--count", "2", "--healthy-after", "200ms", "--spread", "node"],
        )?;
        until_placed(cluster, &service, 2)?;
        cluster.wctl(["node", "cordon", "node-1", "--message", "disk"])?.expect(0)?;
        let batch = deploy(cluster, "batch", &["--count", "2"])?;
        let places = until_placed(cluster, &batch, 2)?;
        ensure!(!places.contains_key("node-1"), "a cordoned node gets no work: {places:?}");
        cluster.wctl(["node", "uncordon", "node-1"])?.expect(0)?;

        // A drain moves the service at once and lets the batch end until its deadline.
        cluster.wctl(["node", "drain", "node-2", "--deadline", "10m"])?.expect(0)?;
        let moved = until("the service has moved", || {
            let places = placed_on(cluster, &service)?;
            Ok((places.get("node-1") == Some(&2)).then_some(places))
        })?;
        ensure!(moved.len() == 1, "{moved:?}");
        ensure!(placed_on(cluster, &batch)?.get("node-2") == Some(&2), "the batch goes on");
        let node = cluster.wctl(["node", "inspect", "node-2"])?.expect(0)?.text();
        ensure!(node.contains("drain"), "{node}");
        cluster.wctl(["node", "drain", "node-2", "--cancel"])?.expect(0)?;

        cluster.wctl(["node", "drain", "node-2", "--force", "--wait", "--timeout", "60s"])?.expect(0)?;
        let places = until_placed(cluster, &batch, 2)?;
        ensure!(!places.contains_key("node-2"), "{places:?}");
        let state = run_of(cluster, &batch)?;
        ensure!(field(&state, "tasks.failed")? == 0 && field(&state, "tasks.killed")? == 0, "work was lost: {state}");

        cluster.wctl(["node", "remove", "node-2"])?.expect(5)?;
        cluster.executor_mut(1).kill9()?;
        until("the node is forgotten", || Ok((cluster.wctl(["node", "remove", "node-2"])?.code == 0).then_some(())))?;
        let missing = cluster.wctl(["node", "cordon", "node-2"])?.expect(4)?;
        ensure!(missing.stderr.contains("node-1"), "the nearest is suggested: {}", missing.stderr);
        cluster.wctl(["cluster", "release-brake"])?.expect(5)?;
        Ok(())
    });
}

#[test]
fn work_that_runs_at_most_once_is_lost_with_its_node() {
    on_etcd("work_that_runs_at_most_once_is_lost_with_its_node", small(2), |cluster| {
        let once = deploy(cluster, "once", &["--mode", "at_most_once"])?;
        let places = until_placed(cluster, &once, 1)?;
        let executor = usize::from(places.contains_key("node-2"));
        cluster.executor_mut(executor).kill9()?;
        cluster.start_executor(executor)?;
        cluster.wctl(["wait", &once, "--for", "terminal", "--timeout", "90s"])?.expect(0)?;
        let task = cluster.wctl(["task", "inspect", &once, "-o", "json"])?.expect(0)?.json()?;
        ensure!(field(&task, "state")? == "lost", "{task}");
        ensure!(places.values().sum::<usize>() == 1);
        Ok(())
    });
}
