//! The versions of a job: its history, what differs between them, and the way back.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use serde::Deserialize;
use utoipa::IntoParams;
use weir_api::{JobDiff, JobVersion, Page, PageQuery, Problem, RevertRequest, Versioned, routes};
use weir_scheduler::{PutJob, Submit};
use weir_wire::{id, work::JobRecord};

use super::{
    Api,
    asked::{self, Asked, Segments},
    jobs, leader,
    refusal::Refusal,
    reply::Reply,
    resolve::Resolver,
    show, submit,
};

/// Which versions of a job are compared.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DiffQuery {
    /// The older version; the one before `to` by default.
    from: Option<u32>,
    /// The newer version; the latest by default.
    to: Option<u32>,
}

/// Lists the versions of a job, newest first.
#[utoipa::path(get, path = routes::JOB_VERSIONS, tag = "jobs", params(("ns" = String, Path, description = "The namespace"), ("job" = String, Path, description = "The job"), PageQuery),
    responses((status = 200, body = Versioned<Page<JobVersion>>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(api): State<Api>,
    Segments((ns, job)): Segments<(String, String)>,
    Asked(query): Asked<PageQuery>,
) -> Result<Response, Refusal> {
    let (namespace, job) = (asked::namespace(&ns)?, asked::job_name(&job)?);
    let limit = asked::limit(query.limit)?;
    let before = asked::cursor::<u64>(query.cursor.as_deref())?;
    jobs::find(&api, namespace.clone(), job.clone(), None).await?;
    let (revision, page) = api
        .ask(move |scheduler, _| {
            let versions = scheduler.versions(&namespace, &job).into_iter().rev();
            let older = versions.filter(|record| before.is_none_or(|before| record.version.0 < before));
            let mut items: Vec<JobVersion> =
                older.take(limit + 1).map(|record| show::job::version(record, false)).collect();
            let more = items.len() > limit;
            items.truncate(limit);
            let next = items.last().filter(|_| more).map(|last| last.version.to_string());
            (scheduler.revision(), Page { items, next })
        })
        .await?;
    Ok(Reply::object(page)?.revision(revision).done())
}

/// Tells what differs between two versions of a job.
#[utoipa::path(get, path = routes::JOB_DIFF, tag = "jobs", params(("ns" = String, Path, description = "The namespace"), ("job" = String, Path, description = "The job"), DiffQuery),
    responses((status = 200, body = Versioned<JobDiff>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn diff(
    State(api): State<Api>,
    Segments((ns, job)): Segments<(String, String)>,
    Asked(query): Asked<DiffQuery>,
) -> Result<Response, Refusal> {
    let (namespace, job) = (asked::namespace(&ns)?, asked::job_name(&job)?);
    let (revision, newer) = jobs::find(&api, namespace.clone(), job.clone(), query.to).await?;
    let newer = show::job::version(&newer, false);
    let from = match query.from {
        Some(from) => from,
        None if newer.version > 1 => newer.version - 1,
        None => return Err(Refusal::invalid_key("from", format!("`{job}` has no version before its first"), None)),
    };
    let (_, older) = jobs::find(&api, namespace, job, Some(from)).await?;
    let older = show::job::version(&older, false);
    let changes = older.spec.changes(&newer.spec);
    let (from, to) = (older.version, newer.version);
    let diff = JobDiff { namespace: newer.namespace, job: newer.name, from, to, changes };
    Ok(Reply::object(diff)?.revision(revision).done())
}

/// Makes an earlier version of a job its latest one; a service or system job that runs passes over to it.
#[utoipa::path(post, path = routes::JOB_REVERT, tag = "jobs", request_body = RevertRequest,
    params(("ns" = String, Path, description = "The namespace"), ("job" = String, Path, description = "The job"),
        ("If-Match" = Option<String>, Header, description = "The version that the job must have, as a quoted number")),
    responses((status = 200, description = "The latest version had that spec already", body = Versioned<JobVersion>),
        (status = 201, description = "A version was made", body = Versioned<JobVersion>),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn revert(
    State(api): State<Api>,
    Segments((ns, job)): Segments<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let (namespace, job) = (asked::namespace(&ns)?, asked::job_name(&job)?);
    let expected = asked::if_match(&headers)?.map(id::JobVersion);
    let request: RevertRequest = asked::json_or_default(&headers, body, asked::CHANGE_BYTES_MAX).await?;
    let (_, latest) = jobs::find(&api, namespace.clone(), job.clone(), None).await?;
    let to = match request.version {
        Some(version) => version,
        None if latest.version.0 > 1 => show::version(latest.version) - 1,
        None => {
            let detail = format!("job `{job}` has one version, so there is nothing to go back to");
            return Err(Refusal::new(weir_api::Code::Conflict, detail));
        }
    };
    let (_, older) = jobs::find(&api, namespace.clone(), job.clone(), Some(to)).await?;
    let message = request.message.unwrap_or_else(|| format!("back to version {to}"));
    let spec = JobRecord { created_ms: leader::wall_ms(), message, ..older };
    let for_tasks = passes_over(&api, &spec).await?;
    // Whoever else changes the job meanwhile is not overruled.
    let put = PutJob { spec, expected: Some(expected.unwrap_or(latest.version)), for_tasks };
    let (version, created) = jobs::put_record(&api, put).await?;
    tracing::info!(job.namespace = %namespace, job.name = %job, job.version = version.0, to, "a job was reverted");
    if created && for_tasks.is_some() {
        let run = weir_api::RunRequest { job: job.to_string(), ..weir_api::RunRequest::default() };
        let (record, _) = Resolver::new(&api, &namespace).record(&run).await?;
        submit::submitted(&api, Submit { runs: vec![record], key: None, fingerprint: 0 }).await?;
    }
    let (revision, record) = jobs::find(&api, namespace, job, Some(show::version(version))).await?;
    let tag = format!("\"{}\"", record.version);
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(Reply::object(show::job::version(&record, created))?
        .status(status)
        .revision(revision)
        .header(header::ETAG, &tag)
        .done())
}

/// How many tasks a further run of a job would keep, if its tasks are kept running at this moment.
async fn passes_over(api: &Api, spec: &JobRecord) -> Result<Option<u32>, Refusal> {
    if !spec.kind.is_long_running() {
        return Ok(None);
    }
    let spec = spec.clone();
    api.ask(move |scheduler, _| {
        let newest = scheduler.newest_run(&spec.namespace, &spec.job).and_then(|run| scheduler.run(run));
        let runs_on = newest.is_some_and(|view| view.state == weir_scheduler::RunState::Active);
        let kept = scheduler.kept_run(&spec.namespace, &spec.job);
        runs_on.then(|| kept.map_or(spec.count, |kept| kept.count_of(&spec)))
    })
    .await
}
