//! Every variant of what is sent or stored names a sample that holds it. A new variant does not compile until it does.

use std::collections::BTreeSet;

use weir_wire::{
    attempt::{AttemptEvent, Command},
    codec::Document,
    inspect::Seen,
    kind::{Condition, Kind, Overlap, Tier, Upstream},
    log::{self, Level, Stream},
    message::{BlobReply, BlobRequest, RefuseCode, ToControl, ToExecutor},
    outcome::{Captured, Failure},
    placement::{Comparison, Operator},
    record::{Delta, RunDelta, SubmissionSegment},
    task::{Reason, Source, Status},
    work::{Input, JobRecord, RunRecord},
};

/// A variant, and the file that has to hold it.
type Held = (&'static str, &'static str);

type Find = Box<dyn Fn(&[u8]) -> Vec<Held>>;

/// An enumeration of the format.
pub(crate) struct Enumeration {
    /// Its name in the source.
    pub(crate) name: &'static str,
    /// What its variants name.
    promised: BTreeSet<Held>,
    /// What the bytes of a sample hold.
    held: Find,
}

impl Enumeration {
    /// Variants that are not in the sample which they name.
    pub(crate) fn missing(&self, bytes_of: impl Fn(&str) -> Vec<u8>) -> Vec<Held> {
        let in_sample = |(file, variant): &&Held| (self.held)(&bytes_of(file)).contains(&(*file, *variant));
        self.promised.iter().filter(|held| !in_sample(held)).copied().collect()
    }
}

/// Names for each variant of an enumeration the sample that holds it, and says how the values are found in its bytes.
macro_rules! variants {
    ($name:ident, $read:expr, { $($file:literal: [$($variant:pat_param),+ $(,)?]),+ $(,)? }) => {{
        let promised = BTreeSet::from([$($(($file, stringify!($variant))),+),+]);
        let held = |value: &$name| match value { $($($variant => ($file, stringify!($variant)),)+)+ };
        let read: fn(&[u8]) -> Vec<$name> = $read;
        Enumeration { name: stringify!($name), promised, held: Box::new(move |bytes| read(bytes).iter().map(held).collect()) }
    }};
}

fn read<T: Document>(bytes: &[u8]) -> Vec<T> {
    vec![T::from_bytes(bytes).expect("a sample that names this document")]
}

fn jobs<T>(bytes: &[u8], parts: impl Fn(JobRecord) -> Vec<T>) -> Vec<T> {
    read(bytes).into_iter().flat_map(parts).collect()
}

fn submitted<T>(bytes: &[u8], parts: impl Fn(&RunRecord) -> Vec<T>) -> Vec<T> {
    read(bytes).iter().flat_map(|segment: &SubmissionSegment| &segment.runs).flat_map(parts).collect()
}

fn runs_ended<T>(bytes: &[u8], parts: impl Fn(&RunDelta) -> Vec<T>) -> Vec<T> {
    read(bytes).iter().flat_map(|delta: &Delta| &delta.runs).flat_map(parts).collect()
}

fn failures(bytes: &[u8]) -> Vec<Failure> {
    runs_ended(bytes, |run| run.exceptions.iter().map(|exception| exception.failure).collect())
}

fn streams(bytes: &[u8]) -> Vec<Stream> {
    log::records(bytes).expect("the sample of a log").iter().map(|record| record.stream).collect()
}

fn operators(bytes: &[u8]) -> Vec<Operator> {
    jobs(bytes, |job| job.placement.constraints.iter().map(|constraint| constraint.operator).collect())
}

pub(crate) fn enumerations() -> Vec<Enumeration> {
    let mut all = messages();
    all.extend(inside_messages());
    all.extend(sandbox());
    all.extend(jobs_stored());
    all.extend(placements());
    all.extend(tasks_stored());
    all
}

