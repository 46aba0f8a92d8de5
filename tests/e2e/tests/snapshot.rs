//! Everything that a cluster keeps, saved while it runs and restored into empty stores.

use std::{
    ffi::OsString,
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use weir_e2e::{
    Cluster, Options, Store, binaries,
    cluster::on_etcd,
    daemon,
    etcd::Etcd,
    guests, skip, until,
    wctl::{Answer, field},
};

/// How long a replica may take to say how it is.
const READY: Duration = Duration::from_secs(60);

/// Runs the restore with the settings of the cluster's control plane.
fn restore(cluster: &Cluster, file: &str) -> Result<Answer> {
    let settings = cluster.control_command()?;
    let settings = settings.get_args().map(|argument| argument.to_string_lossy().into_owned());
    let arguments = ["cluster", "snapshot", "restore", file, "--"].map(str::to_owned);
    cluster.wctl(arguments.into_iter().chain(settings))
}

/// Ends everything and takes store and blob store away.
fn lose_everything(cluster: &mut Cluster) -> Result<()> {
    cluster.control_mut().kill9()?;
    cluster.executor_mut(0).kill9()?;
    fs::remove_dir_all(cluster.blobs()).context("remove the blob store")?;
    if cluster.etcd_url().is_some() {
        cluster.etcd_mut().kill9()?;
        fs::remove_dir_all(cluster.dir().join("etcd")).context("remove etcd's data")?;
        cluster.etcd_mut().restart()
    } else {
        fs::remove_dir_all(cluster.dir().join("store")).context("remove the store")
    }
}

fn saved_and_restored(cluster: &mut Cluster) -> Result<()> {
    let module = guests::write(cluster.dir(), "cat", guests::CAT)?;
    let payload = "a payload that is too long to be in line\n".repeat(4000);
    fs::write(cluster.dir().join("payload"), &payload)?;
    let deploy = |cluster: &Cluster, arguments: &[&str]| -> Result<String> {
        let arguments = ["deploy", module.as_str(), "-o", "json"].into_iter().chain(arguments.iter().copied());
        let run = cluster.wctl(arguments)?.expect(0)?.json()?;
        Ok(field(&run, "id")?.as_str().context("an id")?.to_owned())
    };
    let large = deploy(cluster, &["--input", "@payload"])?;
    let many = deploy(cluster, &["--input", &"x".repeat(300), "--count", "200"])?;
    cluster.wctl(["quota", "set", "team-a", "--cpu", "4"])?.expect(0)?;
    let saved = cluster.wctl(["cluster", "snapshot", "save", "whole", "-o", "json"])?.expect(0)?.json()?;
    ensure!(field(&saved, "cluster")? == "e2e" && field(&saved, "submissions")?.as_u64() >= Some(2), "{saved}");
    ensure!(cluster.wctl(["cluster", "snapshot", "inspect", "whole", "-o", "json"])?.expect(0)?.json()? == saved);
    let taken = cluster.wctl(["cluster", "snapshot", "save", "whole"])?.expect(2)?;
    ensure!(taken.stderr.contains("exists already"), "{}", taken.stderr);
    let later = deploy(cluster, &["--input", "later"])?;

    // Nothing is restored over a cluster that runs.
    restore(cluster, "whole")?.expect(if cluster.etcd_url().is_some() { 5 } else { 1 })?;
    lose_everything(cluster)?;
    restore(cluster, "whole")?.expect(0)?;
    let again = restore(cluster, "whole")?.expect(5)?;
    ensure!(again.stderr.contains("not empty"), "{}", again.stderr);
    cluster.start_control()?;
    cluster.start_executor(0)?;
    let result = cluster.wctl(["task", "result", &format!("{large}.0")])?.expect(0)?;
    ensure!(result.stdout == payload.as_bytes(), "the large result has {} bytes", result.stdout.len());
    let result = cluster.wctl(["task", "result", &format!("{many}.199")])?.expect(0)?;
    ensure!(result.stdout == "x".repeat(300).as_bytes(), "{}", result.text());
    cluster.wctl(["quota", "list"])?.expect(0)?.text().contains("team-a").then_some(()).context("the quota")?;
    cluster.wctl(["status", &later])?.expect(4)?;
    // Work goes on.
    cluster.wctl(["run", "cat", "--input", "after"])?.expect(0)?;
    Ok(())
}

#[test]
fn a_cluster_is_saved_and_restored() {
    for store in [Store::Embedded, Store::Etcd] {
        if store == Store::Etcd && !Etcd::is_installed() {
            return skip::note("a_cluster_is_saved_and_restored", "etcd is not installed");
        }
        let options = Options { store, executors: 1, ..Options::default() };
        let mut cluster = Cluster::start(&options).expect("the cluster starts");
        if let Err(error) = saved_and_restored(&mut cluster) {
            panic!("{store:?}: {error:?}\n{}", cluster.logs());
        }
    }
}

/// Longer than a replica waits before it looks again whether what holds it back is gone.
const LOOKED_AGAIN: Duration = Duration::from_secs(12);
/// What keeps everybody from leading while a restore goes on.
const MARK: &str = "/weir/e2e/restoring";

#[test]
fn a_store_that_was_restored_in_part_is_told_of_once() {
    on_etcd("a_store_that_was_restored_in_part_is_told_of_once", Options::default(), |cluster| {
        cluster.control_mut().kill9()?;
        cluster.ask_etcd(async |mut etcd| etcd.put(MARK, "the digest of a snapshot", None).await)?;
        let advice = "repeat it with the same file";
        cluster.spawn_control()?.wait_for_line(&[advice], READY)?;
        let begun = Instant::now();
        until("it has looked again", || {
            let info = cluster.wctl(["cluster", "info", "-o", "json"])?.expect(0)?.json()?;
            let reason = field(&info, "no_leader.reason")?.as_str().context("a text")?;
            ensure!(reason.contains(advice), "{reason}");
            Ok((begun.elapsed() > LOOKED_AGAIN).then_some(()))
        })?;
        ensure!(!cluster.control_mut().has_said("elected"), "it was elected: {}", cluster.control_mut().tail(9));
        let said = cluster.control_mut().tail(100).matches(advice).count();
        ensure!(said == 1, "said {said} times: {}", cluster.control_mut().tail(9));
        cluster.ask_etcd(async |mut etcd| etcd.delete(MARK, None).await)?;
        cluster.control_mut().wait_for_line(&["leading"], READY).map(drop)
    });
}

/// Takes one request, answers with the beginning of a body, and says nothing more until the other side is gone.
fn answer_and_fall_silent(listener: &TcpListener) -> std::io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    let mut request = [0; 4096];
    let _head = stream.read(&mut request)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nweir-snapshot 1\n")?;
    stream.read(&mut request).map(drop)
}

