//! A sample of every message, with no field at its default.

use std::{sync::Arc, time::Duration};

use weir_wire::{
    attempt::{
        AttemptEvent, AttemptSpec, CancelSpec, Command, EndedAttempt, FollowSpec, LeaseSpec, ModuleFile, ModuleReady,
        OutputChunk, Progress, ThrottleSpec,
    },
    id::{AttemptId, Digest, GrantSeq, Incarnation, RunId, TaskId, Term},
    inspect::{
        AttemptSeen, HostCall, Inspect, InspectSpec, Inspected, Moment, Profile, ProfileFrame, ProfileSample,
        ProfileStack, Seen,
    },
    kind::{Execution, Tier},
    log::{Level, Stream},
    message::{
        Ack, BlobReply, BlobRequest, Follow, FullState, Grant, HeldGrant, OutcomeGroup, Output, Refuse, RefuseCode,
        Renew, Renewed, Report, Returned, Speed, Started, Stop, TaskProgress, ToControl, ToExecutor, Welcome,
    },
    node::Hello,
    outcome::{BlobRef, Captured, Failure, Outcome, Usage},
    resources::Resources,
    task::{Reason, Source, Status},
    units::{CpuMillis, Fuel, MemBytes},
    work::{Budgets, Capabilities, DirGrant, Input, NetGrant, WorkSpec},
};

use crate::cases::{Case, document};

pub(crate) const RUN: RunId = RunId(0x0123_4567_89ab_cdef);

pub(crate) fn text(text: &str) -> String {
    text.to_owned()
}

pub(crate) const fn digest(byte: u8) -> Digest {
    let mut digest = [byte; 32];
    digest[31] = 1;
    Digest(digest)
}

pub(crate) const fn blob() -> BlobRef {
    BlobRef { digest: digest(0xb1), len: 70_000 }
}

pub(crate) const fn usage() -> Usage {
    Usage { fuel: Fuel(123_456), cpu_us: 789, wall_us: 1234, peak_memory: MemBytes(1 << 20), output_bytes: 42 }
}

pub(crate) fn failure() -> Failure {
    Failure {
        reason: Reason::Trap,
        source: Source::Guest,
        exit_code: Some(-3),
        permanent: true,
        message: text("unreachable"),
        backtrace: vec![text("inner"), text("outer")],
    }
}

pub(crate) const fn budgets() -> Budgets {
    Budgets {
        resources: Resources { cpu: CpuMillis(500), memory: MemBytes(64 << 20) },
        fuel: Fuel(10_000_000_000),
        timeout: Some(Duration::from_micros(90_000_001)),
        output: 1 << 20,
    }
}

pub(crate) const fn execution() -> Execution {
    Execution { at_most_once: true, fenced: true, stop_on_disconnect: true }
}

pub(crate) fn dirs() -> Vec<DirGrant> {
    vec![DirGrant { name: text("corpus"), guest_path: text("/data"), writable: true }]
}

pub(crate) fn capabilities() -> Capabilities {
    let nets = vec![NetGrant { host: text("db.internal"), port: 5432 }];
    Capabilities { deterministic: true, scratch: 1 << 20, nets }
}

fn work() -> WorkSpec {
    WorkSpec {
        run: RUN,
        namespace: "team-a".parse().expect("a valid sample"),
        job: "word-count".parse().expect("a valid sample"),
        count: 300,
        long_running: true,
        tier: Tier::Production,
        priority: 60,
        execution: execution(),
        module: digest(0xaa),
        args: vec![text("--top"), text("10")],
        env: vec![(text("LANG"), text("C"))],
        budgets: budgets(),
        dirs: dirs(),
        input: Input::Inline(Box::from(&b"payload"[..])),
        capabilities: Capabilities::NONE,
    }
}

fn extended() -> WorkSpec {
    WorkSpec { capabilities: capabilities(), ..work() }
}

const fn attempt() -> AttemptId {
    AttemptId { task: TaskId { run: RUN, index: 17 }, term: Term(5), grant: GrantSeq(900) }
}

const fn grant() -> Grant {
    Grant { run: RUN, term: Term(5), grant: GrantSeq(900), first: 16, len: 200, ordinal: 2 }
}

fn failed() -> Outcome {
    Outcome {
        status: Status::Failed,
        failure: Some(Box::new(failure())),
        usage: usage(),
        result: Captured::Inline(Box::from(&b"part"[..])),
        log: Captured::Blob(blob()),
    }
}

