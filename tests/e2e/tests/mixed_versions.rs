//! A control plane and executors of neighbouring releases: one side is held to the wire version of the release before.

use anyhow::{Context, Result, ensure};
use weir_e2e::{
    Cluster, Options,
    guests::{self, CAT, SLEEP},
    until,
    wctl::field,
};

/// Tasks of the batch.
const TASKS: u64 = 500;

/// How many tasks of a job's newest run are running.
fn running(cluster: &Cluster, run: &str) -> Result<u64> {
    let run = cluster.wctl(["status", run, "-o", "json"])?.expect(0)?.json()?;
    field(&run, "tasks.running")?.as_u64().context("a number")
}

/// Deploys something that stays; gives its run.
fn stays(cluster: &Cluster, module: &str, more: &[&str]) -> Result<String> {
    let arguments = ["deploy", module, "-o", "json"].into_iter().chain(more.iter().copied());
    let run = cluster.wctl(arguments)?.expect(0)?.json()?;
    Ok(field(&run, "id")?.as_str().context("an id")?.to_owned())
}

fn all_kinds_run(cluster: &Cluster) -> Result<()> {
    let cat = guests::write(cluster.dir(), "cat", CAT)?;
    let sleep = guests::write(cluster.dir(), "sleep", SLEEP)?;
    let batch = ["deploy", &cat, "--name", "batch", "--count", &TASKS.to_string(), "--input", "x", "-o", "json"];
    let run = cluster.wctl(batch)?.expect(0)?.json()?;
    ensure!(field(&run, "tasks.succeeded")? == TASKS, "{run}");
    let service = ["--name", "web", "--kind", "service", "--count", "2", "--healthy-after", "200ms"];
    let service = stays(cluster, &sleep, &service)?;
    until("the service runs", || Ok((running(cluster, &service)? == 2).then_some(())))?;
    let system = stays(cluster, &sleep, &["--name", "agent", "--kind", "system", "--detach"])?;
    until("the system job runs", || Ok((running(cluster, &system)? == 1).then_some(())))?;
    let tick = ["--name", "tick", "--kind", "cron", "--schedule", "* * * * * *", "--tz", "UTC"];
    cluster.wctl(["deploy", &cat].into_iter().chain(tick))?.expect(0)?;
    until("the cron job has fired and ended", || {
        let list = cluster.wctl(["status", "-o", "json"])?.expect(0)?.json()?;
        let runs = field(&list, "items")?.as_array().context("a list")?;
        let ended = runs.iter().filter(|run| run["job"] == "tick" && run["state"] == "succeeded");
        Ok((ended.count() > 1).then_some(()))
    })?;
    cluster.wctl(["deploy", &cat, "--name", "call", "--kind", "function"])?.expect(0)?;
    let answer = cluster.wctl(["job", "dispatch", "call", "--input", "some bytes"])?.expect(0)?;
    ensure!(answer.stdout == b"some bytes", "{}", answer.text());
    Ok(())
}

/// A job that needs what the older release does not have waits, and says so; nothing else does.
fn what_is_newer_waits(cluster: &Cluster) -> Result<String> {
    let newer = stays(cluster, "cat.wasm", &["--name", "newer", "--deterministic", "--input", "x", "--detach"])?;
    until("the run says why it waits", || {
        let why = cluster.wctl(["job", "why", "newer"])?.expect(0)?.text();
        Ok(why.contains("wire version >= 2").then_some(()))
    })?;
    cluster.wctl(["run", "cat.wasm", "--input", "x"])?.expect(0)?;
    Ok(newer)
}

/// Runs everything with these variables, and then again once the older side is as new as the other.
fn with_older(side: &str, upgrade: impl Fn(&mut Cluster) -> Result<()>) -> Result<()> {
    let environment = vec![(format!("WEIR_{side}_WIRE_MAX"), "1".to_owned())];
    let mut cluster = Cluster::start(&Options { executors: 1, environment, ..Options::default() })?;
    let outcome = (|| -> Result<()> {
        all_kinds_run(&cluster)?;
        let newer = what_is_newer_waits(&cluster)?;
        cluster.set_environment(&[]);
        upgrade(&mut cluster)?;
        cluster.wctl(["wait", &newer, "--for", "succeeded"])?.expect(0).map(drop)
    })();
    outcome.with_context(|| cluster.logs())
}

#[test]
fn an_executor_of_the_release_before_runs_all_kinds() {
    let upgrade = |cluster: &mut Cluster| {
        cluster.executor_mut(0).kill9()?;
        cluster.start_executor(0)
    };
    with_older("EXECUTOR", upgrade).expect("an older executor is served");
}

#[test]
fn a_control_plane_of_the_release_before_has_all_kinds_run() {
    let upgrade = |cluster: &mut Cluster| {
        cluster.control_mut().kill9()?;
        cluster.start_control()
    };
    with_older("CONTROL", upgrade).expect("an older control plane is served");
}
