//! Services and system jobs: kept running, wherever.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_e2e::{
    Cluster, Options,
    cluster::on_etcd,
    guests::{self, FAIL, SLEEP, SLEEP_AGAIN},
    until,
    wctl::field,
};

/// The running tasks of a job's latest run: index and node.
fn running(cluster: &Cluster, job: &str) -> Result<Vec<(u64, String)>> {
    let list = cluster.wctl(["task", "list", job, "--state", "running", "--limit", "0", "-o", "json"])?;
    let list = list.expect(0)?.json()?;
    let tasks = field(&list, "items")?.as_array().context("a list")?.iter();
    let task = |task: &Value| {
        let index = field(task, "index")?.as_u64().context("an index")?;
        Ok((index, field(task, "node")?.as_str().context("a node")?.to_owned()))
    };
    tasks.map(task).collect()
}

fn until_running(cluster: &Cluster, job: &str, count: usize) -> Result<Vec<(u64, String)>> {
    until(&format!("{count} tasks of {job} run"), || {
        let running = running(cluster, job)?;
        Ok((running.len() == count).then_some(running))
    })
}

fn latest_run(cluster: &Cluster, job: &str) -> Result<Value> {
    cluster.wctl(["status", job, "-o", "json"])?.expect(0)?.json()
}

#[test]
fn a_service_is_kept_running_scaled_updated_and_reverted() {
    let options = Options { executors: 2, ..Options::default() };
    on_etcd("a_service_is_kept_running_scaled_updated_and_reverted", options, |cluster| {
        let old = guests::write(cluster.dir(), "old", SLEEP)?;
        let new = guests::write(cluster.dir(), "new", SLEEP_AGAIN)?;
        let spec = ["--name", "web", "--kind", "service", "--healthy-after", "300ms", "--spread", "node"];
        let deploy = |file: &str| {
            let all = ["deploy", file, "--count", "2", "--backoff", "100ms..1s"].into_iter().chain(spec);
            cluster.wctl(all.chain(["-o", "json"]))?.expect(0)
        };
        deploy(&old)?;
        let before = until_running(cluster, "web", 2)?;
        ensure!(before.iter().map(|(_, node)| node).collect::<BTreeSet<_>>().len() == 2, "{before:?} is not spread");
        cluster.wctl(["wait", "web", "--for", "healthy", "--timeout", "60s"])?.expect(0)?;

        // Another version replaces one task after the other.
        let first = latest_run(cluster, "web")?;
        deploy(&new)?;
        let second = latest_run(cluster, "web")?;
        ensure!(field(&first, "id")? != field(&second, "id")?, "the update is a run of its own: {second}");
        let id = field(&first, "id")?.as_str().context("an id")?.to_owned();
        cluster.wctl(["wait", &id, "--for", "terminal", "--timeout", "60s"])?.expect(0)?;
        until_running(cluster, "web", 2)?;
        let versions = cluster.wctl(["job", "history", "web", "-o", "json"])?.expect(0)?.json()?;
        ensure!(field(&versions, "items")?.as_array().is_some_and(|all| all.len() == 2), "{versions}");
        let diff = cluster.wctl(["job", "diff", "web", "--exit-code"])?.expect(10)?;
        ensure!(diff.text().contains("job.module"), "{}", diff.text());
        cluster.wctl(["job", "revert", "web", "--wait", "--timeout", "60s"])?.expect(0)?;
        let third = latest_run(cluster, "web")?;
        ensure!(field(&third, "module")? == field(&first, "module")? && field(&third, "version")? == 3, "{third}");

        cluster.wctl(["job", "scale", "web", "4", "--wait", "--timeout", "60s"])?.expect(0)?;
        until_running(cluster, "web", 4)?;
        cluster.wctl(["job", "scale", "web", "1", "--wait", "--timeout", "60s"])?.expect(0)?;
        let left = until_running(cluster, "web", 1)?;
        // A task that is stopped is started again: waiting for it ends with its attempt.
        cluster.wctl(["stop", "web.0", "--wait", "--timeout", "60s"])?.expect(0)?;
        until_running(cluster, "web", 1)?;
        cluster.wctl(["job", "restart", "web", "--wait", "--timeout", "60s"])?.expect(0)?;
        until_running(cluster, "web", 1)?;
        ensure!(left.len() == 1);
        cluster.wctl(["stop", "web", "--wait", "--timeout", "60s"])?.expect(0)?;
        ensure!(running(cluster, "web")?.is_empty(), "a stopped service runs");
        cluster.wctl(["wait", "web", "--for", "healthy", "--timeout", "60s"])?.expect(11)?;
        cluster.wctl(["wait", "web", "--for", "running", "--timeout", "60s"])?.expect(11)?;
        Ok(())
    });
}

