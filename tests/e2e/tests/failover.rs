//! Several replicas of the control plane: one leads, another takes over, and nothing is lost, doubled or restarted.

use std::{net::UdpSocket, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_e2e::{
    Cluster, Options,
    cluster::on_etcd,
    guests::{self, CAT, SLEEP},
    until,
    wctl::field,
};

/// Tasks of the batch that goes on meanwhile.
const TASKS: u64 = 20_000;
/// The leader's lease with some room: a leader that sleeps for longer has a successor.
const BEYOND_THE_LEASE: Duration = Duration::from_secs(5);

fn three_replicas() -> Options {
    Options { standbys: 2, executors: 2, ..Options::default() }
}

/// Starts a service that must not be restarted, and a batch that is to be finished; gives their runs.
fn start_work(cluster: &Cluster) -> Result<(String, String)> {
    let sleep = guests::write(cluster.dir(), "sleep", SLEEP)?;
    let cat = guests::write(cluster.dir(), "cat", CAT)?;
    let run_of = |answer: Value| Ok::<_, anyhow::Error>(field(&answer, "id")?.as_str().context("an id")?.to_owned());
    let service = ["--name", "web", "--kind", "service", "--count", "3", "--healthy-after", "200ms", "-o", "json"];
    let service = cluster.wctl(["deploy", &sleep].into_iter().chain(service))?.expect(0)?.json()?;
    let count = TASKS.to_string();
    let batch = ["--name", "sums", "--count", &count, "--input", "x", "--detach", "-o", "json"];
    let batch = cluster.wctl(["deploy", &cat].into_iter().chain(batch))?.expect(0)?.json()?;
    Ok((run_of(service)?, run_of(batch)?))
}

fn status(cluster: &Cluster, run: &str) -> Result<Value> {
    cluster.wctl(["status", run, "-o", "json"])?.expect(0)?.json()
}

/// The batch has one outcome for each of its tasks, no task of the service was started again, and no node given up.
fn check_work(cluster: &Cluster, service: &str, batch: &str) -> Result<()> {
    cluster.wctl(["wait", batch, "--timeout", "120s"])?.expect(0)?;
    let batch = status(cluster, batch)?;
    ensure!(field(&batch, "tasks.succeeded")? == TASKS, "{batch}");
    let service = status(cluster, service)?;
    ensure!(field(&service, "tasks.running")? == 3, "{service}");
    ensure!(service.get("retries").is_none_or(|retries| retries == 0), "a task was started again: {service}");
    let nodes = cluster.wctl(["node", "list", "-o", "json"])?.expect(0)?.json()?;
    let nodes = field(&nodes, "items")?.as_array().context("a list")?;
    ensure!(nodes.iter().all(|node| node["state"] == "ready" && node["incarnation"] == 1), "{nodes:?}");
    Ok(())
}

fn until_another_leads(cluster: &Cluster, before: usize) -> Result<usize> {
    until("another replica leads", || Ok(cluster.leader()?.filter(|leader| *leader != before)))
}

#[test]
fn executors_hear_of_the_next_leader_when_one_steps_down() {
    on_etcd("executors_hear_of_the_next_leader_when_one_steps_down", three_replicas(), |cluster| {
        let (service, batch) = start_work(cluster)?;
        let first = cluster.leader()?.context("a leader")?;
        cluster.replica_mut(first).signal("TERM")?;
        until_another_leads(cluster, first)?;
        for executor in 0..2 {
            // Those that ask around hear that nobody leads yet, and then that there is nobody where the leader was.
            let daemon = cluster.executor_mut(executor);
            daemon.wait_for_line(&["another replica leads"], BEYOND_THE_LEASE * 4)?;
            ensure!(!daemon.has_said("this replica is not the leader"), "{}", daemon.tail(20));
        }
        check_work(cluster, &service, &batch)
    });
}

#[test]
fn addresses_where_nobody_answers_do_not_hold_up_a_step_down() {
    // What is sent there is read by nobody, as with a machine that is gone.
    let gone = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a port"));
    let addresses = gone.iter().map(|socket| socket.local_addr().expect("its address").to_string());
    let executor_args = addresses.flat_map(|address| ["--control".to_owned(), address]).collect();
    let options = Options { executor_args, ..three_replicas() };
    on_etcd("addresses_where_nobody_answers_do_not_hold_up_a_step_down", options, |cluster| {
        let (service, batch) = start_work(cluster)?;
        for _ in 0..2 {
            let leader = cluster.leader()?.context("a leader")?;
            cluster.replica_mut(leader).signal("TERM")?;
            let ended = cluster.replica_mut(leader).wait_exit(Duration::from_secs(60))?;
            ensure!(ended.success(), "{ended}");
            until_another_leads(cluster, leader)?;
            cluster.start_standby(leader)?;
        }
        for executor in 0..2 {
            // Asking around would have asked there too.
            let daemon = cluster.executor_mut(executor);
            daemon.wait_for_line(&["another replica leads"], BEYOND_THE_LEASE * 4)?;
            ensure!(!daemon.has_said("this replica is not the leader"), "{}", daemon.tail(20));
        }
        check_work(cluster, &service, &batch)
    });
}

#[test]
fn the_next_replica_takes_over_from_a_killed_leader() {
    on_etcd("the_next_replica_takes_over_from_a_killed_leader", three_replicas(), |cluster| {
        let (service, batch) = start_work(cluster)?;
        let first = cluster.leader()?.context("a leader")?;
        cluster.replica_mut(first).kill9()?;
        let second = until_another_leads(cluster, first)?;
        cluster.start_standby(first)?;
        cluster.replica_mut(second).kill9()?;
        until_another_leads(cluster, second)?;
        check_work(cluster, &service, &batch)?;
        cluster.start_standby(second)?;
        // Whichever replica is asked answers.
        for replica in 0..3 {
            let address = cluster.address_of(replica);
            let seen = cluster.wctl(["status", &batch, "--addr", &address, "-o", "json"])?.expect(0)?.json()?;
            ensure!(field(&seen, "tasks.succeeded")? == TASKS, "replica {replica}: {seen}");
        }
        Ok(())
    });
}

#[test]
fn a_leader_that_wakes_up_after_its_lease_changes_nothing() {
    on_etcd("a_leader_that_wakes_up_after_its_lease_changes_nothing", three_replicas(), |cluster| {
        let (service, batch) = start_work(cluster)?;
        let first = cluster.leader()?.context("a leader")?;
        cluster.replica_mut(first).signal("STOP")?;
        let begun = std::time::Instant::now();
        // A sleeping one takes a connection and is silent.
        let awake = cluster.address_of((first + 1) % 3);
        until("another replica leads", || {
            let info = cluster.wctl(["cluster", "info", "--addr", &awake, "-o", "json"])?;
            let sleeping = cluster.address_of(first);
            let leader = info.json().ok().and_then(|info| info.get("leader")?.as_str().map(str::to_owned));
            Ok(leader.filter(|leader| *leader != sleeping).map(drop))
        })?;
        while begun.elapsed() < BEYOND_THE_LEASE {
            // Of all addresses, among them that of the one that sleeps.
            status(cluster, &batch)?;
        }
        cluster.replica_mut(first).signal("CONT")?;
        let lost = cluster.replica_mut(first).wait_for_line(&["leadership was lost"], Duration::from_secs(60))?;
        ensure!(lost.contains("lease") || lost.contains("another replica"), "it does not say why: {lost}");
        ensure!(!cluster.replica_mut(first).has_said("the store does not work"), "it blames the store, which works");
        check_work(cluster, &service, &batch)?;
        let leader = cluster.leader()?;
        ensure!(leader.is_some() && leader != Some(first), "{leader:?} leads, and {first} has slept");
        Ok(())
    });
}

#[test]
fn a_leader_that_is_stopped_hands_over_at_once() {
    on_etcd("a_leader_that_is_stopped_hands_over_at_once", three_replicas(), |cluster| {
        let (service, batch) = start_work(cluster)?;
        let first = cluster.leader()?.context("a leader")?;
        cluster.replica_mut(first).signal("TERM")?;
        let ended = cluster.replica_mut(first).wait_exit(Duration::from_secs(60))?;
        ensure!(ended.success(), "{ended}");
        ensure!(cluster.replica_mut(first).has_said("resigned"), "it did not resign");
        until_another_leads(cluster, first)?;
        check_work(cluster, &service, &batch)
    });
}
