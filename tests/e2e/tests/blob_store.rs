//! What is deleted from the blob store, and what is not.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_e2e::{Cluster, Options, cluster::on_etcd, guests, until, wctl::field};

/// Longer than what is stored is left alone for.
const OLD: Duration = Duration::from_secs(3 * 3600);

/// How long a replica may take to lead, or to say why not.
const TAKEOVER_MAX: Duration = Duration::from_secs(60);

/// All files below a directory.
fn files(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).context("list a directory")? {
        let path = entry?.path();
        if path.is_dir() { files(&path, found)? } else { found.push(path) }
    }
    Ok(())
}

/// Makes everything that is stored look as if it had been stored hours ago.
fn age(cluster: &Cluster) -> Result<()> {
    let mut stored = Vec::new();
    files(&cluster.blobs(), &mut stored)?;
    for file in stored {
        let file = File::options().append(true).open(&file).context("open an object")?;
        file.set_modified(SystemTime::now() - OLD).context("date an object")?;
    }
    Ok(())
}

/// Cleans up, as soon as the replica has led for long enough.
fn collect(cluster: &Cluster, flags: &[&str]) -> Result<Value> {
    until("the leader cleans up", || {
        let arguments = ["cluster", "gc", "--min-age", "2h", "-o", "json"].iter().chain(flags);
        let answer = cluster.wctl(arguments)?;
        if answer.code == 9 {
            ensure!(answer.stderr.contains("has led for less than 30 s"), "{}", answer.stderr);
            return Ok(None);
        }
        answer.expect(0)?.json().map(Some)
    })
}

fn number(report: &Value, name: &str) -> Result<u64> {
    field(report, name)?.as_u64().context("a number")
}

/// Runs the module with this input and gives the id of the run.
fn run(cluster: &Cluster, module: &str, input: &str, count: &str) -> Result<String> {
    let arguments = ["deploy", module, "--input", input, "--count", count, "-o", "json"];
    let run = cluster.wctl(arguments)?.expect(0)?.json()?;
    Ok(field(&run, "id")?.as_str().context("an id")?.to_owned())
}

fn only_what_nothing_needs_goes(cluster: &mut Cluster) -> Result<()> {
    let module = guests::write(cluster.dir(), "cat", guests::CAT)?;
    let payload = "a payload that is too long to be in line\n".repeat(4000);
    fs::write(cluster.dir().join("payload"), &payload)?;
    let large = run(cluster, &module, "@payload", "1")?;
    let many = run(cluster, &module, &"x".repeat(300), "200")?;
    let unused = guests::write(cluster.dir(), "unused", guests::SLEEP)?;
    let push = ["module", "push", &unused];
    cluster.wctl(push)?.expect(0)?;
    ensure!(fs::read_dir(cluster.blobs().join("segments"))?.next().is_some(), "there are segment objects");

    let cut_off = cluster.blobs().join("sha256/00").join(format!("{}#1", "0".repeat(64)));
    fs::create_dir_all(cut_off.parent().context("a directory")?)?;
    fs::write(&cut_off, "the beginning of an upload")?;

    age(cluster)?;
    let refused = cluster.wctl(["cluster", "gc", "--min-age", "10m"])?.expect(2)?;
    ensure!(refused.stderr.contains("at least 2h"), "{}", refused.stderr);
    let counted = collect(cluster, &["--dry-run"])?;
    // The module and its description.
    ensure!(number(&counted, "deleted_objects")? == 2, "{counted}");
    ensure!(collect(cluster, &["--dry-run"])? == counted, "counting deletes nothing");
    let deleted = collect(cluster, &["--message", "a test"])?;
    ensure!(number(&deleted, "deleted_bytes")? == number(&counted, "deleted_bytes")?, "{deleted}");
    ensure!(number(&deleted, "partial_files")? == 1 && !cut_off.exists(), "{deleted}");
    let nothing = collect(cluster, &[])?;
    ensure!(number(&nothing, "deleted_objects")? == 0, "{nothing}");

    // Everything that can be asked for is there, also for a control plane that knows it from the store only.
    cluster.control_mut().kill9()?;
    cluster.start_control()?;
    let result = cluster.wctl(["task", "result", &format!("{large}.0")])?.expect(0)?;
    ensure!(result.stdout == payload.as_bytes(), "the large result has {} bytes", result.stdout.len());
    for index in [0, 199] {
        let result = cluster.wctl(["task", "result", &format!("{many}.{index}")])?.expect(0)?;
        ensure!(result.stdout == "x".repeat(300).as_bytes(), "{}", result.text());
    }
    run(cluster, &module, "@payload", "2")?;
    // What was deleted can be brought again, and stays for a while.
    cluster.wctl(push)?.expect(0)?;
    let young = collect(cluster, &[])?;
    ensure!((number(&young, "deleted_objects")?, number(&young, "young_objects")?) == (0, 2), "{young}");
    Ok(())
}

#[test]
fn cleaning_up_takes_only_what_nothing_needs() {
    let options = Options { executors: 1, ..Options::default() };
    let mut cluster = Cluster::start(&options).expect("the cluster starts");
    if let Err(error) = only_what_nothing_needs_goes(&mut cluster) {
        panic!("{error:?}\n{}", cluster.logs());
    }
}

#[test]
fn a_replica_with_a_blob_store_of_its_own_never_leads() {
    let options = Options { standbys: 1, ..Options::default() };
    on_etcd("a_replica_with_a_blob_store_of_its_own_never_leads", options, |cluster| {
        let first = cluster.leader()?.context("a leader")?;
        let other = 1 - first;
        cluster.replica_mut(other).kill9()?;
        let (shared, own) = (cluster.blobs(), cluster.dir().join("own-blobs"));
        cluster.set_blobs(own.clone());
        cluster.spawn_replica(other)?.wait_for_line(&["does not campaign"], TAKEOVER_MAX)?;
        // Whoever asks it is answered by the one that leads.
        let address = cluster.address_of(other);
        until("the other replica passes requests on", || {
            let asked = cluster.wctl(["node", "list", "--addr", &address])?;
            Ok((asked.code == 0).then_some(()))
        })?;
        // It stays so when nobody else is left, and its own directory is no other cluster's.
        cluster.replica_mut(first).kill9()?;
        let id = fs::read_to_string(shared.join("store-id")).context("the id of the shared blob store")?;
        until("the other replica's refusal names both stores", || {
            let mut said = |text: &str| cluster.replica_mut(other).has_said(text);
            Ok((said(&id) && said("give this replica that blob store")).then_some(()))
        })?;
        until("the lease of the leader that is gone lapses, and nobody leads", || {
            Ok(cluster.leader()?.is_none().then_some(()))
        })?;
        until("the one that is left says why it does not lead", || {
            let info = cluster.wctl(["cluster", "info", "--addr", &address, "-o", "json"])?.expect(0)?.json()?;
            let reason = field(&info, "no_leader.reason")?.as_str().context("a text")?;
            Ok((reason.contains("give this replica that blob store") && info.get("totals").is_none()).then_some(()))
        })?;
        cluster.replica_mut(other).kill9()?;
        cluster.set_blobs(shared);
        cluster.spawn_replica(other)?.wait_for_line(&["leading"], TAKEOVER_MAX).map(drop)
    });
}
