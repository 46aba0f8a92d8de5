//! The cluster as a whole.

use axum::{Extension, body::Body, extract::State, http::HeaderMap, response::Response};
use weir_api::{
    ChangeRequest, ClusterInfo, ClusterTotals, NoLeader, NodeState, Problem, StoreInfo, StoreStatus, Versioned, routes,
};
use weir_scheduler::{Request, Scheduler};
use weir_wire::units::Now;

use super::{
    Api,
    asked::{self, CHANGE_BYTES_MAX},
    forward::Silent,
    refusal::Refusal,
    reply::Reply,
    show,
};
use crate::status::{ClusterStatus, Health, unix_ms};

/// Reads what the cluster is and how it is doing. Answers at once, also while nobody leads or the store is away.
#[utoipa::path(get, path = routes::CLUSTER, tag = "cluster",
    responses((status = 200, body = Versioned<ClusterInfo>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn read(State(api): State<Api>, silent: Option<Extension<Silent>>) -> Result<Response, Refusal> {
    let asked = api.handle.query(|scheduler, now| (scheduler.revision(), totals(scheduler, now))).await;
    let known = asked.ok();
    let info = info(api.handle.status(), known, silent.as_deref());
    let revision = known.map_or(0, |(revision, _)| revision);
    Ok(Reply::object(info)?.revision(revision).done())
}

/// Starts the work of vanished nodes elsewhere although many vanished at once.
#[utoipa::path(post, path = routes::RELEASE_BRAKE, tag = "cluster", request_body = ChangeRequest,
    responses((status = 200, body = Versioned<ClusterInfo>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn release_brake(State(api): State<Api>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    let request: ChangeRequest = asked::json_or_default(&headers, body, CHANGE_BYTES_MAX).await?;
    api.change(Request::ReleaseBrake).await?;
    tracing::warn!(message = request.message, "the brake is released");
    read(State(api), None).await
}

/// What is known to the leader, or else to a replica that does not lead and to which the leader may have been silent.
fn info(status: ClusterStatus, known: Option<(u64, ClusterTotals)>, silent: Option<&Silent>) -> ClusterInfo {
    let (store_status, since_ms, error) = match &status.store {
        Health::Ok if known.is_none() => (StoreStatus::Answers, None, None),
        Health::Ok => (StoreStatus::Ok, None, None),
        Health::Unknown => (StoreStatus::Unknown, None, None),
        Health::Retrying { since_ms, error } => (StoreStatus::Retrying, Some(*since_ms), Some(error.clone())),
    };
    let address = status.leader.as_ref().map(|leader| leader.http.clone()).filter(|address| !address.is_empty());
    ClusterInfo {
        cluster: status.cluster.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        leader: address.clone().filter(|_| known.is_some()),
        no_leader: known.is_none().then(|| no_leader(&status, address, silent)),
        term: status.term.map(|term| term.0),
        store: StoreInfo {
            kind: status.store_kind,
            version: status.store_version,
            status: store_status,
            since_ms,
            error,
        },
        revision: known.map(|(revision, _)| revision),
        totals: known.map(|(_, totals)| totals),
    }
}

fn no_leader(status: &ClusterStatus, last_leader: Option<String>, silent: Option<&Silent>) -> NoLeader {
    let mut reasons: Vec<String> = silent.map(|silent| silent.why.clone()).into_iter().collect();
    if let Some(why) = &status.held_back {
        reasons.push(format!("the replica that was asked does not campaign: {why}"));
    } else if matches!(status.store, Health::Retrying { .. }) {
        reasons.push("the replica that was asked cannot campaign while its store does not answer".to_owned());
    } else if silent.is_none() {
        reasons.push("an election is under way".to_owned());
    }
    let since_ms = silent.map(|silent| silent.since_ms).or(status.leaderless_since_ms).unwrap_or_else(unix_ms);
    NoLeader { since_ms, reason: reasons.join("; "), last_leader }
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
