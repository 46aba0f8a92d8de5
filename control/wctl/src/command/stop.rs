use weir_api::{FoundKind, PageQuery, Run, StopRequest};

use super::wait;
use crate::{
    args::{StopArgs, WaitFor},
    exit::Exit,
    failure::{Failure, Result},
    resolve::{self, Target},
    session::{Session, deadline},
};

/// Runs of a job that are looked at: an update leaves few of them open.
const RUNS_OF_A_JOB_MAX: u32 = 100;

/// `wctl stop`.
pub(crate) async fn stop(session: &Session, args: &StopArgs) -> Result<Exit> {
    let deadline = deadline("timeout", args.timeout.as_deref())?;
    let request = StopRequest { message: args.message.clone() };
    let mut stopped = Vec::with_capacity(args.targets.len());
    for text in &args.targets {
        let target = match resolve::target(session, text, &[FoundKind::Job, FoundKind::Run]).await? {
            Target::Job(job) => Target::Run(stop_older(session, &job, &request).await?),
            other @ (Target::Run(_) | Target::Task(..) | Target::Node(_)) => other,
        };
        match &target {
            Target::Run(run) => {
                let run = session.client.stop_run(&session.namespace, run, &request).await?;
                if !args.wait {
                    session.out.object(&run)?;
                }
            }
            Target::Task(run, index) => {
                let task = session.client.stop_task(&session.namespace, run, *index, &request).await?;
                if !args.wait {
                    session.out.object(&task)?;
                }
            }
            Target::Job(name) | Target::Node(name) => {
                return Err(Failure::usage(format!("`{name}` cannot be stopped")));
            }
        }
        stopped.push(target);
    }
    if args.wait {
        for target in stopped {
            match target {
                Target::Task(run, index) => {
                    wait::stopped_task(session, &run, index, deadline).await?;
                }
                Target::Run(name) | Target::Job(name) | Target::Node(name) => {
                    wait::run(session, &name, WaitFor::Terminal, deadline).await?;
                }
            }
        }
    }
    Ok(Exit::Ok)
}

/// Ends the runs of a service or system job that its latest run is taking over from, as they would go on in its place;
/// gives the latest one.
async fn stop_older(session: &Session, job: &str, request: &StopRequest) -> Result<String> {
    let latest = resolve::latest_run(session, job).await?;
    let query = PageQuery { job: Some(job.to_owned()), limit: Some(RUNS_OF_A_JOB_MAX), cursor: None };
    let runs = session.client.runs(&session.namespace, &query).await?.items;
    let lasting = |run: &&Run| wait::lasts(&run.kind);
    for run in runs.iter().filter(lasting).filter(|run| run.id != latest && !run.state.is_terminal()).rev() {
        session.client.stop_run(&session.namespace, &run.id, request).await?;
    }
    Ok(latest)
}