fn messages() -> Vec<Enumeration> {
    let to_executor = variants!(ToExecutor, read, {
        "to_executor_welcome": [ToExecutor::Welcome(_)],
        "to_executor_refuse_not_leader": [ToExecutor::Refuse(_)],
        "to_executor_define": [ToExecutor::Define(_)],
        "to_executor_grant": [ToExecutor::Grant(_)],
        "to_executor_stop": [ToExecutor::Stop(_)],
        "to_executor_ack": [ToExecutor::Ack(_)],
        "to_executor_renewed": [ToExecutor::Renewed(_)],
        "to_executor_forget": [ToExecutor::Forget(_)],
        "to_executor_present": [ToExecutor::Present],
        "to_executor_follow": [ToExecutor::Follow(_)],
        "to_executor_define_more": [ToExecutor::DefineMore(_)],
        "to_executor_inspect": [ToExecutor::Inspect(_)],
    });
    let to_control = variants!(ToControl, read, {
        "to_control_hello": [ToControl::Hello(_)],
        "to_control_state": [ToControl::State(_)],
        "to_control_report": [ToControl::Report(_)],
        "to_control_renew": [ToControl::Renew(_)],
        "to_control_output_stdout": [ToControl::Output(_)],
        "to_control_draining": [ToControl::Draining],
        "to_control_inspected_moment": [ToControl::Inspected(_)],
        "to_control_speed": [ToControl::Speed(_)],
    });
    vec![to_executor, to_control]
}

fn inside_messages() -> Vec<Enumeration> {
    let refuse_code = |bytes: &[u8]| match ToExecutor::from_bytes(bytes) {
        Ok(ToExecutor::Refuse(refuse)) => vec![refuse.code],
        other => panic!("a refusal is no {other:?}"),
    };
    let seen = |bytes: &[u8]| match ToControl::from_bytes(bytes) {
        Ok(ToControl::Inspected(inspected)) => vec![inspected.seen],
        other => panic!("what was seen is no {other:?}"),
    };
    vec![
        variants!(RefuseCode, refuse_code, {
            "to_executor_refuse_not_leader": [RefuseCode::NotLeader],
            "to_executor_refuse_wire_version": [RefuseCode::WireVersion],
            "to_executor_refuse_cluster": [RefuseCode::Cluster],
            "to_executor_refuse_superseded": [RefuseCode::Superseded],
            "to_executor_refuse_identity": [RefuseCode::Identity],
            "to_executor_refuse_malformed": [RefuseCode::Malformed],
        }),
        variants!(Seen, seen, {
            "to_control_inspected_moment": [Seen::Moment(_)],
            "to_control_inspected_profile": [Seen::Profile(_)],
            "to_control_inspected_nothing": [Seen::Nothing(_)],
        }),
        variants!(BlobRequest, read, {
            "blob_request_get": [BlobRequest::Get(_)],
            "blob_request_put": [BlobRequest::Put(_)],
        }),
        variants!(BlobReply, read, {
            "blob_reply_ok": [BlobReply::Ok(_)],
            "blob_reply_not_found": [BlobReply::NotFound],
            "blob_reply_failed": [BlobReply::Failed(_)],
            "blob_reply_forbidden": [BlobReply::Forbidden(_)],
        }),
    ]
}

fn sandbox() -> Vec<Enumeration> {
    let command = variants!(Command, read, {
        "command_define": [Command::Define(_)],
        "command_forget": [Command::Forget(_)],
        "command_prepare": [Command::Prepare(_)],
        "command_start": [Command::Start(_)],
        "command_cancel": [Command::Cancel(_)],
        "command_follow": [Command::Follow(_)],
        "command_throttle": [Command::Throttle(_)],
        "command_lease": [Command::Lease(_)],
        "command_inspect": [Command::Inspect(_)],
        "command_settle": [Command::Settle(_)],
    });
    let event = variants!(AttemptEvent, read, {
        "attempt_event_module": [AttemptEvent::Module(_)],
        "attempt_event_output": [AttemptEvent::Output(_)],
        "attempt_event_progress": [AttemptEvent::Progress(_)],
        "attempt_event_ended": [AttemptEvent::Ended(_)],
        "attempt_event_seen": [AttemptEvent::Seen(_)],
        "attempt_event_settled": [AttemptEvent::Settled(_)],
    });
    vec![command, event]
}