fn files(directory: &Path) -> Result<Vec<OsString>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
}

/// Begins to save into the directory, and sends the signal once something is there; gives the exit code.
fn interrupted_by(name: &str, directory: &Path) -> Result<Option<i32>> {
    let before = files(directory)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", listener.local_addr()?);
    thread::spawn(move || answer_and_fall_silent(&listener));
    let mut save = Command::new(binaries::program("wctl")?);
    save.current_dir(directory).env("HOME", directory).env_remove("WCTL_CONTEXT").env("WCTL_ADDR", address);
    let mut save = save.args(["cluster", "snapshot", "save", "whole"]).stderr(Stdio::null()).spawn()?;
    until("a temporary file of its own is there", || {
        let there = files(directory)?;
        Ok((there.len() == 1 && there != before).then_some(()))
    })?;
    daemon::signal(save.id(), name)?;
    Ok(save.wait()?.code())
}

#[test]
fn an_interrupted_save_leaves_nothing_behind() {
    for signal in ["INT", "TERM"] {
        let directory = tempfile::tempdir().expect("a directory");
        let code = interrupted_by(signal, directory.path()).expect("it is interrupted");
        assert_eq!(code, Some(130), "{signal}");
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 0, "{signal}");
    }
}

#[test]
fn a_save_takes_away_what_a_killed_one_left() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    assert_eq!(interrupted_by("KILL", path).expect("it is killed"), None);
    assert_eq!(files(path).expect("a list").len(), 1, "it could take nothing away");
    // The next one waits for a file of its own to be the only one.
    assert_eq!(interrupted_by("TERM", path).expect("it is interrupted"), Some(130));
    assert_eq!(files(path).expect("a list").len(), 0);
}

fn damaged_ones_are_refused(cluster: &mut Cluster) -> Result<()> {
    let module = guests::write(cluster.dir(), "cat", guests::CAT)?;
    cluster.wctl(["deploy", &module, "--input", "x"])?.expect(0)?;
    cluster.wctl(["cluster", "snapshot", "save", "whole"])?.expect(0)?;
    let path = cluster.dir().join("whole");
    let whole = fs::read(&path)?;
    cluster.control_mut().kill9()?;
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let middle = whole.len() / 2;
    let cases = [
        ("cut", whole[..middle].to_vec(), 1),
        ("without its end", whole[..whole.len() - 37].to_vec(), 1),
        ("changed in the middle", flipped(middle), 1),
        ("changed at the end", flipped(whole.len() - 1), 1),
        ("with more behind", [&whole[..], b"x"].concat(), 1),
        ("something else", flipped(0), 2),
        ("empty", Vec::new(), 2),
    ];
    for (case, bytes, code) in cases {
        fs::write(&path, bytes)?;
        cluster.wctl(["cluster", "snapshot", "inspect", "whole"])?.expect(code).context(case)?;
        restore(cluster, "whole")?.expect(code).context(case)?;
    }
    Ok(())
}

#[test]
fn damaged_snapshots_are_refused() {
    let options = Options { executors: 1, ..Options::default() };
    let mut cluster = Cluster::start(&options).expect("the cluster starts");
    if let Err(error) = damaged_ones_are_refused(&mut cluster) {
        panic!("{error:?}\n{}", cluster.logs());
    }
}
