//! A blob store whose disk is full refuses clearly, and the cluster goes on.

use anyhow::{Context, Result, ensure};
use weir_e2e::{Cluster, Options, binaries::guest, disk::Disk, skip, wctl::field};

/// A valid module of about three megabytes.
fn large_module() -> Result<Vec<u8>> {
    let data = "weir".repeat(3 << 18);
    let text =
        format!(r#"(module (memory (export "memory") 64) (data (i32.const 0) "{data}") (func (export "_start")))"#);
    Ok(wat::parse_str(text)?)
}

#[test]
fn a_module_for_which_there_is_no_room_is_refused_and_nothing_else_suffers() {
    let run = || -> Result<()> {
        let mut cluster = Cluster::prepare(&Options { executors: 1, ..Options::default() })?;
        let blobs = cluster.dir().join("small-disk");
        let Some(_disk) = Disk::mount(&blobs, 2)? else {
            skip::note(
                "a_module_for_which_there_is_no_room_is_refused_and_nothing_else_suffers",
                "mounting a small file system is not allowed here",
            );
            return Ok(());
        };
        cluster.set_blobs(blobs.join("blobs"));
        cluster.start_control()?;
        cluster.start_executor(0)?;
        std::fs::write(cluster.dir().join("large.wasm"), large_module()?)?;
        let refused = cluster.wctl(["deploy", "large.wasm"])?;
        ensure!(refused.code == 1 || refused.code == 9, "exit code {}: {}", refused.code, refused.stderr);
        ensure!(refused.stderr.contains("full"), "the reason is not clear: {}", refused.stderr);
        let hello = guest("wasm32-wasip2", "hello")?;
        let answer = cluster.wctl(["run", hello.to_str().context("a path")?])?.expect(0)?;
        ensure!(field(&answer.json()?, "greeting").is_ok(), "{}", answer.text());
        Ok(())
    };
    run().expect("the test passes");
}
