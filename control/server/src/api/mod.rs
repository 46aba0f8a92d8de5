//! The HTTP API: one file a noun, over a [`ControlHandle`].
//!
//! Handlers hold no state of their own. What they read is asked of the scheduler in one question, so that an answer is
//! consistent and its revision is right; what they change goes through a request, answered after its commit. Every
//! body, list and wait has a limit.

mod asked;
mod auth;
mod blobs;
mod cluster;
mod dispatch;
mod entry;
mod forward;
mod gc;
mod graph;
mod health;
mod items;
mod jobs;
mod leader;
mod lines;
mod live;
mod logs;
mod modules;
mod namespaces;
mod nodes;
mod openapi;
mod operate;
mod plan;
mod quotas;
mod record;
mod refusal;
mod reply;
mod resolve;
mod results;
mod runs;
mod search;
mod show;
mod snapshot;
mod submit;
mod tasks;
mod versions;
mod wait;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{Method, StatusCode, Uri},
    middleware,
    routing::{get, post, put},
};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;
use weir_api::routes;

pub(crate) use auth::Auth;
pub(crate) use forward::Forwarder;

use crate::handle::ControlHandle;
use refusal::Refusal;

/// Most modules that are received and validated at the same time; each is held in memory.
const MODULE_UPLOADS_MAX: usize = 4;
/// Most results, logs and segments that are held in memory at the same time; the others wait.
const LARGE_READS_MAX: usize = 8;
/// Most logs that are read at the same time; each may be held in memory. More are refused.
const LOG_READS_MAX: usize = 64;

/// What every handler has.
#[derive(Clone)]
struct Api {
    handle: ControlHandle,
    auth: Arc<Auth>,
    forwarder: Forwarder,
    closing: CancellationToken,
    module_uploads: Arc<Semaphore>,
    large_reads: Arc<Semaphore>,
    log_reads: Arc<Semaphore>,
    /// Held while the blob store is cleaned, and while a snapshot of it is taken.
    collecting: Arc<Mutex<()>>,
}

/// Makes the service that answers all of `/v1`, health and metrics.
///
/// Waits and streams end early once `closing` is cancelled; other requests are answered as ever.
pub(crate) fn router(handle: ControlHandle, auth: Auth, forwarder: Forwarder, closing: CancellationToken) -> Router {
    let api = Api {
        handle,
        auth: Arc::new(auth),
        forwarder,
        closing,
        module_uploads: Arc::new(Semaphore::new(MODULE_UPLOADS_MAX)),
        large_reads: Arc::new(Semaphore::new(LARGE_READS_MAX)),
        log_reads: Arc::new(Semaphore::new(LOG_READS_MAX)),
        collecting: Arc::default(),
    };
    Router::new()
        .route(routes::MODULES, get(modules::list))
        .route(routes::MODULE, put(modules::put).get(modules::read))
        .route(routes::BLOB, put(blobs::put))
        .route(routes::JOBS, get(jobs::list))
        .route(routes::JOB, put(jobs::put).get(jobs::read))
        .route(routes::JOBS_GRAPH, get(graph::read))
        .route(routes::JOB_VERSIONS, get(versions::list))
        .route(routes::JOB_DIFF, get(versions::diff))
        .route(routes::JOB_PLAN, post(plan::plan))
        .route(routes::JOB_REVERT, post(versions::revert))
        .route(routes::JOB_SCALE, post(operate::scale))
        .route(routes::JOB_PAUSE, post(operate::pause))
        .route(routes::JOB_RESUME, post(operate::resume))
        .route(routes::JOB_RESTART, post(operate::restart))
        .route(routes::JOB_DISPATCH, post(dispatch::dispatch))
        .route(routes::RUNS, get(runs::list).post(submit::one))
        .route(routes::RUNS_BATCH, post(submit::batch))
        .route(routes::RUN, get(runs::read))
        .route(routes::RUN_STOP, post(runs::stop))
        .route(routes::RUN_WHY, get(runs::why))
        .route(routes::RUN_RESULTS, get(results::read))
        .route(routes::TASKS, get(tasks::list))
        .route(routes::TASK, get(tasks::read))
        .route(routes::TASK_RESULT, get(tasks::result))
        .route(routes::TASK_LOGS, get(logs::read))
        .route(routes::TASK_LIVE, get(live::read))
        .route(routes::TASK_PROFILE, get(live::profile))
        .route(routes::TASK_WHY, get(tasks::why))
        .route(routes::TASK_STOP, post(tasks::stop))
        .route(routes::NODES, get(nodes::list))
        .route(routes::NODE, get(nodes::read).delete(nodes::remove))
        .route(routes::NODE_CORDON, post(nodes::cordon))
        .route(routes::NODE_UNCORDON, post(nodes::uncordon))
        .route(routes::NODE_DRAIN, post(nodes::drain))
        .route(routes::NODE_LABELS, post(nodes::labels))
        .route(routes::NAMESPACES, get(namespaces::list))
        .route(routes::QUOTAS, get(quotas::list))
        .route(routes::QUOTA, get(quotas::read).put(quotas::put).delete(quotas::remove))
        .route(routes::CLUSTER, get(cluster::read))
        .route(routes::RELEASE_BRAKE, post(cluster::release_brake))
        .route(routes::GC, post(gc::collect))
        .route(routes::SNAPSHOT, get(snapshot::read))
        .route(routes::SEARCH, get(search::read))
        .route(routes::OPENAPI, get(openapi::read))
        .route(routes::HEALTH, get(health::alive))
        .route(routes::HEALTH_LEADER, get(health::leader))
        .route(routes::METRICS, get(health::metrics))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(api.clone(), forward::pass_on))
        .layer(middleware::from_fn_with_state(api.clone(), auth::check))
        // Every handler has a limit of its own.
        .layer(DefaultBodyLimit::disable())
        .with_state(api)
}

async fn unknown_path(uri: Uri) -> Refusal {
    let known = routes::TEMPLATES.iter().copied();
    let near = weir_api::nearest::nearest(uri.path(), known);
    let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Refusal::not_found(format!("there is nothing at this path{hint}"))
}

async fn wrong_method(method: Method) -> Refusal {
    Refusal::invalid(format!("this path does not take {method}")).status(StatusCode::METHOD_NOT_ALLOWED)
}
