//! What the hash sees of the inputs and outputs of both cores: their wire encoding, or one written here.
//!
//! Messages are not here: their bytes are folded as they are sent and as they arrive.

use weir_agent::{Input as AgentInput, Output as AgentOutput, Part, Payload};
use weir_scheduler::{Input, Output, Reply, Request, RequestError};
use weir_wire::{
    codec::Wire,
    txn::{CommitResult, Txn},
};

fn text(text: &str, out: &mut Vec<u8>) {
    (text.len() as u64).encode(out);
    out.extend_from_slice(text.as_bytes());
}

fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    (bytes.len() as u64).encode(out);
    out.extend_from_slice(bytes);
}

/// An input of a scheduler; what a term begins with is read from the store, whose bytes are folded.
pub(crate) fn control_input(input: &Input, out: &mut Vec<u8>) {
    match input {
        Input::Elected { term, loaded } => {
            out.push(1);
            (*term, loaded.head).encode(out);
        }
        Input::Deposed => out.push(2),
        Input::LeadershipUntil(until) => {
            out.push(3);
            until.0.encode(out);
        }
        Input::CommitDone { seq, result } => {
            out.push(4);
            seq.encode(out);
            commit_result(*result, out);
        }
        Input::Request { id, request: asked } => {
            out.push(5);
            id.0.encode(out);
            request(asked, out);
        }
        Input::NodeConnected { session, .. } => {
            out.push(6);
            session.0.encode(out);
        }
        Input::NodeMessage { session, .. } => {
            out.push(7);
            session.0.encode(out);
        }
        Input::NodeDisconnected { session } => {
            out.push(8);
            session.0.encode(out);
        }
        Input::Tick => out.push(9),
        Input::NextInstant { namespace, job, version, after_ms, at_ms } => {
            out.push(10);
            namespace.encode(out);
            job.encode(out);
            version.encode(out);
            after_ms.encode(out);
            at_ms.encode(out);
        }
        Input::InputAssembled { run, result } => {
            out.push(11);
            run.encode(out);
            match result {
                Ok(blob) => blob.encode(out),
                Err(message) => text(message, out),
            }
        }
    }
}

fn commit_result(result: CommitResult, out: &mut Vec<u8>) {
    match result {
        CommitResult::Committed { revision } => {
            out.push(1);
            revision.encode(out);
        }
        CommitResult::Deposed => out.push(2),
        CommitResult::Gap { head } => {
            out.push(3);
            head.encode(out);
        }
        CommitResult::Unknown => out.push(4),
    }
}

fn request(request: &Request, out: &mut Vec<u8>) {
    match request {
        Request::PutJob(put) => {
            out.push(1);
            put.spec.encode(out);
            put.expected.encode(out);
        }
        Request::Submit(submit) => {
            out.push(2);
            submit.runs.encode(out);
            submit.key.encode(out);
            submit.fingerprint.encode(out);
        }
        Request::Stop { run, index, reason } => {
            out.push(3);
            run.encode(out);
            index.encode(out);
            reason.encode(out);
        }
        Request::Follow { run, index, on } => {
            out.push(4);
            run.encode(out);
            index.encode(out);
            on.encode(out);
        }
        // Nothing in the simulator asks for it.
        Request::Inspect { .. }
        | Request::Scale { .. }
        | Request::Restart { .. }
        | Request::Pause { .. }
        | Request::Cordon { .. }
        | Request::Drain { .. }
        | Request::Label { .. }
        | Request::RemoveNode { .. }
        | Request::SetQuota(_)
        | Request::RemoveQuota(_)
        | Request::ReleaseBrake => operation(request, out),
    }
}

/// What operators ask for.
fn operation(request: &Request, out: &mut Vec<u8>) {
    match request {
        Request::Scale { namespace, job, desired } => {
            out.push(5);
            namespace.encode(out);
            job.encode(out);
            desired.encode(out);
        }
        Request::Restart { namespace, job } => {
            out.push(6);
            namespace.encode(out);
            job.encode(out);
        }
        Request::Pause { namespace, job, on } => {
            out.push(7);
            namespace.encode(out);
            job.encode(out);
            on.encode(out);
        }
        Request::Cordon { node, on } => {
            out.push(8);
            node.encode(out);
            on.encode(out);
        }
        Request::Drain { node, drain } => {
            out.push(9);
            node.encode(out);
            drain.encode(out);
        }
        Request::Label { node, labels } => {
            out.push(10);
            node.encode(out);
            labels.encode(out);
        }
        Request::RemoveNode { node } => {
            out.push(11);
            node.encode(out);
        }
        Request::SetQuota(quota) => {
            out.push(12);
            quota.encode(out);
        }
        Request::RemoveQuota(namespace) => {
            out.push(13);
            namespace.encode(out);
        }
        Request::ReleaseBrake => out.push(14),
        Request::PutJob(_)
        | Request::Submit(_)
        | Request::Stop { .. }
        | Request::Follow { .. }
        | Request::Inspect { .. } => {}
    }
}

