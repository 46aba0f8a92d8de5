//! The daemon against a control plane played by the test: real link, real sandbox, real disk.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{sync::oneshot, task::JoinHandle, time::timeout};
use weir_agent::ExitReason;
use weir_executor::{Config, Error, Helper, Size, Span, run};
use weir_link::{
    FrameReceiver, Identity, Link, Listener, RefusalCause, Session,
    issue::{ClusterCa, Validity},
};
use weir_wire::{
    codec::Document,
    id::{Digest, GrantSeq, RunId, Term},
    items,
    kind::{Execution, Tier},
    limits,
    message::{
        Ack, BlobReply, BlobRequest, CLOSE_STALE_TERM, Grant, Refuse, RefuseCode, Report, ToControl, ToExecutor,
        WIRE_MAX, Welcome,
    },
    node::Hello,
    outcome::{BlobRef, Captured, Outcome},
    resources::Resources,
    task::{Reason, Status},
    units::{CpuMillis, Fuel, MemBytes},
    work::{Budgets, Capabilities, Input, WorkSpec},
};

const RUN: RunId = RunId(42);
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns at once.
const NULL: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
/// Never ends by itself.
const SPIN: &str = r#"(module (memory (export "memory") 1) (func (export "_start") (loop $again (br $again))))"#;
/// Copies its standard input to its standard output.
const CAT: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (loop $more
      (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 1000))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (i32.store (i32.const 4) (i32.load (i32.const 8)))
      (if (i32.load (i32.const 8)) (then
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
        (br $more))))))"#;

/// A control plane with its blobs, and the executor that joins it.
struct Stage {
    listener: Listener,
    ca: ClusterCa,
    dir: tempfile::TempDir,
    blobs: BTreeMap<Digest, Vec<u8>>,
}

/// One session as the control plane sees it.
struct Joined {
    session: Session,
    sender: weir_link::FrameSender,
    receiver: FrameReceiver,
    hello: Hello,
}

struct Running {
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<anyhow::Result<()>>,
}

fn validity() -> Validity {
    Validity::starting(SystemTime::now(), Duration::from_secs(3600))
}

/// Where a replica of the control plane listens.
fn replica(ca: &ClusterCa) -> Listener {
    let issued = ca.issue_control(&["127.0.0.1".to_owned()], validity()).expect("issued");
    let identity =
        Identity::from_pem(&issued.certificate_pem, &issued.key_pem, ca.certificate_pem(), SystemTime::now());
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    Listener::bind(any, &identity.expect("usable"), weir_link::Config::default()).expect("bound")
}

fn digest(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest(sha2::Sha256::digest(bytes).into())
}

impl Stage {
    fn new() -> Self {
        let (ca, _) = ClusterCa::generate("test".parse().expect("a name"), validity()).expect("an authority");
        let listener = replica(&ca);
        let dir = tempfile::tempdir().expect("a directory");
        Self { listener, ca, dir, blobs: BTreeMap::new() }
    }

    fn put(&mut self, bytes: Vec<u8>) -> BlobRef {
        let blob = BlobRef { digest: digest(&bytes), len: bytes.len() as u64 };
        self.blobs.insert(blob.digest, bytes);
        blob
    }

    fn module(&mut self, wat: &str) -> Digest {
        self.put(wat::parse_str(wat).expect("valid")).digest
    }

