//! A sample of every stored value, with no field at its default.

use std::time::Duration;

use weir_wire::{
    ended::EndedRanges,
    exceptions::ExceptionTable,
    id::{GrantSeq, Incarnation, JobVersion, NodeId, RunId, Seq, Term},
    items,
    kind::{Condition, Cron, Dependency, Kind, Overlap, RunDependency, Service, Tier, Upstream},
    log::{self, Level, Record, Stream},
    node::{Drain, NodeRecord},
    outcome::{Captured, Failure},
    placement::{Affinity, Comparison, Constraint, Operator, Placement},
    record::{
        BlobStore, Block, Delta, EndedRange, Exception, Fenced, Head, IdempotencyRecord, JobState, Leader, Pin, Quota,
        RunDelta, RunMeta, SegmentRef, SubmissionSegment, UsageSum,
    },
    segment::{self, Entry},
    task::{Reason, Source, Status},
    units::{CpuMillis, Fuel, MemBytes},
    work::{Input, JobRecord, RetryPolicy, RunRecord},
};

use crate::{
    cases::{Case, document},
    messages::{RUN, blob, budgets, capabilities, digest, dirs, execution, failure, text, usage},
};

fn node_id() -> NodeId {
    "n1.rack-2".parse().expect("a valid sample")
}

fn placement() -> Placement {
    let constraint = |operator, values: &[&str]| Constraint {
        attribute: text("zone"),
        operator,
        values: values.iter().map(|value| text(value)).collect(),
    };
    Placement {
        constraints: vec![
            constraint(Operator::Equal, &["b"]),
            constraint(Operator::NotEqual, &["c"]),
            constraint(Operator::In, &["b", "d"]),
            constraint(Operator::NotIn, &["e"]),
            constraint(Operator::Matches, &["^b"]),
            constraint(Operator::Exists, &[]),
            constraint(Operator::NotExists, &[]),
            constraint(Operator::Version(Comparison::Equal), &["1"]),
            constraint(Operator::Version(Comparison::NotEqual), &["1.1"]),
            constraint(Operator::Version(Comparison::Less), &["2"]),
            constraint(Operator::Version(Comparison::LessOrEqual), &["2"]),
            constraint(Operator::Version(Comparison::Greater), &["0"]),
            constraint(Operator::Version(Comparison::GreaterOrEqual), &["0.9"]),
        ],
        affinities: vec![Affinity { constraint: constraint(Operator::Equal, &["b"]), weight: -50 }],
        spread: Some(text("rack")),
        max_per_node: 2,
        pool: Some(text("gpu")),
    }
}

pub(crate) fn job(kind: Kind) -> JobRecord {
    JobRecord {
        namespace: "team-a".parse().expect("a valid sample"),
        job: "word-count".parse().expect("a valid sample"),
        version: JobVersion(7),
        kind,
        module: digest(0xaa),
        args: vec![text("--top"), text("10")],
        env: vec![(text("LANG"), text("C"))],
        budgets: budgets(),
        dirs: dirs(),
        capabilities: capabilities(),
        count: 300,
        max_running: 20,
        priority: 60,
        retry: RetryPolicy {
            attempts: 3,
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            retry_deterministic: true,
        },
        tier: Tier::Production,
        max_failed: Some(10),
        start_deadline: Some(Duration::from_secs(600)),
        after: vec![
            Dependency { job: "extract".parse().expect("a valid sample"), condition: Condition::Success },
            Dependency { job: "load".parse().expect("a valid sample"), condition: Condition::Any },
        ],
        input_from: Some("extract".parse().expect("a valid sample")),
        execution: execution(),
        placement: placement(),
        created_ms: 1_795_000_000_000,
        message: text("first try"),
    }
}

fn preemptible() -> JobRecord {
    let after = vec![Dependency { job: "extract".parse().expect("a valid sample"), condition: Condition::Failure }];
    JobRecord { tier: Tier::Preemptible, after, input_from: None, ..job(Kind::Batch) }
}

fn run(input: Input) -> RunRecord {
    RunRecord {
        namespace: "team-a".parse().expect("a valid sample"),
        job: "word-count".parse().expect("a valid sample"),
        version: JobVersion(7),
        count: 300,
        args: Some(vec![text("--top"), text("20")]),
        input,
        meta: vec![(text("customer"), text("7"))],
        after: vec![
            RunDependency { upstream: Upstream::Run(RUN), condition: Condition::Failure },
            RunDependency { upstream: Upstream::Item(2), condition: Condition::Success },
        ],
        input_from: Some(1),
        scheduled_ms: Some(1_795_000_000_000),
        submitted_ms: 1_795_000_000_001,
    }
}

