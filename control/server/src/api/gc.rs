//! Cleaning up in the blob store.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::State, http::HeaderMap, response::Response};
use tokio::sync::OwnedMutexGuard;
use weir_api::{Code, GcReport, GcRequest, Problem, Versioned, routes, units};

use super::{
    Api,
    asked::{self, CHANGE_BYTES_MAX},
    refusal::{RETRY_AFTER_S, Refusal},
    reply::Reply,
};
use crate::garbage::{self, AGE_MIN, Collected, Error};

/// The age from which objects are deleted, where the request names none.
const AGE_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// Deletes objects of the blob store that nothing needs any more: modules without a job, payloads and results of runs
/// that were forgotten, uploads that nothing came of. One request at a time.
#[utoipa::path(post, path = routes::GC, tag = "cluster", request_body = GcRequest,
    responses((status = 200, body = Versioned<GcReport>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn collect(State(api): State<Api>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    let request: GcRequest = asked::json_or_default(&headers, body, CHANGE_BYTES_MAX).await?;
    let min_age = request.min_age.as_deref().map_or(Ok(AGE_DEFAULT), age)?;
    let _alone = alone(&api)?;
    let found = garbage::collect(&api.handle, min_age, request.dry_run).await?;
    let report = report(&found, request.dry_run);
    tracing::info!(
        message = request.message,
        dry_run = request.dry_run,
        deleted.objects = report.deleted_objects,
        deleted.bytes = report.deleted_bytes,
        deleted.partial = report.partial_files,
        "the blob store is clean"
    );
    Ok(Reply::object(report)?.done())
}

/// Has the blob store to itself, until it is dropped.
pub(super) fn alone(api: &Api) -> Result<OwnedMutexGuard<()>, Refusal> {
    Arc::clone(&api.collecting).try_lock_owned().map_err(|_| {
        let busy = "the blob store is being cleaned, or a snapshot of it is being taken";
        Refusal::new(Code::BackPressure, busy).retry_after(RETRY_AFTER_S)
    })
}

fn age(text: &str) -> Result<Duration, Refusal> {
    let least_ms = u64::try_from(AGE_MIN.as_millis()).unwrap_or(u64::MAX);
    let allowed = || Some(format!("a duration of at least {}", units::format_duration_ms(least_ms)));
    let age = units::parse_duration_ms(text)
        .map_err(|error| Refusal::invalid_key("min_age", error.to_string(), allowed()))
        .map(Duration::from_millis)?;
    if age < AGE_MIN {
        let reason = format!("{text} is too short: what is being uploaded is not referred to yet");
        return Err(Refusal::invalid_key("min_age", reason, allowed()));
    }
    Ok(age)
}

fn report(found: &Collected, dry_run: bool) -> GcReport {
    GcReport {
        dry_run,
        deleted_objects: found.deleted.objects,
        deleted_bytes: found.deleted.bytes,
        partial_files: found.partial.files,
        partial_bytes: found.partial.bytes,
        young_objects: found.young.objects,
        young_bytes: found.young.bytes,
        needed_objects: found.needed.objects,
        needed_bytes: found.needed.bytes,
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::Leader(error) => error.into(),
            Error::Blobs(error) => error.into(),
            Error::TooEarly => Self::new(Code::BackPressure, detail).retry_after(garbage::LED_MIN_S),
            Error::Segment { .. } => {
                tracing::error!(%error, "the blob store is damaged");
                Self::new(Code::BlobStore, format!("{detail}; nothing was deleted"))
            }
        }
    }
}
