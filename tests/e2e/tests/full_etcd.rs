//! An etcd that takes nothing more: the cluster can be read, what runs goes on, and all is well once there is room.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Client, CompactionOptions, DeleteOptions, Error};
use weir_e2e::{Cluster, Options, etcd::Etcd, guests, skip, until, wctl::field};

/// Room for the test's own work, and soon filled.
const QUOTA_BYTES: u64 = 24 << 20;
/// Of the tasks.
const TIMEOUT: Duration = Duration::from_secs(4);
const JUNK: &str = "junk/";

/// Writes into etcd until it takes no more.
async fn fill(mut client: Client) -> Result<(), Error> {
    for number in 0.. {
        if let Err(error) = client.put(format!("{JUNK}{number}"), vec![0; 1 << 20], None).await {
            return if error.to_string().contains("space exceeded") { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}

/// Makes room, as an operator does.
async fn make_room(mut client: Client) -> Result<(), Error> {
    let deleted = client.delete(JUNK, Some(DeleteOptions::new().with_prefix())).await?;
    let revision = deleted.header().map_or(0, etcd_client::ResponseHeader::revision);
    client.compact(revision, Some(CompactionOptions::new().with_physical())).await?;
    client.defragment().await?;
    let raised = client.alarm(AlarmAction::Get, AlarmType::Nospace, None).await?;
    for alarm in raised.alarms() {
        let mut member = AlarmOptions::new();
        member.with_member(alarm.member_id());
        client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(member)).await?;
    }
    Ok(())
}

fn it_recovers(cluster: &mut Cluster) -> Result<()> {
    let sleep = guests::write(cluster.dir(), "sleep", guests::SLEEP)?;
    // Two tasks that end by their timeout while nothing can be recorded.
    let deploy = ["deploy", &sleep, "--count", "2", "--timeout", "4s", "--retries", "0", "--detach", "-o", "json"];
    let run = cluster.wctl(deploy)?.expect(0)?.json()?;
    let run = field(&run, "id")?.as_str().context("an id")?.to_owned();
    let state = |cluster: &Cluster, field_name: &str| -> Result<u64> {
        let run = cluster.wctl(["status", &run, "-o", "json"])?.expect(0)?.json()?;
        field(&run, field_name)?.as_u64().context("a number")
    };
    let started = Instant::now();
    until("both tasks run", || Ok((state(cluster, "tasks.running")? == 2).then_some(())))?;
    let control = cluster.control_mut().pid();
    cluster.ask_etcd(fill)?;

    // The first request finds out, and waits; the next ones are told at once.
    let cat = guests::write(cluster.dir(), "cat", guests::CAT)?;
    let first = cluster.wctl(["run", &cat, "--input", "x"])?.expect(9)?;
    ensure!(first.stderr.contains("the store is full"), "{}", first.stderr);
    let refused = cluster.wctl(["run", &cat, "--input", "x"])?.expect(9)?;
    ensure!(refused.stderr.contains("the store is full"), "{}", refused.stderr);
    let info = cluster.wctl(["cluster", "info", "-o", "json"])?.expect(0)?.json()?;
    let error = field(&info, "store.error")?.as_str().context("a text")?;
    ensure!(error.contains("etcd is full: compact and defragment it"), "{error}");
    // The tasks end on their node, which cannot be recorded yet; until long after, everything can be read.
    let ended = started + 2 * TIMEOUT;
    until("the tasks have ended", || {
        ensure!(state(cluster, "tasks.running")? == 2, "an outcome is shown that is not recorded");
        Ok((Instant::now() > ended).then_some(()))
    })?;

    cluster.ask_etcd(make_room)?;
    cluster.wctl(["wait", &run, "--timeout", "100s"])?;
    ensure!(state(cluster, "tasks.failed")? == 2, "both tasks are recorded once");
    until("new work is taken", || {
        let answer = cluster.wctl(["run", &cat, "--input", "again"])?;
        Ok((answer.code == 0).then_some(answer))
    })?;
    ensure!(cluster.control_mut().pid() == control, "nothing was restarted");
    let info = cluster.wctl(["cluster", "info", "-o", "json"])?.expect(0)?.json()?;
    ensure!(field(&info, "store.status")? == "ok", "{info}");
    Ok(())
}

#[test]
fn a_full_etcd_leaves_the_cluster_readable_and_is_survived() {
    let test = "a_full_etcd_leaves_the_cluster_readable_and_is_survived";
    if !Etcd::is_installed() {
        return skip::note(test, "etcd is not installed");
    }
    let options = Options { executors: 1, ..Options::default() };
    let mut cluster = Cluster::prepare(&options).expect("the cluster is prepared");
    cluster.set_etcd(Etcd::with_quota(cluster.dir(), QUOTA_BYTES).expect("etcd starts"));
    let outcome =
        cluster.start_control().and_then(|()| cluster.start_executor(0)).and_then(|()| it_recovers(&mut cluster));
    if let Err(error) = outcome {
        panic!("{error:?}\n{}", cluster.logs());
    }
}