/// A transaction and what goes to the blob store before it.
pub(crate) fn commit(txn: &Txn, object: Option<&(String, Vec<u8>)>, out: &mut Vec<u8>) {
    (txn.term, txn.seq).encode(out);
    for (key, value) in &txn.puts {
        text(key, out);
        bytes(value, out);
    }
    for range in &txn.deletes {
        text(&range.start, out);
        text(&range.end, out);
    }
    if let Some((name, content)) = object {
        text(name, out);
        bytes(content, out);
    }
}

/// An output of a scheduler.
pub(crate) fn control_output(output: &Output, out: &mut Vec<u8>) {
    match output {
        Output::Commit { txn, object } => {
            out.push(1);
            commit(txn, object.as_ref(), out);
        }
        Output::Send { session, .. } => {
            out.push(2);
            session.0.encode(out);
        }
        Output::Close { session } => {
            out.push(3);
            session.0.encode(out);
        }
        Output::Reply { id, result } => {
            out.push(4);
            id.0.encode(out);
            match result {
                Ok(answer) => reply(answer, out),
                Err(error) => refusal(error, out),
            }
        }
        Output::Inspected(inspected) => {
            out.push(9);
            inspected.encode(out);
        }
        Output::TaskOutput(output) => {
            out.push(5);
            output.encode(out);
        }
        Output::Changed { revision } => {
            out.push(6);
            revision.encode(out);
        }
        Output::NextInstant { namespace, job, version, schedule, time_zone, after_ms } => {
            out.push(7);
            namespace.encode(out);
            job.encode(out);
            version.encode(out);
            text(schedule, out);
            text(time_zone, out);
            after_ms.encode(out);
        }
        Output::AssembleInput { run, from, items } => {
            out.push(8);
            run.encode(out);
            from.encode(out);
            items.encode(out);
        }
    }
}

fn reply(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Job { version, created } => {
            out.push(1);
            version.encode(out);
            created.encode(out);
        }
        Reply::Runs { runs, repeated } => {
            out.push(2);
            runs.encode(out);
            repeated.encode(out);
        }
        Reply::Stopping => out.push(3),
        Reply::Following(on) => {
            out.push(4);
            on.encode(out);
        }
        Reply::Done => out.push(5),
        Reply::Inspecting => out.push(6),
    }
}

fn refusal(error: &RequestError, out: &mut Vec<u8>) {
    out.push(0xff);
    text(&error.to_string(), out);
}

/// An input of an agent.
pub(crate) fn agent_input(input: &AgentInput, out: &mut Vec<u8>) {
    match input {
        AgentInput::Connected => out.push(1),
        AgentInput::Disconnected => out.push(2),
        AgentInput::Control(_) => out.push(3),
        AgentInput::Sandbox(event) => {
            out.push(4);
            event.encode(out);
        }
        AgentInput::ModuleStored { digest, path } => {
            out.push(5);
            digest.encode(out);
            text(path, out);
        }
        AgentInput::ModuleFailed { digest, message, retry } => {
            out.push(6);
            digest.encode(out);
            text(message, out);
            retry.encode(out);
        }
        AgentInput::PayloadReady { run } => {
            out.push(7);
            run.encode(out);
        }
        AgentInput::PayloadFailed { run, message, retry } => {
            out.push(8);
            run.encode(out);
            text(message, out);
            retry.encode(out);
        }
        AgentInput::BlobUploaded { id, part: which, blob } => {
            out.push(9);
            id.encode(out);
            part(*which, out);
            blob.encode(out);
        }
        AgentInput::BlobUploadFailed { id, part: which, bytes: content, message, retry } => {
            out.push(10);
            id.encode(out);
            part(*which, out);
            bytes(content, out);
            text(message, out);
            retry.encode(out);
        }
        AgentInput::ShuttingDown => out.push(11),
        AgentInput::ShutDownNow => out.push(12),
        AgentInput::Tick => out.push(13),
        AgentInput::Measured(used) => {
            out.push(14);
            used.encode(out);
        }
    }
}

fn part(part: Part, out: &mut Vec<u8>) {
    out.push(match part {
        Part::Result => 1,
        Part::Log => 2,
    });
}

/// An output of an agent.
pub(crate) fn agent_output(output: &AgentOutput, out: &mut Vec<u8>) {
    match output {
        AgentOutput::Send(_) => out.push(1),
        AgentOutput::Sandbox(command) => {
            out.push(2);
            command.encode(out);
        }
        AgentOutput::Start(start) => {
            out.push(3);
            start.id.encode(out);
            start.ordinal.encode(out);
            start.ahead.encode(out);
            match &start.payload {
                Payload::Inline(content) => bytes(content, out),
                Payload::Blob => out.push(0xfe),
                Payload::Item(index) => index.encode(out),
            }
        }
        AgentOutput::FetchModule(digest) => {
            out.push(4);
            digest.encode(out);
        }
        AgentOutput::FetchPayload { run, blob } => {
            out.push(5);
            run.encode(out);
            blob.encode(out);
        }
        AgentOutput::Upload { id, part: which, bytes: content } => {
            out.push(6);
            id.encode(out);
            part(*which, out);
            bytes(content, out);
        }
        AgentOutput::Disconnect(reason) => {
            out.push(7);
            text(&reason.to_string(), out);
        }
        AgentOutput::Exit(reason) => {
            out.push(8);
            text(&reason.to_string(), out);
        }
    }
}
