//! The cluster as a whole.

use axum::{extract::State, response::Response};
use weir_api::{ClusterInfo, ClusterTotals, NodeState, Problem, StoreInfo, StoreStatus, Versioned, routes};
use weir_scheduler::Scheduler;
use weir_wire::units::Now;

use super::{Api, refusal::Refusal, reply::Reply, show};
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
    let running = stats.open_tasks.min(stats.grants as u64);
    ClusterTotals {
        jobs: scheduler.jobs_total() as u64,
        open_runs: stats.open_runs as u64,
        pending_tasks: stats.open_tasks - running,
        running_tasks: running,
        ready_nodes: ready.count() as u64,
        nodes: nodes.len() as u64,
    }
}
