//! `cpu-rate`: how exactly an attempt gets the share of a core that it was promised, alone on its worker.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use weir_sandbox::{Sandbox, SandboxConfig};
use weir_wire::{
    attempt::{AttemptEvent, AttemptSpec, Command, EndedAttempt, ModuleFile},
    id::{AttemptId, Digest, GrantSeq, RunId, TaskId, Term},
    kind::{Execution, Tier},
    resources::Resources,
    task::Reason,
    units::{CpuMillis, Fuel, MemBytes},
    work::{Budgets, Capabilities, Input, WorkSpec},
};

use crate::report::Report;

/// Spins.
const COMPUTES: &str = r#"(module (memory (export "memory") 1) (func (export "_start") (loop $more (br $more))))"#;
/// Asks for the time again and again.
const CALLS: &str = r#"(module
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (loop $more (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 8))) (br $more))))"#;

/// Rates in thousandths of a core, and the time over which each is to be kept, seconds.
const RATES: [(u32, u64); 6] = [(10, 10), (50, 10), (100, 1), (250, 1), (500, 1), (900, 1)];
/// Attempts of each kind.
const ROUNDS: u64 = 3;

pub(crate) fn run() -> Result<()> {
    let dir = tempfile::tempdir().context("make a temporary directory")?;
    let mut report = Report::new("cpu-rate");
    let mut worst = 0.0f64;
    for (what, text) in [("computes", COMPUTES), ("calls the host", CALLS)] {
        let mut bench = Bench::start(dir.path(), text)?;
        for (rate, time_s) in RATES {
            let mut errors = Vec::new();
            for _ in 0..ROUNDS {
                let share = bench.share(rate, Duration::from_secs(time_s))?;
                errors.push((share * 1000.0 / f64::from(rate) - 1.0) * 100.0);
            }
            let text: Vec<String> = errors.iter().map(|error| format!("{error:+.2} %")).collect();
            report.row(format!("{what}, {} over {time_s} s", f64::from(rate) / 1000.0), text.join("  "));
            worst = errors.iter().fold(worst, |worst, error| worst.max(error.abs()));
        }
        bench.sandbox.shutdown();
    }
    report.figure("max_error_percent", worst, 2);
    report.print()
}

/// A sandbox with one worker and one module.
struct Bench {
    sandbox: Sandbox,
    events: UnboundedReceiver<Vec<AttemptEvent>>,
    module: Digest,
    runs: u64,
}

impl Bench {
    fn start(dir: &Path, text: &str) -> Result<Self> {
        let wasm = wat::parse_str(text).context("assemble a module")?;
        let module = Digest(<sha2::Sha256 as sha2::Digest>::digest(&wasm).into());
        let path = dir.join(format!("{}.wasm", module.to_hex()));
        std::fs::write(&path, wasm).context("write a module")?;
        let (sender, events) = unbounded_channel();
        let config =
            SandboxConfig { workers: 1, cache_dir: dir.join("cache"), cache_key: [7; 32], ..SandboxConfig::default() };
        let sandbox = Sandbox::start(config, sender).context("start the sandbox")?;
        let path = path.to_str().context("a temporary path is text")?.to_owned();
        sandbox.send(Command::Prepare(ModuleFile { digest: module, path }));
        let mut bench = Self { sandbox, events, module, runs: 0 };
        let AttemptEvent::Module(ready) = bench.next()? else { bail!("the sandbox says nothing about the module") };
        ensure!(ready.refused.is_none(), "the sandbox refuses the module: {:?}", ready.refused);
        Ok(bench)
    }

    fn next(&mut self) -> Result<AttemptEvent> {
        loop {
            let batch = self.events.blocking_recv().context("the sandbox is gone")?;
            if let Some(event) = batch.into_iter().next() {
                return Ok(event);
            }
        }
    }

    /// The share of a core that an attempt of this rate gets until its time is over.
    fn share(&mut self, rate: u32, time: Duration) -> Result<f64> {
        self.runs += 1;
        let run = RunId(self.runs);
        let id = AttemptId { task: TaskId { run, index: 0 }, term: Term(1), grant: GrantSeq(self.runs) };
        self.sandbox.send(Command::Define(Box::new(work(run, self.module, rate, time)?)));
        self.sandbox.send(Command::Start(AttemptSpec { id, ordinal: 1, ahead: 0, payload: Box::default() }));
        let AttemptEvent::Ended(ended) = self.next()? else { bail!("the attempt did not end") };
        self.sandbox.send(Command::Forget(run));
        let EndedAttempt { outcome, .. } = *ended;
        let reason = outcome.failure.as_ref().map(|failure| failure.reason);
        ensure!(reason == Some(Reason::WallTimeout), "the attempt ended as {:?}", outcome.failure);
        #[expect(clippy::cast_precision_loss, reason = "seconds in microseconds")]
        let share = outcome.usage.cpu_us as f64 / outcome.usage.wall_us as f64;
        Ok(share)
    }
}

fn work(run: RunId, module: Digest, rate: u32, timeout: Duration) -> Result<WorkSpec> {
    Ok(WorkSpec {
        run,
        namespace: "default".parse()?,
        job: "rate".parse()?,
        count: 1,
        long_running: false,
        tier: Tier::Preemptible,
        priority: 50,
        execution: Execution::default(),
        module,
        args: Vec::new(),
        env: Vec::new(),
        budgets: Budgets {
            resources: Resources { cpu: CpuMillis(rate), memory: MemBytes(16 << 20) },
            fuel: Fuel(u64::MAX / 2),
            timeout: Some(timeout),
            output: 1 << 20,
        },
        dirs: Vec::new(),
        capabilities: Capabilities::NONE,
        input: Input::None,
    })
}
