//! The bench of the isolation suite: a sandbox, guests in WAT, and their ends.

pub mod crowd;
pub mod hostile;
mod peak;

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

pub use peak::{Held, Peak};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use weir_sandbox::{Helper, Isolation, Sandbox, SandboxConfig, Used};
use weir_wire::{
    attempt::{AttemptEvent, AttemptSpec, CancelSpec, Command, EndedAttempt, FollowSpec, ModuleFile, ModuleReady},
    id::{AttemptId, Digest, GrantSeq, Namespace, RunId, TaskId, Term},
    inspect::{InspectSpec, Seen},
    kind::{Execution, Tier},
    log,
    outcome::{Captured, Failure},
    resources::Resources,
    task::{Reason, Status},
    units::{CpuMillis, Fuel, Instant, MemBytes},
    work::{Budgets, Capabilities, DirGrant, Input, NetGrant, WorkSpec},
};

/// Long enough for any machine; what is not there by then is a hang.
const HANG: Duration = Duration::from_secs(120);

/// Computes for some dozens of slices, then writes "done".
pub(crate) const NEIGHBOUR: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\04\00\00\00")
    (data (i32.const 16) "done")
    (func (export "_start") (local $i i32)
        (loop $more
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $i) (i32.const 4000000))))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// A sandbox under test.
#[derive(Debug)]
pub struct Bench {
    sandbox: Option<Sandbox>,
    events: UnboundedReceiver<Vec<AttemptEvent>>,
    runtime: tokio::runtime::Runtime,
    dir: TempDir,
    runs: u64,
    modules: u64,
    /// Events that arrived while another one was waited for.
    seen: Vec<AttemptEvent>,
}

/// A module and the conditions under which it is run.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The module, as text or binary.
    pub wasm: Vec<u8>,
    /// Whose it is.
    pub namespace: Namespace,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// The payload.
    pub payload: Vec<u8>,
    /// Directories.
    pub dirs: Vec<DirGrant>,
    /// What else it may use.
    pub capabilities: Capabilities,
    /// Budgets.
    pub budgets: Budgets,
    /// How firmly it holds its place.
    pub tier: Tier,
    /// How often it may execute, and whether under a lease only.
    pub execution: Execution,
}

/// How a guest ended, with its captures in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// As it was reported.
    pub ended: EndedAttempt,
    /// The result.
    pub result: Vec<u8>,
    /// The log.
    pub log: Vec<log::Record>,
}

impl Guest {
    /// A guest with budgets that a well-behaved one never meets.
    #[must_use]
    pub fn new(wasm: impl AsRef<[u8]>) -> Self {
        let resources = Resources { cpu: CpuMillis(1000), memory: MemBytes(16 << 20) };
        Self {
            wasm: wasm.as_ref().to_vec(),
            namespace: "isolation".parse().expect("a name"),
            args: Vec::new(),
            env: Vec::new(),
            payload: Vec::new(),
            dirs: Vec::new(),
            capabilities: Capabilities::NONE,
            budgets: Budgets {
                resources,
                fuel: Fuel(10_000_000_000),
                timeout: Some(Duration::from_secs(100)),
                output: 1 << 20,
            },
            tier: Tier::Preemptible,
            execution: Execution::default(),
        }
    }

    /// Of a namespace.
    ///
    /// # Panics
    /// The text is no name.
    #[must_use]
    pub fn of(mut self, namespace: &str) -> Self {
        self.namespace = namespace.parse().expect("a name");
        self
    }

    /// With a fuel budget.
    #[must_use]
    pub const fn fuel(mut self, fuel: u64) -> Self {
        self.budgets.fuel = Fuel(fuel);
        self
    }

