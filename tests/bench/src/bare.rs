//! The null task in a bare loop over the sandbox crate: no agent, no link, no control plane, no store.

use std::{path::Path, time::Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use weir_sandbox::{Helper, Isolation, Sandbox, SandboxConfig};
use weir_wire::{
    attempt::{AttemptEvent, AttemptSpec, Command, EndedAttempt, ModuleFile},
    id::{AttemptId, Digest, GrantSeq, RunId, TaskId, Term},
    kind::{Execution, Tier},
    outcome::Captured,
    resources::Resources,
    task::Status,
    units::{CpuMillis, Fuel, MemBytes},
    work::{Budgets, Capabilities, Input, WorkSpec},
};

use crate::null;

const RUN: RunId = RunId(1);
/// Attempts in the sandbox at a time: enough that no worker waits for the loop.
const WINDOW: u32 = 512;

/// A sandbox with the null module prepared.
pub(crate) struct Bare {
    sandbox: Sandbox,
    events: UnboundedReceiver<Vec<AttemptEvent>>,
    grant: u64,
}

impl Bare {
    /// Starts a sandbox in `dir` with `workers` threads, in this process or in processes of their own.
    pub(crate) fn start(dir: &Path, wasm: &[u8], workers: usize, isolation: Isolation) -> Result<Self> {
        Self::with(dir, wasm, (workers, isolation), Capabilities::NONE)
    }

    /// The same, with attempts that may use more.
    pub(crate) fn with(
        dir: &Path,
        wasm: &[u8],
        (workers, isolation): (usize, Isolation),
        capabilities: Capabilities,
    ) -> Result<Self> {
        let path = dir.join("null.wasm");
        std::fs::write(&path, wasm).context("write the null module")?;
        let digest = Digest(sha256(wasm));
        let (sender, mut events) = unbounded_channel();
        let config = SandboxConfig {
            workers,
            cache_dir: dir.join("cache"),
            cache_key: [7; 32],
            isolation,
            helper: Helper::this_program(),
            scratch: (capabilities.scratch > 0).then(|| dir.join("scratch")),
            ..SandboxConfig::default()
        };
        let sandbox = Sandbox::start(config, sender).context("start the sandbox")?;
        let path = path.to_str().context("a temporary path is text")?.to_owned();
        sandbox.send(Command::Define(Box::new(work(digest, capabilities)?)));
        sandbox.send(Command::Prepare(ModuleFile { digest, path }));
        let ready = events.blocking_recv().into_iter().flatten().find_map(|event| match event {
            AttemptEvent::Module(ready) => Some(ready),
            AttemptEvent::Output(_)
            | AttemptEvent::Progress(_)
            | AttemptEvent::Ended(_)
            | AttemptEvent::Seen(_)
            | AttemptEvent::Settled(_) => None,
        });
        match ready.context("the sandbox says nothing about the module")?.refused {
            None => Ok(Self { sandbox, events, grant: 0 }),
            Some(why) => bail!("the sandbox refuses the null module: {why}"),
        }
    }

    /// Runs null tasks 0 to `tasks` and checks their results; tasks per second.
    pub(crate) fn tasks_per_s(&mut self, tasks: u32) -> Result<f64> {
        self.tasks_per_s_of(tasks, WINDOW)
    }

    /// The same with so many in the sandbox at a time.
    pub(crate) fn tasks_per_s_of(&mut self, tasks: u32, window: u32) -> Result<f64> {
        self.grant += 1;
        let began = Instant::now();
        let (mut next, mut ended) = (0, 0);
        while ended < tasks {
            let room = (tasks - next).min(window - (next - ended));
            if room > 0 && (room >= window / 4 || next + room == tasks) {
                self.sandbox.send_many((next..next + room).map(|index| self.start_of(index)).collect());
                next += room;
            }
            let batch = self.events.blocking_recv().context("the sandbox is gone")?;
            for event in batch {
                if let AttemptEvent::Ended(attempt) = event {
                    check(&attempt)?;
                    ended += 1;
                }
            }
        }
        Ok(f64::from(tasks) / began.elapsed().as_secs_f64())
    }

    /// Ends the sandbox.
    pub(crate) fn stop(self) {
        self.sandbox.shutdown();
    }

    fn start_of(&self, index: u32) -> Command {
        let task = TaskId { run: RUN, index };
        let id = AttemptId { task, term: Term(1), grant: GrantSeq(self.grant) };
        Command::Start(AttemptSpec { id, ordinal: 1, ahead: 0, payload: Box::default() })
    }
}

fn check(attempt: &EndedAttempt) -> Result<()> {
    let outcome = &attempt.outcome;
    let index = attempt.id.task.index;
    ensure!(outcome.status == Status::Succeeded, "task {index} ended as {:?}", outcome.failure);
    ensure!(outcome.usage.fuel.0 > 0, "task {index} burned no fuel");
    let wanted = null::expected(index).to_le_bytes();
    ensure!(
        matches!(&outcome.result, Captured::Inline(bytes) if **bytes == wanted),
        "task {index} returned {:?}",
        outcome.result
    );
    Ok(())
}

fn work(module: Digest, capabilities: Capabilities) -> Result<WorkSpec> {
    Ok(WorkSpec {
        run: RUN,
        namespace: "default".parse()?,
        job: "null".parse()?,
        count: u32::MAX,
        long_running: false,
        tier: Tier::Preemptible,
        priority: 50,
        execution: Execution::default(),
        module,
        args: Vec::new(),
        env: Vec::new(),
        budgets: Budgets {
            resources: Resources { cpu: CpuMillis(100), memory: MemBytes(64 << 20) },
            fuel: Fuel(10_000_000_000),
            timeout: Some(std::time::Duration::from_secs(30)),
            output: 1 << 20,
        },
        dirs: Vec::new(),
        capabilities,
        input: Input::None,
    })
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}
