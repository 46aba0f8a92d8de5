//! What people do to jobs that run: scale, pause, restart, trigger.

use std::time::Instant;

use weir_api::{ChangeRequest, FoundKind, Job, RunRequest, ScaleRequest, Until};

use crate::{
    args::{ChangeArgs, FollowArgs, TriggerArgs},
    command::deploy,
    exit::Exit,
    failure::{Failure, Result},
    follow,
    output::terminal,
    resolve,
    session::{Session, deadline},
};

pub(super) async fn scale(session: &Session, job: &str, count: u32, change: &ChangeArgs) -> Result<()> {
    let job = resolve::name(session, job, FoundKind::Job).await?;
    let deadline = deadline("timeout", change.timeout.as_deref())?;
    let request = ScaleRequest { count, message: change.message.clone() };
    let changed = session.client.scale_job(&session.namespace, &job, &request).await?;
    settled(session, &job, changed, change, deadline).await
}

pub(super) async fn restart(session: &Session, job: &str, change: &ChangeArgs) -> Result<()> {
    let job = resolve::name(session, job, FoundKind::Job).await?;
    let deadline = deadline("timeout", change.timeout.as_deref())?;
    let request = ChangeRequest { message: change.message.clone() };
    let changed = session.client.restart_job(&session.namespace, &job, &request).await?;
    settled(session, &job, changed, change, deadline).await
}

/// Pauses a job, or resumes it.
pub(super) async fn pause(session: &Session, job: &str, on: bool, message: Option<&str>) -> Result<()> {
    let job = resolve::name(session, job, FoundKind::Job).await?;
    let request = ChangeRequest { message: message.map(str::to_owned) };
    let changed = if on {
        session.client.pause_job(&session.namespace, &job, &request).await?
    } else {
        session.client.resume_job(&session.namespace, &job, &request).await?
    };
    session.out.object(&changed)
}

/// Pauses a cron job, or resumes it.
pub(crate) async fn suspend(session: &Session, job: &str, on: bool, message: Option<&str>) -> Result<()> {
    let job = resolve::name(session, job, FoundKind::Job).await?;
    let kind = session.client.job_summary(&session.namespace, &job).await?.kind;
    if kind != "cron" {
        let message = format!("`{job}` is a {kind} job; only cron jobs are suspended");
        let command = if on { "pause" } else { "resume" };
        let hint = format!("`wctl job {command} {job}` does the same for it");
        return Err(Failure::new(Exit::Conflict, message).hint(hint));
    }
    pause(session, &job, on, message).await
}

/// Fires a cron job at once.
pub(crate) async fn trigger(session: &Session, args: &TriggerArgs) -> Result<Exit> {
    let job = resolve::name(session, &args.job, FoundKind::Job).await?;
    let summary = session.client.job_summary(&session.namespace, &job).await?;
    if summary.kind != "cron" {
        let message = format!("`{job}` is a {} job; only cron jobs are triggered", summary.kind);
        return Err(Failure::new(Exit::Conflict, message).hint(format!("`wctl run {job}` starts a run of it")));
    }
    if summary.paused {
        terminal::note(&format!("`{job}` is suspended, so the run waits for `wctl cron resume {job}`"));
    }
    let flags = FollowArgs {
        message: args.change.message.clone(),
        idempotency_key: args.idempotency_key.clone(),
        wait_timeout: args.change.timeout.clone(),
        ..FollowArgs::default()
    };
    let run = deploy::start(session, RunRequest { job, ..RunRequest::default() }, &flags).await?;
    if !args.change.wait {
        session.out.object(&run)?;
        return Ok(Exit::Ok);
    }
    let run = deploy::to_the_end(session, run, &flags).await?;
    session.out.object(&run)?;
    deploy::outcome(session, &run).await
}

/// Shows a changed job, once its latest run is as it is wanted if somebody waits for that.
pub(super) async fn settled(
    session: &Session,
    job: &str,
    changed: Job,
    change: &ChangeArgs,
    deadline: Option<Instant>,
) -> Result<()> {
    if !change.wait {
        return session.out.object(&changed);
    }
    healthy(session, job, deadline).await
}

/// Waits until the latest run of a job is healthy, and shows it.
pub(super) async fn healthy(session: &Session, job: &str, deadline: Option<Instant>) -> Result<()> {
    let run = resolve::latest_run(session, job).await?;
    match follow::run(session, &run, Until::Healthy, deadline).await? {
        Some(run) => session.out.object(&run),
        None => Err(follow::timed_out(session, &run).await),
    }
}
