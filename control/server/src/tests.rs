//! The daemon as a whole, without executors' code: real stores, real link, real certificates.

mod executor;
mod leadership;
mod snapshot;

use std::path::Path;

use sha2::{Digest as _, Sha256};
use weir_link::issue::ClusterCa;
use weir_scheduler::{PutJob, Reply, Request, RequestError, Submit};
use weir_wire::{
    id::{Digest, RunId},
    message::WIRE_MAX,
};

use crate::{
    config::{ApiConfig, Config, EtcdConfig, KeepEnded, Placing, StoreConfig},
    server::Server,
    testing::{self, Etcd, within},
};

pub(super) fn config(directory: &Path, store: StoreConfig) -> Config {
    Config {
        cluster: testing::cluster(),
        store,
        blobs: directory.join("blobs"),
        listen_http: "127.0.0.1:0".parse().unwrap(),
        listen_quic: "127.0.0.1:0".parse().unwrap(),
        advertise_http: None,
        advertise_quic: None,
        identity: directory.join("identity"),
        api: ApiConfig::InsecureLoopback,
        keep_ended: KeepEnded::default(),
        placing: Placing::default(),
        wire_max: WIRE_MAX,
    }
}

/// Starts a control plane and waits until it leads.
pub(super) async fn start(config: Config) -> Server {
    let server = Server::start(config).await.unwrap();
    within("the election", server.leading()).await;
    server
}

/// Starts a control plane that leads, and another one that has found it.
pub(super) async fn start_with_standby(config: Config) -> (Server, Server) {
    let first = start(config.clone()).await;
    let leader = first.handle().status().leader;
    let second = Server::start(config).await.unwrap();
    within("finding the leader", second.handle().wait_for(|status| status.leader == leader)).await;
    (first, second)
}

/// Puts a job and submits two runs of it.
async fn submit(server: &Server, key: &str) -> Vec<RunId> {
    let job = PutJob { spec: testing::job("one"), expected: None, for_tasks: None };
    let put = within("putting a job", server.handle().request(Request::PutJob(Box::new(job)))).await;
    assert!(matches!(put, Ok(Reply::Job { version, .. }) if version.0 == 1), "{put:?}");
    let runs = vec![testing::run("one", 3), testing::run("one", 70_000)];
    let submit = Submit { runs, key: Some(key.to_owned()), fingerprint: 1 };
    let reply = within("a submission", server.handle().request(Request::Submit(submit))).await;
    match reply {
        Ok(Reply::Runs { runs, .. }) => runs,
        other => panic!("{other:?}"),
    }
}

async fn jobs_and_tasks(server: &Server, runs: Vec<RunId>) -> (usize, Vec<u32>) {
    let question = move |scheduler: &weir_scheduler::Scheduler, _| {
        let counts = runs.iter().filter_map(|run| scheduler.run(*run)).map(|run| run.counts.pending);
        (scheduler.jobs(&testing::namespace()).len(), counts.collect())
    };
    within("a question", server.handle().query(question)).await.unwrap()
}

async fn what_was_accepted_survives(config: Config) {
    let server = start(config.clone()).await;
    let runs = submit(&server, "default/k").await;
    server.stop().await;

    let server = start(config.clone()).await;
    assert_eq!(jobs_and_tasks(&server, runs.clone()).await, (1, vec![3, 70_000]));
    assert_eq!(submit(&server, "default/k").await, runs, "a repeated request finds its runs");
    let more = submit(&server, "default/l").await;
    // Not stopped: nothing is told to anybody, as if the process had been killed.
    server.abandon().await;

    let server = start(config).await;
    let all: Vec<RunId> = runs.into_iter().chain(more).collect();
    assert_eq!(jobs_and_tasks(&server, all).await, (1, vec![3, 70_000, 3, 70_000]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_survives_in_the_embedded_store() {
    let folder = tempfile::tempdir().unwrap();
    testing::identity(&folder.path().join("identity"));
    let store = StoreConfig::Embedded(folder.path().join("store"));
    what_was_accepted_survives(config(folder.path(), store)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_survives_in_etcd() {
    let Some(etcd) = Etcd::start("what_was_accepted_survives_in_etcd").await else { return };
    let folder = tempfile::tempdir().unwrap();
    testing::identity(&folder.path().join("identity"));
    let store = StoreConfig::Etcd(EtcdConfig::plain(vec![etcd.url()]));
    what_was_accepted_survives(config(folder.path(), store)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_control_plane_on_the_same_file_says_so() {
    let folder = tempfile::tempdir().unwrap();
    testing::identity(&folder.path().join("identity"));
    let config = config(folder.path(), StoreConfig::Embedded(folder.path().join("store")));
    let server = start(config.clone()).await;
    let error = format!("{:#}", Server::start(config).await.err().unwrap());
    assert!(error.contains("already in use by another process"), "{error}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_cannot_start_say_which_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = StoreConfig::Embedded(folder.path().join("store"));
    let config = config(folder.path(), store);
    let error = format!("{:#}", Server::start(config.clone()).await.err().unwrap());
    assert!(error.contains("control.pem"), "{error}");
    testing::identity(&config.identity);
    let token = folder.path().join("token.sha256");
    let with_token = Config { api: ApiConfig::Token { file: token.clone() }, ..config.clone() };
    let error = format!("{:#}", Server::start(with_token.clone()).await.err().unwrap());
    assert!(error.contains("token.sha256"), "{error}");
    std::fs::write(&token, "not a digest").unwrap();
    let error = format!("{:#}", Server::start(with_token).await.err().unwrap());
    assert!(error.contains("token.sha256"), "{error}");
    let other = Config { cluster: "other".parse().unwrap(), ..config };
    let error = format!("{:#}", Server::start(other).await.err().unwrap());
    assert!(error.contains("not of the control plane of the cluster other"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_control_plane_answers_that_it_does_not_lead() {
    let folder = tempfile::tempdir().unwrap();
    testing::identity(&folder.path().join("identity"));
    let server = start(config(folder.path(), StoreConfig::Embedded(folder.path().join("store")))).await;
    let handle = server.handle().clone();
    server.stop().await;
    assert_eq!(within("a question", handle.query(|_, _| ())).await, Err(RequestError::NotLeader));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_takes_only_the_token_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let ca = testing::identity(&folder.path().join("identity"));
    let file = folder.path().join("token.sha256");
    let sha256 = Digest(Sha256::digest("the token").into());
    std::fs::write(&file, format!("{sha256}\n")).unwrap();
    let config = config(folder.path(), StoreConfig::Embedded(folder.path().join("store")));
    let server = start(Config { api: ApiConfig::Token { file }, ..config }).await;
    let address = format!("https://{}", server.http_address());
    let ask = async |token: Option<&str>, ca: &ClusterCa| {
        let options = weir_client::Options {
            addresses: vec![address.clone()],
            token: token.map(str::to_owned),
            ca_pem: Some(ca.certificate_pem().as_bytes().to_vec()),
        };
        let client = weir_client::Client::new(options).unwrap();
        within("an answer", client.cluster()).await.map(|info| info.cluster.clone())
    };
    assert_eq!(ask(Some("the token"), &ca).await.unwrap(), "test");
    for token in [None, Some("another")] {
        let error = ask(token, &ca).await.unwrap_err();
        assert!(error.to_string().contains("token"), "{error}");
    }
    let another = testing::identity(&folder.path().join("another"));
    let error = ask(Some("the token"), &another).await.unwrap_err();
    assert!(error.is_certificate(), "{error:?}");
    server.stop().await;
}
