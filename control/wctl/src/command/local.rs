//! `wctl run --local`: the executor's sandbox in this process, with the limits of the spec and without a cluster.

use std::{collections::BTreeMap, fs, io, os::unix::fs::DirBuilderExt as _, path::PathBuf, thread, time::Duration};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use weir_api::{
    LogLevel, LogRecord, LogStream, ModuleKind,
    spec::{DirGrant, JobSpec, Kind, Tier},
};
use weir_sandbox::{Helper, Sandbox, SandboxConfig};
use weir_wire::{
    attempt::{AttemptEvent, AttemptSpec, Command, EndedAttempt, ModuleFile},
    id::{AttemptId, Digest, GrantSeq, RunId, TaskId, Term},
    kind,
    log::{self, Stream},
    outcome::Captured,
    resources::Resources,
    task::Status,
    units::{CpuMillis, Fuel, MemBytes},
    work::{self, Budgets, Input, WorkSpec},
};

use super::{
    logs::ToStderr,
    run::{check_writable, save, show_result},
};
use crate::{
    args::RunArgs,
    exit::Exit,
    failure::{Failure, Result},
    input, module_file,
    output::{terminal, text, write_stdout},
    spec::{self, ModuleSource},
    upload::{self, Prepared},
};

/// Attempts that are in the sandbox at the same time: more would only hold their payloads in memory.
const STARTED_MAX: u32 = 64;
/// The only run of the sandbox.
const RUN: RunId = RunId(1);

/// Runs a module as its spec says; each task is attempted once.
pub(crate) fn run(args: &RunArgs) -> Result<Exit> {
    if let Some(file) = &args.output {
        check_writable(file)?;
    }
    let mut resolved = spec::resolve(&args.source, &args.spec)?;
    if !args.program_args.is_empty() {
        resolved.spec.args.clone_from(&args.program_args);
    }
    let ModuleSource::Bytes(wasm) = &resolved.module else {
        return Err(Failure::usage("--local needs the module as a file; the spec names one that a cluster stores"));
    };
    if !matches!(resolved.spec.kind, Kind::Batch | Kind::Function) {
        let message = format!("--local runs tasks that end, and a {} job does not", resolved.spec.kind);
        return Err(Failure::usage(message).hint("`wctl dev` is a whole cluster on this machine"));
    }
    let payloads = upload::prepare(&args.input, args.spec.count.as_deref())?;
    let count = payloads.count().unwrap_or(resolved.spec.count);
    if args.propagate_exit && count > 1 {
        return Err(Failure::usage("--propagate-exit needs a run of one task"));
    }
    module_file::check(wasm)?;
    let mut local = Local::start(args, count)?;
    local.stdout_is_result = module_file::inspect(wasm)?.kind != ModuleKind::Task;
    let digest = local.prepare(wasm)?;
    let work = work_spec(&resolved.spec, digest, count)?;
    let ended = local.execute(work, &payloads, count)?;
    local.sandbox.shutdown();
    conclude(args, ended)
}

/// A sandbox of this process.
struct Local {
    sandbox: Sandbox,
    events: UnboundedReceiver<Vec<AttemptEvent>>,
    dir: PathBuf,
    /// What a task writes to stdout is its result, unless it was made with the SDK.
    stdout_is_result: bool,
}

