//! `wctl run --local`: the executor's sandbox in this process, with the limits of the spec and without a cluster.

mod cache;
mod outcome;

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use weir_api::{
    ModuleKind, profile,
    spec::{DirGrant, JobSpec, Kind, NetGrant, Tier},
};
use weir_sandbox::{Helper, NetworkPolicy, Sandbox, SandboxConfig};
use weir_wire::{
    attempt::{AttemptEvent, AttemptSpec, Command, EndedAttempt, ModuleFile},
    id::{AttemptId, Digest, GrantSeq, RunId, TaskId, Term},
    inspect::{AttemptSeen, InspectSpec, PROFILE_TIME_MAX, Profile, Seen},
    kind,
    resources::Resources,
    task::Status,
    units::{CpuMillis, Fuel, MemBytes},
    work::{self, Budgets, Input, WorkSpec},
};

use super::{run::check_writable, task::save_profile};
use crate::{
    args::RunArgs,
    exit::Exit,
    failure::{Failure, Result},
    input, module_file,
    output::{terminal, text},
    spec::{self, ModuleSource},
    upload::{self, Prepared},
};

/// Attempts that are in the sandbox at the same time: more would only hold their payloads in memory.
const STARTED_MAX: u32 = 64;
/// The only run of the sandbox.
const RUN: RunId = RunId(1);