    /// A configuration with a certificate of `ca`.
    fn config(&self, ca: &ClusterCa) -> Config {
        let issued = ca.issue_executor(&"n1".parse().expect("a name"), validity()).expect("issued");
        let write = |name: &str, text: &str| {
            let path = self.dir.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        Config {
            control: vec![self.listener.local_addr().expect("bound").to_string()],
            ca: write("ca.pem", ca.certificate_pem()),
            cert: write("cert.pem", &issued.certificate_pem),
            key: write("key.pem", &issued.key_pem),
            data_dir: self.dir.path().join("data"),
            memory: Some(Size(1 << 30)),
            workers: Some(1),
            lanes_per_worker: 4,
            grace: Span(Duration::from_millis(50)),
            helper: Helper::Program { path: env!("CARGO_BIN_EXE_weir-executor").into(), args: Vec::new() },
            ..Config::default()
        }
    }

    fn start(&self) -> Running {
        self.start_with(&[])
    }

    /// An executor that knows these replicas as well.
    fn start_with(&self, others: &[&Listener]) -> Running {
        let mut config = self.config(&self.ca);
        config.control.extend(others.iter().map(|other| other.local_addr().expect("bound").to_string()));
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(run(config, async { drop(stopped.await) }));
        Running { stop: Some(stop), ended }
    }

    async fn accept(&self) -> Joined {
        loop {
            let link = timeout(PATIENCE, self.listener.accept()).await.expect("in time").expect("listening");
            let Link { session, sender, mut receiver } = link;
            // One that ends without a word was to wait here for an election.
            if let Ok(Some(frame)) = timeout(PATIENCE, receiver.recv()).await.expect("in time") {
                let Ok(ToControl::Hello(hello)) = ToControl::from_bytes(&frame) else { panic!("no hello") };
                return Joined { session, sender, receiver, hello: *hello };
            }
        }
    }

    async fn join(&self, term: u64) -> Joined {
        let mut joined = self.accept().await;
        joined.welcome(term).await;
        assert!(matches!(next(&mut joined.receiver).await, ToControl::State(_)));
        joined
    }

    /// Answers one blob request; what was uploaded is kept.
    async fn serve_blob(&mut self, joined: &Joined) {
        let request = timeout(PATIENCE, joined.session.accept_request()).await.expect("in time").expect("a request");
        let (header, mut body, answer) = request.read(limits::BLOB_LEN_MAX).await.expect("a header");
        match BlobRequest::from_bytes(&header).expect("a request") {
            BlobRequest::Get(digest) => {
                let bytes = self.blobs.get(&digest).cloned();
                let reply = bytes.as_ref().map_or(BlobReply::NotFound, |bytes| BlobReply::Ok(bytes.len() as u64));
                let mut content = answer.start(&reply.to_bytes()).await.expect("answered");
                content.send(bytes.unwrap_or_default().into()).await.expect("sent");
                content.finish().expect("finished");
            }
            BlobRequest::Put(blob) => {
                let bytes = body.read_all().await.expect("the content");
                assert_eq!(digest(&bytes), blob.digest);
                self.blobs.insert(blob.digest, bytes.to_vec());
                answer.start(&BlobReply::Ok(blob.len).to_bytes()).await.expect("answered").finish().expect("finished");
            }
        }
    }
}

impl Joined {
    async fn send(&self, message: &ToExecutor) {
        self.sender.send(&message.to_bytes()).await.expect("sent");
    }

    async fn welcome(&self, term: u64) {
        let (lease, renew_every) = (Duration::from_secs(15), Duration::from_secs(4));
        self.send(&ToExecutor::Welcome(Welcome { wire: WIRE_MAX, term: Term(term), lease, renew_every })).await;
    }

    async fn grant(&self, term: u64, grant: u64, first: u32, len: u32) {
        let (term, grant) = (Term(term), GrantSeq(grant));
        self.send(&ToExecutor::Grant(Grant { run: RUN, term, grant, first, len, ordinal: 1 })).await;
    }

    async fn report(&mut self) -> Report {
        loop {
            if let ToControl::Report(report) = next(&mut self.receiver).await
                && !report.groups.is_empty()
            {
                return report;
            }
        }
    }

