use weir_api::{FoundKind, StopRequest};

use super::wait;
use crate::{
    args::{StopArgs, WaitFor},
    exit::Exit,
    failure::{Failure, Result},
    resolve::{self, Target},
    session::{Session, deadline},
};

/// `wctl stop`.
pub(crate) async fn stop(session: &Session, args: &StopArgs) -> Result<Exit> {
    let deadline = deadline("timeout", args.timeout.as_deref())?;
    let request = StopRequest { message: args.message.clone() };
    let mut stopped = Vec::with_capacity(args.targets.len());
    for text in &args.targets {
        let target = match resolve::target(session, text, &[FoundKind::Job, FoundKind::Run]).await? {
            Target::Job(job) => Target::Run(resolve::latest_run(session, &job).await?),
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
                    wait::one_task(session, &run, index, WaitFor::Terminal, deadline).await?;
                }
                Target::Run(name) | Target::Job(name) | Target::Node(name) => {
                    wait::run(session, &name, WaitFor::Terminal, deadline).await?;
                }
            }
        }
    }
    Ok(Exit::Ok)
}
