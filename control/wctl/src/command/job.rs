use weir_api::FoundKind;

use crate::{
    args::JobCommand,
    exit::Exit,
    failure::Result,
    resolve,
    session::{Session, all_pages},
};

/// `wctl job`.
pub(crate) async fn job(session: &Session, command: &JobCommand) -> Result<Exit> {
    match command {
        JobCommand::List => {
            let jobs = all_pages(async |page| session.client.jobs(&session.namespace, page).await).await?;
            session.out.list(&jobs)?;
        }
        JobCommand::Inspect { job, version } => {
            let job = resolve::name(session, job, FoundKind::Job).await?;
            session.out.object(&session.client.job(&session.namespace, &job, *version).await?)?;
        }
        JobCommand::Why { target } => {
            let run = resolve::run(session, target).await?;
            session.out.object(&session.client.why(&session.namespace, &run).await?)?;
        }
    }
    Ok(Exit::Ok)
}