    /// With a wall-clock timeout.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.budgets.timeout = Some(timeout);
        self
    }

    /// With a CPU rate, in thousandths of a core.
    #[must_use]
    pub const fn cpu(mut self, millis: u32) -> Self {
        self.budgets.resources.cpu = CpuMillis(millis);
        self
    }

    /// In a tier.
    #[must_use]
    pub const fn tier(mut self, tier: Tier) -> Self {
        self.tier = tier;
        self
    }

    /// With a memory limit.
    #[must_use]
    pub const fn memory(mut self, bytes: u64) -> Self {
        self.budgets.resources.memory = MemBytes(bytes);
        self
    }

    /// With an output budget.
    #[must_use]
    pub const fn output(mut self, bytes: u64) -> Self {
        self.budgets.output = bytes;
        self
    }

    /// With an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a payload.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// With clocks and random numbers that are the same each time.
    #[must_use]
    pub const fn deterministic(mut self) -> Self {
        self.capabilities.deterministic = true;
        self
    }

    /// With a scratch directory of so many bytes.
    #[must_use]
    pub const fn scratch(mut self, bytes: u64) -> Self {
        self.capabilities.scratch = bytes;
        self.budgets.resources.memory.0 += bytes;
        self
    }

    /// With leave to connect there.
    #[must_use]
    pub fn net(mut self, host: &str, port: u16) -> Self {
        self.capabilities.nets.push(NetGrant { host: host.to_owned(), port: port.into() });
        self
    }

    /// With a directory at `/data`.
    #[must_use]
    pub fn dir(mut self, name: &str, writable: bool) -> Self {
        self.dirs.push(DirGrant { name: name.to_owned(), guest_path: "/data".to_owned(), writable });
        self
    }
}

impl End {
    fn of(ended: EndedAttempt) -> Self {
        let result = whole(&ended.outcome.result, &ended.large_result);
        let log = log::records(&whole(&ended.outcome.log, &ended.large_log)).expect("a log");
        Self { ended, result, log }
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.ended.outcome.status
    }

    /// The reason, unless it succeeded.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.failure().map(|failure| failure.reason)
    }

    /// The failure, unless it succeeded.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.ended.outcome.failure.as_deref()
    }

    /// The exit code, if the guest gave one.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        self.failure().and_then(|failure| failure.exit_code)
    }

    /// The result as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.result).into_owned()
    }
}

impl Bench {
    /// A sandbox with one worker, on which all guests meet.
    #[must_use]
    pub fn new() -> Self {
        Self::with(16, BTreeMap::new())
    }

    /// A sandbox with one worker that has so many lanes, and published directories.
    #[must_use]
    pub fn with(lanes: u32, published: BTreeMap<String, PathBuf>) -> Self {
        Self::configured(|config| {
            config.lanes_per_worker = lanes;
            config.published = published;
        })
    }

    /// A sandbox with one worker, sixteen lanes and what `change` makes of that.
    #[must_use]
    pub fn configured(change: impl FnOnce(&mut SandboxConfig)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut config = SandboxConfig {
            workers: 1,
            lanes_per_worker: 16,
            memory_max: MemBytes(1 << 30),
            cache_dir: dir.path().join("cache"),
            cache_key: [7; 32],
            isolation: isolation(),
            helper: helper(),
            ..SandboxConfig::default()
        };
        change(&mut config);
        Self::of(dir, config)
    }

    /// A sandbox of this configuration, and a directory for modules.
    ///
    /// # Panics
    /// The sandbox cannot be started.
    #[must_use]
    pub fn of(dir: TempDir, config: SandboxConfig) -> Self {
        let (sender, events) = unbounded_channel();
        let sandbox = Sandbox::start(config, sender).expect("a sandbox");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        Self { sandbox: Some(sandbox), events, runtime, dir, runs: 0, modules: 0, seen: Vec::new() }
    }

    /// The directory of the bench.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Sends commands to the sandbox.
    pub fn send(&self, commands: Vec<Command>) {
        self.sandbox.as_ref().expect("a running sandbox").send_many(commands);
    }

    /// What attempts that are not revocable use.
    ///
    /// # Panics
    /// The sandbox is gone.
    #[must_use]
    pub fn used(&self) -> Used {
        self.sandbox.as_ref().expect("a running sandbox").used()
    }

    /// Tells the sandbox the time.
    ///
    /// # Panics
    /// The sandbox is gone.
    pub fn tick(&self, now: Instant) {
        self.sandbox.as_ref().expect("a running sandbox").tick(now);
    }