/// Runs a module as its spec says; each task is attempted once.
pub(crate) fn run(args: &RunArgs) -> Result<Exit> {
    for file in args.output.iter().chain(&args.profile) {
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
    let module_kind = module_file::inspect(wasm)?.kind;
    if module_kind == ModuleKind::WasiP1Command && !resolved.spec.nets.is_empty() {
        let message = "the module is a WASI preview 1 command, which cannot open connections, and is granted one";
        return Err(Failure::usage(message).hint("build it for wasm32-wasip2"));
    }
    let mut local = Local::start(args, count, resolved.spec.resources.scratch_bytes > 0)?;
    local.stdout_is_result = module_kind != ModuleKind::Task;
    let digest = local.prepare(wasm)?;
    let work = work_spec(&resolved.spec, digest, count)?;
    let (ended, profile) = local.execute(args, work, &payloads, count)?;
    local.sandbox.shutdown();
    if let Some(scratch) = local.scratch {
        // Empty by now; one that stays is removed by the next command that has one.
        drop(fs::remove_dir_all(scratch));
    }
    if let Some(file) = &args.profile {
        write_profile(file, &resolved.spec.name, profile)?;
    }
    outcome::conclude(args, &ended, local.stdout_is_result)
}

/// A sandbox of this process.
struct Local {
    sandbox: Sandbox,
    events: UnboundedReceiver<Vec<AttemptEvent>>,
    dir: PathBuf,
    /// Where scratch directories are made.
    scratch: Option<PathBuf>,
    /// What a task writes to stdout is its result, unless it was made with the SDK.
    stdout_is_result: bool,
}

impl Local {
    fn start(args: &RunArgs, count: u32, with_scratch: bool) -> Result<Self> {
        let dir = cache::directory()?;
        let failed =
            |error: io::Error| Failure::new(Exit::Failed, format!("failed to use {}", dir.display())).because(error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        let cache_key = cache::key(&dir).map_err(failed)?;
        let published = directories("publish", &args.publish)?;
        let published_writable = directories("publish-writable", &args.publish_writable)?;
        let scratch = with_scratch.then(|| own_scratch(&dir));
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let config = SandboxConfig {
            workers: threads.min(count.max(1) as usize),
            lanes_per_worker: STARTED_MAX,
            cache_dir: dir.join("compiled"),
            cache_key,
            published,
            published_writable,
            scratch: scratch.clone(),
            network: NetworkPolicy::anywhere(),
            helper: Helper::this_program(),
            ..SandboxConfig::default()
        };
        let (sender, events) = unbounded_channel();
        let sandbox = Sandbox::start(config, sender)
            .map_err(|error| Failure::new(Exit::Failed, "failed to start the sandbox").because(error))?;
        Ok(Self { sandbox, events, dir, scratch, stdout_is_result: true })
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
                AttemptEvent::Output(_)
                | AttemptEvent::Progress(_)
                | AttemptEvent::Ended(_)
                | AttemptEvent::Seen(_)
                | AttemptEvent::Settled(_) => None,
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

    /// Runs all tasks, some at a time, and returns their ends by index, and the profile of the first if it is wanted. What
    /// they log goes to stderr as they end.
    fn execute(
        &mut self,
        args: &RunArgs,
        work: WorkSpec,
        payloads: &Prepared,
        count: u32,
    ) -> Result<(Vec<EndedAttempt>, Option<Profile>)> {
        self.sandbox.send(Command::Define(Box::new(work)));
        let mut ended = BTreeMap::new();
        let (mut started, mut profile) = (0, None);
        while ended.len() < count as usize {
            while started < count && started as usize - ended.len() < STARTED_MAX as usize {
                let attempt = attempt(started, payloads)?;
                let id = attempt.id;
                let mut commands = vec![Command::Start(attempt)];
                if started == 0 && args.profile.is_some() {
                    commands.push(Command::Inspect(InspectSpec { id, sample_for: Some(PROFILE_TIME_MAX) }));
                }
                self.sandbox.send_many(commands);
                started += 1;
            }
            for event in self.next()? {
                match event {
                    AttemptEvent::Ended(end) => {
                        let succeeded = end.outcome.status == Status::Succeeded;
                        let is_result = self.stdout_is_result && outcome::is_result(args, count, succeeded);
                        outcome::show_log(&end, is_result);
                        ended.insert(end.id.task.index, *end);
                    }
                    AttemptEvent::Seen(AttemptSeen { seen: Seen::Profile(seen), .. }) => profile = Some(*seen),
                    AttemptEvent::Seen(_)
                    | AttemptEvent::Settled(_)
                    | AttemptEvent::Module(_)
                    | AttemptEvent::Output(_)
                    | AttemptEvent::Progress(_) => {}
                }
            }
        }
        Ok((ended.into_values().collect(), profile))
    }
}

/// Writes the profile of the first task.
fn write_profile(file: &Path, name: &str, profile: Option<Profile>) -> Result<()> {
    let Some(profile) = profile else {
        terminal::note("there is no profile: the task had ended before it could be sampled");
        return Ok(());
    };
    save_profile(file, profile::firefox(name, &profile, text::now_ms()).to_string().as_bytes())
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
    Ok(AttemptSpec { id, ordinal: 1, ahead: 0, payload })
}

fn work_spec(spec: &JobSpec, module: Digest, count: u32) -> Result<WorkSpec> {
    let named = |error: &dyn std::fmt::Display| Failure::usage(format!("job.name: {error}"));
    let memory = spec.resources.memory_bytes.saturating_add(spec.resources.scratch_bytes);
    let resources = Resources { cpu: CpuMillis(spec.resources.cpu_milli), memory: MemBytes(memory) };
    let dir = |grant: &DirGrant| work::DirGrant {
        name: grant.host.clone(),
        guest_path: grant.guest.clone(),
        writable: grant.writable,
    };
    let net = |grant: &NetGrant| work::NetGrant { host: grant.host.clone(), port: grant.port.into() };
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
        capabilities: work::Capabilities {
            deterministic: spec.execution.deterministic,
            scratch: spec.resources.scratch_bytes,
            nets: spec.nets.iter().map(net).collect(),
        },
    })
}

/// Where this process makes scratch directories; those of processes that are gone are removed.
fn own_scratch(dir: &std::path::Path) -> PathBuf {
    let all = dir.join("scratch");
    for entry in fs::read_dir(&all).into_iter().flatten().flatten() {
        let running = entry.file_name().to_str().is_some_and(|pid| PathBuf::from("/proc").join(pid).exists());
        if !running {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
    all.join(std::process::id().to_string())
}