fn submissions() -> SubmissionSegment {
    SubmissionSegment {
        runs: vec![
            run(Input::None),
            run(Input::Inline(Box::from(&b"payload"[..]))),
            run(Input::Blob(blob())),
            run(Input::Items(blob())),
        ],
        keys: vec![IdempotencyRecord { key: text("team-a/k1"), fingerprint: u64::MAX, first: 1, count: 3 }],
    }
}

fn entries() -> Vec<Entry> {
    let inline = Captured::Inline(Box::from(&b"42"[..]));
    vec![
        Entry { index: 16, usage: usage(), result: inline, log: Captured::Blob(blob()) },
        Entry { index: 17, usage: usage(), result: Captured::Empty, log: Captured::Empty },
    ]
}

fn exceptions() -> Vec<Exception> {
    let mut second = failure();
    (second.reason, second.source, second.exit_code) = (Reason::NodeLost, Source::Control, None);
    let node = "n1.rack-2".parse().expect("a valid sample");
    vec![
        Exception { index: 17, failures: 2, status: Some(Status::Failed), failure: failure(), node: Some(node) },
        Exception { index: 18, failures: 1, status: None, failure: second, node: None },
    ]
}

fn every_reason() -> impl Iterator<Item = Exception> {
    let sources = [Source::Control, Source::Executor, Source::Guest];
    Reason::ALL.into_iter().zip(sources.into_iter().cycle()).zip(20..).map(|((reason, source), index)| {
        let failure = Failure::new(reason, source, reason.as_str());
        Exception { index, failures: 1, status: Some(Status::Failed), failure, node: None }
    })
}

const fn sum() -> UsageSum {
    UsageSum {
        attempts: 12,
        fuel: Fuel(1 << 40),
        cpu_us: 34,
        wall_us: 56,
        peak_memory_max: MemBytes(1 << 20),
        output_bytes: 78,
    }
}

pub(crate) fn delta() -> Delta {
    let ended =
        Status::ALL.iter().zip(0..).map(|(status, at)| EndedRange { first: at * 10, len: at + 1, status: *status });
    let run = RunDelta {
        run: RUN,
        ended: EndedRanges::pack(ended.collect()),
        exceptions: ExceptionTable::pack(exceptions().into_iter().chain(every_reason()).collect::<Vec<_>>().iter()),
        usage: sum(),
        stop: Some(Reason::Cancelled),
        inline: entries(),
        in_segment: true,
        desired: Some(7),
        target: Some(8),
        pins: vec![Pin { index: 3, node: node_id() }],
        fenced: vec![fenced()],
        unfenced: vec![5, 6],
    };
    Delta { term: Term(5), wall_ms: 1_795_000_000_002, runs: vec![run] }
}

fn fenced() -> Fenced {
    Fenced { index: 4, term: Term(5), grant: GrantSeq(900), node: node_id(), installation: 31, boot: 77 }
}

fn segment_bytes() -> Vec<u8> {
    let mut builder = segment::Builder::default();
    entries().iter().for_each(|entry| builder.push(RUN, entry));
    builder.finish()
}

fn log_records() -> Vec<Record> {
    let record = |stream, at_ms, bytes: &[u8]| Record { stream, at_ms, bytes: bytes.into() };
    vec![
        record(Stream::Stdout, 1, b"out\n"),
        record(Stream::Stderr, 2, b"err\n"),
        record(Stream::Log(Level::Trace), 3, b"t"),
        record(Stream::Log(Level::Debug), 4, b"d"),
        record(Stream::Log(Level::Info), 5, b"i"),
        record(Stream::Log(Level::Warn), 6, b"w"),
        record(Stream::Log(Level::Error), 300, b"e"),
    ]
}

fn log_bytes() -> Vec<u8> {
    let mut bytes = Vec::new();
    log_records().iter().for_each(|record| record.append_to(&mut bytes));
    bytes
}