    /// The worker processes that run.
    ///
    /// # Panics
    /// The sandbox is gone.
    #[must_use]
    pub fn worker_pids(&self) -> Vec<u32> {
        self.sandbox.as_ref().expect("a running sandbox").worker_pids()
    }

    /// The processes in which guests run: workers, or this one.
    #[must_use]
    pub fn guest_pids(&self) -> Vec<u32> {
        let workers = self.worker_pids();
        if workers.is_empty() { vec![std::process::id()] } else { workers }
    }

    /// Prepares a module and says how that went.
    pub fn prepare(&mut self, wasm: &[u8]) -> ModuleReady {
        let digest = self.order(wasm);
        self.ready(digest)
    }

    /// Orders a module to be prepared.
    pub fn order(&mut self, wasm: &[u8]) -> Digest {
        let module = self.store(wasm);
        let digest = module.digest;
        self.send(vec![Command::Prepare(module)]);
        digest
    }

    /// Stores a module, as text or binary, where the sandbox can read it. Its digest is a number: that of the first
    /// module is the same in every bench.
    ///
    /// # Panics
    /// The text is not a module, or cannot be written.
    pub fn store(&mut self, wasm: &[u8]) -> ModuleFile {
        let wasm = if wasm.starts_with(b"\0asm") || wasm.first().is_none_or(|byte| !b"(; \n".contains(byte)) {
            wasm.to_vec()
        } else {
            wat::parse_bytes(wasm).expect("valid WAT").into_owned()
        };
        self.modules += 1;
        let mut digest = Digest([0; 32]);
        digest.0[..8].copy_from_slice(&self.modules.to_le_bytes());
        let path = self.dir.path().join(format!("{}.wasm", digest.to_hex()));
        std::fs::write(&path, wasm).expect("a module file");
        let path = path.to_str().expect("a path in UTF-8").to_owned();
        ModuleFile { digest, path }
    }

    /// Waits for the answer about a module.
    pub fn ready(&mut self, digest: Digest) -> ModuleReady {
        self.wait(|event| match event {
            AttemptEvent::Module(ready) if ready.digest == digest => Some(ready.clone()),
            AttemptEvent::Module(_)
            | AttemptEvent::Output(_)
            | AttemptEvent::Progress(_)
            | AttemptEvent::Ended(_)
            | AttemptEvent::Seen(_)
            | AttemptEvent::Settled(_) => None,
        })
    }

    /// Starts an attempt of a guest whose module is accepted.
    ///
    /// # Panics
    /// The module is refused.
    pub fn start(&mut self, guest: &Guest) -> AttemptId {
        let ready = self.prepare(&guest.wasm);
        assert_eq!(ready.refused, None);
        self.start_prepared(guest, ready.digest)
    }

    /// Starts an attempt of a guest whose module is prepared.
    pub fn start_prepared(&mut self, guest: &Guest, module: Digest) -> AttemptId {
        let work = self.work(guest, module);
        let task = TaskId { run: work.run, index: 4 };
        let attempt = attempt(task, &guest.payload);
        let id = attempt.id;
        self.send(vec![Command::Define(Box::new(work)), Command::Start(attempt)]);
        id
    }

    /// Defines a run of a guest whose module is prepared.
    pub fn define(&mut self, guest: &Guest, module: Digest) -> RunId {
        let work = self.work(guest, module);
        let run = work.run;
        self.send(vec![Command::Define(Box::new(work))]);
        run
    }

    /// Starts an attempt of a task of a run that is defined.
    pub fn start_task(&self, run: RunId, index: u32) -> AttemptId {
        let attempt = attempt(TaskId { run, index }, &[]);
        let id = attempt.id;
        self.send(vec![Command::Start(attempt)]);
        id
    }

    fn work(&mut self, guest: &Guest, module: Digest) -> WorkSpec {
        self.runs += 1;
        WorkSpec {
            run: RunId(self.runs),
            namespace: guest.namespace.clone(),
            job: "guest".parse().expect("a name"),
            count: 9,
            long_running: false,
            tier: guest.tier,
            priority: 50,
            execution: guest.execution,
            module,
            args: guest.args.clone(),
            env: guest.env.clone(),
            budgets: guest.budgets,
            dirs: guest.dirs.clone(),
            input: Input::None,
            capabilities: guest.capabilities.clone(),
        }
    }

