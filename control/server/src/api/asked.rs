//! What a request says, read with problems in place of axum's plain texts.

use std::{str::FromStr, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequestParts, Path, Query},
    http::{HeaderMap, request::Parts},
};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use weir_api::{Code, LIMIT_DEFAULT, LIMIT_MAX, routes, units};
use weir_wire::id::{Digest, JobName, Namespace, NodeId, RunId};

use super::refusal::Refusal;

/// The longest silence inside a body.
pub(super) const BODY_IDLE_MAX: Duration = Duration::from_secs(30);
/// Longest body of a change to something that exists, bytes.
pub(super) const CHANGE_BYTES_MAX: usize = 64 << 10;
/// The longest idempotency key, bytes.
const IDEMPOTENCY_KEY_LEN_MAX: usize = 128;

/// The segments of the path.
pub(super) struct Segments<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(error) => Err(Refusal::invalid(format!("the path: {}", error.body_text()))),
        }
    }
}

/// The query.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(error) => Err(Refusal::invalid(format!("the query: {}", error.body_text()))),
        }
    }
}

/// Reads a JSON body of at most `len_max` bytes.
pub(super) async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body, len_max: usize) -> Result<T, Refusal> {
    let bytes = bytes(headers, body, len_max).await?;
    serde_json::from_slice(&bytes).map_err(|error| Refusal::invalid(format!("the body: {error}")))
}

/// Reads a JSON body that may be left out.
pub(super) async fn json_or_default<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    body: Body,
    len_max: usize,
) -> Result<T, Refusal> {
    let bytes = bytes(headers, body, len_max).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| Refusal::invalid(format!("the body: {error}")))
}

/// Reads a body of at most `len_max` bytes into memory.
pub(super) async fn bytes(headers: &HeaderMap, body: Body, len_max: usize) -> Result<Vec<u8>, Refusal> {
    check_length(headers, len_max as u64)?;
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    loop {
        match tokio::time::timeout(BODY_IDLE_MAX, stream.next()).await {
            Ok(None) => return Ok(bytes),
            Ok(Some(Ok(chunk))) if bytes.len() + chunk.len() > len_max => return Err(too_large(len_max as u64)),
            Ok(Some(Ok(chunk))) => bytes.extend_from_slice(&chunk),
            Ok(Some(Err(error))) => return Err(Refusal::invalid(format!("the body broke off: {error}"))),
            Err(_) => return Err(Refusal::invalid("the body broke off: nothing came for too long")),
        }
    }
}

/// Refuses a body by its announced length, before any of it is read.
pub(super) fn check_length(headers: &HeaderMap, len_max: u64) -> Result<Option<u64>, Refusal> {
    let length = headers
        .get(axum::http::header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse::<u64>().ok());
    match length {
        Some(length) if length > len_max => Err(too_large(len_max)),
        length => Ok(length),
    }
}

pub(super) fn too_large(len_max: u64) -> Refusal {
    Refusal::new(Code::TooLarge, format!("the body is larger than {}", units::format_size(len_max)))
}

pub(super) fn namespace(text: &str) -> Result<Namespace, Refusal> {
    name(text, "namespace")
}

pub(super) fn job_name(text: &str) -> Result<JobName, Refusal> {
    name(text, "job")
}

pub(super) fn node_id(text: &str) -> Result<NodeId, Refusal> {
    name(text, "node")
}

pub(super) fn run_id(text: &str) -> Result<RunId, Refusal> {
    name(text, "run")
}

pub(super) fn digest(text: &str) -> Result<Digest, Refusal> {
    name(text, "digest")
}

pub(super) fn index(text: &str) -> Result<u32, Refusal> {
    text.parse()
        .map_err(|_| Refusal::invalid_key("index", format!("`{}` is not a task's index", text.escape_debug()), None))
}

fn name<T: FromStr<Err: std::fmt::Display>>(text: &str, key: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error: T::Err| Refusal::invalid_key(key, error.to_string(), None))
}

/// The limit of a page.
pub(super) fn limit(limit: Option<u32>) -> Result<usize, Refusal> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let allowed = format!("1 to {LIMIT_MAX}");
        return Err(Refusal::invalid_key("limit", format!("{limit} is out of range"), Some(allowed)));
    }
    usize::try_from(limit).map_err(|error| Refusal::internal("read the limit", &error))
}

/// The cursor of a page, which is a number in lists that are not sorted by name.
pub(super) fn cursor<T: FromStr>(cursor: Option<&str>) -> Result<Option<T>, Refusal> {
    let wrong = |_| Refusal::invalid_key("cursor", "not the `next` of a page of this list", None);
    cursor.map(|cursor| cursor.parse().map_err(wrong)).transpose()
}

/// The idempotency key, behind its namespace.
pub(super) fn idempotency_key(headers: &HeaderMap, namespace: &Namespace) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get(routes::IDEMPOTENCY_HEADER) else {
        return Ok(None);
    };
    let allowed = || Some(format!("1 to {IDEMPOTENCY_KEY_LEN_MAX} visible ASCII characters"));
    match value.to_str() {
        Ok(key) if (1..=IDEMPOTENCY_KEY_LEN_MAX).contains(&key.len()) => Ok(Some(format!("{namespace}/{key}"))),
        Ok(_) | Err(_) => Err(Refusal::invalid_key(routes::IDEMPOTENCY_HEADER, "not an idempotency key", allowed())),
    }
}

/// The version that a write expects.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(value) = headers.get(routes::IF_MATCH_HEADER) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("");
    let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let wrong = |_| {
        let allowed = Some("a quoted number; \"0\" for a job that must not exist".to_owned());
        Refusal::invalid_key(routes::IF_MATCH_HEADER, "not a job's version", allowed)
    };
    number.parse().map(Some).map_err(wrong)
}
