//! Payloads and items, and what the blob store's failures mean to clients.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use futures_util::{Stream, StreamExt as _, stream};
use weir_api::{Blob, Code, Problem, Versioned, routes};
use weir_wire::limits;

use super::{
    Api,
    asked::{self, BODY_IDLE_MAX, Segments},
    refusal::Refusal,
    reply::Reply,
};
use crate::blobs::BlobError;

/// The `Retry-After` when the blob store failed, seconds.
const BLOB_RETRY_AFTER_S: u32 = 30;

/// Stores a payload or items file; it is verified against the digest on its way.
#[utoipa::path(put, path = routes::BLOB, tag = "modules", params(("digest" = String, Path, description = "`sha256:` and 64 hexadecimal digits")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, description = "It was there", body = Versioned<Blob>), (status = 201, description = "It was stored", body = Versioned<Blob>),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn put(
    State(api): State<Api>,
    Segments(digest): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let digest = asked::digest(&digest)?;
    asked::check_length(&headers, limits::BLOB_LEN_MAX)?;
    let stored = api.handle.blobs().put(&digest, limits::BLOB_LEN_MAX, content(body)).await?;
    let status = if stored.created { StatusCode::CREATED } else { StatusCode::OK };
    let blob = Blob { digest: digest.to_string(), size: stored.len };
    Ok(Reply::object(blob)?.status(status).done())
}

/// A body that breaks off, or in which nothing comes for too long, ends in an error.
fn content(body: Body) -> impl Stream<Item = Result<bytes::Bytes, String>> + Send {
    stream::unfold(Some(body.into_data_stream()), |data| async {
        let mut data = data?;
        match tokio::time::timeout(BODY_IDLE_MAX, data.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(part))) => Some((Ok(part), Some(data))),
            Ok(Some(Err(error))) => Some((Err(error.to_string()), None)),
            Err(_) => Some((Err("nothing came for too long".to_owned()), None)),
        }
    })
}

impl From<BlobError> for Refusal {
    fn from(error: BlobError) -> Self {
        let detail = error.to_string();
        match error {
            BlobError::Full => {
                tracing::error!("the blob store is full");
                Self::new(Code::BlobStore, detail).retry_after(BLOB_RETRY_AFTER_S)
            }
            BlobError::Digest { .. } => Self::new(Code::DigestMismatch, detail),
            BlobError::TooLong { max } => asked::too_large(max),
            BlobError::Source(_) => Self::invalid(detail),
            BlobError::Failed(_) => {
                tracing::error!(%error, "the blob store failed");
                Self::new(Code::BlobStore, detail).retry_after(BLOB_RETRY_AFTER_S)
            }
        }
    }
}