    /// Waits for the end of an attempt.
    pub fn end(&mut self, id: AttemptId) -> End {
        let ended = self.wait(|event| match event {
            AttemptEvent::Ended(ended) if ended.id == id => Some((**ended).clone()),
            AttemptEvent::Ended(_)
            | AttemptEvent::Module(_)
            | AttemptEvent::Output(_)
            | AttemptEvent::Progress(_)
            | AttemptEvent::Seen(_)
            | AttemptEvent::Settled(_) => None,
        });
        End::of(ended)
    }

    /// Waits for the end of whatever attempt ends next.
    pub fn any_end(&mut self) -> End {
        End::of(self.wait(|event| match event {
            AttemptEvent::Ended(ended) => Some((**ended).clone()),
            AttemptEvent::Module(_)
            | AttemptEvent::Output(_)
            | AttemptEvent::Progress(_)
            | AttemptEvent::Seen(_)
            | AttemptEvent::Settled(_) => None,
        }))
    }

    /// Turns live output of an attempt on, and waits until it wrote something, which the answer says, or ended.
    pub fn output_or_end(&mut self, id: AttemptId) -> bool {
        self.send(vec![Command::Follow(FollowSpec { id, on: true })]);
        let end = self.wait(|event| match event {
            AttemptEvent::Output(chunk) if chunk.id == id => Some(None),
            AttemptEvent::Ended(ended) if ended.id == id => Some(Some(event.clone())),
            AttemptEvent::Ended(_)
            | AttemptEvent::Module(_)
            | AttemptEvent::Output(_)
            | AttemptEvent::Progress(_)
            | AttemptEvent::Seen(_)
            | AttemptEvent::Settled(_) => None,
        });
        let wrote = end.is_none();
        self.seen.extend(end);
        wrote
    }

    /// Has a running attempt looked into, once or for some time, and waits for what was seen.
    pub fn inspect(&mut self, id: AttemptId, sample_for: Option<Duration>) -> Seen {
        self.send(vec![Command::Inspect(InspectSpec { id, sample_for })]);
        self.wait(|event| match event {
            AttemptEvent::Seen(seen) if seen.id == id => Some(seen.seen.clone()),
            AttemptEvent::Seen(_)
            | AttemptEvent::Settled(_)
            | AttemptEvent::Ended(_)
            | AttemptEvent::Module(_)
            | AttemptEvent::Output(_)
            | AttemptEvent::Progress(_) => None,
        })
    }

    /// Whether no attempt has ended that was not asked for.
    pub fn is_quiet(&mut self) -> bool {
        while let Ok(batch) = self.events.try_recv() {
            self.seen.extend(batch);
        }
        !self.seen.iter().any(|event| matches!(event, AttemptEvent::Ended(_)))
    }

    /// Runs a guest to its end.
    pub fn run(&mut self, guest: &Guest) -> End {
        let id = self.start(guest);
        self.end(id)
    }

    /// Runs a guest to its end between two well-behaved ones on the same worker, which must not notice.
    ///
    /// # Panics
    /// A neighbour came to harm, or the guest's usage is missing.
    pub fn run_among_neighbours(&mut self, guest: &Guest) -> End {
        let neighbour = Guest::new(NEIGHBOUR);
        let (before, hostile, after) = (self.start(&neighbour), self.start(guest), self.start(&neighbour));
        let end = self.end(hostile);
        for id in [before, after] {
            let neighbour = self.end(id);
            assert_eq!((neighbour.reason(), &*neighbour.result), (None, &b"done"[..]), "{neighbour:?}");
            assert_eq!(neighbour.ended.outcome.usage.peak_memory, MemBytes(1 << 16));
        }
        let usage = end.ended.outcome.usage;
        assert!(usage.wall_us > 0 && usage.cpu_us > 0, "{end:?}");
        end
    }

