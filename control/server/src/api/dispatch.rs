//! Functions: a payload in, the bytes of the result out.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;
use weir_api::{Code, DispatchRequest, Problem, Run, RunQuery, RunRequest, RunState, Until, Versioned, routes};
use weir_scheduler::Submit;
use weir_wire::{
    id::{Namespace, RunId},
    kind::Kind,
};

use super::{
    Api,
    asked::{self, Asked, Segments},
    refusal::Refusal,
    reply::Reply,
    resolve::Resolver,
    submit, tasks, wait,
};

/// How long an answer may take.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DispatchQuery {
    /// The longest wait for the result, such as `30s`; at most 60 s, which is the default. A call that has not ended by then
    /// goes on, and the answer is its run: reading that with `until=terminal` waits on, for as long as it takes.
    wait: Option<String>,
}

/// Calls a function and waits for its result.
#[utoipa::path(post, path = routes::JOB_DISPATCH, tag = "jobs", request_body = DispatchRequest,
    params(("ns" = String, Path, description = "The namespace"), ("job" = String, Path, description = "The function"), DispatchQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "Makes the request repeatable: the same call is waited for again")),
    responses((status = 200, description = "The result; `X-Weir-Run` names the run", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 202, description = "It goes on", body = Versioned<Run>),
        (status = "default", description = "`task_failed` when the function failed", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn dispatch(
    State(api): State<Api>,
    Segments((ns, job)): Segments<(String, String)>,
    Asked(query): Asked<DispatchQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let namespace = asked::namespace(&ns)?;
    let key = asked::idempotency_key(&headers, &namespace)?;
    let wait = query.wait.as_deref().map_or(Ok(wait::WAIT_MAX), |text| wait::wait(Some(text)))?;
    let deadline = Instant::now() + wait;
    let request: DispatchRequest = asked::json_or_default(&headers, body, submit::RUN_BYTES_MAX).await?;
    let DispatchRequest { version, args, payload, meta, message } = request;
    let request = RunRequest { job, version, args, payload, meta, message, ..RunRequest::default() };
    let (record, job) = Resolver::new(&api, &namespace).record(&request).await?;
    if !matches!(job.kind, Kind::Function) {
        let detail = format!("`{}` is a {} job; only functions are dispatched", job.job, job.kind.as_str());
        return Err(Refusal::new(Code::Conflict, detail));
    }
    let fingerprint = submit::fingerprint(&namespace, &request, b"dispatch")?;
    let (runs, repeated) = submit::submitted(&api, Submit { runs: vec![record], key, fingerprint }).await?;
    let run = *runs.first().ok_or_else(|| Refusal::internal("call a function", &"no run was started"))?;
    tracing::debug!(run.id = %run, job.name = %job.job, message = request.message, repeated, "a function was called");
    answer(&api, &namespace, run, deadline).await
}

/// The result of a call, or its run if the time has come before.
async fn answer(api: &Api, namespace: &Namespace, id: RunId, deadline: Instant) -> Result<Response, Refusal> {
    let left = deadline.saturating_duration_since(Instant::now());
    let query = RunQuery { until: Some(Until::Terminal), ..RunQuery::default() };
    let (revision, run) = wait::run_for(api, namespace, id, &query, left).await?;
    let name = HeaderName::from_static(routes::RUN_HEADER);
    match run.state {
        RunState::Succeeded => {
            let found = tasks::find(api, namespace, id, 0).await?;
            Ok(tasks::result_of(api, id, 0, found).await?.header(name, &id.to_string()).done())
        }
        RunState::Failed | RunState::Killed => {
            let task = tasks::find(api, namespace, id, 0).await?.task;
            let reason = task.reason.map_or("no reason", |reason| reason.as_str());
            let code = task.exit_code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
            let said = task.message.map(|said| format!(": {said}")).unwrap_or_default();
            let detail = format!("task {} {}: {reason}{code}{said}", task.id, task.state);
            let mut response = Refusal::new(Code::TaskFailed, detail).into_response();
            if let Ok(value) = id.to_string().parse() {
                response.headers_mut().insert(name, value);
            }
            Ok(response)
        }
        RunState::Pending | RunState::Running | RunState::Stopping => {
            let reply = Reply::object(run)?.status(StatusCode::ACCEPTED).revision(revision);
            Ok(reply.header(name, &id.to_string()).done())
        }
    }
}
