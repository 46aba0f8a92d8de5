use weir_api::{
    JobPlan, Run, RunRequest, RunState, Until,
    spec::{Kind, ModuleRef},
};
use weir_client::JobWrite;

use crate::{
    args::{DeployArgs, FollowArgs},
    exit::Exit,
    failure::{Failure, Result},
    follow,
    output::{terminal, text},
    session::{Session, deadline},
    spec::{self, ModuleSource, Resolved},
    upload,
};

/// `wctl deploy`.
pub(crate) async fn deploy(session: &Session, args: &DeployArgs) -> Result<Exit> {
    let mut resolved = spec::resolve(&args.source, &args.spec)?;
    if args.dry_run {
        plan(session, &mut resolved).await?;
        return Ok(Exit::Ok);
    }
    let input = upload::prepare(&args.input, args.spec.count.as_deref())?;
    let kind = resolved.spec.kind;
    if !starts_a_run(kind) && (args.input.input.is_some() || args.input.items.is_some() || !args.follow.meta.is_empty())
    {
        let message = format!("deploying a {kind} job starts nothing, so there is nothing that input could go to");
        return Err(Failure::usage(message).hint("`wctl job dispatch` calls a function with input"));
    }
    put_job(session, &mut resolved, args.check_revision).await?;
    if !starts_a_run(kind) {
        return activated(session, &resolved.spec.name).await;
    }
    let request = upload::run_request(session, &resolved.spec.name, input).await?;
    let run = start(session, request, &args.follow).await?;
    if args.follow.detach {
        session.out.object(&run)?;
        return Ok(Exit::Ok);
    }
    if kind.restarts() {
        let run = to(session, run, Until::Healthy, &args.follow).await?;
        session.out.object(&run)?;
        return if run.state.is_terminal() { outcome(session, &run).await } else { Ok(Exit::Ok) };
    }
    let run = to_the_end(session, run, &args.follow).await?;
    session.out.object(&run)?;
    outcome(session, &run).await
}

/// Whether deploying a job starts a run of it: a cron job waits for its schedule, a function for a call.
const fn starts_a_run(kind: Kind) -> bool {
    match kind {
        Kind::Batch | Kind::Service | Kind::System => true,
        Kind::Cron | Kind::Function => false,
    }
}

/// Whether the tasks of a kind are started again whenever they end.
pub(crate) fn restarts(kind: &str) -> bool {
    kind.parse().is_ok_and(Kind::restarts)
}

/// Shows a job that waits for its schedule or for a call.
async fn activated(session: &Session, name: &str) -> Result<Exit> {
    let jobs = &session.client.job_summary(&session.namespace, name).await?;
    if jobs.kind == "cron" {
        let next = jobs.next_ms.map(|at| format!("; it fires {}", text::ahead(at))).unwrap_or_default();
        terminal::note(&format!(
            "`wctl cron list` shows when it fires, `wctl cron trigger {name}` fires it at once{next}"
        ));
    } else {
        terminal::note(&format!("`wctl job dispatch {name}` calls it"));
    }
    session.out.object(jobs)?;
    Ok(Exit::Ok)
}

/// Shows what a deploy would do, and gives it.
pub(crate) async fn plan(session: &Session, resolved: &mut Resolved) -> Result<JobPlan> {
    if let ModuleSource::Bytes(bytes) = &resolved.module {
        crate::module_file::check(bytes)?;
    }
    name_module(resolved);
    let plan = session.client.plan_job(&session.namespace, &resolved.spec.to_document()).await?;
    session.out.object(&plan)?;
    terminal::note(&format!(
        "nothing was changed; `--check-revision {}` deploys only if the job is still as it was planned for",
        plan.version
    ));
    Ok(plan)
}

/// Names the module by its digest without sending it.
pub(crate) fn name_module(resolved: &mut Resolved) {
    if let ModuleSource::Bytes(bytes) = &resolved.module {
        resolved.spec.module = ModuleRef::Digest(crate::input::digest(bytes));
    }
}

/// Uploads the module and creates or updates the job.
pub(crate) async fn put_job(session: &Session, resolved: &mut Resolved, expected_version: Option<u32>) -> Result<()> {
    upload::module(session, resolved).await?;
    let write = JobWrite { expected_version, idempotency_key: None };
    let job = session.client.put_job(&session.namespace, &resolved.spec.to_document(), &write).await?;
    if job.changed {
        terminal::note(&format!("job {}/{} has version {}", job.namespace, job.name, job.version));
    }
    Ok(())
}

/// Starts a run under a key, so that a broken connection cannot start it twice.
pub(crate) async fn start(session: &Session, mut request: RunRequest, flags: &FollowArgs) -> Result<Run> {
    request.message.clone_from(&flags.message);
    request.meta = super::job::meta(&flags.meta)?;
    let key = flags.idempotency_key.clone().unwrap_or_else(|| new_key(&request));
    let run = session.client.start_run(&session.namespace, &request, Some(&key)).await?;
    terminal::note(&format!("run {} of {} task{}", run.id, run.count, if run.count == 1 { "" } else { "s" }));
    Ok(run)
}

/// Follows a run to its end.
pub(crate) async fn to_the_end(session: &Session, run: Run, flags: &FollowArgs) -> Result<Run> {
    to(session, run, Until::Terminal, flags).await
}

/// Follows a run until it has come as far as `until`.
async fn to(session: &Session, run: Run, until: Until, flags: &FollowArgs) -> Result<Run> {
    let deadline = deadline("wait-timeout", flags.wait_timeout.as_deref())?;
    match follow::run(session, &run.id, until, deadline).await? {
        Some(run) => Ok(run),
        None => Err(follow::timed_out(session, &run.id).await),
    }
}

/// The exit code of an ended run; a failure says why its first bad task failed.
pub(crate) async fn outcome(session: &Session, run: &Run) -> Result<Exit> {
    if run.state == RunState::Succeeded {
        return Ok(Exit::Ok);
    }
    let bad = run.tasks.terminal() - run.tasks.succeeded;
    let message = format!("run {} {}: {bad} of {} tasks did not succeed", run.id, run.state, run.count);
    let failure = Failure::new(Exit::TasksFailed, message);
    Err(match super::task::first_bad(session, &run.id).await {
        Some(task) => failure.hint(super::task::explain(&task)),
        None => failure,
    })
}

/// A key that no other command makes: the process, the moment, and the request.
pub(crate) fn new_key(request: &impl std::fmt::Debug) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let text = format!("{} {} {request:?}", std::process::id(), now.as_nanos());
    crate::input::digest(text.as_bytes())["sha256:".len()..][..32].to_owned()
}
