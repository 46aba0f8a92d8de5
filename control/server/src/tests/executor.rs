//! What an executor gets to see, spoken by hand over a real link.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use weir_link::{
    CONTROL_SERVER_NAME, Connector, Identity, Link,
    issue::{ClusterCa, Validity},
};
use weir_wire::{
    codec::Document as _,
    id::{Digest, Incarnation, NodeId},
    message::{BlobReply, BlobRequest, RefuseCode, Renew, ToControl, ToExecutor, WIRE_MAX, WIRE_MIN},
    node::Hello,
    outcome::BlobRef,
    resources::Resources,
    units::{CpuMillis, MemBytes},
};

use super::{config, start, start_with_standby};
use crate::{
    config::{EtcdConfig, StoreConfig},
    server::Server,
    testing::{self, Etcd, within},
};

struct Cluster {
    ca: ClusterCa,
    server: Server,
    folder: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = testing::identity(&folder.path().join("identity"));
        let store = StoreConfig::Embedded(folder.path().join("store"));
        let server = start(config(folder.path(), store)).await;
        Self { ca, server, folder }
    }

    async fn connect(&self, node: &str) -> Link {
        let validity = Validity::starting(SystemTime::now(), Duration::from_secs(3600));
        let issued = self.ca.issue_executor(&node.parse().unwrap(), validity).unwrap();
        let (chain, key) = (&issued.certificate_pem, &issued.key_pem);
        let identity = Identity::from_pem(chain, key, self.ca.certificate_pem(), SystemTime::now()).unwrap();
        let connector = Connector::new(&identity, weir_link::Config::default()).unwrap();
        let address = [self.server.link_address()];
        within("connecting", connector.connect(&address, CONTROL_SERVER_NAME)).await.unwrap()
    }

    /// Connects and is welcomed.
    async fn join(&self, node: &str) -> Link {
        let mut link = self.connect(node).await;
        say(&link, &ToControl::Hello(Box::new(hello(node)))).await;
        let answer = hear(&mut link).await;
        assert!(matches!(answer, ToExecutor::Welcome(_)), "{answer:?}");
        link
    }
}

fn hello(node: &str) -> Hello {
    Hello {
        wire_min: WIRE_MIN,
        wire_max: WIRE_MAX,
        cluster: testing::cluster(),
        node: node.parse::<NodeId>().unwrap(),
        installation: 1,
        incarnation: Incarnation(1),
        boot: 1,
        version: "test".to_owned(),
        attributes: Vec::new(),
        capacity: Resources { cpu: CpuMillis(1000), memory: MemBytes(1 << 30) },
        lanes_max: 4,
        modules: Vec::new(),
    }
}

async fn say(link: &Link, message: &ToControl) {
    link.sender.send(&message.to_bytes()).await.unwrap();
}

async fn hear(link: &mut Link) -> ToExecutor {
    let frame = within("a message", link.receiver.recv()).await.unwrap().unwrap();
    ToExecutor::from_bytes(&frame).unwrap()
}

async fn expect_refusal(link: &mut Link, expected: RefuseCode) {
    let mut message = hear(link).await;
    while matches!(message, ToExecutor::Present | ToExecutor::Renewed(_)) {
        message = hear(link).await;
    }
    let ToExecutor::Refuse(refuse) = message else { panic!("{message:?}") };
    assert_eq!(refuse.code, expected, "{}", refuse.message);
    within("the end of the connection", link.session.closed()).await;
}

async fn request(link: &Link, header: &BlobRequest, body: Bytes) -> (BlobReply, Bytes) {
    let mut request = link.session.request(&header.to_bytes(), 1 << 30).await.unwrap();
    // The other side may refuse before it has read everything.
    let sent = async { request.body.send(body).await.and_then(|()| request.body.finish()) };
    drop(within("sending a body", sent).await);
    let (header, mut body) = within("an answer", request.response.read()).await.unwrap();
    (BlobReply::from_bytes(&header).unwrap(), within("a body", body.read_all()).await.unwrap())
}