fn hello() -> Hello {
    Hello {
        wire_min: 1,
        wire_max: 2,
        cluster: "prod".parse().expect("a valid sample"),
        node: "n1.rack-2".parse().expect("a valid sample"),
        installation: 0x1234_5678_9abc_def0,
        incarnation: Incarnation(3),
        boot: u64::MAX,
        version: text("0.1.0"),
        attributes: vec![(text("arch"), text("x86_64")), (text("zone"), text("b"))],
        capacity: Resources { cpu: CpuMillis(16_000), memory: MemBytes(64 << 30) },
        lanes_max: 1024,
        modules: vec![digest(0xaa), digest(0xab)],
    }
}

fn report() -> Report {
    Report {
        first: 1000,
        groups: vec![OutcomeGroup {
            run: RUN,
            term: Term(5),
            grant: GrantSeq(900),
            outcomes: vec![(16, Outcome::succeeded(usage(), Captured::Empty, Captured::Empty)), (17, failed())],
        }],
        started: vec![Started { id: attempt() }],
        returned: vec![Returned { run: RUN, term: Term(5), grant: GrantSeq(900), from: 40 }],
        progress: vec![TaskProgress { run: RUN, index: 17, done: 3, total: 9 }],
        measured: Some(Resources { cpu: CpuMillis(900), memory: MemBytes(3 << 30) }),
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = to_executor();
    cases.extend(to_control());
    cases.extend(sandbox());
    cases.push(document("blob_request_get", BlobRequest::Get(digest(0xcc))));
    cases.push(document("blob_request_put", BlobRequest::Put(blob())));
    cases.push(document("blob_reply_ok", BlobReply::Ok(70_000)));
    cases.push(document("blob_reply_not_found", BlobReply::NotFound));
    cases.push(document("blob_reply_failed", BlobReply::Failed(text("the disk is full"))));
    cases.push(document("blob_reply_forbidden", BlobReply::Forbidden(text("not yours"))));
    cases
}

fn to_executor() -> Vec<Case> {
    let welcome =
        Welcome { wire: 1, term: Term(5), lease: Duration::from_secs(15), renew_every: Duration::from_secs(4) };
    let refuse = |code, message| ToExecutor::Refuse(Refuse { code, message: text(message) });
    let stop = Stop {
        run: RUN,
        index: Some(17),
        grant: Some(GrantSeq(900)),
        reason: Reason::Cancelled,
        grace: Duration::from_secs(5),
    };
    let inspect = Inspect { token: 77, run: RUN, index: 17, sample_for: Some(Duration::from_secs(5)) };
    vec![
        document("to_executor_welcome", ToExecutor::Welcome(welcome)),
        document("to_executor_refuse_not_leader", refuse(RefuseCode::NotLeader, "try another")),
        document("to_executor_refuse_wire_version", refuse(RefuseCode::WireVersion, "upgrade")),
        document("to_executor_refuse_cluster", refuse(RefuseCode::Cluster, "another cluster")),
        document("to_executor_refuse_superseded", refuse(RefuseCode::Superseded, "a later start")),
        document("to_executor_refuse_identity", refuse(RefuseCode::Identity, "another certificate")),
        document("to_executor_refuse_malformed", refuse(RefuseCode::Malformed, "hello twice")),
        document("to_executor_define", ToExecutor::Define(Arc::new(work()))),
        document("to_executor_grant", ToExecutor::Grant(grant())),
        document("to_executor_stop", ToExecutor::Stop(stop)),
        document("to_executor_ack", ToExecutor::Ack(Ack { through: 1001 })),
        document("to_executor_renewed", ToExecutor::Renewed(Renewed { token: 77 })),
        document("to_executor_forget", ToExecutor::Forget(RUN)),
        document("to_executor_present", ToExecutor::Present),
        document("to_executor_define_more", ToExecutor::define(extended().into())),
        document("to_executor_follow", ToExecutor::Follow(Follow { run: RUN, index: 17, on: true })),
        document("to_executor_inspect", ToExecutor::Inspect(Inspect { sample_for: None, ..inspect })),
        document("to_executor_inspect_profile", ToExecutor::Inspect(inspect)),
    ]
}

fn to_control() -> Vec<Case> {
    let held = HeldGrant { grant: grant(), next: 17, end: 200, running: true };
    let state = FullState { grants: vec![held], outbox_first: 990, outbox_next: 1002 };
    let output = |stream| {
        let bytes = Box::from(&b"line\n"[..]);
        ToControl::Output(Output { run: RUN, index: 17, stream, at_ms: 250, bytes, last: true })
    };
    let inspected = |seen| ToControl::Inspected(Inspected { token: 77, seen });
    vec![
        document("to_control_hello", ToControl::Hello(Box::new(hello()))),
        document("to_control_state", ToControl::State(state)),
        document("to_control_report", ToControl::Report(report())),
        document("to_control_renew", ToControl::Renew(Renew { token: 77 })),
        document("to_control_output_stdout", output(Stream::Stdout)),
        document("to_control_output_stderr", output(Stream::Stderr)),
        document("to_control_output_log", output(Stream::Log(Level::Warn))),
        document("to_control_draining", ToControl::Draining),
        document("to_control_inspected_moment", inspected(moment())),
        document("to_control_inspected_profile", inspected(Seen::Profile(Box::new(profile())))),
        document("to_control_inspected_nothing", inspected(Seen::Nothing(text("it has ended")))),
        document("to_control_speed", ToControl::Speed(Speed { fuel_per_s: 9_000_000_000 })),
    ]
}

fn moment() -> Seen {
    Seen::Moment(Box::new(Moment {
        fuel: Some(Fuel(1_000_000)),
        cpu_us: 700,
        wall_us: 9_000,
        memory: Some(MemBytes(65_536)),
        host_call: Some(HostCall { name: Some(text("wasi_snapshot_preview1.poll_oneoff")), for_us: 8_000 }),
        backtrace: vec![text("inner (src/main.rs:3:5)"), text("outer")],
    }))
}

fn profile() -> Profile {
    Profile {
        wall_us: 5_000_000,
        interval_us: 1_000,
        lost: 2,
        frames: vec![ProfileFrame { function: text("inner"), place: text("src/main.rs:3:5") }],
        stacks: vec![ProfileStack { caller: 0, frame: 0 }, ProfileStack { caller: 1, frame: 0 }],
        samples: vec![ProfileSample { after_us: 1_100, cpu_us: 900, stack: 1 }],
    }
}

fn sandbox() -> Vec<Case> {
    let module = ModuleFile { digest: digest(0xaa), path: text("/var/lib/weir/modules/aa") };
    let spec = AttemptSpec { id: attempt(), ordinal: 2, ahead: 3, payload: Box::from(&b"payload"[..]) };
    let ready = ModuleReady {
        digest: digest(0xaa),
        refused: Some(text("unknown import env.f")),
        machine_fault: true,
        compile_time: Duration::from_millis(250),
    };
    let chunk =
        OutputChunk { id: attempt(), stream: Stream::Log(Level::Error), at_ms: 250, bytes: Box::from(&b"line\n"[..]) };
    let ended = EndedAttempt {
        id: attempt(),
        outcome: failed(),
        large_result: Box::from(&b"large result"[..]),
        large_log: Box::from(&b"large log"[..]),
        next_started: true,
    };
    let cancel = CancelSpec { id: attempt(), reason: Reason::Drained };
    vec![
        document("command_define", Command::Define(Box::new(extended()))),
        document("command_forget", Command::Forget(RUN)),
        document("command_prepare", Command::Prepare(module)),
        document("command_start", Command::Start(spec)),
        document("command_cancel", Command::Cancel(cancel)),
        document("command_follow", Command::Follow(FollowSpec { id: attempt(), on: true })),
        document("command_inspect", Command::Inspect(InspectSpec { id: attempt(), sample_for: None })),
        document("attempt_event_seen", AttemptEvent::Seen(AttemptSeen { id: attempt(), seen: moment() })),
        document("command_lease", Command::Lease(LeaseSpec { until_ns: 77_000 })),
        document("command_settle", Command::Settle(attempt())),
        document("command_throttle", Command::Throttle(ThrottleSpec { id: attempt(), on: true })),
        document("attempt_event_module", AttemptEvent::Module(ready)),
        document("attempt_event_output", AttemptEvent::Output(chunk)),
        document("attempt_event_progress", AttemptEvent::Progress(Progress { id: attempt(), done: 3, total: 9 })),
        document("attempt_event_ended", AttemptEvent::Ended(Box::new(ended))),
        document("attempt_event_settled", AttemptEvent::Settled(attempt())),
    ]
}
