//! Why a request is refused, and what the client sees of it.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use weir_api::{Code, Detail, Problem, Versioned, routes, spec::Invalid};
use weir_scheduler::RequestError;

/// The `Retry-After` of refusals that pass by themselves, seconds.
pub(super) const RETRY_AFTER_S: u32 = 1;

/// A problem on its way to the client.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) problem: Box<Problem>,
    pub(super) retry_after_s: Option<u32>,
}

impl Refusal {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { problem: Box::new(Problem::new(code, detail)), retry_after_s: None }
    }

    /// What it tells.
    pub(super) fn detail(&self) -> &str {
        &self.problem.detail
    }

    /// The request itself is malformed.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, detail)
    }

    /// One key of the body, path or query is malformed.
    pub(super) fn invalid_key(path: &str, reason: impl Into<String>, allowed: Option<String>) -> Self {
        let reason = reason.into();
        let mut refusal = Self::invalid(format!("{path}: {reason}"));
        refusal.problem.details = vec![Detail { path: path.to_owned(), reason, allowed }];
        refusal
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Code::NotFound, detail)
    }

    /// A defect of ours: the details go to the log, not to the client.
    pub(super) fn internal(what: &'static str, error: &dyn std::fmt::Display) -> Self {
        tracing::error!(what, %error, "a request failed");
        Self::new(Code::Internal, format!("failed to {what}; the control plane's log has more"))
    }

    #[must_use]
    pub(super) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    #[must_use]
    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.problem.status = status.as_u16();
        self
    }
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        let detail = error.to_string();
        match error {
            RequestError::NotLeader => Self::new(Code::NoLeader, detail).retry_after(RETRY_AFTER_S),
            RequestError::Interrupted => {
                Self::new(Code::NoLeader, format!("{detail}; repeating it with the same idempotency key is safe"))
                    .retry_after(RETRY_AFTER_S)
            }
            RequestError::NoSuchJob { job, version } if version.0 == 0 => {
                Self::not_found(format!("there is no job `{job}`"))
            }
            RequestError::NoSuchJob { job, version } => {
                Self::not_found(format!("job `{job}` has no version {version}"))
            }
            RequestError::NoSuchRun
            | RequestError::NoSuchTask { .. }
            | RequestError::UnknownJob(_)
            | RequestError::NoSuchNode(_) => Self::not_found(detail),
            RequestError::VersionConflict { .. } | RequestError::Conflict(_) => Self::new(Code::Conflict, detail),
            RequestError::KeyReused => Self::new(Code::IdempotencyMismatch, detail),
            RequestError::QueueFull { .. } => {
                // The scheduler does not know the names of settings.
                let detail = format!("{detail} (`open_tasks_max` of weir-control)");
                Self::new(Code::BackPressure, detail).retry_after(RETRY_AFTER_S)
            }
            RequestError::Busy(_) => Self::new(Code::BackPressure, detail).retry_after(RETRY_AFTER_S),
            RequestError::Limit(_) | RequestError::Invalid(_) => Self::invalid(detail),
            RequestError::InvalidSpec(_) => Self::new(Code::InvalidSpec, detail),
            RequestError::Quota(_) => Self::new(Code::QuotaExceeded, detail),
        }
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self { problem: Box::new(Problem::from(&invalid)), retry_after_s: None }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // A problem is strings and numbers, which always encode.
        let body = serde_json::to_vec(&Versioned::from(*self.problem)).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(routes::PROBLEM_TYPE));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"weir\""));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use weir_wire::id::JobVersion;

    use super::*;
    use crate::blobs::BlobError;

    #[test]
    fn failures_have_their_code_and_say_when_to_try_again() {
        let version = JobVersion;
        let job = || "j".parse().unwrap();
        let blob = |error| Refusal::from(error);
        for (refusal, status, code, again) in [
            (RequestError::NotLeader.into(), 503, Code::NoLeader, true),
            (RequestError::Interrupted.into(), 503, Code::NoLeader, true),
            (RequestError::NoSuchJob { job: job(), version: version(2) }.into(), 404, Code::NotFound, false),
            (RequestError::NoSuchRun.into(), 404, Code::NotFound, false),
            (RequestError::NoSuchTask { index: 3, count: 2 }.into(), 404, Code::NotFound, false),
            (
                RequestError::VersionConflict { newest: version(2), expected: version(1) }.into(),
                409,
                Code::Conflict,
                false,
            ),
            (RequestError::KeyReused.into(), 409, Code::IdempotencyMismatch, false),
            (RequestError::Busy("full").into(), 429, Code::BackPressure, true),
            (RequestError::QueueFull { open: 1, asked: 2, max: 2 }.into(), 429, Code::BackPressure, true),
            (RequestError::Limit("big").into(), 400, Code::InvalidRequest, false),
            (RequestError::InvalidSpec("circle".to_owned()).into(), 422, Code::InvalidSpec, false),
            (blob(BlobError::Full), 507, Code::BlobStore, true),
            (blob(BlobError::Failed("io".to_owned())), 507, Code::BlobStore, true),
            (blob(BlobError::TooLong { max: 5 }), 413, Code::TooLarge, false),
            (blob(BlobError::Source("reset".to_owned())), 400, Code::InvalidRequest, false),
        ] {
            assert_eq!((refusal.problem.status, refusal.problem.code), (status, code));
            let response = refusal.into_response();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), again, "{code:?}");
        }
    }
}
