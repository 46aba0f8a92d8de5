mod change;
mod dispatch;
mod init;
mod versions;

use weir_api::FoundKind;

pub(crate) use change::{suspend, trigger};
pub(crate) use dispatch::meta;

use crate::{
    args::{Global, JobCommand, SpecArgs},
    command::deploy,
    exit::Exit,
    failure::Result,
    module_file,
    output::{Out, terminal, write_stdout},
    resolve,
    session::{Session, all_pages, block_on},
    spec::{self, ModuleSource},
};

/// `wctl job`.
pub(crate) fn job(global: &Global, command: &JobCommand) -> Result<Exit> {
    match command {
        JobCommand::Init(args) => init::init(args),
        JobCommand::Validate { source, spec } => validate(Out::new(global.format), source, spec),
        JobCommand::Plan { .. }
        | JobCommand::Diff(_)
        | JobCommand::List
        | JobCommand::Inspect { .. }
        | JobCommand::History { .. }
        | JobCommand::Revert(_)
        | JobCommand::Scale { .. }
        | JobCommand::Pause { .. }
        | JobCommand::Resume { .. }
        | JobCommand::Restart { .. }
        | JobCommand::Dispatch(_)
        | JobCommand::Trigger(_)
        | JobCommand::Why { .. }
        | JobCommand::Graph => block_on(async { remote(&Session::open(global)?, command).await }),
    }
}

/// Those that talk to the cluster.
async fn remote(session: &Session, command: &JobCommand) -> Result<Exit> {
    match command {
        JobCommand::Init(_) | JobCommand::Validate { .. } => unreachable!("handled without a session"),
        JobCommand::List => {
            let jobs = all_pages(async |page| session.client.jobs(&session.namespace, page).await).await?;
            session.out.list(&jobs)?;
        }
        JobCommand::Inspect { job, version } => {
            let job = resolve::name(session, job, FoundKind::Job).await?;
            session.out.object(&session.client.job(&session.namespace, &job, *version).await?)?;
        }
        JobCommand::Plan { source, spec, exit_code } => {
            let plan = deploy::plan(session, &mut spec::resolve(source, spec)?).await?;
            return Ok(if *exit_code && plan.is_change() { Exit::Changes } else { Exit::Ok });
        }
        JobCommand::History { job } => versions::history(session, job).await?,
        JobCommand::Diff(args) => return versions::diff(session, args).await,
        JobCommand::Revert(args) => versions::revert(session, args).await?,
        JobCommand::Scale { job, count, change } => change::scale(session, job, *count, change).await?,
        JobCommand::Pause { job, change } => change::pause(session, job, true, change.message.as_deref()).await?,
        JobCommand::Resume { job, change } => change::pause(session, job, false, change.message.as_deref()).await?,
        JobCommand::Restart { job, change } => change::restart(session, job, change).await?,
        JobCommand::Dispatch(args) => return dispatch::dispatch(session, args).await,
        JobCommand::Trigger(args) => return trigger(session, args).await,
        JobCommand::Why { target } => {
            let run = resolve::run(session, target).await?;
            session.out.object(&session.client.why(&session.namespace, &run).await?)?;
        }
        JobCommand::Graph => {
            let graph = session.client.job_graph(&session.namespace).await?;
            if session.out.is_for_people() {
                write_stdout(graph.to_dot().as_bytes())?;
            } else {
                session.out.value(&weir_api::Versioned::from(&graph), &graph.namespace)?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// Checks a spec and its module, and shows the spec with its defaults.
fn validate(out: Out, source: &str, flags: &SpecArgs) -> Result<Exit> {
    let resolved = spec::resolve(source, flags)?;
    if let ModuleSource::Bytes(bytes) = &resolved.module {
        module_file::check(bytes)?;
    }
    out.spec(&resolved.spec.to_document())?;
    terminal::note("the spec and its module are valid; nothing was sent");
    Ok(Exit::Ok)
}
