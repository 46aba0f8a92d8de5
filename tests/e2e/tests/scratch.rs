//! Scratch directories of ordinary programs, on nodes that offer them.

use anyhow::{Context, Result, ensure};
use weir_e2e::{Answer, Cluster, Options, binaries::guest, until::until, wctl::field};

const FILLED: &str = "one file: full\nmany files: full\nappending: full\nremoved files: full\nafterwards: Ok(())\n";

fn fill(target: &str) -> Result<String> {
    Ok(guest(target, "hostile-fill")?.to_str().context("a path")?.to_owned())
}

/// Through a stream, the C library of preview 2 gives every refusal as an I/O error, that of a real disk as well.
fn ensure_refused(result: &str) -> Result<()> {
    let lines = FILLED.replace(": full", ": I/O error (os error 29)");
    ensure!(result.trim_end() == lines.trim_end() || result.trim_end() == FILLED.trim_end(), "{result}");
    Ok(())
}

#[test]
fn programs_meet_the_limit_as_a_full_disk_and_only_where_it_is_offered() {
    let run = || -> Result<()> {
        let mut cluster = Cluster::start(&Options { executors: 1, spare: 1, ..Options::default() })?;
        let module = fill("wasm32-wasip1")?;
        let detached = ["deploy", &module, "--scratch", "1MiB", "--detach", "-o", "json"];
        let id = field(&cluster.wctl(detached)?.expect(0)?.json()?, "id")?.as_str().context("an id")?.to_owned();
        until("the run says why it waits", || {
            let why = cluster.wctl(["job", "why", "hostile-fill"])?.expect(0)?.text();
            Ok(why.contains("scratch exists").then_some(()))
        })?;
        cluster.set_executor_args(&["--scratch"]);
        cluster.start_executor(1)?;
        cluster.wctl(["wait", &id, "--for", "succeeded"])?.expect(0)?;
        let result = cluster.wctl(["task", "result", &format!("{id}.0")])?.text();
        ensure!(result.trim_end() == FILLED.trim_end(), "{result}");
        let inspected = cluster.wctl(["job", "inspect", "hostile-fill", "-o", "json"])?.expect(0)?.json()?;
        ensure!(field(&inspected, "spec.resources.scratch")? == "1MiB", "{inspected}");
        ensure!(field(&inspected, "spec.resources.memory")? == "64MiB", "{inspected}");
        let answer: Answer = cluster.wctl(["run", &fill("wasm32-wasip2")?, "--scratch", "1MiB"])?;
        ensure_refused(&answer.expect(0)?.text())?;
        let local: Answer = cluster.wctl(["run", "--local", &fill("wasm32-wasip2")?, "--scratch", "1MiB"])?;
        ensure_refused(&local.expect(0)?.text())?;
        Ok(())
    };
    run().expect("the test passes");
}