impl Local {
    fn start(args: &RunArgs, count: u32) -> Result<Self> {
        let dir = directory()?;
        let failed =
            |error: io::Error| Failure::new(Exit::Failed, format!("failed to use {}", dir.display())).because(error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        let cache_key = key(&dir).map_err(failed)?;
        let published = directories("publish", &args.publish)?;
        let published_writable = directories("publish-writable", &args.publish_writable)?;
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let config = SandboxConfig {
            workers: threads.min(count.max(1) as usize),
            lanes_per_worker: STARTED_MAX,
            cache_dir: dir.join("compiled"),
            cache_key,
            published,
            published_writable,
            helper: Helper::this_program(),
            ..SandboxConfig::default()
        };
        let (sender, events) = unbounded_channel();
        let sandbox = Sandbox::start(config, sender)
            .map_err(|error| Failure::new(Exit::Failed, "failed to start the sandbox").because(error))?;
        Ok(Self { sandbox, events, dir, stdout_is_result: true })
    }

    /// The next events; the sandbox always answers.
    fn next(&mut self) -> Result<Vec<AttemptEvent>> {
        self.events.blocking_recv().ok_or_else(|| Failure::new(Exit::Failed, "the sandbox ended"))
    }

    /// Compiles the module, or finds it compiled.
    fn prepare(&mut self, wasm: &[u8]) -> Result<Digest> {
        let digest: Digest = input::digest(wasm)
            .parse()
            .map_err(|_| Failure::new(Exit::Failed, "the digest of the module cannot be read"))?;
        let path = self.dir.join(format!("module-{}.wasm", std::process::id()));
        fs::write(&path, wasm).map_err(|error| {
            Failure::new(Exit::Failed, format!("failed to write {}", path.display())).because(error)
        })?;
        self.sandbox.send(Command::Prepare(ModuleFile { digest, path: path.to_string_lossy().into_owned() }));
        let ready = loop {
            let module = self.next()?.into_iter().find_map(|event| match event {
                AttemptEvent::Module(ready) => Some(ready),
                AttemptEvent::Output(_) | AttemptEvent::Progress(_) | AttemptEvent::Ended(_) => None,
            });
            if let Some(ready) = module {
                break ready;
            }
        };
        // It is compiled, and nothing else needs it.
        drop(fs::remove_file(&path));
        match ready.refused {
            None => Ok(digest),
            Some(why) => Err(Failure::new(Exit::Invalid, format!("the module cannot be compiled: {why}"))),
        }
    }

    /// Runs all tasks, some at a time, and returns their ends by index. What they log goes to stderr as they end.
    fn execute(&mut self, work: WorkSpec, payloads: &Prepared, count: u32) -> Result<Vec<EndedAttempt>> {
        self.sandbox.send(Command::Define(Box::new(work)));
        let mut ended = BTreeMap::new();
        let mut started = 0;
        while ended.len() < count as usize {
            while started < count && started as usize - ended.len() < STARTED_MAX as usize {
                self.sandbox.send(Command::Start(attempt(started, payloads)?));
                started += 1;
            }
            for event in self.next()? {
                if let AttemptEvent::Ended(end) = event {
                    show_log(&end, self.stdout_is_result);
                    ended.insert(end.id.task.index, *end);
                }
            }
        }
        Ok(ended.into_values().collect())
    }
}

fn directories(flag: &str, pairs: &[String]) -> Result<BTreeMap<String, PathBuf>> {
    let pair = |text: &String| {
        let (name, host) = text.split_once('=').ok_or_else(|| {
            Failure::usage(format!("--{flag} {text}: give a name and a directory, such as `corpus=/srv/corpus`"))
        })?;
        Ok((name.to_owned(), PathBuf::from(host)))
    };
    pairs.iter().map(pair).collect()
}

fn attempt(index: u32, payloads: &Prepared) -> Result<AttemptSpec> {
    let payload = payloads.of(index)?.into();
    let id = AttemptId { task: TaskId { run: RUN, index }, term: Term(1), grant: GrantSeq(u64::from(index) + 1) };
    Ok(AttemptSpec { id, ordinal: 1, payload })
}

fn work_spec(spec: &JobSpec, module: Digest, count: u32) -> Result<WorkSpec> {
    let named = |error: &dyn std::fmt::Display| Failure::usage(format!("job.name: {error}"));
    let resources =
        Resources { cpu: CpuMillis(spec.resources.cpu_milli), memory: MemBytes(spec.resources.memory_bytes) };
    let dir = |grant: &DirGrant| work::DirGrant {
        name: grant.host.clone(),
        guest_path: grant.guest.clone(),
        writable: grant.writable,
    };
    Ok(WorkSpec {
        run: RUN,
        namespace: "local".parse().map_err(|error| named(&error))?,
        job: spec.name.parse().map_err(|error| named(&error))?,
        count,
        long_running: false,
        tier: match spec.tier {
            Tier::Production => kind::Tier::Production,
            Tier::Preemptible => kind::Tier::Preemptible,
            Tier::Revocable => kind::Tier::Revocable,
        },
        priority: spec.priority,
        execution: kind::Execution::default(),
        module,
        args: spec.args.clone(),
        env: spec.env.clone().into_iter().collect(),
        budgets: Budgets {
            resources,
            fuel: Fuel(spec.resources.fuel),
            timeout: spec.resources.timeout_ms.map(Duration::from_millis),
            output: spec.resources.output_bytes,
        },
        dirs: spec.dirs.iter().map(dir).collect(),
        input: Input::None,
    })
}

/// Where compiled modules are kept: `$XDG_CACHE_HOME/weir` or `~/.cache/weir`.
fn directory() -> Result<PathBuf> {
    let named = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")));
    let cache = cache.ok_or_else(|| Failure::usage("neither XDG_CACHE_HOME nor HOME is set, so there is no cache"))?;
    Ok(cache.join("weir"))
}

/// The key that seals compiled modules, drawn when it is first needed.
fn key(dir: &std::path::Path) -> io::Result<[u8; 32]> {
    let path = dir.join("key");
    if let Ok(found) = fs::read(&path)
        && let Ok(key) = found.try_into()
    {
        return Ok(key);
    }
    let mut key = [0; 32];
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut key)?;
    fs::write(&path, key)?;
    Ok(key)
}

