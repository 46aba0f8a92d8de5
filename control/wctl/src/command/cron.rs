use serde::Serialize;
use weir_api::Job;

use super::job;
use crate::{
    args::CronCommand,
    exit::Exit,
    failure::Result,
    output::{View, text},
    session::{Session, all_pages},
};

/// `wctl cron`.
pub(crate) async fn cron(session: &Session, command: &CronCommand) -> Result<Exit> {
    match command {
        CronCommand::List => {
            let jobs = all_pages(async |page| session.client.jobs(&session.namespace, page).await).await?;
            let jobs: Vec<CronJob> = jobs.into_iter().filter(|job| job.kind == "cron").map(CronJob).collect();
            session.out.list(&jobs)?;
        }
        CronCommand::Suspend { job, change } => job::suspend(session, job, true, change.message.as_deref()).await?,
        CronCommand::Resume { job, change } => job::suspend(session, job, false, change.message.as_deref()).await?,
        CronCommand::Trigger(args) => return job::trigger(session, args).await,
    }
    Ok(Exit::Ok)
}

/// A cron job as people look at it.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct CronJob(Job);

impl View for CronJob {
    const COLUMNS: &'static [&'static str] = &["NAME", "SCHEDULE", "NEXT", "LAST RUN", "STATE", "VERSION"];
    const WIDE_FROM: usize = 5;

    fn name(&self) -> String {
        self.0.name.clone()
    }

    fn cells(&self) -> Vec<String> {
        let next =
            if self.0.paused { "suspended".to_owned() } else { self.0.next_ms.map(text::ahead).unwrap_or_default() };
        vec![
            self.0.name.clone(),
            self.0.schedule.clone().unwrap_or_default(),
            next,
            self.0.last_run.clone().unwrap_or_default(),
            self.0.last_run_state.map(|state| state.to_string()).unwrap_or_default(),
            self.0.version.to_string(),
        ]
    }

    fn fields(&self, wide: bool) -> Vec<(&'static str, String)> {
        self.0.fields(wide)
    }
}
