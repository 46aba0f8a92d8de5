//! Submissions: one run, or many in one request.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use sha2::{Digest as _, Sha256};
use weir_api::{
    BATCH_ITEMS_MAX, BatchItem, BatchRequest, BatchResult, Payload, Problem, Run, RunRequest, Versioned, routes,
};
use weir_scheduler::{Reply as Done, Request, Submit, limits};
use weir_wire::{
    id::{Namespace, RunId},
    work::RunRecord,
};

use super::{
    Api,
    asked::{self, Segments},
    refusal::Refusal,
    reply::Reply,
    resolve::Resolver,
    show,
};

/// Longest body of one submission, bytes: an inline payload in base64 and room for the rest.
pub(super) const RUN_BYTES_MAX: usize = 256 << 10;
/// Longest body of a batch, bytes.
const BATCH_BYTES_MAX: usize = 32 << 20;
/// A batch is committed in parts of about this many bytes of payload: a part has to fit one transaction.
const PART_BYTES_TARGET: usize = 384 << 10;
/// What a submission takes in a transaction besides its payload, bytes.
const ITEM_BYTES: usize = 256;

/// Starts a run of a job.
#[utoipa::path(post, path = routes::RUNS, tag = "runs", request_body = RunRequest,
    params(("ns" = String, Path, description = "The namespace"), ("Idempotency-Key" = Option<String>, Header, description = "Makes the request repeatable")),
    responses((status = 200, description = "An earlier request with the same key started it", body = Versioned<Run>),
        (status = 201, description = "It was started", body = Versioned<Run>),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn one(
    State(api): State<Api>,
    Segments(ns): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let namespace = asked::namespace(&ns)?;
    let key = asked::idempotency_key(&headers, &namespace)?;
    let request: RunRequest = asked::json(&headers, body, RUN_BYTES_MAX).await?;
    let (record, _) = Resolver::new(&api, &namespace).record(&request).await?;
    let fingerprint = fingerprint(&namespace, &request, &[])?;
    let submit = Submit { runs: vec![record], key, fingerprint };
    let (ids, repeated) = submitted(&api, submit).await?;
    let (revision, mut runs) = shown(&api, ids).await?;
    let run = runs.pop().flatten().ok_or_else(|| Refusal::internal("read a new run", &"it is gone"))?;
    tracing::info!(
        run.id = run.id,
        job.name = run.job,
        run.count = run.count,
        run.message = request.message.as_deref(),
        repeated,
        "a run was submitted"
    );
    let location = routes::run(&ns, &run.id);
    Ok(Reply::object(run)?
        .status(if repeated { StatusCode::OK } else { StatusCode::CREATED })
        .revision(revision)
        .header(header::LOCATION, &location)
        .done())
}

/// Starts many runs; each succeeds or fails on its own, and all of them share one idempotency key.
#[utoipa::path(post, path = routes::RUNS_BATCH, tag = "runs", request_body = BatchRequest,
    params(("ns" = String, Path, description = "The namespace"), ("Idempotency-Key" = Option<String>, Header, description = "Makes the request repeatable")),
    responses((status = 200, description = "A result for each item", body = Versioned<BatchResult>),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn batch(
    State(api): State<Api>,
    Segments(ns): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let namespace = asked::namespace(&ns)?;
    let key = asked::idempotency_key(&headers, &namespace)?;
    let request: BatchRequest = asked::json(&headers, body, BATCH_BYTES_MAX).await?;
    if request.items.is_empty() || request.items.len() > BATCH_ITEMS_MAX {
        let allowed = Some(format!("1 to {BATCH_ITEMS_MAX} items"));
        let reason = format!("has {} items", request.items.len());
        return Err(Refusal::invalid_key("items", reason, allowed));
    }
    let mut resolver = Resolver::new(&api, &namespace);
    let mut outcomes = Vec::with_capacity(request.items.len());
    for (number, part) in parts(&request.items).into_iter().enumerate() {
        let key = key.as_ref().map(|key| format!("{key}#{number}"));
        match submit_part(&api, &namespace, &mut resolver, part, key).await {
            Ok(part) => outcomes.extend(part),
            // Nothing was started yet, so the whole request can be refused.
            Err(refusal) if !outcomes.iter().any(Result::is_ok) => return Err(refusal),
            Err(refusal) => outcomes.extend(part.iter().map(|_| Err(refusal.clone()))),
        }
    }
    let started: Vec<RunId> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok().copied()).collect();
    tracing::info!(batch.items = outcomes.len(), batch.started = started.len(), "a batch was submitted");
    let (revision, runs) = shown(&api, started).await?;
    let mut runs = runs.into_iter();
    let mut item = |outcome: Result<RunId, Refusal>| match outcome.map(|_| runs.next().flatten()) {
        Ok(Some(run)) => BatchItem::Run(Box::new(run)),
        Ok(None) => BatchItem::Error(*Refusal::internal("read a new run", &"it is gone").problem),
        Err(refusal) => BatchItem::Error(*refusal.problem),
    };
    let items = outcomes.into_iter().map(&mut item).collect();
    Ok(Reply::object(BatchResult { items })?.revision(revision).done())
}

/// Cuts a batch into what fits one transaction each; the same batch is always cut alike, so that its key holds.
fn parts(items: &[RunRequest]) -> Vec<&[RunRequest]> {
    let size = |item: &RunRequest| match &item.payload {
        Some(Payload::Base64(text)) => text.len() / 4 * 3 + ITEM_BYTES,
        Some(Payload::Blob(_)) | None => ITEM_BYTES,
    };
    let mut parts = Vec::new();
    let (mut first, mut bytes) = (0, 0);
    for (at, item) in items.iter().enumerate() {
        let size = size(item);
        if at > first && (bytes + size > PART_BYTES_TARGET || at - first >= limits::SUBMISSION_ITEMS_MAX) {
            parts.push(&items[first..at]);
            (first, bytes) = (at, 0);
        }
        bytes += size;
    }
    parts.push(&items[first..]);
    parts
}

/// Submits those items of a part that are valid.
async fn submit_part(
    api: &Api,
    namespace: &Namespace,
    resolver: &mut Resolver<'_>,
    part: &[RunRequest],
    key: Option<String>,
) -> Result<Vec<Result<RunId, Refusal>>, Refusal> {
    let mut outcomes: Vec<Result<(), Refusal>> = Vec::with_capacity(part.len());
    let mut runs: Vec<RunRecord> = Vec::with_capacity(part.len());
    for item in part {
        let outcome = resolver.record(item).await;
        outcomes.push(outcome.map(|(record, _)| {
            resolver.submits(&record.job, runs.len());
            runs.push(record);
        }));
    }
    if runs.is_empty() {
        return Ok(outcomes.into_iter().map(|outcome| outcome.map(|()| RunId(0))).collect());
    }
    // What is valid may change, for example when a blob arrives: the key then no longer stands for the same request.
    let valid: Vec<u8> = outcomes.iter().map(|outcome| u8::from(outcome.is_ok())).collect();
    let fingerprint = fingerprint(namespace, &part, &valid)?;
    let submitted = submitted(api, Submit { runs, key, fingerprint }).await;
    resolver.submitted(submitted.as_ref().map_or(&[], |(ids, _)| ids));
    let mut ids = submitted?.0.into_iter();
    let take = |outcome: Result<(), Refusal>| {
        outcome.and_then(|()| ids.next().ok_or_else(|| Refusal::internal("start a run", &"fewer ids than runs")))
    };
    Ok(outcomes.into_iter().map(take).collect())
}

pub(super) async fn submitted(api: &Api, submit: Submit) -> Result<(Vec<RunId>, bool), Refusal> {
    match api.request(Request::Submit(submit)).await? {
        Done::Runs { runs, repeated } => Ok((runs, repeated)),
        other @ (Done::Job { .. } | Done::Stopping | Done::Following(_) | Done::Inspecting | Done::Done) => {
            Err(Refusal::internal("start a run", &format!("{other:?} came back")))
        }
    }
}

async fn shown(api: &Api, ids: Vec<RunId>) -> Result<(u64, Vec<Option<Run>>), Refusal> {
    api.ask(move |scheduler, _| {
        let show = |id: &RunId| scheduler.run(*id).map(|view| show::run::run(scheduler, &view));
        (scheduler.revision(), ids.iter().map(show).collect())
    })
    .await
}

/// Tells a repeated request from a re-used key: a hash of what was asked for, however it was written.
pub(super) fn fingerprint(
    namespace: &Namespace,
    request: &impl serde::Serialize,
    valid: &[u8],
) -> Result<u64, Refusal> {
    let request = serde_json::to_vec(request).map_err(|error| Refusal::internal("hash the request", &error))?;
    let mut hash = Sha256::new();
    for field in [namespace.as_str().as_bytes(), &request, valid] {
        hash.update((field.len() as u64).to_le_bytes());
        hash.update(field);
    }
    let digest: [u8; 32] = hash.finalize().into();
    Ok(u64::from_le_bytes(*digest.first_chunk().unwrap_or(&[0; 8])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(payload_len: usize) -> RunRequest {
        RunRequest {
            payload: (payload_len > 0).then(|| Payload::inline(&vec![7; payload_len])),
            ..RunRequest::default()
        }
    }

    #[test]
    fn parts_fit_a_transaction_and_lose_nothing() {
        for (items, expected) in [
            (vec![item(0)], 1),
            (vec![item(0); limits::SUBMISSION_ITEMS_MAX], 1),
            (vec![item(0); limits::SUBMISSION_ITEMS_MAX + 1], 2),
            (vec![item(64 << 10); 12], 3),
            (vec![item(64 << 10), item(0)], 1),
        ] {
            let parts = parts(&items);
            assert_eq!(parts.len(), expected);
            assert_eq!(parts.concat(), items);
        }
    }

    #[test]
    fn fingerprints_tell_requests_apart() {
        let namespace = |text: &str| text.parse::<Namespace>().unwrap();
        let base = fingerprint(&namespace("a"), &item(3), &[]).unwrap();
        assert_eq!(base, fingerprint(&namespace("a"), &item(3), &[]).unwrap());
        assert_ne!(base, fingerprint(&namespace("b"), &item(3), &[]).unwrap());
        assert_ne!(base, fingerprint(&namespace("a"), &item(4), &[]).unwrap());
        assert_ne!(base, fingerprint(&namespace("a"), &item(3), &[1]).unwrap());
    }
}