    /// Turns live output of an attempt on, and waits until it wrote something.
    pub fn wait_for_output(&mut self, id: AttemptId) -> Vec<u8> {
        self.send(vec![Command::Follow(FollowSpec { id, on: true })]);
        self.wait(|event| match event {
            AttemptEvent::Output(chunk) if chunk.id == id => Some(chunk.bytes.to_vec()),
            AttemptEvent::Ended(_)
            | AttemptEvent::Module(_)
            | AttemptEvent::Output(_)
            | AttemptEvent::Progress(_)
            | AttemptEvent::Seen(_)
            | AttemptEvent::Settled(_) => None,
        })
    }

    /// Ends an attempt.
    pub fn cancel(&self, id: AttemptId, reason: Reason) {
        self.send(vec![Command::Cancel(CancelSpec { id, reason })]);
    }

    /// Waits for an event, and keeps the others.
    ///
    /// # Panics
    /// It does not come.
    pub fn wait<T>(&mut self, mut wanted: impl FnMut(&AttemptEvent) -> Option<T>) -> T {
        if let Some((at, found)) = self.seen.iter().enumerate().find_map(|(at, event)| Some((at, wanted(event)?))) {
            self.seen.remove(at);
            return found;
        }
        loop {
            let next = self.runtime.block_on(async { tokio::time::timeout(HANG, self.events.recv()).await });
            let mut found = None;
            for event in next.expect("no hang").expect("a running sandbox") {
                if found.is_none() {
                    found = wanted(&event);
                    if found.is_some() {
                        continue;
                    }
                }
                self.seen.push(event);
            }
            if let Some(found) = found {
                return found;
            }
        }
    }
}

/// Where the guests of this test program run: those of `processes` in a worker process, all others in this one.
///
/// # Panics
/// The running program has no name.
#[must_use]
pub fn isolation() -> Isolation {
    let this = std::env::current_exe().expect("a running program");
    let name = this.file_name().and_then(|name| name.to_str()).expect("a name");
    if name.starts_with("processes-") { Isolation::Processes { number: 1 } } else { Isolation::InProcess }
}

/// Whether this program is its own helper.
static OWN_HELPER: AtomicBool = AtomicBool::new(false);

/// Has the sandboxes of this process start this very program for themselves; where it was started so, it works as that and
/// ends. For programs that have no other beside them, before anything else.
pub fn be_helper() {
    OWN_HELPER.store(true, Ordering::Relaxed);
    if let Some(code) = weir_sandbox::run_helper(std::env::args_os().skip(1)) {
        std::process::exit(i32::from(code != ExitCode::SUCCESS));
    }
}

/// The program that the sandbox starts for itself; Cargo builds it for the tests of this package.
///
/// # Panics
/// It is not there.
#[must_use]
pub fn helper() -> Helper {
    if OWN_HELPER.load(Ordering::Relaxed) {
        return Helper::this_program();
    }
    let this = std::env::current_exe().expect("a running program");
    let beside = this.parent().expect("a directory");
    // A test is one directory below the programs.
    let built = if beside.ends_with("deps") { beside.parent().expect("a target directory") } else { beside };
    let path = built.join("weir-isolation-helper");
    assert!(path.exists(), "{} is missing: run `cargo build --workspace --bins` first", path.display());
    Helper::Program { path, args: Vec::new() }
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(sandbox) = self.sandbox.take() {
            sandbox.shutdown();
        }
    }
}

fn attempt(task: TaskId, payload: &[u8]) -> AttemptSpec {
    let id = AttemptId { task, term: Term(1), grant: GrantSeq(1) };
    AttemptSpec { id, ordinal: 2, ahead: 0, payload: payload.into() }
}

fn whole(inline: &Captured, large: &[u8]) -> Vec<u8> {
    match inline {
        Captured::Empty => large.to_vec(),
        Captured::Inline(bytes) => bytes.to_vec(),
        Captured::Blob(_) => panic!("the sandbox has no blob store"),
    }
}

/// Says that a test could not run, so that nobody takes it for passed.
///
/// # Panics
/// The file for such lines cannot be written.
pub fn skip(test: &str, why: &str) {
    let line = format!("SKIPPED: {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("written");
    if let Some(path) = std::env::var_os("WEIR_SKIP_LOG") {
        let log = std::fs::File::options().append(true).create(true).open(path);
        log.and_then(|mut log| log.write_all(line.as_bytes())).expect("written");
    }
}
