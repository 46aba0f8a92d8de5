//! Jobs that wait for each other and use each other's results, and functions.

use anyhow::{Context, Result, ensure};
use weir_e2e::{
    Cluster, Options,
    cluster::on_etcd,
    guests::{self, CAT, FAIL, SHOW, SLEEP},
    wctl::field,
};

fn one_node() -> Options {
    Options { executors: 1, ..Options::default() }
}

/// Deploys without waiting, and gives the run's id.
fn deploy(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let all = ["deploy"].iter().chain(arguments).chain(&["--detach", "-o", "json"]);
    let run = cluster.wctl(all)?.expect(0)?.json()?;
    Ok(field(&run, "id")?.as_str().context("an id")?.to_owned())
}

#[test]
fn stages_run_in_order_and_hand_on_their_results() {
    on_etcd("stages_run_in_order_and_hand_on_their_results", one_node(), |cluster| {
        let cat = guests::write(cluster.dir(), "cat", CAT)?;
        std::fs::write(cluster.dir().join("items.txt"), "alpha\nbeta\ngamma\n")?;
        let early = ["deploy", &cat, "--name", "transform", "--after", "extract", "--detach"];
        let refused = cluster.wctl(early)?.expect(5)?;
        ensure!(refused.stderr.contains("no run yet"), "{}", refused.stderr);

        deploy(cluster, &[&cat, "--name", "extract", "--items", "items.txt"])?;
        let stage = ["--after", "extract", "--input-from", "extract", "--count", "3"];
        let transform = deploy(cluster, &[&[cat.as_str(), "--name", "transform"][..], &stage].concat())?;
        let load =
            [&cat, "--name", "load", "--after", "transform", "--input-from", "transform", "--after", "extract:any"];
        let load = deploy(cluster, &load)?;
        cluster.wctl(["wait", &load, "--timeout", "60s"])?.expect(0)?;
        for (index, item) in ["alpha", "beta", "gamma"].into_iter().enumerate() {
            let result = cluster.wctl(["task", "result", &format!("{transform}.{index}")])?.expect(0)?;
            ensure!(result.text() == item, "{index}: {}", result.text());
        }
        let result = cluster.wctl(["task", "result", &load])?.expect(0)?;
        ensure!(result.text() == "alpha\nbeta\ngamma\n", "{}", result.text());

        let graph = cluster.wctl(["job", "graph"])?.expect(0)?.text();
        for edge in ["\"extract\" -> \"transform\"", "\"transform\" -> \"load\"", "\"extract\" -> \"load\""] {
            ensure!(graph.starts_with("digraph") && graph.contains(edge), "{edge}: {graph}");
        }
        let cycle = cluster.wctl(["deploy", &cat, "--name", "extract", "--after", "load", "--detach"])?;
        ensure!(cycle.code == 2 || cycle.code == 3 || cycle.code == 5, "{cycle:?}");
        ensure!(cycle.stderr.contains("load"), "{}", cycle.stderr);
        Ok(())
    });
}

#[test]
fn a_failed_stage_ends_what_waits_for_its_success() {
    on_etcd("a_failed_stage_ends_what_waits_for_its_success", one_node(), |cluster| {
        let cat = guests::write(cluster.dir(), "cat", CAT)?;
        let fail = guests::write(cluster.dir(), "fail", FAIL)?;
        let sleep = guests::write(cluster.dir(), "sleep", SLEEP)?;
        let upstream = deploy(cluster, &[&sleep, "--name", "slow", "--timeout", "10m"])?;
        let waits = deploy(cluster, &[&cat, "--name", "next", "--after", "slow"])?;
        let why = cluster.wctl(["job", "why", &waits])?.expect(0)?.text();
        ensure!(why.contains(&upstream) || why.contains("slow"), "{why}");
        cluster.wctl(["stop", &upstream])?.expect(0)?;
        cluster.wctl(["wait", &waits, "--timeout", "60s"])?.expect(11)?;
        let task = cluster.wctl(["task", "inspect", &waits, "-o", "json"])?.expect(0)?.json()?;
        ensure!(field(&task, "reason")? == "dependency_failed" && field(&task, "source")? == "control", "{task}");

        deploy(cluster, &[&fail, "--name", "bad", "--retries", "0"])?;
        let rescue = deploy(cluster, &[&cat, "--name", "rescue", "--after", "bad:failure"])?;
        let always = deploy(cluster, &[&cat, "--name", "always", "--after", "bad:any"])?;
        cluster.wctl(["wait", &rescue, &always, "--timeout", "60s"])?.expect(0)?;
        Ok(())
    });
}

#[test]
fn a_function_gives_back_bytes() {
    on_etcd("a_function_gives_back_bytes", one_node(), |cluster| {
        let cat = guests::write(cluster.dir(), "cat", CAT)?;
        let show = guests::write(cluster.dir(), "show", SHOW)?;
        for (name, file) in [("echo", &cat), ("show", &show)] {
            let deployed = cluster.wctl(["deploy", file, "--name", name, "--kind", "function", "-o", "json"])?;
            ensure!(field(&deployed.expect(0)?.json()?, "name")? == name);
        }
        let answer = cluster.wctl(["job", "dispatch", "echo", "--input", "some bytes"])?.expect(0)?;
        ensure!(answer.text() == "some bytes", "{}", answer.text());

        let large: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(cluster.dir().join("large"), &large)?;
        cluster.wctl(["job", "dispatch", "echo", "--input", "@large", "--output", "out"])?.expect(0)?;
        ensure!(std::fs::read(cluster.dir().join("out"))? == large, "a large payload comes back as it was");

        let with = ["--meta", "owner=me", "--idempotency-key", "once", "--", "--flag", "a b"];
        let dispatch = ["job", "dispatch", "show"].into_iter().chain(with);
        let first = cluster.wctl(dispatch.clone())?.expect(0)?.text();
        for line in ["WEIR_META_owner=me", "--flag", "a b"] {
            ensure!(first.lines().any(|found| found == line), "{line}: {first}");
        }
        let again = cluster.wctl(dispatch)?.expect(0)?.text();
        let dispatch = ["job", "dispatch", "show", "--detach", "-o", "json"].into_iter().chain(with);
        let detached = cluster.wctl(dispatch)?.expect(0)?.json()?;
        ensure!(field(&detached, "state")? == "succeeded", "{detached}");
        ensure!(again == first, "{first}\n{again}");
        let run = |text: &str| text.lines().find(|line| line.starts_with("WEIR_RUN")).map(str::to_owned);
        ensure!(run(&first).is_some() && run(&first) == run(&again), "the same key is the same run: {first}\n{again}");

        let fail = guests::write(cluster.dir(), "fail", FAIL)?;
        cluster.wctl(["deploy", &fail, "--name", "bad", "--kind", "function", "--retries", "0"])?.expect(0)?;
        let failed = cluster.wctl(["job", "dispatch", "bad"])?.expect(11)?;
        ensure!(failed.stdout.is_empty() && failed.stderr.contains("exit code 3"), "{failed:?}");
        let missing = cluster.wctl(["job", "dispatch", "ecoh"])?.expect(4)?;
        ensure!(missing.stderr.contains("echo"), "{}", missing.stderr);
        Ok(())
    });
}
