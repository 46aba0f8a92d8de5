//! An executor whose guests run in worker processes.

use std::fs;

use anyhow::{Context, ensure};
use weir_e2e::{
    Cluster, Options, Store,
    daemon::{children, signal},
    guests, until,
    wctl::field,
};

/// Sleeps for three seconds, and ends.
const NAP: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 3000000000))
    (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256)))))"#;

/// The argument with which worker processes are started.
const WORKER: &str = "internal-work";

#[test]
fn a_worker_process_that_is_killed_costs_an_attempt_and_no_task() {
    let result = (|| {
        let mut cluster = Cluster::start(&Options {
            store: Store::Embedded,
            executors: 1,
            offer: Some(("2", "1GiB")),
            executor_args: ["--isolation", "process", "--worker-processes", "2"].map(str::to_owned).to_vec(),
            ..Options::default()
        })?;
        let executor = cluster.executor_mut(0).pid();
        let status = fs::read_to_string(format!("/proc/{executor}/status"))?;
        ensure!(status.contains("NoNewPrivs:\t1"), "the executor gave up new privileges: {status}");
        let module = guests::write(cluster.dir(), "nap", NAP)?;
        let arguments = ["deploy", &module, "--count", "6", "--cpu", "0.1", "--detach", "-o", "json"];
        let run = cluster.wctl(arguments)?.expect(0)?.json()?;
        let run = field(&run, "id")?.as_str().context("an id")?.to_owned();
        let state = |cluster: &Cluster| cluster.wctl(["status", &run, "-o", "json"])?.expect(0)?.json();
        until("all tasks run", || Ok((field(&state(&cluster)?, "tasks.running")?.as_u64() == Some(6)).then_some(())))?;
        let before = children(executor, WORKER)?;
        ensure!(before.len() == 2, "{before:?}");
        signal(before[0], "KILL")?;
        cluster.wctl(["wait", &run, "--timeout", "120s"])?.expect(0)?;
        let state = state(&cluster)?;
        ensure!(field(&state, "tasks.succeeded")?.as_u64() == Some(6), "{state}");
        ensure!(cluster.executor_mut(0).has_said("SIGKILL"), "the log names the signal");
        let after = children(executor, WORKER)?;
        ensure!(after.len() == 2 && after.contains(&before[1]) && !after.contains(&before[0]), "{after:?}");
        cluster.executor_mut(0).kill9()?;
        until("the end of the processes", || Ok(workers_of_nobody(&after).then_some(())))
    })();
    result.expect("the test passes");
}

#[test]
fn namespaces_that_are_apart_share_no_process() {
    let result = (|| {
        let mut cluster = Cluster::start(&Options {
            store: Store::Embedded,
            executors: 1,
            offer: Some(("2", "1GiB")),
            executor_args: ["--worker-processes", "1", "--apart", "payments,team-*"].map(str::to_owned).to_vec(),
            ..Options::default()
        })?;
        let executor = cluster.executor_mut(0).pid();
        let module = guests::write(cluster.dir(), "nap", NAP)?;
        let mut workers = children(executor, WORKER)?;
        ensure!(workers.len() == 1, "{workers:?}");
        for (namespace, more) in [("other", 0), ("payments", 1), ("team-a", 1)] {
            let arguments =
                ["-n", namespace, "deploy", &module, "--count", "2", "--cpu", "0.1", "--detach", "-o", "json"];
            let run = cluster.wctl(arguments)?.expect(0)?.json()?;
            let run = field(&run, "id")?.as_str().context("an id")?.to_owned();
            cluster.wctl(["-n", namespace, "wait", &run, "--timeout", "120s"])?.expect(0)?;
            let now = children(executor, WORKER)?;
            ensure!(now.len() == workers.len() + more && workers.iter().all(|pid| now.contains(pid)), "{now:?}");
            workers = now;
        }
        let usage = ["--isolation", "in_process", "--apart", "payments"].map(str::to_owned).to_vec();
        let refused = Cluster::start(&Options { executors: 1, executor_args: usage, ..Options::default() });
        let error = format!("{:#}", refused.err().context("it cannot start")?);
        ensure!(error.contains("use the setting apart"), "{error}");
        Ok(())
    })();
    result.expect("the test passes");
}

fn workers_of_nobody(pids: &[u32]) -> bool {
    let lives = |pid: &&u32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
    !pids.iter().any(|pid| lives(&pid))
}
