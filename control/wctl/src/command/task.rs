use std::path::Path;

use serde_json::Value;
use weir_api::{ProfileQuery, Task, TaskState, TasksQuery, units::parse_duration_ms};

use super::run::{check_writable, save};
use crate::{
    args::TaskCommand,
    exit::Exit,
    failure::{Failure, Result},
    output::{live::InspectedTask, terminal, text::one_line},
    resolve,
    session::Session,
};

/// The tasks of one page.
const PAGE: u32 = 1_000;
/// The tasks that a summary shows.
const SOME: u32 = 5;

/// `wctl task`.
pub(crate) async fn task(session: &Session, command: &TaskCommand) -> Result<Exit> {
    match command {
        TaskCommand::List { target, state, limit } => list(session, target, *state, *limit).await?,
        TaskCommand::Inspect { task } => {
            let (run, index) = resolve::task(session, task).await?;
            let (inspected, exit) = inspected(session, &run, index).await?;
            session.out.object(&inspected)?;
            return Ok(exit);
        }
        TaskCommand::Profile { task, time, output } => {
            let (run, index) = resolve::task(session, task).await?;
            let for_ms = parse_duration_ms(time).map_err(|error| Failure::usage(format!("--for {time}: {error}")))?;
            let for_ms = u32::try_from(for_ms).unwrap_or(u32::MAX);
            if let Some(file) = output {
                check_writable(file)?;
            }
            let query = ProfileQuery { for_ms: Some(for_ms) };
            let profile = session.client.task_profile(&session.namespace, &run, index, &query).await?;
            match output {
                Some(file) => save_profile(file, &profile)?,
                None => session.out.bytes(&profile)?,
            }
        }
        TaskCommand::Why { task } => {
            let (run, index) = resolve::task(session, task).await?;
            session.out.object(&session.client.task_why(&session.namespace, &run, index).await?)?;
        }
        TaskCommand::Result { task, output } => {
            let (run, index) = resolve::task(session, task).await?;
            let result = session.client.task_result(&session.namespace, &run, index).await?;
            match output {
                Some(file) => save(file, &result)?,
                None => session.out.bytes(&result)?,
            }
        }
    }
    Ok(Exit::Ok)
}

/// A task and, while it executes, what it does; where it executes and that cannot be told, with the exit code that says
/// so.
async fn inspected(session: &Session, run: &str, index: u32) -> Result<(InspectedTask, Exit)> {
    let task = session.client.task(&session.namespace, run, index).await?;
    if task.state == TaskState::Unknown {
        terminal::note(&silence(&task));
        return Ok((InspectedTask { task, live: None }, Exit::Conflict));
    }
    if !executes(&task) {
        return Ok((InspectedTask { task, live: None }, Exit::Ok));
    }
    match session.client.task_live(&session.namespace, run, index).await {
        Ok(live) => Ok((InspectedTask { task, live: Some(live) }, Exit::Ok)),
        Err(error) => {
            terminal::note(&error.to_string());
            // It may have ended meanwhile, and how is more than was known before.
            let task = session.client.task(&session.namespace, run, index).await?;
            let exit = if executes(&task) { Exit::of_client(&error) } else { Exit::Ok };
            Ok((InspectedTask { task, live: None }, exit))
        }
    }
}

/// What there is to say of a task whose node has fallen silent.
pub(super) fn silence(task: &Task) -> String {
    let node = task.node.as_deref().map_or_else(|| "its node".to_owned(), |node| format!("node {node}"));
    format!("{node} does not answer: what task {} does, and what it writes, is not known", task.id)
}

const fn executes(task: &Task) -> bool {
    matches!(task.state, TaskState::Running | TaskState::Stopping)
}

/// Writes a profile into a file, and says what to do with it.
pub(crate) fn save_profile(file: &Path, profile: &[u8]) -> Result<()> {
    save(file, profile)?;
    let samples = serde_json::from_slice::<Value>(profile)
        .ok()
        .and_then(|profile| profile.pointer("/threads/0/samples/length").and_then(Value::as_u64));
    if samples == Some(0) {
        terminal::note(
            "the task used no CPU time meanwhile: the profile is empty; `wctl task inspect` tells what it waits for",
        );
    }
    terminal::note(&format!("open {} at https://profiler.firefox.com", file.display()));
    Ok(())
}

async fn list(session: &Session, target: &str, state: Option<TaskState>, limit: u32) -> Result<()> {
    let run = resolve::run(session, target).await?;
    let mut tasks = Vec::new();
    let mut query = TasksQuery { cursor: None, limit: Some(PAGE), state };
    loop {
        let left = limit.saturating_sub(u32::try_from(tasks.len()).unwrap_or(u32::MAX));
        query.limit = Some(if limit == 0 { PAGE } else { left.min(PAGE) });
        let page = session.client.tasks(&session.namespace, &run, &query).await?;
        tasks.extend(page.items);
        query.cursor = page.next;
        let full = limit != 0 && tasks.len() as u64 >= u64::from(limit);
        if query.cursor.is_none() || full {
            break;
        }
    }
    session.out.list(&tasks)?;
    if query.cursor.is_some() {
        terminal::note(&format!("the first {} tasks; --limit 0 shows all", tasks.len()));
    }
    Ok(())
}

/// A few tasks of a run in a state.
pub(crate) async fn some_in(session: &Session, run: &str, state: TaskState) -> Result<Vec<Task>> {
    let query = TasksQuery { cursor: None, limit: Some(SOME), state: Some(state) };
    Ok(session.client.tasks(&session.namespace, run, &query).await?.items)
}

/// The first task that ended badly; none when it cannot be read, as the caller has its own message.
pub(crate) async fn first_bad(session: &Session, run: &str) -> Option<Task> {
    for state in [TaskState::Failed, TaskState::Lost, TaskState::Rejected, TaskState::Killed] {
        if let Ok(tasks) = some_in(session, run, state).await
            && let Some(task) = tasks.into_iter().next()
        {
            return Some(task);
        }
    }
    None
}

/// One line about how a task ended, and where to read more.
pub(crate) fn explain(task: &Task) -> String {
    let reason = task.reason.map_or("no reason", |reason| reason.as_str());
    let code = task.exit_code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
    let said = task.message.as_deref().or(task.trap.as_ref().map(|trap| trap.message.as_str()));
    let said = said.map(|said| format!(": {}", one_line(said))).unwrap_or_default();
    // A task without an attempt has no log.
    let log = if task.attempt > 0 { format!("; see `wctl logs {}`", task.id) } else { String::new() };
    format!("task {} {}: {reason}{code}{said}{log}", task.id, task.state)
}
