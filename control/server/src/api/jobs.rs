//! Jobs.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use serde::Deserialize;
use utoipa::IntoParams;
use weir_api::{
    Code, Detail, Job, JobSpec, JobVersion, Module, ModuleKind, Page, PageQuery, Problem, Versioned, nearest, routes,
    spec::{Document, limits},
};
use weir_scheduler::{PutJob, Reply as Done, Request, Scheduler};
use weir_wire::{
    id::{self, Digest, JobName, Namespace},
    work::JobRecord,
};

use super::{
    Api,
    asked::{self, Asked, Segments},
    leader, modules, record,
    refusal::Refusal,
    reply::Reply,
    show,
};

/// What a write to a job is for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PutJobQuery {
    /// Refuse the write also where a run of so many tasks would be refused: for want of a quota, or of a run to come after.
    for_tasks: Option<u32>,
}

/// Which version of a job is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct VersionQuery {
    /// A version; the latest by default.
    version: Option<u32>,
}

/// Lists the jobs of a namespace by name.
#[utoipa::path(get, path = routes::JOBS, tag = "jobs", params(("ns" = String, Path, description = "The namespace"), PageQuery),
    responses((status = 200, body = Versioned<Page<Job>>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(api): State<Api>,
    Segments(ns): Segments<String>,
    Asked(query): Asked<PageQuery>,
) -> Result<Response, Refusal> {
    let namespace = asked::namespace(&ns)?;
    let limit = asked::limit(query.limit)?;
    let after = query.cursor.as_deref().map(asked::job_name).transpose()?;
    let only = query.job.as_deref().map(asked::job_name).transpose()?;
    let wanted = move |job: &JobName| {
        after.as_ref().is_none_or(|after| job > after) && only.as_ref().is_none_or(|only| job == only)
    };
    let (revision, page) =
        api.ask(move |scheduler, _| (scheduler.revision(), page(scheduler, &namespace, wanted, limit))).await?;
    Ok(Reply::object(page)?.revision(revision).done())
}

fn page(scheduler: &Scheduler, namespace: &Namespace, wanted: impl Fn(&JobName) -> bool, limit: usize) -> Page<Job> {
    let mut jobs = scheduler.jobs(namespace);
    jobs.retain(|job| wanted(&job.job));
    let more = jobs.len() > limit;
    jobs.truncate(limit);
    let next = jobs.last().filter(|_| more).map(|job| job.job.to_string());
    let items = jobs.into_iter().map(|job| show::job::summary(scheduler, job)).collect();
    Page { items, next }
}

/// A job as lists show it.
pub(super) async fn summary(api: &Api, namespace: Namespace, job: JobName) -> Result<(u64, Job), Refusal> {
    let found = api.ask(move |scheduler, _| {
        let record = scheduler.job(&namespace, &job, None);
        (scheduler.revision(), record.map(|record| show::job::summary(scheduler, record)))
    });
    let (revision, summary) = found.await?;
    Ok((revision, summary.ok_or_else(|| Refusal::internal("read a job", &"it is gone"))?))
}

/// Reads a job: its latest version, or the one that is named.
#[utoipa::path(get, path = routes::JOB, tag = "jobs", params(("ns" = String, Path, description = "The namespace"), ("job" = String, Path, description = "The job"), VersionQuery),
    responses((status = 200, body = Versioned<JobVersion>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn read(
    State(api): State<Api>,
    Segments((ns, job)): Segments<(String, String)>,
    Asked(query): Asked<VersionQuery>,
) -> Result<Response, Refusal> {
    let (namespace, job) = (asked::namespace(&ns)?, asked::job_name(&job)?);
    let (revision, record) = find(&api, namespace, job, query.version).await?;
    reply(&record, false, revision)
}

/// Creates a job, or adds a version to it when the spec differs from its latest.
#[utoipa::path(put, path = routes::JOB, tag = "jobs", request_body = Document,
    params(("ns" = String, Path, description = "The namespace"), ("job" = String, Path, description = "The job"), PutJobQuery,
        ("If-Match" = Option<String>, Header, description = "The version that the job must have, as a quoted number; \"0\" means that it must not exist")),
    responses((status = 200, description = "The spec was that of the latest version", body = Versioned<JobVersion>),
        (status = 201, description = "A version was made", body = Versioned<JobVersion>),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn put(
    State(api): State<Api>,
    Segments((ns, job)): Segments<(String, String)>,
    Asked(query): Asked<PutJobQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let (namespace, job) = (asked::namespace(&ns)?, asked::job_name(&job)?);
    let expected = asked::if_match(&headers)?.map(id::JobVersion);
    let body = asked::bytes(&headers, body, limits::SPEC_BYTES_MAX).await?;
    let spec = JobSpec::from_json(&body)?;
    check_name(&spec, &job)?;
    let module = asked::digest(spec.module_digest()?)?;
    check_module(&api, &module).await?;
    check_network(&api, &module, &spec).await?;
    let record = record::record(namespace.clone(), job.clone(), module, &spec, leader::wall_ms())?;
    let (version, created) = put_record(&api, PutJob { spec: record, expected, for_tasks: query.for_tasks }).await?;
    tracing::info!(job.namespace = %namespace, job.name = %job, job.version = version.0, created, "a job was put");
    let (revision, record) = find(&api, namespace, job, u32::try_from(version.0).ok()).await?;
    reply(&record, created, revision)
}

/// Stores a version of a job, unless its latest one asks for the same.
pub(super) async fn put_record(api: &Api, put: PutJob) -> Result<(id::JobVersion, bool), Refusal> {
    match api.request(Request::PutJob(Box::new(put))).await? {
        Done::Job { version, created } => Ok((version, created)),
        other @ (Done::Runs { .. } | Done::Stopping | Done::Following(_) | Done::Inspecting | Done::Done) => {
            Err(Refusal::internal("store a job", &format!("{other:?} came back")))
        }
    }
}

/// The name in the spec has to be the one in the path.
pub(super) fn check_name(spec: &JobSpec, job: &JobName) -> Result<(), Refusal> {
    if spec.name == job.as_str() {
        return Ok(());
    }
    Err(refuse_key("job.name", format!("is `{}`", spec.name), format!("`{job}`, as in the path")))
}

/// The module has to be there before anything can name it, so that a job can always start.
async fn check_module(api: &Api, module: &Digest) -> Result<(), Refusal> {
    if api.handle.blobs().hold(module).await?.is_some() {
        return Ok(());
    }
    let mut refusal = Refusal::not_found(format!("the module {module} was not uploaded; push it first"));
    refusal.problem.details = vec![Detail {
        path: "job.module".to_owned(),
        reason: "no such module is stored".to_owned(),
        allowed: Some(format!("a digest that was uploaded with PUT {}", routes::module("sha256:…"))),
    }];
    Err(refusal)
}

/// A command of preview 1 has no call that opens a connection, so that a grant would promise what cannot be.
pub(super) async fn check_network(api: &Api, module: &Digest, spec: &JobSpec) -> Result<(), Refusal> {
    if spec.nets.is_empty() {
        return Ok(());
    }
    match modules::describe(api, module).await? {
        Some(Module { kind: ModuleKind::WasiP1Command, .. }) => {
            let reason = "its module is a WASI preview 1 command, which cannot open connections".to_owned();
            Err(refuse_key("grants.net", reason, "in a job whose module is built for wasm32-wasip2".to_owned()))
        }
        Some(_) | None => Ok(()),
    }
}

fn refuse_key(path: &str, reason: String, allowed: String) -> Refusal {
    let mut refusal = Refusal::new(Code::InvalidSpec, format!("{path}: {reason} (allowed: {allowed})"));
    refusal.problem.details = vec![Detail { path: path.to_owned(), reason, allowed: Some(allowed) }];
    refusal
}

/// Finds a version of a job, or says what is missing and what was perhaps meant.
pub(super) async fn find(
    api: &Api,
    namespace: Namespace,
    job: JobName,
    version: Option<u32>,
) -> Result<(u64, JobRecord), Refusal> {
    let wanted = version.map(|version| id::JobVersion(version.into()));
    let (revision, found) = api
        .ask(move |scheduler, _| {
            let found = scheduler.job(&namespace, &job, wanted).cloned();
            (scheduler.revision(), found.ok_or_else(|| missing(scheduler, &namespace, &job, version)))
        })
        .await?;
    found.map(|record| (revision, record)).map_err(Refusal::not_found)
}

fn missing(scheduler: &Scheduler, namespace: &Namespace, job: &JobName, version: Option<u32>) -> String {
    if let (Some(version), Some(newest)) = (version, scheduler.job(namespace, job, None)) {
        return format!("job `{job}` has no version {version}; its latest is {}", newest.version);
    }
    let jobs = scheduler.jobs(namespace);
    let near = nearest::nearest(job.as_str(), jobs.iter().map(|job| job.job.as_str()));
    let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    format!("there is no job `{job}` in namespace `{namespace}`{hint}")
}

fn reply(record: &JobRecord, created: bool, revision: u64) -> Result<Response, Refusal> {
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let tag = format!("\"{}\"", record.version);
    Ok(Reply::object(show::job::version(record, created))?
        .status(status)
        .revision(revision)
        .header(header::ETAG, &tag)
        .done())
}
