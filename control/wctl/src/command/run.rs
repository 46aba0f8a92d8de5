use std::{collections::BTreeMap, io::IsTerminal as _, path::Path};

use weir_api::{FoundKind, LogStream, LogsQuery, ModuleKind, Run, RunState, Task};

use super::{deploy, logs};
use crate::{
    args::{RunArgs, SpecArgs},
    exit::Exit,
    failure::{Failure, Result},
    log::Log,
    output::{terminal, write_stdout},
    resolve,
    session::Session,
    spec, upload,
};

/// Results of several tasks are written to stdout in pieces of this size.
const WRITE_BYTES: usize = 64 << 10;

/// `wctl run`.
pub(crate) async fn run(session: &Session, args: &RunArgs) -> Result<Exit> {
    if let Some(file) = &args.output {
        check_writable(file)?;
    }
    let input = upload::prepare(&args.input, args.spec.count.as_deref())?;
    let Job { name, version, attempts } = job(session, args, input.count()).await?;
    let mut request = upload::run_request(session, &name, input).await?;
    request.version = version;
    request.args = (!args.program_args.is_empty()).then(|| args.program_args.clone());
    let run = deploy::start(session, request, &args.follow).await?;
    if args.follow.detach {
        session.out.object(&run)?;
        return Ok(Exit::Ok);
    }
    if run.count == 1 {
        one_task(session, args, run, attempts == Some(1)).await
    } else {
        many_tasks(session, args, run).await
    }
}

/// What is run.
struct Job {
    name: String,
    /// The version that was just made or found; nothing of an existing job, of which the latest is run.
    version: Option<u32>,
    /// The most attempts of a task, if they are known.
    attempts: Option<u32>,
}

/// The job to run: an existing one by its name, or one made from a module or spec. `items` decides how many tasks.
async fn job(session: &Session, args: &RunArgs, items: Option<u32>) -> Result<Job> {
    let flags = &args.spec;
    let check = |count: u32| {
        let several = args.propagate_exit && items.unwrap_or(count) > 1;
        if several { Err(Failure::usage("--propagate-exit needs a run of one task")) } else { Ok(()) }
    };
    if args.source != "-" && !Path::new(&args.source).exists() {
        let looks_like_a_file = args.source.contains('/') || Path::new(&args.source).extension().is_some();
        let named = resolve::name(session, &args.source, FoundKind::Job).await;
        let job = named.map_err(|failure| {
            if looks_like_a_file && failure.exit() == Exit::NotFound {
                return Failure::new(
                    Exit::NotFound,
                    format!("there is no file `{}`, and no job of that name", args.source),
                );
            }
            failure
        })?;
        if is_set(flags) {
            return Err(Failure::usage(format!("`{job}` is an existing job, whose spec these flags cannot change"))
                .hint("deploy its spec or module with the flags, or leave them out"));
        }
        let found = session.client.job(&session.namespace, &job, None).await;
        let spec = found.ok().map(|found| found.spec);
        check(spec.as_ref().and_then(|spec| spec.job.count).unwrap_or(1))?;
        return Ok(Job { name: job, version: None, attempts: spec.and_then(|spec| spec.retry.attempts) });
    }
    let mut resolved = spec::resolve(&args.source, flags)?;
    check(resolved.spec.count)?;
    let bare = matches!(resolved.module, spec::ModuleSource::Bytes(_)) && is_module(&args.source);
    if args.spec.retries.is_none() && bare && !resolved.spec.kind.restarts() {
        // Whoever watches one execution wants to see it fail, not to wait for its repetition.
        resolved.spec.retry.attempts = Some(1);
    }
    let tasks = items.unwrap_or(resolved.spec.count);
    let job = deploy::put_job(session, &mut resolved, None, Some(tasks)).await?;
    Ok(Job { name: resolved.spec.name, version: Some(job.version), attempts: resolved.spec.retry.attempts })
}

/// Fails before the run where its result could not be written after it.
pub(crate) fn check_writable(file: &Path) -> Result<()> {
    let failed = |error| Failure::new(Exit::Usage, format!("failed to write {}", file.display())).because(error);
    if file.exists() {
        return std::fs::OpenOptions::new().append(true).open(file).map(drop).map_err(failed);
    }
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::read_dir(directory).map(drop).map_err(failed)
}

fn is_set(flags: &SpecArgs) -> bool {
    format!("{flags:?}") != format!("{:?}", SpecArgs::default())
}

fn is_module(source: &str) -> bool {
    Path::new(source).extension().is_some_and(|extension| extension == "wasm")
}

