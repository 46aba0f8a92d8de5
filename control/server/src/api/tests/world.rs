//! A control plane in memory: the scheduler, a blob store in a temporary directory, and one executor that does what
//! the test says.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Method, Request, StatusCode},
};
use futures_util::StreamExt as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use weir_api::StoreKind;
use weir_scheduler::{Config, Input, Loaded, Output, Reply, RequestError, RequestId, Scheduler, SessionId};
use weir_wire::{
    id::{AttemptId, Digest, GrantSeq, Incarnation, TaskId, Term},
    inspect::{Inspect, Inspected, Moment, Seen},
    message::{self, FullState, Grant, OutcomeGroup, Report, Started, ToControl, ToExecutor, WIRE_MAX, WIRE_MIN},
    node::Hello,
    outcome::{Captured, Failure, Outcome, Usage},
    resources::Resources,
    task::{Reason, Source, Status},
    txn::CommitResult,
    units::{CpuMillis, Fuel, Instant, MemBytes},
};

use crate::{
    api::{Auth, Forwarder, router},
    blobs::Blobs,
    clock,
    followers::Followers,
    handle::{Call, ControlHandle, Shared},
    inspections::Inspections,
    metrics::Metrics,
    status::{ClusterStatus, Health, StatusBoard},
    store::{EmbeddedStore, Store},
};

const SESSION: SessionId = SessionId(1);
const TERM: Term = Term(1);

/// What the executor does with a task: its outcome, or none while it runs.
pub(super) type Behaviour = fn(u32) -> Option<Outcome>;

pub(super) struct World {
    pub(super) router: Router,
    pub(super) board: StatusBoard,
    pub(super) blobs: Blobs,
    pub(super) closing: CancellationToken,
    pub(super) steps: mpsc::UnboundedSender<Step>,
    _directory: TempDir,
}

/// What a test makes happen.
pub(super) enum Step {
    /// A node joins, and does this with every task.
    Join(Behaviour),
    /// A running task writes.
    Output(message::Output),
    /// A running task ends.
    End(TaskId, Outcome),
    /// The store takes this long to answer: for ever.
    Hang,
}

