//! The versions of a job: its history, what differs, and the way back.

use std::path::Path;

use weir_api::{FoundKind, JobDiff, RevertRequest};

use super::change;
use crate::{
    args::{JobDiffArgs, RevertArgs, SpecArgs},
    command::deploy,
    exit::Exit,
    failure::{Failure, Result},
    output::terminal,
    resolve,
    session::{Session, all_pages, deadline},
    spec,
};

pub(super) async fn history(session: &Session, job: &str) -> Result<()> {
    let job = resolve::name(session, job, FoundKind::Job).await?;
    let read = async |page: &weir_api::PageQuery| session.client.job_versions(&session.namespace, &job, page).await;
    session.out.list(&all_pages(read).await?)
}

/// Compares two versions of a job, or a spec with the latest version of its job.
pub(super) async fn diff(session: &Session, args: &JobDiffArgs) -> Result<Exit> {
    let is_file = args.target == "-" || Path::new(&args.target).exists();
    let diff = if is_file {
        if args.from.is_some() || args.to.is_some() {
            return Err(Failure::usage("--from and --to are versions of a job, which a file does not name"));
        }
        with_spec(session, &args.target).await?
    } else {
        let job = resolve::name(session, &args.target, FoundKind::Job).await?;
        session.client.job_diff(&session.namespace, &job, args.from, args.to).await?
    };
    session.out.object(&diff)?;
    if diff.changes.is_empty() {
        terminal::note("nothing differs");
    }
    Ok(if args.exit_code && !diff.changes.is_empty() { Exit::Changes } else { Exit::Ok })
}

/// What a spec would change in its job.
async fn with_spec(session: &Session, source: &str) -> Result<JobDiff> {
    let mut resolved = spec::resolve(source, &SpecArgs::default())?;
    deploy::name_module(&mut resolved);
    let newer = resolved.spec.to_document();
    let latest = session.client.job(&session.namespace, &newer.job.name, None).await?;
    Ok(JobDiff {
        namespace: latest.namespace,
        job: latest.name,
        from: latest.version,
        to: 0,
        changes: latest.spec.changes(&newer),
    })
}

pub(super) async fn revert(session: &Session, args: &RevertArgs) -> Result<()> {
    let job = resolve::name(session, &args.job, FoundKind::Job).await?;
    let deadline = deadline("timeout", args.change.timeout.as_deref())?;
    let before = deploy::kept_run(session, &job).await?.and_then(|run| run.target);
    let request = RevertRequest { version: args.version, message: args.change.message.clone() };
    let version = session.client.revert_job(&session.namespace, &job, &request, args.check_revision).await?;
    if version.changed {
        terminal::note(&format!("job {}/{} has version {}", version.namespace, version.name, version.version));
    }
    if before.is_some() {
        deploy::tell_scale(before, Some(session.client.job_summary(&session.namespace, &job).await?.count), &version);
    }
    if !args.change.wait || !deploy::restarts(&version.spec.job.kind) {
        return session.out.object(&version);
    }
    change::healthy(session, &job, deadline).await
}
