use weir_api::{Run, RunRequest, RunState, Until};
use weir_client::JobWrite;

use crate::{
    args::{DeployArgs, FollowArgs},
    exit::Exit,
    failure::{Failure, Result},
    follow,
    output::terminal,
    session::{Session, deadline},
    spec::{self, ModuleSource, Resolved},
    upload,
};

/// `wctl deploy`.
pub(crate) async fn deploy(session: &Session, args: &DeployArgs) -> Result<Exit> {
    let mut resolved = spec::resolve(&args.source, &args.spec)?;
    if args.dry_run {
        return dry_run(session, &resolved);
    }
    let input = upload::prepare(&args.input, args.spec.count.as_deref())?;
    put_job(session, &mut resolved, args.check_revision).await?;
    let request = upload::run_request(session, &resolved.spec.name, input).await?;
    let run = start(session, request, &args.follow).await?;
    if args.follow.detach {
        session.out.object(&run)?;
        return Ok(Exit::Ok);
    }
    let run = to_the_end(session, run, &args.follow).await?;
    session.out.object(&run)?;
    outcome(session, &run).await
}

fn dry_run(session: &Session, resolved: &Resolved) -> Result<Exit> {
    if let ModuleSource::Bytes(bytes) = &resolved.module {
        crate::module_file::check(bytes)?;
    }
    let document = resolved.spec.to_document();
    if session.out.is_for_people() {
        let text = toml::to_string(&document)
            .map_err(|error| Failure::new(Exit::Failed, "failed to write the spec").because(error))?;
        session.out.bytes(text.as_bytes())?;
    } else {
        session.out.value(&document, &document.job.name)?;
    }
    terminal::note("the spec and its module are valid; nothing was sent");
    Ok(Exit::Ok)
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
    let key = flags.idempotency_key.clone().unwrap_or_else(|| new_key(&request));
    let run = session.client.start_run(&session.namespace, &request, Some(&key)).await?;
    terminal::note(&format!("run {} of {} task{}", run.id, run.count, if run.count == 1 { "" } else { "s" }));
    Ok(run)
}

/// Follows a run to its end.
pub(crate) async fn to_the_end(session: &Session, run: Run, flags: &FollowArgs) -> Result<Run> {
    let deadline = deadline("wait-timeout", flags.wait_timeout.as_deref())?;
    match follow::run(session, &run.id, Until::Terminal, deadline).await? {
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
fn new_key(request: &RunRequest) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let text = format!("{} {} {request:?}", std::process::id(), now.as_nanos());
    crate::input::digest(text.as_bytes())["sha256:".len()..][..32].to_owned()
}
