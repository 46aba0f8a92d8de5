use weir_api::{Task, TaskState, TasksQuery};

use super::run::save;
use crate::{
    args::TaskCommand,
    exit::Exit,
    failure::Result,
    output::{terminal, text::one_line},
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
            session.out.object(&session.client.task(&session.namespace, &run, index).await?)?;
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