#[test]
fn a_service_that_is_stopped_in_an_update_is_over() {
    let options = Options { executors: 1, ..Options::default() };
    on_etcd("a_service_that_is_stopped_in_an_update_is_over", options, |cluster| {
        let sleep = guests::write(cluster.dir(), "sleep", SLEEP)?;
        let spec = ["--name", "web", "--kind", "service", "--count", "2", "--healthy-after", "30s", "--detach"];
        cluster.wctl(["deploy", &sleep].into_iter().chain(spec))?.expect(0)?;
        until_running(cluster, "web", 2)?;
        let old = latest_run(cluster, "web")?;
        let old = field(&old, "id")?.as_str().context("an id")?.to_owned();
        cluster.wctl(["job", "restart", "web"])?.expect(0)?;
        until("the restart is a run of its own", || {
            let newest = latest_run(cluster, "web")?;
            Ok((field(&newest, "id")? != old.as_str()).then_some(()))
        })?;
        cluster.wctl(["stop", "web", "--wait", "--timeout", "60s"])?.expect(0)?;
        cluster.wctl(["wait", &old, "--for", "terminal", "--timeout", "60s"])?.expect(0)?;
        let status = cluster.wctl(["status", "-o", "json"])?.expect(0)?.json()?;
        let runs = field(&status, "items")?.as_array().context("a list")?;
        ensure!(runs.len() == 2 && runs.iter().all(|run| run["state"] == "killed"), "something goes on: {status}");
        Ok(())
    });
}

#[test]
fn a_service_outlives_its_executor_and_its_own_crashes() {
    let options = Options { executors: 2, ..Options::default() };
    on_etcd("a_service_outlives_its_executor_and_its_own_crashes", options, |cluster| {
        let sleep = guests::write(cluster.dir(), "sleep", SLEEP)?;
        let fail = guests::write(cluster.dir(), "fail", FAIL)?;
        let service = ["--kind", "service", "--healthy-after", "200ms", "--backoff", "50ms..200ms"];
        let arguments = ["deploy", &sleep, "--name", "web", "--count", "3"].into_iter().chain(service);
        cluster.wctl(arguments.chain(["--detach"]))?.expect(0)?;
        until_running(cluster, "web", 3)?;
        cluster.executor_mut(0).kill9()?;
        let moved = until("all tasks run on the node that is left", || {
            let running = running(cluster, "web")?;
            Ok((running.len() == 3 && running.iter().all(|(_, node)| node == "node-2")).then_some(running))
        })?;
        ensure!(moved.len() == 3);

        let arguments = ["deploy", &fail, "--name", "crash", "--count", "1"].into_iter().chain(service);
        cluster.wctl(arguments.chain(["--detach"]))?.expect(0)?;
        until("it was started again and again", || {
            let run = latest_run(cluster, "crash")?;
            let again = field(&run, "retries")?.as_u64().is_some_and(|retries| retries >= 3);
            ensure!(field(&run, "state")? != "failed", "a service does not end by failing: {run}");
            Ok(again.then_some(()))
        })?;
        // A paused job starts nothing, and what runs goes on.
        cluster.wctl(["job", "pause", "web"])?.expect(0)?;
        cluster.wctl(["job", "scale", "web", "4"])?.expect(0)?;
        let why = cluster.wctl(["job", "why", "web"])?.expect(0)?.text();
        ensure!(why.contains("paused"), "{why}");
        until_running(cluster, "web", 3)?;
        cluster.wctl(["job", "resume", "web"])?.expect(0)?;
        until_running(cluster, "web", 4)?;
        Ok(())
    });
}

#[test]
fn a_system_job_follows_the_nodes() {
    let options = Options { executors: 2, spare: 1, ..Options::default() };
    on_etcd("a_system_job_follows_the_nodes", options, |cluster| {
        let sleep = guests::write(cluster.dir(), "sleep", SLEEP)?;
        cluster.wctl(["deploy", &sleep, "--name", "agent", "--kind", "system", "--detach"])?.expect(0)?;
        let nodes = |running: Vec<(u64, String)>| running.into_iter().map(|(_, node)| node).collect::<BTreeSet<_>>();
        ensure!(nodes(until_running(cluster, "agent", 2)?).len() == 2, "one task a node");
        cluster.start_executor(2)?;
        let three = nodes(until_running(cluster, "agent", 3)?);
        ensure!(three.contains("node-3") && three.len() == 3, "{three:?}");
        cluster.executor_mut(1).kill9()?;
        let two = nodes(until_running(cluster, "agent", 2)?);
        ensure!(!two.contains("node-2"), "{two:?}");
        Ok(())
    });
}
