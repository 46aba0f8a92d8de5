//! Runs.

use axum::{body::Body, extract::State, http::HeaderMap, response::Response};
use weir_api::{Page, PageQuery, Problem, Run, RunQuery, StopRequest, Versioned, WhyPending, routes};
use weir_scheduler::{Request, Scheduler};
use weir_wire::{
    id::{Namespace, RunId},
    task::Reason,
};

use super::{
    Api,
    asked::{self, Asked, Segments},
    refusal::Refusal,
    reply::Reply,
    show, wait,
};

/// Longest body of a stop, bytes.
pub(super) const STOP_BYTES_MAX: usize = 64 << 10;

/// Lists the runs of a namespace, newest first.
#[utoipa::path(get, path = routes::RUNS, tag = "runs", params(("ns" = String, Path, description = "The namespace"), PageQuery),
    responses((status = 200, body = Versioned<Page<Run>>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(api): State<Api>,
    Segments(ns): Segments<String>,
    Asked(query): Asked<PageQuery>,
) -> Result<Response, Refusal> {
    let namespace = asked::namespace(&ns)?;
    let limit = asked::limit(query.limit)?;
    let before = asked::cursor::<u64>(query.cursor.as_deref())?;
    let job = query.job.as_deref().map(asked::job_name).transpose()?;
    let (revision, page) = api
        .ask(move |scheduler, _| {
            let mut found = scheduler.runs(Some(&namespace), job.as_ref(), before, limit + 1);
            let more = found.len() > limit;
            found.truncate(limit);
            let next = found.last().filter(|_| more).map(|(cursor, _)| cursor.to_string());
            let items = found.iter().map(|(_, view)| show::run::run(scheduler, view)).collect();
            (scheduler.revision(), Page { items, next })
        })
        .await?;
    Ok(Reply::object(page)?.revision(revision).done())
}

/// Reads one run; with `wait`, once it is as far as `until` and `min_revision` say, or the wait is over.
#[utoipa::path(get, path = routes::RUN, tag = "runs", params(("ns" = String, Path, description = "The namespace"), ("run" = String, Path, description = "The run"), RunQuery),
    responses((status = 200, body = Versioned<Run>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn read(
    State(api): State<Api>,
    Segments((ns, run)): Segments<(String, String)>,
    Asked(query): Asked<RunQuery>,
) -> Result<Response, Refusal> {
    let (namespace, id) = (asked::namespace(&ns)?, asked::run_id(&run)?);
    let (revision, run) = wait::run(&api, &namespace, id, &query).await?;
    Ok(Reply::object(run)?.revision(revision).done())
}

/// Stops a run: what is pending is not started, what executes is ended.
#[utoipa::path(post, path = routes::RUN_STOP, tag = "runs", request_body = StopRequest,
    params(("ns" = String, Path, description = "The namespace"), ("run" = String, Path, description = "The run")),
    responses((status = 200, body = Versioned<Run>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn stop(
    State(api): State<Api>,
    Segments((ns, run)): Segments<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let (namespace, id) = (asked::namespace(&ns)?, asked::run_id(&run)?);
    let request: StopRequest = asked::json_or_default(&headers, body, STOP_BYTES_MAX).await?;
    let (_, found) = find(&api, namespace.clone(), id).await?;
    found.ok_or_else(|| missing(&namespace, id))?;
    let stop = Request::Stop { run: id, index: None, reason: Reason::Cancelled };
    api.request(stop).await?;
    tracing::info!(run.id = %id, stop.message = request.message.as_deref(), "a run is stopped");
    let (revision, found) = find(&api, namespace.clone(), id).await?;
    let run = found.ok_or_else(|| missing(&namespace, id))?;
    Ok(Reply::object(run)?.revision(revision).done())
}

/// Explains why tasks of a run are pending.
#[utoipa::path(get, path = routes::RUN_WHY, tag = "runs", params(("ns" = String, Path, description = "The namespace"), ("run" = String, Path, description = "The run")),
    responses((status = 200, body = Versioned<WhyPending>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn why(
    State(api): State<Api>,
    Segments((ns, run)): Segments<(String, String)>,
) -> Result<Response, Refusal> {
    let (namespace, id) = (asked::namespace(&ns)?, asked::run_id(&run)?);
    let asked_for = namespace.clone();
    let (revision, found) = api
        .ask(move |scheduler, now| {
            let known = is_in(scheduler, &asked_for, id);
            let why = known.then(|| scheduler.why(now, id)).flatten();
            (scheduler.revision(), why.map(|why| show::why::why(id, &why)))
        })
        .await?;
    let why = found.ok_or_else(|| missing(&namespace, id))?;
    Ok(Reply::object(why)?.revision(revision).done())
}

/// Looks a run up in its namespace.
pub(super) async fn find(api: &Api, namespace: Namespace, id: RunId) -> Result<(u64, Option<Run>), Refusal> {
    api.ask(move |scheduler, _| {
        let view = scheduler.run(id).filter(|view| view.namespace == namespace);
        (scheduler.revision(), view.map(|view| show::run::run(scheduler, &view)))
    })
    .await
}

pub(super) fn is_in(scheduler: &Scheduler, namespace: &Namespace, id: RunId) -> bool {
    scheduler.run_record(id).is_some_and(|record| record.namespace == *namespace)
}

pub(super) fn missing(namespace: &Namespace, id: RunId) -> Refusal {
    Refusal::not_found(format!("there is no run `{id}` in namespace `{namespace}`"))
}
