//! `/healthz`, `/healthz/leader` and `/metrics`.

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use weir_api::{Code, Problem, routes};

use super::{
    Api,
    refusal::{RETRY_AFTER_S, Refusal},
    reply::Reply,
};

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Tells that the process serves.
#[utoipa::path(get, path = routes::HEALTH, tag = "cluster", security(()),
    responses((status = 200, description = "The process serves", content_type = "text/plain", body = String)))]
pub(super) async fn alive() -> Response {
    Reply::body(Body::from("ok\n"), TEXT).done()
}

/// Tells whether this replica leads.
#[utoipa::path(get, path = routes::HEALTH_LEADER, tag = "cluster", security(()), responses(
    (status = 200, description = "This replica leads", content_type = "text/plain", body = String),
    (status = 503, description = "It does not", content_type = "application/problem+json", body = Problem)))]
pub(super) async fn leader(State(api): State<Api>) -> Response {
    let status = api.handle.status();
    // One that was cut off from its store may have a successor.
    let certain = api.handle.query(|scheduler, now| scheduler.is_certain(now.mono)).await;
    if status.leading && certain == Ok(true) {
        return Reply::body(Body::from("leader\n"), TEXT).done();
    }
    let unclear =
        if status.leading { "its lease may have lapsed" } else { "another replica leads, or an election is under way" };
    let why = status.held_back.unwrap_or_else(|| unclear.to_owned());
    Refusal::new(Code::NoLeader, format!("this replica does not lead: {why}"))
        .retry_after(RETRY_AFTER_S)
        .into_response()
}

/// Shows the metrics in the text format of Prometheus.
#[utoipa::path(get, path = routes::METRICS, tag = "cluster",
    responses((status = 200, description = "The metrics", content_type = "text/plain", body = String)))]
pub(super) async fn metrics(State(api): State<Api>) -> Response {
    Reply::body(Body::from(api.handle.metrics().await), PROMETHEUS).done()
}