fn jobs_stored() -> Vec<Enumeration> {
    let overlap =
        |bytes: &[u8]| jobs(bytes, |job| if let Kind::Cron(cron) = job.kind { vec![cron.overlap] } else { Vec::new() });
    vec![
        variants!(Kind, |bytes| jobs(bytes, |job| vec![job.kind]), {
            "job_record": [Kind::Batch],
            "job_record_service": [Kind::Service(_)],
            "job_record_cron_allow": [Kind::Cron(_)],
            "job_record_system": [Kind::System],
            "job_record_function": [Kind::Function],
        }),
        variants!(Overlap, overlap, {
            "job_record_cron_allow": [Overlap::Allow],
            "job_record_cron_forbid": [Overlap::Forbid],
            "job_record_cron_replace": [Overlap::Replace],
        }),
        variants!(Tier, |bytes| jobs(bytes, |job| vec![job.tier]), {
            "job_record": [Tier::Production],
            "job_record_preemptible": [Tier::Preemptible],
            "job_record_revocable": [Tier::Revocable],
        }),
        variants!(Condition, |bytes| jobs(bytes, |job| job.after.iter().map(|after| after.condition).collect()), {
            "job_record": [Condition::Success, Condition::Any],
            "job_record_preemptible": [Condition::Failure],
        }),
    ]
}

fn placements() -> Vec<Enumeration> {
    let comparison = |bytes: &[u8]| {
        let versions = operators(bytes)
            .into_iter()
            .filter_map(|operator| if let Operator::Version(comparison) = operator { Some(comparison) } else { None });
        versions.collect()
    };
    vec![
        variants!(Operator, operators, {
            "job_record": [
                Operator::Equal, Operator::NotEqual, Operator::In, Operator::NotIn, Operator::Matches,
                Operator::Version(_), Operator::Exists, Operator::NotExists,
            ],
        }),
        variants!(Comparison, comparison, {
            "job_record": [
                Comparison::Equal, Comparison::NotEqual, Comparison::Less, Comparison::LessOrEqual,
                Comparison::Greater, Comparison::GreaterOrEqual,
            ],
        }),
    ]
}

fn tasks_stored() -> Vec<Enumeration> {
    let upstream =
        |bytes: &[u8]| submitted(bytes, |run| run.after.iter().map(|dependency| dependency.upstream).collect());
    let captured = |bytes: &[u8]| {
        runs_ended(bytes, |run| run.inline.iter().flat_map(|entry| [entry.result.clone(), entry.log.clone()]).collect())
    };
    let level = |bytes: &[u8]| {
        let levels = streams(bytes).into_iter();
        levels.filter_map(|stream| if let Stream::Log(level) = stream { Some(level) } else { None }).collect()
    };
    vec![
        variants!(Input, |bytes| submitted(bytes, |run| vec![run.input.clone()]), {
            "submission_segment": [Input::None, Input::Inline(_), Input::Blob(_), Input::Items(_)],
        }),
        variants!(Upstream, upstream, { "submission_segment": [Upstream::Run(_), Upstream::Item(_)] }),
        variants!(Captured, captured, {
            "delta": [Captured::Empty, Captured::Inline(_), Captured::Blob(_)],
        }),
        variants!(Status, |bytes| runs_ended(bytes, |run| run.ended.iter().map(|range| range.status).collect()), {
            "delta": [Status::Succeeded, Status::Failed, Status::Killed, Status::Lost, Status::Rejected],
        }),
        variants!(Source, |bytes| failures(bytes).iter().map(|failure| failure.source).collect(), {
            "delta": [Source::Control, Source::Executor, Source::Guest],
        }),
        variants!(Reason, |bytes| failures(bytes).iter().map(|failure| failure.reason).collect(), {
            "delta": [
                Reason::ExitNonzero, Reason::Trap, Reason::FuelExhausted, Reason::MemoryLimit, Reason::TableLimit,
                Reason::StackOverflow, Reason::WallTimeout, Reason::OutputLimit, Reason::ModuleInvalid,
                Reason::CapabilityDenied, Reason::StartDeadline, Reason::Preempted, Reason::Drained, Reason::NodeLost,
                Reason::ExecutorRestarted, Reason::HostError, Reason::Cancelled, Reason::DependencyFailed,
            ],
        }),
        variants!(Stream, streams, { "log_records": [Stream::Stdout, Stream::Stderr, Stream::Log(_)] }),
        variants!(Level, level, {
            "log_records": [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error],
        }),
    ]
}
