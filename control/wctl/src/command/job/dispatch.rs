//! Functions: a payload in, the bytes of the result out.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use weir_api::{DispatchRequest, FoundKind, Run, RunQuery, Until, units};
use weir_client::Dispatched;

use crate::{
    args::{DispatchArgs, InputArgs},
    command::{deploy, run},
    exit::Exit,
    failure::{Failure, Result},
    follow, resolve,
    session::{Session, deadline},
    upload,
};

/// The longest wait of one request; a call that takes longer is followed by its run.
const WAIT_MAX: Duration = Duration::from_secs(30);

pub(super) async fn dispatch(session: &Session, args: &DispatchArgs) -> Result<Exit> {
    if let Some(file) = &args.output {
        run::check_writable(file)?;
    }
    let deadline = deadline("timeout", args.timeout.as_deref())?;
    let job = resolve::name(session, &args.job, FoundKind::Job).await?;
    let input = upload::prepare(&InputArgs::from(&args.input), None)?;
    let request = DispatchRequest {
        version: None,
        args: (!args.program_args.is_empty()).then(|| args.program_args.clone()),
        payload: upload::run_request(session, &job, input).await?.payload,
        meta: meta(&args.meta)?,
        message: args.message.clone(),
    };
    let key = args.idempotency_key.clone().unwrap_or_else(|| deploy::new_key(&request));
    let left = deadline.map_or(WAIT_MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
    let wait = if args.detach { Duration::ZERO } else { left.min(WAIT_MAX) };
    let wait = units::format_duration_ms(u64::try_from(wait.as_millis()).unwrap_or(0));
    let called = session.client.dispatch(&session.namespace, &job, &request, Some(&key), Some(&wait)).await?;
    match called {
        Dispatched::Going(run) if args.detach => session.out.object(&*run)?,
        Dispatched::Going(run) => return follow_on(session, args, &run, deadline).await,
        Dispatched::Done { run, .. } if args.detach => {
            session.out.object(&session.client.run(&session.namespace, &run, &RunQuery::default()).await?)?;
        }
        Dispatched::Done { result, .. } => write(args, &result)?,
    }
    Ok(Exit::Ok)
}

/// Waits on for as long as it takes.
async fn follow_on(session: &Session, args: &DispatchArgs, run: &Run, deadline: Option<Instant>) -> Result<Exit> {
    let Some(ended) = follow::run(session, &run.id, Until::Terminal, deadline).await? else {
        return Err(follow::timed_out(session, &run.id).await);
    };
    let exit = deploy::outcome(session, &ended).await?;
    write(args, &session.client.task_result(&session.namespace, &run.id, 0).await?)?;
    Ok(exit)
}

fn write(args: &DispatchArgs, result: &[u8]) -> Result<()> {
    match &args.output {
        Some(file) => run::save(file, result),
        None => run::show_result(result),
    }
}

/// The names and values of `--meta` flags.
pub(crate) fn meta(pairs: &[String]) -> Result<BTreeMap<String, String>> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(Failure::usage(format!("`{text}` has no `=`: write --meta NAME=VALUE"))),
    };
    pairs.iter().map(pair).collect()
}
