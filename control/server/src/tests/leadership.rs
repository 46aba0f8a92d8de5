//! Leadership with a store that comes and goes.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use weir_scheduler::{PutJob, Request, Scheduler};
use weir_wire::id::Digest;

use super::{config, start, start_with_standby, submit};
use crate::{
    config::{EtcdConfig, StoreConfig},
    server::Server,
    status::Health,
    testing::{self, Etcd, within},
};

/// Far longer than a question waits that is not held back.
const HELD: Duration = Duration::from_secs(1);

fn is_retrying(health: &Health) -> bool {
    matches!(health, Health::Retrying { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_that_is_down_at_the_start_is_waited_for() {
    let Some(mut etcd) = Etcd::prepare("etcd_that_is_down_at_the_start_is_waited_for") else { return };
    let folder = tempfile::tempdir().unwrap();
    testing::identity(&folder.path().join("identity"));
    let store = StoreConfig::Etcd(EtcdConfig::plain(vec![etcd.url()]));
    let server = Server::start(config(folder.path(), store)).await.unwrap();
    within("noticing", server.handle().wait_for(|status| is_retrying(&status.store))).await;
    assert!(!server.is_leading());
    etcd.run().await;
    within("the election", server.leading()).await;
    assert_eq!(server.handle().status().store, Health::Ok);
    assert!(server.handle().status().store_version.is_some());
    submit(&server, "default/k").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_made_while_etcd_is_down_is_answered_when_it_is_back() {
    let test = "a_request_made_while_etcd_is_down_is_answered_when_it_is_back";
    let Some(mut etcd) = Etcd::start(test).await else { return };
    let folder = tempfile::tempdir().unwrap();
    testing::identity(&folder.path().join("identity"));
    let store = StoreConfig::Etcd(EtcdConfig::plain(vec![etcd.url()]));
    let server = start(config(folder.path(), store)).await;
    submit(&server, "default/k").await;
    let term = server.handle().status().term;
    etcd.kill().await;
    let handle = server.handle().clone();
    let job = PutJob { spec: testing::job("two"), expected: None, for_tasks: None };
    let asked = tokio::spawn(async move { handle.request(Request::PutJob(Box::new(job))).await });
    within("noticing", server.handle().wait_for(|status| is_retrying(&status.store))).await;
    etcd.run().await;
    let answer = within("the answer", asked).await.unwrap();
    assert!(answer.is_ok(), "{answer:?}");
    within("recovery", server.handle().wait_for(|status| status.store == Health::Ok)).await;
    assert_eq!(server.handle().status().term, term, "etcd counts leases from its start, so the term goes on");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_lease_may_have_lapsed_answers_nothing_until_it_is_renewed() {
    let test = "a_leader_whose_lease_may_have_lapsed_answers_nothing_until_it_is_renewed";
    let Some(mut etcd) = Etcd::start(test).await else { return };
    let folder = tempfile::tempdir().unwrap();
    testing::identity(&folder.path().join("identity"));
    let store = StoreConfig::Etcd(EtcdConfig::plain(vec![etcd.url()]));
    let server = start(config(folder.path(), store)).await;
    let runs = submit(&server, "default/k").await;
    etcd.kill().await;

    let handle = server.handle().clone();
    let jobs = |scheduler: &Scheduler, _| scheduler.jobs_total();
    let certain = async { while tokio::time::timeout(HELD, handle.query_certain(jobs)).await.is_ok() {} };
    within("the lease to lapse", certain).await;
    assert!(server.is_leading(), "nobody else can lead while the store is away");
    assert_eq!(within("what is known", handle.query(jobs)).await, Ok(1));
    let refused = within("a refusal", client(&server).run("default", &runs[0].to_string(), &Default::default())).await;
    assert_eq!(refused.unwrap_err().code(), Some(weir_api::Code::StoreUnavailable));
    let seen = within("the cluster", client(&server).cluster()).await.unwrap();
    assert_eq!(seen.store.status, weir_api::StoreStatus::Retrying);
    let mut health = TcpStream::connect(server.http_address()).await.unwrap();
    health.write_all(b"GET /healthz/leader HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within("health", health.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 503") && answer.contains("lease"), "{answer}");

    let asked = tokio::spawn(async move { handle.query_certain(jobs).await });
    etcd.run().await;
    assert_eq!(within("the answer", asked).await.unwrap(), Ok(1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_takes_over_when_the_leader_stops() {
    let Some(etcd) = Etcd::start("a_standby_takes_over_when_the_leader_stops").await else { return };
    let folder = tempfile::tempdir().unwrap();
    testing::identity(&folder.path().join("identity"));
    let store = StoreConfig::Etcd(EtcdConfig::plain(vec![etcd.url()]));
    let (first, second) = start_with_standby(config(folder.path(), store)).await;
    assert!(!second.is_leading());
    let runs = submit(&first, "default/k").await;
    first.stop().await;
    within("the takeover", second.leading()).await;
    assert_eq!(submit(&second, "default/k").await, runs);
    second.stop().await;
}

/// A client that knows one replica only.
fn client(server: &Server) -> weir_client::Client {
    let addresses = vec![format!("http://{}", server.http_address())];
    weir_client::Client::new(weir_client::Options { addresses, ..weir_client::Options::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_passes_requests_on_to_the_leader() {
    let Some(etcd) = Etcd::start("a_standby_passes_requests_on_to_the_leader").await else { return };
    let folder = tempfile::tempdir().unwrap();
    testing::identity(&folder.path().join("identity"));
    let store = StoreConfig::Etcd(EtcdConfig::plain(vec![etcd.url()]));
    let (first, second) = start_with_standby(config(folder.path(), store)).await;

    // A body, a path, and an answer that says who gave it.
    let standby = client(&second);
    let module = wat::parse_str("(module (func (export \"_start\")))").unwrap();
    let digest = Digest(Sha256::digest(&module).into()).to_string();
    let stored = within("a module", standby.put_module(&digest, module)).await.unwrap();
    assert_eq!(stored.digest, digest);
    let runs = submit(&first, "default/k").await;
    let run = within("a run", standby.run("default", &runs[0].to_string(), &Default::default())).await.unwrap();
    assert_eq!(run.count, 3);
    let seen = within("the cluster", standby.cluster()).await.unwrap();
    assert_eq!(
        (seen.leader.clone(), seen.totals.map(|totals| totals.open_runs)),
        (first.handle().status().leader.map(|leader| leader.http), Some(2))
    );
    let missing = within("a refusal", standby.job("default", "other", None)).await.unwrap_err();
    assert_eq!(missing.code(), Some(weir_api::Code::NotFound));

    // Nobody told the standby: it learns from the lease that the leader is gone, and answers for itself until then.
    let gone = first.handle().status().leader.map(|leader| leader.http);
    first.abandon().await;
    let seen = within("the cluster", standby.cluster()).await.unwrap();
    assert_ne!(seen.leader, gone);
    let why = seen.no_leader.clone();
    assert!(second.is_leading() || why.is_some_and(|why| why.reason.contains("cannot be reached")), "{seen:?}");
    assert!(seen.leader.is_some() || (seen.term, seen.revision, seen.totals) == (None, None, None), "{seen:?}");
    within("the takeover", second.leading()).await;
    let run = within("a run", standby.run("default", &runs[1].to_string(), &Default::default())).await.unwrap();
    assert_eq!(run.count, 70_000);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_another_blob_store_does_not_campaign() {
    let folder = tempfile::tempdir().unwrap();
    testing::identity(&folder.path().join("identity"));
    let mut config = config(folder.path(), StoreConfig::Embedded(folder.path().join("store")));
    start(config.clone()).await.stop().await;
    config.blobs = folder.path().join("others");
    let server = Server::start(config).await.unwrap();
    within("noticing", server.handle().wait_for(|status| status.held_back.is_some())).await;
    let reason = server.handle().status().held_back.unwrap();
    assert!(reason.contains("give this replica that blob store"), "{reason}");
    assert!(!server.is_leading());
    server.stop().await;
}