fn is_segment(bytes: &[u8]) -> bool {
    let Ok(found) = segment::Entries::new(bytes) else { return false };
    let found: Result<Vec<(RunId, Entry)>, _> = found.collect();
    found.is_ok_and(|found| found == entries().into_iter().map(|entry| (RUN, entry)).collect::<Vec<_>>())
}

fn is_items(bytes: &[u8]) -> bool {
    let prefix = items::prefix_len(bytes).ok().and_then(|len| bytes.get(..usize::try_from(len).ok()?));
    let whole = prefix.is_some_and(|prefix| items::check(prefix, bytes.len() as u64) == Ok(3));
    let item = |index| items::get(bytes, index).ok();
    whole && item(0) == Some(b"one") && item(1) == Some(b"") && item(2) == Some(b"three")
}

fn jobs() -> Vec<Case> {
    let cron = |overlap| {
        Kind::Cron(Cron {
            schedule: text("*/5 * * * *"),
            time_zone: text("Europe/Berlin"),
            overlap,
            start_deadline: Duration::from_secs(3600),
        })
    };
    let state = JobState {
        namespace: "team-a".parse().expect("a valid sample"),
        job: "word-count".parse().expect("a valid sample"),
        paused: true,
        cron_through_ms: 1_795_000_000_006,
    };
    let quota = Quota {
        namespace: "team-a".parse().expect("a valid sample"),
        weight: 200,
        cpu: Some(CpuMillis(64_000)),
        memory: Some(MemBytes(1 << 38)),
        running: Some(5000),
    };
    vec![
        document("job_record", job(Kind::Batch)),
        document("job_record_service", job(Kind::Service(Service { healthy_after: Duration::from_secs(5) }))),
        document("job_record_cron_allow", job(cron(Overlap::Allow))),
        document("job_record_cron_forbid", job(cron(Overlap::Forbid))),
        document("job_record_cron_replace", job(cron(Overlap::Replace))),
        document("job_record_system", job(Kind::System)),
        document("job_record_function", job(Kind::Function)),
        document("job_record_preemptible", preemptible()),
        document("job_record_revocable", JobRecord { tier: Tier::Revocable, ..job(Kind::Batch) }),
        document("job_state", state),
        document("quota", quota),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = jobs();
    cases.extend(others());
    cases
}

fn others() -> Vec<Case> {
    let items = items::encode([&b"one"[..], b"", b"three"].into_iter()).expect("a valid sample");
    let plain = |name, bytes, is_sample: fn(&[u8]) -> bool, versioned| Case {
        name,
        bytes,
        is_sample: Box::new(is_sample),
        versioned,
        document: None,
    };
    let is_log = |bytes: &[u8]| log::records(bytes).is_ok_and(|records| records == log_records());
    let meta = RunMeta {
        applied: Seq(88),
        usage: sum(),
        stop: Some(Reason::Cancelled),
        ended_ms: Some(1_795_000_000_003),
        segments: vec![SegmentRef { seq: Seq(80), term: Term(5), first: 3, last: 290 }],
        desired: Some(7),
        target: Some(8),
        pins: vec![Pin { index: 3, node: node_id() }],
    };
    let block = Block {
        applied: Seq(88),
        len: 300,
        states: vec![(290, 1), (9, 0), (1, 2)],
        exceptions: ExceptionTable::pack(exceptions().iter()),
        inline: entries(),
        fenced: vec![fenced()],
    };
    let node = NodeRecord {
        node: "n1.rack-2".parse().expect("a valid sample"),
        installation: 0x1234_5678_9abc_def0,
        incarnation: Incarnation(3),
        first_seen_ms: 1_795_000_000_004,
        cordoned: true,
        drain: Some(Drain {
            since_ms: 1_795_000_000_005,
            deadline: Some(Duration::from_secs(300)),
            ignore_system: true,
            message: text("disk"),
        }),
        gone_ms: Some(5),
        labels: vec![(text("zone"), text("b"))],
    };
    let leader = Leader { http: text("https://c1:4640"), link: text("c1:4641") };
    vec![
        document("submission_segment", submissions()),
        document("delta", delta()),
        document("block", block),
        document("run_meta", meta),
        document("node_record", node),
        document("head", Head { seq: Seq(88) }),
        document("leader", leader),
        document("blob_store", BlobStore { id: text("0f9a") }),
        plain("result_segment", segment_bytes(), is_segment, true),
        plain("items_blob", items, is_items, false),
        plain("log_records", log_bytes(), is_log, false),
    ]
}
