//! Directories that nodes publish and jobs are granted.

use std::fs;

use anyhow::{Result, ensure};
use weir_e2e::{Cluster, Options, guests, wctl::field};

fn spec(module: &str, mode: &str) -> String {
    format!(
        "[job]\nname = \"store\"\nmodule = \"{module}\"\n\n[retry]\nattempts = 1\n\n\
         [[grants.dir]]\nhost = \"out\"\nguest = \"/out\"\nmode = \"{mode}\"\n\n\
         [placement]\nconstraints = [\"dir.out == rw\"]\n"
    )
}

fn writes_where_it_may() -> Result<()> {
    let out = tempfile::tempdir()?;
    let executor_args = vec!["--publish-writable".to_owned(), format!("out={}", out.path().display())];
    let cluster = Cluster::start(&Options { executors: 1, executor_args, ..Options::default() })?;
    let module = guests::write(cluster.dir(), "store", guests::STORE)?;
    for (mode, code) in [("rw", 0), ("ro", 11)] {
        fs::write(cluster.dir().join(mode), spec(&module, mode))?;
        cluster.wctl(["deploy", mode, "--input", mode])?.expect(code)?;
        ensure!(fs::read_to_string(out.path().join("task"))? == "rw", "written by {mode}");
    }
    let shown = cluster.wctl(["job", "inspect", "store", "-o", "json"])?.expect(0)?.json()?;
    ensure!(field(&shown, "spec.grants.dir")?.to_string().contains("\"ro\""), "{shown}");
    Ok(())
}

#[test]
fn a_task_writes_where_its_job_and_the_node_say_so() {
    writes_where_it_may().expect("the test passes");
}