/// Shows what a task wrote beside its result.
fn show_log(end: &EndedAttempt, stdout_is_result: bool) {
    let mut shown = ToStderr::new();
    for log::Record { stream, at_ms, bytes } in
        log::records(captured(&end.outcome.log, &end.large_log)).unwrap_or_default()
    {
        let (stream, level) = match stream {
            Stream::Stdout if stdout_is_result => continue,
            Stream::Stdout => (LogStream::Stdout, None),
            Stream::Stderr => (LogStream::Stderr, None),
            Stream::Log(level) => (LogStream::Log, Some(self::level(level))),
        };
        shown.show(&LogRecord::new(at_ms, stream, level, &bytes));
    }
}

const fn level(level: log::Level) -> LogLevel {
    match level {
        log::Level::Trace => LogLevel::Trace,
        log::Level::Debug => LogLevel::Debug,
        log::Level::Info => LogLevel::Info,
        log::Level::Warn => LogLevel::Warn,
        log::Level::Error => LogLevel::Error,
    }
}

fn captured<'a>(placed: &'a Captured, large: &'a [u8]) -> &'a [u8] {
    match placed {
        Captured::Inline(bytes) => bytes,
        Captured::Empty | Captured::Blob(_) => large,
    }
}

fn result(end: &EndedAttempt) -> &[u8] {
    captured(&end.outcome.result, &end.large_result)
}

/// Writes results as `wctl run` does, and says what was used.
fn conclude(args: &RunArgs, ended: Vec<EndedAttempt>) -> Result<Exit> {
    let bad: Vec<_> = ended.iter().filter(|end| end.outcome.status != Status::Succeeded).collect();
    let (mut fuel, mut cpu_us, mut memory) = (0u64, 0u64, 0u64);
    for usage in ended.iter().map(|end| end.outcome.usage) {
        fuel = fuel.saturating_add(usage.fuel.0);
        cpu_us = cpu_us.saturating_add(usage.cpu_us);
        memory = memory.max(usage.peak_memory.0);
    }
    if bad.is_empty() {
        let mut all = Vec::new();
        for end in &ended {
            all.extend_from_slice(result(end));
            if ended.len() > 1 && all.last() != Some(&b'\n') {
                all.push(b'\n');
            }
        }
        match &args.output {
            Some(file) => save(file, &all)?,
            None if ended.len() == 1 => show_result(&all)?,
            None => write_stdout(&all)?,
        }
    }
    let tasks = text::of_things(ended.len() as u64, "task");
    let (fuel, cpu, memory) = (text::count(fuel), text::micros(cpu_us), text::bytes(memory));
    terminal::note(&format!("{tasks}: fuel {fuel}, cpu {cpu}, peak memory {memory}"));
    let Some(first) = bad.first() else { return Ok(Exit::Ok) };
    let failure = first.outcome.failure.as_deref();
    if args.propagate_exit
        && let Some(code) = failure.and_then(|failure| failure.exit_code)
    {
        return Ok(Exit::Guest(u8::try_from(code & 0xff).unwrap_or(u8::MAX)));
    }
    let message = format!("{} of {tasks} did not succeed", bad.len());
    let mut report = Failure::new(Exit::TasksFailed, message);
    if let Some(failure) = failure {
        let mut hint = format!("task {}: {}: {}", first.id.task.index, failure.reason, failure.message);
        for frame in &failure.backtrace {
            hint.push_str(&format!("\n  at {frame}"));
        }
        report = report.hint(hint);
    }
    Err(report)
}