/// One answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl World {
    pub(super) fn new(auth: Auth) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::open_local(directory.path()).unwrap();
        let board = StatusBoard::new(status());
        let (calls_tx, calls) = mpsc::channel(64);
        let (revision, revision_rx) = watch::channel(0);
        let (steps, steps_rx) = mpsc::unbounded_channel();
        let closing = CancellationToken::new();
        let store = EmbeddedStore::open_now(directory.path(), &crate::testing::cluster(), board.clone()).unwrap();
        let store = Store::Embedded(store);
        let shared = Shared { blobs: blobs.clone(), store, status: board.clone(), metrics: Metrics::new() };
        let handle = ControlHandle::new(calls_tx, revision_rx, Arc::new(shared));
        let forwarder = Forwarder::new(None).unwrap();
        let core = Core::new(blobs.clone(), revision);
        tokio::spawn(core.run(calls, steps_rx));
        Self {
            router: router(handle, auth, forwarder, closing.clone()),
            closing,
            board,
            blobs,
            steps,
            _directory: directory,
        }
    }

    pub(super) async fn call(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let mut data = body.into_data_stream();
        let mut body = Vec::new();
        while let Some(part) = data.next().await {
            body.extend_from_slice(&part.unwrap());
        }
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(super) async fn send(&self, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        self.call(Request::builder().method(method).uri(path).body(body.into()).unwrap()).await
    }

    /// Sends JSON, with an idempotency key or without.
    pub(super) async fn post(&self, path: &str, body: &Value, key: Option<&str>) -> Answer {
        let mut request = Request::post(path);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.call(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Uploads the smallest module that runs, and makes a job of it.
    pub(super) async fn deploy(&self, name: &str, count: u32) -> Digest {
        let module = module();
        let digest = digest(&module);
        let put = self.send(Method::PUT, &format!("/v1/modules/{digest}"), module).await;
        assert!(put.status.is_success(), "{}", put.text());
        let spec = serde_json::json!({ "job": { "name": name, "module": digest.to_string(), "count": count } });
        let put = self.send(Method::PUT, &format!("/v1/namespaces/default/jobs/{name}"), spec.to_string()).await;
        assert!(put.status.is_success(), "{}", put.text());
        digest
    }

    /// Starts a run and returns its path.
    pub(super) async fn start(&self, body: &Value) -> String {
        let answer = self.post("/v1/namespaces/default/runs", body, None).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        format!("/v1/namespaces/default/runs/{}", answer.json()["id"].as_str().unwrap())
    }

    pub(super) fn step(&self, step: Step) {
        self.steps.send(step).unwrap_or_else(|_| panic!("the core has ended"));
    }
}

/// A command that ends at once.
pub(super) fn module() -> Vec<u8> {
    wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#).unwrap()
}

pub(super) fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// A success with this result and log.
pub(super) fn success(result: Captured, log: Captured) -> Outcome {
    let usage = Usage { fuel: Fuel(7), cpu_us: 5, wall_us: 9, peak_memory: MemBytes(65536), output_bytes: log.len() };
    Outcome::succeeded(usage, result, log)
}

/// A trap.
pub(super) fn trap() -> Outcome {
    let mut failure = Failure::new(Reason::Trap, Source::Guest, "unreachable");
    failure.backtrace = vec!["guest::boom".to_owned()];
    Outcome::not_run(Status::Failed, failure)
}

fn status() -> ClusterStatus {
    ClusterStatus {
        cluster: "test".parse().unwrap(),
        leading: true,
        term: Some(TERM),
        leading_since: None,
        leader: None,
        leaderless_since_ms: None,
        store_kind: StoreKind::Embedded,
        store_version: None,
        store: Health::Ok,
        store_full: false,
        held_back: None,
    }
}

struct Core {
    scheduler: Scheduler,
    blobs: Blobs,
    revision: watch::Sender<u64>,
    commits: u64,
    waiting: BTreeMap<RequestId, Waiter>,
    requests: u64,
    followers: Followers,
    inspections: Inspections,
    executor: Option<Executor>,
    hang: bool,
}

enum Waiter {
    Call(oneshot::Sender<Result<Reply, RequestError>>),
    Follow(TaskId, mpsc::Sender<message::Output>, oneshot::Sender<Result<Reply, RequestError>>),
    Inspect(oneshot::Sender<Seen>, oneshot::Sender<Result<Reply, RequestError>>),
}

struct Executor {
    behaviour: Behaviour,
    next: u64,
    running: BTreeMap<TaskId, (Term, GrantSeq)>,
}

impl Core {
    fn new(blobs: Blobs, revision: watch::Sender<u64>) -> Self {
        let scheduler = Scheduler::new(Config::new("test".parse().unwrap()), 1);
        Self {
            scheduler,
            blobs,
            revision,
            commits: 0,
            waiting: BTreeMap::new(),
            requests: 0,
            followers: Followers::default(),
            inspections: Inspections::default(),
            executor: None,
            hang: false,
        }
    }

    async fn run(mut self, mut calls: mpsc::Receiver<Call>, mut steps: mpsc::UnboundedReceiver<Step>) {
        self.input(Input::Elected { term: TERM, loaded: Box::new(Loaded::default()) });
        self.input(Input::LeadershipUntil(Instant(u64::MAX)));
        loop {
            self.drain().await;
            let deadline = self.scheduler.poll_deadline();
            let pause = deadline.map_or(std::time::Duration::MAX, |(at, _)| at.since(clock::mono()));
            let tick = tokio::time::timeout(pause, std::future::pending::<()>());
            tokio::select! {
                call = calls.recv() => match call {
                    Some(call) => self.call(call),
                    None => return,
                },
                step = steps.recv() => match step {
                    Some(step) => self.step(step),
                    None => return,
                },
                _ = tick => self.input(Input::Tick),
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.scheduler.handle(clock::now(), input);
    }

    fn message(&mut self, message: ToControl) {
        self.input(Input::NodeMessage { session: SESSION, message: Box::new(message) });
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Query(question) | Call::CertainQuery(question) => question(Some((&self.scheduler, clock::now()))),
            Call::Request { request, reply } => self.request(request, Waiter::Call(reply)),
            Call::Follow { run, index, pieces, reply } => {
                let follow = weir_scheduler::Request::Follow { run, index, on: true };
                self.request(follow, Waiter::Follow(TaskId { run, index }, pieces, reply));
            }
            Call::Inspect { run, index, sample_for, seen, reply } => {
                let inspect = weir_scheduler::Request::Inspect { run, index, sample_for };
                self.request(inspect, Waiter::Inspect(seen, reply));
            }
        }
    }

    fn request(&mut self, request: weir_scheduler::Request, waiter: Waiter) {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.waiting.insert(id, waiter);
        self.input(Input::Request { id, request });
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Join(behaviour) => {
                self.executor = Some(Executor { behaviour, next: 1, running: BTreeMap::new() });
                self.input(Input::NodeConnected { session: SESSION, hello: Box::new(hello()) });
            }
            Step::Output(output) => self.message(ToControl::Output(output)),
            Step::End(task, outcome) => self.end(task, outcome),
            Step::Hang => self.hang = true,
        }
    }

    async fn drain(&mut self) {
        while let Some(output) = self.scheduler.poll_output() {
            match output {
                Output::Commit { .. } if self.hang => {}
                Output::Commit { txn, object } => {
                    if let Some((name, content)) = object {
                        self.blobs.write_object(&name, Bytes::from(content)).await.unwrap();
                    }
                    self.commits += 1;
                    let result = CommitResult::Committed { revision: self.commits };
                    self.input(Input::CommitDone { seq: txn.seq, result });
                }
                Output::Send { message, .. } => self.executor_hears(*message),
                Output::Close { .. } => {}
                Output::Reply { id, result } => self.reply(id, result),
                Output::TaskOutput(output) => drop(self.followers.deliver(&output)),
                Output::Inspected(inspected) => self.inspections.answer(*inspected),
                Output::NextInstant { .. } | Output::AssembleInput { .. } => panic!("no test asks for it"),
                Output::Changed { revision } => drop(self.revision.send_replace(revision)),
            }
        }
    }

    fn reply(&mut self, id: RequestId, result: Result<Reply, RequestError>) {
        let reply = match self.waiting.remove(&id).expect("each request is answered once") {
            Waiter::Inspect(seen, reply) => {
                if result.is_ok() {
                    self.inspections.add(id.0, seen);
                }
                reply
            }
            Waiter::Call(reply) => reply,
            Waiter::Follow(task, pieces, reply) => {
                if result == Ok(Reply::Following(true)) {
                    self.followers.add(task.run, task.index, pieces);
                }
                reply
            }
        };
        // A test may have given up waiting.
        drop(reply.send(result));
    }

    fn executor_hears(&mut self, message: ToExecutor) {
        match message {
            ToExecutor::Welcome(_) => {
                let next = self.executor.as_ref().map_or(1, |executor| executor.next);
                self.message(ToControl::State(FullState { grants: vec![], outbox_first: next, outbox_next: next }));
            }
            ToExecutor::Grant(grant) => self.granted(grant),
            ToExecutor::Stop(stop) => {
                let executor = self.executor.as_ref().expect("a node has joined");
                let concerned = |task: &&TaskId| task.run == stop.run && stop.index.is_none_or(|at| at == task.index);
                let tasks: Vec<TaskId> = executor.running.keys().filter(concerned).copied().collect();
                for task in tasks {
                    let failure = Failure::new(stop.reason, Source::Control, "stopped");
                    self.end(task, Outcome::not_run(Status::Killed, failure));
                }
            }
            ToExecutor::Inspect(inspect) => self.inspected(inspect),
            ToExecutor::Follow(_)
            | ToExecutor::Define(_)
            | ToExecutor::DefineMore(_)
            | ToExecutor::Ack(_)
            | ToExecutor::Renewed(_)
            | ToExecutor::Forget(_)
            | ToExecutor::Refuse(_)
            | ToExecutor::Present => {}
        }
    }

    /// The last task is not looked into: its node does not answer.
    fn inspected(&mut self, inspect: Inspect) {
        let moment = Moment { fuel: Some(Fuel(7)), backtrace: vec!["guest::work".to_owned()], ..Moment::default() };
        let seen = match inspect.index {
            0 if inspect.sample_for.is_some() => Seen::Profile(Box::default()),
            0 => Seen::Moment(Box::new(moment)),
            1 => Seen::Nothing("it has ended".to_owned()),
            _ => return,
        };
        self.message(ToControl::Inspected(Inspected { token: inspect.token, seen }));
    }

    fn granted(&mut self, grant: Grant) {
        for index in grant.first..grant.first + grant.len {
            let task = TaskId { run: grant.run, index };
            let executor = self.executor.as_mut().expect("a node has joined");
            executor.running.insert(task, (grant.term, grant.grant));
            match (executor.behaviour)(index) {
                Some(outcome) => self.end(task, outcome),
                None => {
                    let id = AttemptId { task, term: grant.term, grant: grant.grant };
                    self.message(ToControl::Report(Report {
                        first: self.executor.as_ref().map_or(1, |executor| executor.next),
                        started: vec![Started { id }],
                        ..Report::default()
                    }));
                }
            }
        }
    }

    fn end(&mut self, task: TaskId, outcome: Outcome) {
        let executor = self.executor.as_mut().expect("a node has joined");
        let (term, grant) = executor.running.remove(&task).expect("the task runs");
        let first = executor.next;
        executor.next += 1;
        let group = OutcomeGroup { run: task.run, term, grant, outcomes: vec![(task.index, outcome)] };
        self.message(ToControl::Report(Report { first, groups: vec![group], ..Report::default() }));
    }
}

fn hello() -> Hello {
    Hello {
        wire_min: WIRE_MIN,
        wire_max: WIRE_MAX,
        cluster: "test".parse().unwrap(),
        node: "n1".parse().unwrap(),
        installation: 1,
        incarnation: Incarnation(1),
        boot: 1,
        version: "0.1.0".to_owned(),
        attributes: vec![("arch".to_owned(), "x86_64".to_owned())],
        capacity: Resources { cpu: CpuMillis(4000), memory: MemBytes(4 << 30) },
        lanes_max: 8,
        modules: Vec::new(),
    }
}

/// Keeps what a behaviour of a test needs to say, which as a plain function it cannot capture.
pub(super) static LARGE: Mutex<Option<weir_wire::outcome::BlobRef>> = Mutex::new(None);