fn blob(content: &[u8]) -> BlobRef {
    BlobRef { digest: Digest(Sha256::digest(content).into()), len: content.len() as u64 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_is_welcomed_and_its_renewals_are_answered() {
    let cluster = Cluster::start().await;
    let mut link = cluster.join("n1").await;
    say(&link, &ToControl::Renew(Renew { token: 77 })).await;
    let mut message = hear(&mut link).await;
    while message == ToExecutor::Present {
        message = hear(&mut link).await;
    }
    let ToExecutor::Renewed(renewed) = message else { panic!("{message:?}") };
    assert_eq!(renewed.token, 77);
    cluster.server.stop().await;
    expect_refusal(&mut link, RefuseCode::NotLeader).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_executor_is_called_by_the_next_leader() {
    let Some(etcd) = Etcd::start("a_silent_executor_is_called_by_the_next_leader").await else { return };
    let folder = tempfile::tempdir().unwrap();
    let ca = testing::identity(&folder.path().join("identity"));
    let config = config(folder.path(), StoreConfig::Etcd(EtcdConfig::plain(vec![etcd.url()])));
    let (first, standby) = start_with_standby(config).await;
    let cluster = Cluster { ca, server: standby, folder };
    let mut silent = cluster.connect("n1").await;
    // One that speaks to a standby is sent away.
    let mut hasty = cluster.connect("n2").await;
    say(&hasty, &ToControl::Hello(Box::new(hello("n2")))).await;
    expect_refusal(&mut hasty, RefuseCode::NotLeader).await;
    first.stop().await;
    assert_eq!(hear(&mut silent).await, ToExecutor::Present);
    say(&silent, &ToControl::Hello(Box::new(hello("n1")))).await;
    let answer = hear(&mut silent).await;
    assert!(matches!(answer, ToExecutor::Welcome(_)), "{answer:?}");
    cluster.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_speak_properly_is_refused() {
    let cluster = Cluster::start().await;
    let mut other_name = cluster.connect("n1").await;
    say(&other_name, &ToControl::Hello(Box::new(hello("n2")))).await;
    expect_refusal(&mut other_name, RefuseCode::Identity).await;

    let mut no_hello = cluster.connect("n1").await;
    say(&no_hello, &ToControl::Renew(Renew { token: 1 })).await;
    expect_refusal(&mut no_hello, RefuseCode::Malformed).await;

    for garbage in [&b""[..], b"\xff\xff\xff", b"\x01"] {
        let mut link = cluster.connect("n1").await;
        link.sender.send(garbage).await.unwrap();
        expect_refusal(&mut link, RefuseCode::Malformed).await;
        let mut link = cluster.join("n3").await;
        link.sender.send(garbage).await.unwrap();
        expect_refusal(&mut link, RefuseCode::Malformed).await;
    }

    let mut twice = cluster.join("n4").await;
    say(&twice, &ToControl::Hello(Box::new(hello("n4")))).await;
    expect_refusal(&mut twice, RefuseCode::Malformed).await;
    cluster.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_are_taken_when_they_are_what_they_are_called() {
    let cluster = Cluster::start().await;
    let link = cluster.join("n1").await;
    let content = Bytes::from(vec![0x5a; 20 << 20]);
    let named = blob(&content);
    let (reply, _) = request(&link, &BlobRequest::Put(named), content.clone()).await;
    assert_eq!(reply, BlobReply::Ok(named.len));
    let blobs = cluster.server.handle().blobs();
    assert_eq!(blobs.hold(&named.digest).await.unwrap(), Some(named.len));
    let (reply, _) = request(&link, &BlobRequest::Put(named), content.clone()).await;
    assert_eq!(reply, BlobReply::Ok(named.len), "the same blob again");

    let wrong = BlobRef { digest: Digest([9; 32]), len: 3 };
    let (reply, _) = request(&link, &BlobRequest::Put(wrong), Bytes::from_static(b"abc")).await;
    assert!(matches!(&reply, BlobReply::Failed(why) if why.contains("digest")), "{reply:?}");
    assert_eq!(blobs.hold(&wrong.digest).await.unwrap(), None);
    let short = BlobRef { len: 2, ..blob(b"abc") };
    let (reply, _) = request(&link, &BlobRequest::Put(short), Bytes::from_static(b"abc")).await;
    assert!(matches!(&reply, BlobReply::Failed(why) if why.contains("longer than the limit")), "{reply:?}");

    let (reply, body) = request(&link, &BlobRequest::Get(named.digest), Bytes::new()).await;
    assert!(matches!(reply, BlobReply::Forbidden(_)), "no task needs it: {reply:?}");
    assert!(body.is_empty());
    drop(cluster.folder);
}
