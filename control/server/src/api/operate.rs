//! What people do to jobs that run: scale, pause, restart.

use axum::{body::Body, extract::State, http::HeaderMap, response::Response};
use weir_api::{ChangeRequest, Job, Problem, ScaleRequest, Versioned, routes};
use weir_scheduler::{Reply as Done, Request};
use weir_wire::id::{JobName, Namespace};

use super::{
    Api,
    asked::{self, CHANGE_BYTES_MAX, Segments},
    jobs,
    refusal::Refusal,
    reply::Reply,
};

/// Keeps another number of tasks of a service running.
#[utoipa::path(post, path = routes::JOB_SCALE, tag = "jobs", request_body = ScaleRequest,
    params(("ns" = String, Path, description = "The namespace"), ("job" = String, Path, description = "The service")),
    responses((status = 200, body = Versioned<Job>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn scale(
    State(api): State<Api>,
    Segments((ns, job)): Segments<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let (namespace, job) = (asked::namespace(&ns)?, asked::job_name(&job)?);
    let request: ScaleRequest = asked::json(&headers, body, CHANGE_BYTES_MAX).await?;
    let scale = Request::Scale { namespace: namespace.clone(), job: job.clone(), desired: request.count };
    change(&api, namespace, job, scale, "a service is scaled", request.message.as_deref()).await
}

/// Starts none of a job's tasks and does not fire it. What runs goes on.
#[utoipa::path(post, path = routes::JOB_PAUSE, tag = "jobs", request_body = ChangeRequest,
    params(("ns" = String, Path, description = "The namespace"), ("job" = String, Path, description = "The job")),
    responses((status = 200, body = Versioned<Job>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn pause(
    State(api): State<Api>,
    Segments((ns, job)): Segments<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let (namespace, job) = (asked::namespace(&ns)?, asked::job_name(&job)?);
    let request: ChangeRequest = asked::json_or_default(&headers, body, CHANGE_BYTES_MAX).await?;
    let pause = Request::Pause { namespace: namespace.clone(), job: job.clone(), on: true };
    change(&api, namespace, job, pause, "a job is paused", request.message.as_deref()).await
}

/// Starts a job's tasks again, and fires it again. Instants that passed meanwhile are not made up for.
#[utoipa::path(post, path = routes::JOB_RESUME, tag = "jobs", request_body = ChangeRequest,
    params(("ns" = String, Path, description = "The namespace"), ("job" = String, Path, description = "The job")),
    responses((status = 200, body = Versioned<Job>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn resume(
    State(api): State<Api>,
    Segments((ns, job)): Segments<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let (namespace, job) = (asked::namespace(&ns)?, asked::job_name(&job)?);
    let request: ChangeRequest = asked::json_or_default(&headers, body, CHANGE_BYTES_MAX).await?;
    let resume = Request::Pause { namespace: namespace.clone(), job: job.clone(), on: false };
    change(&api, namespace, job, resume, "a job is resumed", request.message.as_deref()).await
}

/// Starts the tasks of a service or system job anew, a few at a time.
#[utoipa::path(post, path = routes::JOB_RESTART, tag = "jobs", request_body = ChangeRequest,
    params(("ns" = String, Path, description = "The namespace"), ("job" = String, Path, description = "The job")),
    responses((status = 200, body = Versioned<Job>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn restart(
    State(api): State<Api>,
    Segments((ns, job)): Segments<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let (namespace, job) = (asked::namespace(&ns)?, asked::job_name(&job)?);
    let request: ChangeRequest = asked::json_or_default(&headers, body, CHANGE_BYTES_MAX).await?;
    let restart = Request::Restart { namespace: namespace.clone(), job: job.clone() };
    change(&api, namespace, job, restart, "a job is restarted", request.message.as_deref()).await
}

/// Makes a change, and answers with the job.
async fn change(
    api: &Api,
    namespace: Namespace,
    job: JobName,
    request: Request,
    what: &'static str,
    message: Option<&str>,
) -> Result<Response, Refusal> {
    // Of an unknown job, this says which one was perhaps meant.
    jobs::find(api, namespace.clone(), job.clone(), None).await?;
    api.change(request).await?;
    tracing::info!(job.namespace = %namespace, job.name = %job, message, "{what}");
    let (revision, summary) = jobs::summary(api, namespace, job).await?;
    Ok(Reply::object(summary)?.revision(revision).done())
}

impl Api {
    /// Has the scheduler change something of which there is nothing to say but that it is done.
    pub(super) async fn change(&self, request: Request) -> Result<(), Refusal> {
        match self.request(request).await? {
            Done::Done | Done::Stopping | Done::Runs { .. } => Ok(()),
            other @ (Done::Job { .. } | Done::Following(_) | Done::Inspecting) => {
                Err(Refusal::internal("make a change", &format!("{other:?} came back")))
            }
        }
    }
}
