use weir_api::{
    JobPlan, JobVersion, Run, RunQuery, RunRequest, RunState, Until,
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
    // Refused before anything is stored for a run that could not be started.
    super::job::meta(&args.follow.meta)?;
    let kind = resolved.spec.kind;
    if !starts_a_run(kind) && (args.input.input.is_some() || args.input.items.is_some() || !args.follow.meta.is_empty())
    {
        let message = format!("deploying a {kind} job starts nothing, so there is nothing that input could go to");
        return Err(Failure::usage(message).hint("`wctl job dispatch` calls a function with input"));
    }
    let tasks = starts_a_run(kind).then(|| input.count().unwrap_or(resolved.spec.count));
    let job = put_job(session, &mut resolved, args.check_revision, tasks).await?;
    if !starts_a_run(kind) {
        return activated(session, &resolved.spec.name).await;
    }
    if kind.restarts() {
        return keep(session, &job, args, input).await;
    }
    let mut request = upload::run_request(session, &resolved.spec.name, input).await?;
    // Another deploy may have made a further version since.
    request.version = Some(job.version);
    let run = start(session, request, &args.follow).await?;
    if args.follow.detach {
        session.out.object(&run)?;
        return Ok(Exit::Ok);
    }
    let run = to_the_end(session, run, &args.follow).await?;
    session.out.object(&run)?;
    outcome(session, &run).await
}

/// Has the tasks of a service or system job run in a version; what runs in it already goes on.
async fn keep(session: &Session, job: &JobVersion, args: &DeployArgs, input: upload::Prepared) -> Result<Exit> {
    let before = kept_run(session, &job.name).await?;
    let asks_for_more = args.input.input.is_some() || args.input.items.is_some() || !args.follow.meta.is_empty();
    let run = match before {
        Some(run) if run.version == job.version && !asks_for_more => {
            let (name, version) = (&job.name, job.version);
            terminal::note(&format!(
                "run {} has version {version} of {name} already, so nothing was started; `wctl job restart {name}` starts \
                 its tasks anew",
                run.id
            ));
            run
        }
        before => {
            let mut request = upload::run_request(session, &job.name, input).await?;
            request.version = Some(job.version);
            let run = start(session, request, &args.follow).await?;
            tell_scale(before.as_ref().and_then(|before| before.target), run.target, job);
            run
        }
    };
    if args.follow.detach {
        session.out.object(&run)?;
        return Ok(Exit::Ok);
    }
    let run = to(session, run, Until::Healthy, &args.follow).await?;
    session.out.object(&run)?;
    if run.state.is_terminal() {
        return outcome(session, &run).await;
    }
    if run.kind == "system" && run.target == Some(0) {
        terminal::note(&format!(
            "no node matches, so nothing runs; `wctl job why {}` shows what excludes which",
            run.job
        ));
    }
    Ok(Exit::Ok)
}

/// The run that a service or system job is kept running with.
pub(crate) async fn kept_run(session: &Session, job: &str) -> Result<Option<Run>> {
    let summary = session.client.job_summary(&session.namespace, job).await?;
    let goes_on = |state: RunState| !state.is_terminal() && state != RunState::Stopping;
    let (Some(run), true) = (summary.last_run, summary.last_run_state.is_some_and(goes_on)) else { return Ok(None) };
    Ok(Some(session.client.run(&session.namespace, &run, &RunQuery::default()).await?))
}

/// Says what becomes of the number of tasks that a service was scaled to.
pub(crate) fn tell_scale(before: Option<u32>, after: Option<u32>, job: &JobVersion) {
    let (Some(before), Some(after)) = (before, after) else { return };
    if job.spec.job.kind != "service" {
        return;
    }
    let specified = job.spec.job.count.unwrap_or(1);
    if before != after {
        terminal::note(&format!("{after} tasks are kept in place of {before}, as the count in the spec changed"));
    } else if after != specified {
        terminal::note(&format!("{after} tasks are kept, which it is scaled to; the spec says {specified}"));
    }
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

/// Uploads the module and creates or updates the job, unless a run of `for_tasks` tasks of it would be refused.
pub(crate) async fn put_job(
    session: &Session,
    resolved: &mut Resolved,
    expected_version: Option<u32>,
    for_tasks: Option<u32>,
) -> Result<JobVersion> {
    upload::module(session, resolved).await?;
    let write = JobWrite { expected_version, idempotency_key: None, for_tasks };
    let job = session.client.put_job(&session.namespace, &resolved.spec.to_document(), &write).await?;
    if job.changed {
        terminal::note(&format!("job {}/{} has version {}", job.namespace, job.name, job.version));
    }
    Ok(job)
}

/// Starts a run under a key, so that a broken connection cannot start it twice.
pub(crate) async fn start(session: &Session, mut request: RunRequest, flags: &FollowArgs) -> Result<Run> {
    request.message.clone_from(&flags.message);
    request.meta = super::job::meta(&flags.meta)?;
    let key = flags.idempotency_key.clone().unwrap_or_else(|| new_key(&request));
    let run = session.client.start_run(&session.namespace, &request, Some(&key)).await?;
    let tasks = text::of_things(run.target.unwrap_or(run.count).into(), "task");
    terminal::note(&format!("run {} of {tasks}", run.id));
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
