//! Tasks of a run.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::Response,
};
use weir_api::{Code, Page, Problem, StopRequest, Task, TaskState, TaskWhy, TasksQuery, Versioned, routes};
use weir_scheduler::{EntryLocation, Request, RunView, Scheduler};
use weir_wire::{
    id::{Namespace, RunId},
    outcome::Captured,
    task::Reason,
    units::Now,
};

use super::{
    Api,
    asked::{self, Asked, Segments},
    leader,
    refusal::Refusal,
    reply::Reply,
    runs, show,
};

const BYTES: &str = "application/octet-stream";

/// A task, and where the rest of it is.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) revision: u64,
    pub(super) task: Task,
    pub(super) at: EntryLocation,
}

/// Lists the tasks of a run by index.
#[utoipa::path(get, path = routes::TASKS, tag = "tasks", params(("ns" = String, Path, description = "The namespace"), ("run" = String, Path, description = "The run"), TasksQuery),
    responses((status = 200, body = Versioned<Page<Task>>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(api): State<Api>,
    Segments((ns, run)): Segments<(String, String)>,
    Asked(query): Asked<TasksQuery>,
) -> Result<Response, Refusal> {
    let (namespace, id) = (asked::namespace(&ns)?, asked::run_id(&run)?);
    let limit = asked::limit(query.limit)?;
    let from = asked::cursor::<u32>(query.cursor.as_deref())?.unwrap_or(0);
    let state = query.state.map(show::task::asked_state);
    let asked_for = namespace.clone();
    let (revision, page) = api
        .ask(move |scheduler, now| {
            let view = scheduler.run(id).filter(|view| view.namespace == asked_for);
            let page = view.map(|view| {
                let found = scheduler.tasks(now, id, state, from, scanned(&view, query.state, from, limit));
                let next = found.get(limit).map(|task| task.index.to_string());
                let items = found.iter().take(limit).map(|task| one(scheduler, now, &view, task)).collect();
                Page { items, next }
            });
            (scheduler.revision(), page)
        })
        .await?;
    let page = page.ok_or_else(|| runs::missing(&namespace, id))?;
    Ok(Reply::object(page)?.revision(revision).done())
}

/// How many tasks to look for: the search ends with the last one there is, and does not begin if there is none.
fn scanned(run: &RunView, state: Option<TaskState>, from: u32, limit: usize) -> usize {
    let there = state.map(|state| show::run::counts(&run.counts).get(state));
    match there.map(usize::try_from) {
        Some(Ok(0)) => 0,
        Some(Ok(there)) if from == 0 => there.min(limit + 1),
        Some(_) | None => limit + 1,
    }
}

/// A task of a list: with what is known without reading an object.
fn one(scheduler: &Scheduler, now: Now, run: &RunView, view: &weir_scheduler::TaskView) -> Task {
    let mut task = show::task::task(now, run, view);
    if task.state.is_terminal()
        && let EntryLocation::Inline(entry) = scheduler.entry(run.run, view.index)
    {
        show::task::add_entry(&mut task, &entry);
    }
    task
}

/// Reads one task.
#[utoipa::path(get, path = routes::TASK, tag = "tasks", params(("ns" = String, Path, description = "The namespace"), ("run" = String, Path, description = "The run"), ("index" = u32, Path, description = "The task")),
    responses((status = 200, body = Versioned<Task>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn read(
    State(api): State<Api>,
    Segments((ns, run, index)): Segments<(String, String, String)>,
) -> Result<Response, Refusal> {
    let (namespace, id, index) = path(&ns, &run, &index)?;
    let found = find(&api, &namespace, id, index).await?;
    reply(&api, id, index, found).await
}

/// Reads the bytes of a task's result.
#[utoipa::path(get, path = routes::TASK_RESULT, tag = "tasks", params(("ns" = String, Path, description = "The namespace"), ("run" = String, Path, description = "The run"), ("index" = u32, Path, description = "The task")),
    responses((status = 200, description = "The result", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 409, description = "The task has no result", body = Problem, content_type = "application/problem+json"),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn result(
    State(api): State<Api>,
    Segments((ns, run, index)): Segments<(String, String, String)>,
) -> Result<Response, Refusal> {
    let (namespace, id, index) = path(&ns, &run, &index)?;
    let found = find(&api, &namespace, id, index).await?;
    Ok(result_of(&api, id, index, found).await?.done())
}

/// The bytes of a task's result.
pub(super) async fn result_of(api: &Api, id: RunId, index: u32, found: Found) -> Result<Reply, Refusal> {
    let Found { revision, task, at } = found;
    if !task.state.is_terminal() {
        let detail = format!("task {} is {} and has no result yet", task.id, task.state);
        return Err(Refusal::new(Code::Conflict, detail));
    }
    let Some(entry) = api.entry(id, index, at).await? else {
        let detail = format!("task {} ended as {} without having run", task.id, task.state);
        return Err(Refusal::new(Code::Conflict, detail));
    };
    let len = entry.result.len();
    let body = match entry.result {
        Captured::Empty => Body::empty(),
        Captured::Inline(bytes) => Body::from(bytes.into_vec()),
        Captured::Blob(blob) => {
            let content = api.handle.blobs().get(&blob.digest).await?;
            let content =
                content.ok_or_else(|| Refusal::internal("read a result", &format!("{} is missing", blob.digest)))?;
            Body::from_stream(content.stream)
        }
    };
    Ok(Reply::body(body, BYTES).revision(revision).header(header::CONTENT_LENGTH, &len.to_string()))
}

/// Explains why a task is pending, or what it does instead.
#[utoipa::path(get, path = routes::TASK_WHY, tag = "tasks",
    params(("ns" = String, Path, description = "The namespace"), ("run" = String, Path, description = "The run"), ("index" = u32, Path, description = "The task")),
    responses((status = 200, body = Versioned<TaskWhy>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn why(
    State(api): State<Api>,
    Segments((ns, run, index)): Segments<(String, String, String)>,
) -> Result<Response, Refusal> {
    let (namespace, id, index) = path(&ns, &run, &index)?;
    let Found { revision, task, .. } = find(&api, &namespace, id, index).await?;
    let view = api.ask(move |scheduler, now| scheduler.why(now, id)).await?.unwrap_or_default();
    let why = show::why::task(&task, &view, show::why::why(id, &view), leader::wall_ms());
    Ok(Reply::object(why)?.revision(revision).done())
}

/// Stops a task.
#[utoipa::path(post, path = routes::TASK_STOP, tag = "tasks", request_body = StopRequest,
    params(("ns" = String, Path, description = "The namespace"), ("run" = String, Path, description = "The run"), ("index" = u32, Path, description = "The task")),
    responses((status = 200, body = Versioned<Task>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn stop(
    State(api): State<Api>,
    Segments((ns, run, index)): Segments<(String, String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let (namespace, id, index) = path(&ns, &run, &index)?;
    let request: StopRequest = asked::json_or_default(&headers, body, runs::STOP_BYTES_MAX).await?;
    let task = find(&api, &namespace, id, index).await?.task;
    let stop = Request::Stop { run: id, index: Some(index), reason: Reason::Cancelled };
    api.request(stop).await?;
    tracing::info!(task.id, stop.message = request.message.as_deref(), "a task is stopped");
    let found = find(&api, &namespace, id, index).await?;
    reply(&api, id, index, found).await
}

pub(super) fn path(ns: &str, run: &str, index: &str) -> Result<(Namespace, RunId, u32), Refusal> {
    Ok((asked::namespace(ns)?, asked::run_id(run)?, asked::index(index)?))
}

/// Looks a task up in its namespace.
pub(super) async fn find(api: &Api, namespace: &Namespace, id: RunId, index: u32) -> Result<Found, Refusal> {
    let asked_for = namespace.clone();
    let found = api
        .ask(move |scheduler, now| {
            let view = scheduler.run(id).filter(|view| view.namespace == asked_for)?;
            let Some(task) = scheduler.task(now, id, index) else {
                return Some(Err(view.count));
            };
            let task = show::task::task(now, &view, &task);
            let at = if task.state.is_terminal() { scheduler.entry(id, index) } else { EntryLocation::None };
            let revision = scheduler.revision();
            Some(Ok(Found { revision, task, at }))
        })
        .await?;
    let found = found.ok_or_else(|| runs::missing(namespace, id))?;
    found.map_err(|count| {
        let tasks = show::why::count(count.into(), "task");
        Refusal::not_found(format!("run `{id}` has {tasks}, so there is no task {index}"))
    })
}

async fn reply(api: &Api, id: RunId, index: u32, found: Found) -> Result<Response, Refusal> {
    let Found { revision, mut task, at } = found;
    if let Some(entry) = api.entry(id, index, at).await? {
        show::task::add_entry(&mut task, &entry);
    }
    Ok(Reply::object(task)?.revision(revision).done())
}
