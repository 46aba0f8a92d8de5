//! What a running task does, as its node sees it.

use std::time::Duration;

use axum::{extract::State, http::header, response::Response};
use weir_api::{
    Code, LiveCall, Problem, ProfileQuery, Task, TaskLive, TaskState, Versioned, profile, routes, spec::limits,
};
use weir_wire::{
    id::{Namespace, RunId},
    inspect::{HostCall, Moment, PROFILE_TIME_MAX, Seen},
};

use super::{
    Api,
    asked::{Asked, Segments},
    refusal::Refusal,
    reply::Reply,
    show, tasks,
};

/// How long a node may take to answer, beside the time over which it samples.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// How long a profile is taken unless the request says.
const PROFILE_TIME: Duration = Duration::from_secs(5);

/// Says what a running task does at this moment.
#[utoipa::path(get, path = routes::TASK_LIVE, tag = "tasks", params(("ns" = String, Path, description = "The namespace"), ("run" = String, Path, description = "The run"), ("index" = u32, Path, description = "The task")),
    responses((status = 200, body = Versioned<TaskLive>),
        (status = 409, description = "The task does not execute, or its node does not say", body = Problem, content_type = "application/problem+json"),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn read(
    State(api): State<Api>,
    Segments((ns, run, index)): Segments<(String, String, String)>,
) -> Result<Response, Refusal> {
    let (namespace, id, index) = tasks::path(&ns, &run, &index)?;
    let found = tasks::find(&api, &namespace, id, index).await?;
    check_is_there(&found.task)?;
    let Seen::Moment(moment) = seen(&api, id, index, None).await? else {
        return Err(Refusal::internal("look into a task", &"its node answered something else"));
    };
    let fuel_max = fuel_max(&api, namespace, id).await?;
    Ok(Reply::object(live(*moment, fuel_max))?.revision(found.revision).done())
}

/// Samples a running task for some time, and gives a profile for <https://profiler.firefox.com>.
#[utoipa::path(get, path = routes::TASK_PROFILE, tag = "tasks", params(("ns" = String, Path, description = "The namespace"), ("run" = String, Path, description = "The run"), ("index" = u32, Path, description = "The task"), ProfileQuery),
    responses((status = 200, description = "The profile", body = serde_json::Value, content_type = "application/json"),
        (status = 409, description = "The task does not execute, or its node does not say", body = Problem, content_type = "application/problem+json"),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn profile(
    State(api): State<Api>,
    Segments((ns, run, index)): Segments<(String, String, String)>,
    Asked(query): Asked<ProfileQuery>,
) -> Result<Response, Refusal> {
    let (namespace, id, index) = tasks::path(&ns, &run, &index)?;
    let time = query.for_ms.map_or(PROFILE_TIME, |ms| Duration::from_millis(ms.into()));
    if time.is_zero() || time > PROFILE_TIME_MAX {
        let allowed = format!("1 to {}", PROFILE_TIME_MAX.as_millis());
        return Err(Refusal::invalid_key(
            "for_ms",
            "a profile is taken over a millisecond at least, and a minute at most",
            Some(allowed),
        ));
    }
    let found = tasks::find(&api, &namespace, id, index).await?;
    check_is_there(&found.task)?;
    let Seen::Profile(seen) = seen(&api, id, index, Some(time)).await? else {
        return Err(Refusal::internal("take a profile", &"its node answered something else"));
    };
    let profile = profile::firefox(&format!("{} task {index}", found.task.job), &seen, super::leader::wall_ms());
    let body = profile.to_string();
    let len = body.len().to_string();
    let reply = Reply::body(body.into(), "application/json").revision(found.revision);
    Ok(reply.header(header::CONTENT_LENGTH, &len).done())
}

/// Refuses what no node could tell, with what is known instead.
fn check_is_there(task: &Task) -> Result<(), Refusal> {
    let why = if task.state.is_terminal() {
        format!("it {}", show::why::ended(task))
    } else if task.state == TaskState::Unknown {
        let node = task.node.as_deref().map_or_else(|| "its node".to_owned(), |node| format!("node {node}"));
        format!("{node} does not answer")
    } else {
        return Ok(());
    };
    Err(Refusal::new(Code::Conflict, format!("task {} cannot be looked into: {why}", task.id)))
}

/// Asks the node of a task.
async fn seen(api: &Api, id: RunId, index: u32, sample_for: Option<Duration>) -> Result<Seen, Refusal> {
    let answer = api.handle.inspect(id, index, sample_for).await?;
    let wait = ANSWER_TIME_MAX + sample_for.unwrap_or_default();
    let seen = tokio::select! {
        seen = tokio::time::timeout(wait, answer) => seen,
        () = api.closing.cancelled() => return Err(weir_scheduler::RequestError::Interrupted.into()),
    };
    let conflict =
        |why: String| Refusal::new(Code::Conflict, format!("task {index} of run `{id}` cannot be looked into: {why}"));
    match seen {
        Ok(Ok(Seen::Nothing(why))) => Err(conflict(why)),
        Ok(Ok(seen @ (Seen::Moment(_) | Seen::Profile(_)))) => Ok(seen),
        Ok(Err(_)) => Err(weir_scheduler::RequestError::Interrupted.into()),
        Err(_) => Err(conflict(format!(
            "its node has not answered within {} s; the task may wait for a slot or for CPU time there",
            wait.as_secs()
        ))),
    }
}

/// The fuel that a task of a run may use, if there is a limit.
async fn fuel_max(api: &Api, namespace: Namespace, id: RunId) -> Result<Option<u64>, Refusal> {
    let budget = api.ask(move |scheduler, _| {
        let run = scheduler.run(id)?;
        Some(scheduler.job(&namespace, &run.job, Some(run.version))?.budgets.fuel.0)
    });
    Ok(budget.await?.filter(|fuel| fuel < limits::FUEL.end()))
}

fn live(moment: Moment, fuel_max: Option<u64>) -> TaskLive {
    let Moment { fuel, cpu_us, wall_us, memory, host_call, backtrace } = moment;
    let host_call = host_call.map(|HostCall { name, for_us }| LiveCall { name, for_us });
    let (fuel, memory) = (fuel.map(|fuel| fuel.0), memory.map(|bytes| bytes.0));
    TaskLive { fuel, fuel_max, cpu_us, wall_us, memory, host_call, backtrace }
}
