//! Snapshots of the whole cluster.

use std::time::Duration;

use axum::{body::Body, extract::State, response::Response};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use weir_api::{Problem, SnapshotQuery, routes};

use super::{Api, asked::Asked, gc, leader, refusal::Refusal, reply::Reply};
use crate::snapshot::{self, Header};

/// Most chunks that wait for a reader, of about a MiB each.
const CHUNKS_MAX: usize = 4;
/// How long it may take at the end until it is certain that this replica still leads.
const CERTAIN_MAX: Duration = Duration::from_secs(10);

/// Sends a snapshot of the cluster: every record as of one moment, and every object of the blob store. One at a time, and
/// not while the blob store is cleaned.
///
/// The last bytes are a checksum: without them the snapshot is not whole. The control plane's log then says why.
#[utoipa::path(get, path = routes::SNAPSHOT, tag = "cluster", params(SnapshotQuery),
    responses((status = 200, description = "The snapshot", content_type = "application/octet-stream", body = Vec<u8>),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn read(State(api): State<Api>, Asked(query): Asked<SnapshotQuery>) -> Result<Response, Refusal> {
    let alone = gc::alone(&api)?;
    let header = Header {
        cluster: api.handle.status().cluster.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created_ms: leader::wall_ms(),
        blobs: query.blobs.unwrap_or(true),
    };
    let (chunks, sent) = mpsc::channel(CHUNKS_MAX);
    let (shared, handle, term) = (api.handle.shared(), api.handle.clone(), api.handle.status().term);
    let led = async move {
        let certain = timeout(CERTAIN_MAX, handle.query_certain(|_, _| ())).await;
        matches!(certain, Ok(Ok(()))) && handle.status().term == term
    };
    // A task of its own: it has to notice a reader that takes nothing.
    tokio::spawn(async move {
        let _alone = alone;
        snapshot::save(&shared, &header, led, chunks).await;
    });
    // An error breaks the body off.
    let body = ReceiverStream::new(sent);
    Ok(Reply::body(Body::from_stream(body), "application/octet-stream").done())
}
