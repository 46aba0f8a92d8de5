//! The cluster as a whole.

use axum::{body::Body, extract::State, http::HeaderMap, response::Response};
use weir_api::{
    ChangeRequest, ClusterInfo, ClusterTotals, NodeState, Problem, StoreInfo, StoreStatus, Versioned, routes,
};
use weir_scheduler::{Request, Scheduler};
use weir_wire::units::Now;

use super::{
    Api,
    asked::{self, CHANGE_BYTES_MAX},
    refusal::Refusal,
    reply::Reply,
    show,
};
use crate::status::{ClusterStatus, Health};

/// Reads what the cluster is and how it is doing. Answers at once, also while nobody leads or the store is away.
#[utoipa::path(get, path = routes::CLUSTER, tag = "cluster",
    responses((status = 200, body = Versioned<ClusterInfo>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn read(State(api): State<Api>) -> Result<Response, Refusal> {
    let asked = api.handle.query(|scheduler, now| (scheduler.revision(), totals(scheduler, now))).await;
    let (revision, totals) = asked.unwrap_or_default();
    let info = info(api.handle.status(), revision, totals);
    Ok(Reply::object(info)?.revision(revision).done())
}

/// Starts the work of vanished nodes elsewhere although many vanished at once.
#[utoipa::path(post, path = routes::RELEASE_BRAKE, tag = "cluster", request_body = ChangeRequest,
    responses((status = 200, body = Versioned<ClusterInfo>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn release_brake(State(api): State<Api>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    let request: ChangeRequest = asked::json_or_default(&headers, body, CHANGE_BYTES_MAX).await?;
    api.change(Request::ReleaseBrake).await?;
    tracing::warn!(message = request.message, "the brake is released");
    read(State(api)).await
}

fn info(status: ClusterStatus, revision: u64, totals: ClusterTotals) -> ClusterInfo {
    let (store_status, since_ms, error) = match status.store {
        Health::Ok | Health::Unknown => (StoreStatus::Ok, None, None),
        Health::Retrying { since_ms, error } => (StoreStatus::Retrying, Some(since_ms), Some(error)),
    };
    ClusterInfo {
        cluster: status.cluster.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        leader: status.leader.map(|leader| leader.http).filter(|address| !address.is_empty()),
        term: status.term.map_or(0, |term| term.0),
        store: StoreInfo {
            kind: status.store_kind,
            version: status.store_version,
            status: store_status,
            since_ms,
            error,
        },
        revision,
        totals,
    }
}

fn totals(scheduler: &Scheduler, now: Now) -> ClusterTotals {
    let stats = scheduler.stats();
    let nodes = scheduler.nodes(now);
    let ready = nodes.iter().filter(|view| show::node::state(view.state) == NodeState::Ready);
    // A grant runs one task at a time.
    let granted = stats.open_tasks.min(stats.grants as u64);
    let silent = nodes.iter().filter(|view| !view.connected).map(|view| view.grants as u64).sum::<u64>();
    let unknown = silent.min(granted);
    ClusterTotals {
        jobs: scheduler.jobs_total() as u64,
        open_runs: stats.open_runs as u64,
        pending_tasks: stats.open_tasks - granted,
        running_tasks: granted - unknown,
        unknown_tasks: unknown,
        ready_nodes: ready.count() as u64,
        nodes: nodes.len() as u64,
        held_nodes: stats.nodes_held as u64,
        brake: stats.brake_on,
    }
}
