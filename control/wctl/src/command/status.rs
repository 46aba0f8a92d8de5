use weir_api::{FoundKind, PageQuery, Run, RunQuery, TaskState};

use super::task;
use crate::{
    args::StatusArgs,
    exit::Exit,
    failure::Result,
    output::{table, terminal},
    resolve::{self, Target},
    session::Session,
};

/// The runs of the overview.
const RUNS: u32 = 10;

/// `wctl status`.
pub(crate) async fn status(session: &Session, args: &StatusArgs) -> Result<Exit> {
    let Some(text) = &args.target else { return overview(session).await };
    let run = match resolve::target(session, text, &[FoundKind::Job, FoundKind::Run, FoundKind::Node]).await? {
        Target::Node(node) => {
            session.out.object(&session.client.node(&node).await?)?;
            return Ok(Exit::Ok);
        }
        Target::Task(run, index) => {
            session.out.object(&session.client.task(&session.namespace, &run, index).await?)?;
            return Ok(Exit::Ok);
        }
        Target::Job(job) => resolve::latest_run(session, &job).await?,
        Target::Run(run) => run,
    };
    let run = session.client.run(&session.namespace, &run, &RunQuery::default()).await?;
    session.out.object(&run)?;
    if session.out.is_for_people() {
        details(session, &run).await?;
    }
    Ok(Exit::Ok)
}

async fn overview(session: &Session) -> Result<Exit> {
    let query = PageQuery { limit: Some(RUNS), ..PageQuery::default() };
    let runs = session.client.runs(&session.namespace, &query).await?.items;
    if !session.out.is_for_people() {
        session.out.list(&runs)?;
        return Ok(Exit::Ok);
    }
    session.out.object(&session.client.cluster().await?)?;
    session.out.bytes(b"\n")?;
    if runs.is_empty() {
        terminal::note(&format!("no runs in namespace {}; `wctl deploy FILE` starts one", session.namespace));
    } else {
        session.out.list(&runs)?;
    }
    Ok(Exit::Ok)
}

/// What a person asks next: why nothing moves, or why it failed.
async fn details(session: &Session, run: &Run) -> Result<()> {
    if run.tasks.pending > 0 && run.tasks.running + run.tasks.assigned == 0 {
        let why = session.client.why(&session.namespace, &run.id).await?;
        session.out.bytes(table::fields(&[("pending", why.summary)]).as_bytes())?;
    }
    if run.count == 1 {
        session.out.bytes(b"\n")?;
        session.out.object(&session.client.task(&session.namespace, &run.id, 0).await?)?;
        return Ok(());
    }
    for state in [TaskState::Failed, TaskState::Lost, TaskState::Rejected, TaskState::Killed] {
        if run.tasks.get(state) > 0 {
            session.out.bytes(b"\n")?;
            session.out.list(&task::some_in(session, &run.id, state).await?)?;
        }
    }
    Ok(())
}