    /// The outcomes of the next `count` tasks, each report acknowledged.
    async fn outcomes(&mut self, count: usize) -> Vec<(u32, Outcome)> {
        let mut outcomes = Vec::new();
        while outcomes.len() < count {
            let report = self.report().await;
            let before = outcomes.len();
            outcomes.extend(report.groups.into_iter().flat_map(|group| group.outcomes));
            let through = report.first + (outcomes.len() - before) as u64 - 1;
            self.send(&ToExecutor::Ack(Ack { through })).await;
        }
        outcomes
    }
}

async fn next(receiver: &mut FrameReceiver) -> ToControl {
    let frame = timeout(PATIENCE, receiver.recv()).await.expect("in time").expect("connected").expect("a frame");
    ToControl::from_bytes(&frame).expect("a message")
}

async fn ended(running: Running) -> anyhow::Result<()> {
    timeout(PATIENCE, running.ended).await.expect("in time").expect("no panic")
}

fn spec(module: Digest, input: Input) -> ToExecutor {
    let resources = Resources { cpu: CpuMillis(100), memory: MemBytes(64 << 20) };
    let budgets = Budgets { resources, fuel: Fuel(1 << 40), timeout: Some(Duration::from_secs(30)), output: 1 << 20 };
    ToExecutor::Define(Arc::new(WorkSpec {
        run: RUN,
        namespace: "default".parse().expect("a name"),
        job: "job".parse().expect("a name"),
        count: 1000,
        long_running: false,
        tier: Tier::Preemptible,
        priority: 50,
        execution: Execution::default(),
        module,
        args: vec![],
        env: vec![],
        budgets,
        dirs: vec![],
        capabilities: Capabilities::NONE,
        input,
    }))
}

#[tokio::test]
async fn a_range_is_run_and_reported_and_the_daemon_drains() {
    let mut stage = Stage::new();
    let module = stage.module(NULL);
    let mut running = stage.start();
    let mut joined = stage.join(7).await;
    assert_eq!((joined.hello.node.as_str(), joined.hello.incarnation.0, joined.hello.lanes_max), ("n1", 1, 4));
    assert!(joined.hello.attributes.iter().any(|(name, value)| name == "arch" && value == std::env::consts::ARCH));
    joined.send(&spec(module, Input::None)).await;
    joined.grant(7, 1, 100, 50).await;
    stage.serve_blob(&joined).await;
    let outcomes = joined.outcomes(50).await;
    assert_eq!(outcomes.iter().map(|(index, _)| *index).collect::<Vec<_>>(), (100..150).collect::<Vec<_>>());
    assert!(outcomes.iter().all(|(_, outcome)| outcome.status == Status::Succeeded), "{:?}", outcomes[0].1);
    running.stop.take().expect("once").send(()).expect("running");
    ended(running).await.expect("drained");
}

#[tokio::test]
async fn the_end_of_the_grace_ends_what_runs_and_says_so() {
    let mut stage = Stage::new();
    let module = stage.module(SPIN);
    let mut running = stage.start();
    let mut joined = stage.join(7).await;
    joined.send(&spec(module, Input::None)).await;
    joined.grant(7, 1, 0, 1).await;
    stage.serve_blob(&joined).await;
    loop {
        let message = next(&mut joined.receiver).await;
        if matches!(message, ToControl::Report(report) if !report.started.is_empty()) {
            break;
        }
    }
    running.stop.take().expect("once").send(()).expect("running");
    let outcomes = joined.outcomes(1).await;
    let failure = outcomes[0].1.failure.as_ref().expect("a failure");
    assert_eq!((outcomes[0].1.status, failure.reason), (Status::Killed, Reason::Drained));
    ended(running).await.expect("drained");
}

#[tokio::test]
async fn payloads_come_and_large_results_go_as_blobs() {
    let mut stage = Stage::new();
    let module = stage.module(CAT);
    let large = vec![b'x'; 5000];
    let blob = items::encode([b"first".as_slice(), &large].into_iter()).expect("small");
    let blob = stage.put(blob);
    let _running = stage.start();
    let mut joined = stage.join(7).await;
    joined.send(&spec(module, Input::Items(blob))).await;
    joined.grant(7, 1, 0, 3).await;
    for _ in 0..4 {
        // The module, the payload, and the large result with its large log.
        stage.serve_blob(&joined).await;
    }
    let outcomes = joined.outcomes(3).await;
    assert_eq!(outcomes[0].1.result, Captured::inline(b"first"));
    let expected = BlobRef { digest: digest(&large), len: 5000 };
    assert_eq!((&outcomes[1].1.result, &stage.blobs[&expected.digest]), (&Captured::Blob(expected), &large));
    assert_eq!(outcomes[2].1.status, Status::Failed, "there is no third item");
}

#[tokio::test]
async fn a_lost_session_comes_back_and_repeats_what_was_not_recorded() {
    let mut stage = Stage::new();
    let module = stage.module(NULL);
    let _running = stage.start();
    let mut joined = stage.join(7).await;
    let boot = joined.hello.boot;
    joined.send(&spec(module, Input::None)).await;
    joined.grant(7, 1, 0, 1).await;
    stage.serve_blob(&joined).await;
    let report = joined.report().await;
    joined.session.close(0, "the leader dies");
    let mut joined = stage.join(8).await;
    assert_eq!((joined.hello.incarnation.0, joined.hello.boot), (1, boot));
    assert_eq!(joined.report().await.groups, report.groups, "sent again");
}

#[tokio::test]
async fn a_control_plane_of_a_lower_term_is_told_that_its_store_is_older() {
    let stage = Stage::new();
    let _running = stage.start();
    let joined = stage.join(69).await;
    joined.session.close(0, "a snapshot is restored");
    let restored = stage.accept().await;
    restored.welcome(11).await;
    let end = timeout(PATIENCE, restored.session.closed()).await.expect("in time");
    let weir_link::Error::ClosedByPeer { code, reason } = end else { panic!("{end}") };
    assert_eq!(code, u64::from(CLOSE_STALE_TERM));
    assert!(reason.contains("69 was seen"), "{reason}");
    stage.join(70).await;
}

#[tokio::test]
async fn the_call_of_a_control_plane_of_a_lower_term_is_not_followed() {
    /// What an executor would need to say who it is.
    const HELLO: Duration = Duration::from_millis(300);
    let stage = Stage::new();
    let standby = replica(&stage.ca);
    let _running = stage.start_with(&[&standby]);
    let joined = stage.join(69).await;
    joined.session.close(0, "a snapshot is restored");
    let restored = stage.accept().await;
    restored.welcome(11).await;
    timeout(PATIENCE, restored.session.closed()).await.expect("in time");
    let waiting = timeout(PATIENCE, stage.listener.accept()).await.expect("in time").expect("listening");
    let Link { session: _kept, sender, mut receiver } = waiting;
    sender.send(&ToExecutor::Present.to_bytes()).await.expect("sent");
    if let Ok(Ok(Some(frame))) = timeout(HELLO, receiver.recv()).await {
        panic!("it came back at once: {:?}", ToControl::from_bytes(&frame));
    }
}

#[tokio::test]
async fn a_replica_that_does_not_lead_is_left_for_another() {
    let stage = Stage::new();
    let _running = stage.start();
    let first = stage.accept().await;
    let refuse = Refuse { code: RefuseCode::NotLeader, message: "try the other".to_owned() };
    first.send(&ToExecutor::Refuse(refuse)).await;
    stage.join(7).await;
}

#[tokio::test]
async fn a_standby_that_is_elected_right_after_it_was_reached_is_followed_at_once() {
    /// What a replica that is not wanted would need to see its session end.
    const REFUSAL: Duration = Duration::from_millis(300);
    let stage = Stage::new();
    let standby = replica(&stage.ca);
    let _running = stage.start_with(&[&standby]);
    let leader = stage.join(7).await;
    let Link { session: _kept, sender, mut receiver } =
        timeout(PATIENCE, standby.accept()).await.expect("in time").expect("listening");
    sender.send(&ToExecutor::Present.to_bytes()).await.expect("sent");
    assert!(timeout(REFUSAL, receiver.recv()).await.is_err(), "it may lead by now, and is kept");
    leader.session.close(0, "the leader steps down");
    assert!(matches!(next(&mut receiver).await, ToControl::Hello(_)), "over the session that was there");
}

#[tokio::test]
async fn a_module_that_is_not_there_fails_its_tasks() {
    let mut stage = Stage::new();
    let _running = stage.start();
    let mut joined = stage.join(7).await;
    joined.send(&spec(Digest([1; 32]), Input::None)).await;
    joined.grant(7, 1, 0, 2).await;
    stage.serve_blob(&joined).await;
    let outcomes = joined.outcomes(2).await;
    let failure = outcomes[0].1.failure.as_ref().expect("a failure");
    assert!(failure.message.contains("the cluster does not have it"), "{}", failure.message);
}

#[tokio::test]
async fn a_superseded_incarnation_ends() {
    let stage = Stage::new();
    let running = stage.start();
    let joined = stage.accept().await;
    let refuse = Refuse { code: RefuseCode::Superseded, message: "a later start is known".to_owned() };
    joined.send(&ToExecutor::Refuse(refuse)).await;
    let error = ended(running).await.expect_err("ended");
    let superseded = matches!(error.downcast_ref(), Some(Error::Ended(ExitReason::Superseded { .. })));
    assert!(superseded, "{error:#}");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_a_clear_error() {
    let stage = Stage::new();
    let (other, _) = ClusterCa::generate("test".parse().expect("a name"), validity()).expect("an authority");
    let listening = async { stage.listener.accept().await.map(drop) };
    let running = run(stage.config(&other), std::future::pending());
    let error = tokio::select! {
        ended = timeout(PATIENCE, running) => ended.expect("in time").expect_err("refused"),
        _ = listening => panic!("accepted"),
    };
    let refused = error.downcast_ref::<Error>().expect("an error of the daemon");
    let Error::Certificate(weir_link::Error::Refused { cause, .. }) = refused else { panic!("{error:#}") };
    assert_eq!(*cause, RefusalCause::UnknownAuthority);
}

#[tokio::test]
async fn two_daemons_cannot_share_a_data_directory() {
    let stage = Stage::new();
    let _running = stage.start();
    stage.join(7).await;
    let error = run(stage.config(&stage.ca), std::future::pending()).await.expect_err("in use");
    assert!(matches!(error.downcast_ref(), Some(Error::DataDirInUse(_))), "{error:#}");
    assert!(Path::new(&stage.dir.path().join("data/incarnation")).exists());
}