async fn one_task(session: &Session, args: &RunArgs, run: Run, once: bool) -> Result<Exit> {
    // What a failed attempt writes is not a part of the result.
    let live = once && args.output.is_none() && writes_its_result(session, &run).await;
    let shown = tokio::select! {
        shown = show_log(session, &run, live) => shown?,
        ended = deploy::to_the_end(session, run.clone(), &args.follow), if args.follow.wait_timeout.is_some() => {
            ended?;
            Vec::new()
        }
    };
    let run = deploy::to_the_end(session, run, &args.follow).await?;
    let task = session.client.task(&session.namespace, &run.id, 0).await?;
    if run.state == RunState::Succeeded {
        let result = session.client.task_result(&session.namespace, &run.id, 0).await?;
        match &args.output {
            Some(file) => save(file, &result)?,
            None => {
                let rest = result.strip_prefix(shown.as_slice());
                if rest.is_none() {
                    terminal::note(
                        "what was shown as it came is not the beginning of the result, which follows as a whole",
                    );
                }
                show_result(rest.unwrap_or(&result))?;
            }
        }
    }
    if args.propagate_exit
        && let Some(code) = guest_code(&task)
    {
        return Ok(Exit::Guest(code));
    }
    deploy::outcome(session, &run).await
}

/// Whether stdout is the result, so that it can be shown while it is written.
async fn writes_its_result(session: &Session, run: &Run) -> bool {
    match session.client.module(&run.module).await.map(|module| module.kind) {
        Ok(ModuleKind::WasiP1Command | ModuleKind::WasiP2Command) => true,
        // Without knowing, the result is shown at the end, which is never wrong.
        Ok(ModuleKind::Task | ModuleKind::Unknown) | Err(_) => false,
    }
}

/// Follows the log: the guest's stdout to ours when it is the result, everything else to stderr. Returns what was
/// written to stdout.
async fn show_log(session: &Session, run: &Run, live: bool) -> Result<Vec<u8>> {
    let query = LogsQuery { follow: true, ..LogsQuery::default() };
    let mut shown = Vec::new();
    let mut stderr = logs::ToStderr::new();
    let mut lines = Log::open(session, &run.id, 0, query).await?;
    loop {
        match lines.next().await {
            Ok(Some(record)) if record.stream == LogStream::Stdout && live => {
                let bytes = record.bytes();
                write_stdout(&bytes)?;
                shown.extend_from_slice(&bytes);
            }
            Ok(Some(record)) => stderr.show(&record),
            Ok(None) => return Ok(shown),
            Err(error) => {
                // The run is what matters; the rest of its log is stored.
                terminal::note(&format!("{}; following the run without its log", error.message()));
                return Ok(shown);
            }
        }
    }
}

async fn many_tasks(session: &Session, args: &RunArgs, run: Run) -> Result<Exit> {
    if args.propagate_exit {
        return Err(Failure::usage("--propagate-exit needs a run of one task"));
    }
    let run = deploy::to_the_end(session, run, &args.follow).await?;
    if run.state == RunState::Succeeded {
        results(session, args, &run).await?;
    }
    deploy::outcome(session, &run).await
}

/// Writes the results in the order of the tasks, each ending its line.
async fn results(session: &Session, args: &RunArgs, run: &Run) -> Result<()> {
    let mut in_order: BTreeMap<u32, Option<Vec<u8>>> = BTreeMap::new();
    let mut lines = session.client.run_results(&session.namespace, &run.id).await?;
    while let Some(line) = lines.next().await? {
        in_order.insert(line.index, line.bytes());
    }
    let mut all = Vec::new();
    for index in 0..run.count {
        // What the list leaves out is too large for it.
        let mut result = match in_order.remove(&index).flatten() {
            Some(result) => result,
            None => session.client.task_result(&session.namespace, &run.id, index).await?,
        };
        if result.last() != Some(&b'\n') {
            result.push(b'\n');
        }
        if args.output.is_some() || all.len() < WRITE_BYTES {
            all.append(&mut result);
        } else {
            write_stdout(&std::mem::replace(&mut all, result))?;
        }
    }
    match &args.output {
        Some(file) => save(file, &all),
        None => write_stdout(&all),
    }
}

/// Writes a result to stdout.
pub(crate) fn show_result(result: &[u8]) -> Result<()> {
    write_stdout(result)?;
    // A prompt behind the last line would look like a part of the result.
    if std::io::stdout().is_terminal() && !result.is_empty() && !result.ends_with(b"\n") {
        write_stdout(b"\n")?;
    }
    Ok(())
}

/// Writes a file.
pub(crate) fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes)
        .map_err(|error| Failure::new(Exit::Failed, format!("failed to write {}", path.display())).because(error))
}

/// The guest's exit code as a process can return it; a success without a code is 0.
fn guest_code(task: &Task) -> Option<u8> {
    match task.exit_code {
        Some(code) => Some(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        None if task.state == weir_api::TaskState::Succeeded => Some(0),
        None => None,
    }
}
