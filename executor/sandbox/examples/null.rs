//! Compares null attempts through the sandbox with the same module run straight with wasmtime.
//!
//! `cargo run --release -p weir-sandbox --example null [ATTEMPTS] [WORKERS]`

use std::{thread, time::Instant};

use tokio::sync::mpsc::unbounded_channel;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, Linker, Module, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtxBuilder, p1, p2::pipe::MemoryOutputPipe};
use weir_sandbox::{Sandbox, SandboxConfig};
use weir_wire::{
    attempt::{AttemptEvent, AttemptSpec, Command, ModuleFile},
    id::{AttemptId, Digest, GrantSeq, RunId, TaskId, Term},
    kind::{Execution, Tier},
    resources::Resources,
    task::Status,
    units::{CpuMillis, Fuel, MemBytes},
    work::{Budgets, Capabilities, Input, WorkSpec},
};

/// Returns at once; imports what a Rust program imports.
const NULL: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func (param i32 i32) (result i32)))
    (memory (export "memory") 2)
    (data (i32.const 0) "\10\00\00\00\06\00\00\00")
    (data (i32.const 16) "hello\n")
    (func (export "_start")))"#;
/// Writes six bytes.
const WRITE: &str =
    "(func (export \"_start\") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))";

/// Attempts that are on their way at the same time, per worker.
const WINDOW: usize = 1024;
const ROUNDS: usize = 5;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let attempts: u32 = args.next().map_or(Ok(200_000), |arg| arg.parse())?;
    let workers: usize = args.next().map_or(Ok(2), |arg| arg.parse())?;
    for (name, wat) in
        [("null", NULL.to_owned()), ("write", NULL.replace("(func (export \"_start\")))", &format!("{WRITE})")))]
    {
        let wasm = compile(&wat)?;
        let mut rates = Vec::new();
        for _ in 0..ROUNDS {
            let straight = rate(attempts, || straight(&wasm, attempts, workers))?;
            let ours = rate(attempts, || sandboxed(&wasm, attempts, workers))?;
            rates.push((ours / straight, ours, straight));
        }
        rates.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (ratio, ours, straight) = rates[ROUNDS / 2];
        report(name, ours, straight, ratio);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this example is there to print")]
fn report(name: &str, ours: f64, straight: f64, ratio: f64) {
    println!("{name}: sandbox {ours:.0}/s, straight {straight:.0}/s, median ratio {ratio:.2}");
}

fn compile(wat: &str) -> anyhow::Result<Vec<u8>> {
    Ok(wat::parse_str(wat)?)
}

fn rate(attempts: u32, run: impl FnOnce() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    Ok(f64::from(attempts) / run()?)
}

fn straight(wasm: &[u8], attempts: u32, workers: usize) -> anyhow::Result<f64> {
    let share = attempts / u32::try_from(workers)?;
    let setups = (0..workers).map(|_| Straight::new(wasm)).collect::<anyhow::Result<Vec<_>>>()?;
    let began = Instant::now();
    let threads: Vec<_> =
        setups.into_iter().map(|setup| thread::spawn(move || (0..share).try_for_each(|_| setup.attempt()))).collect();
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    }
    Ok(began.elapsed().as_secs_f64())
}

struct Straight {
    engine: Engine,
    linked: wasmtime::InstancePre<p1::WasiP1Ctx>,
}

impl Straight {
    fn new(wasm: &[u8]) -> anyhow::Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_memories(64).total_core_instances(64).total_tables(64).linear_memory_keep_resident(128 << 10);
        let mut config = Config::new();
        config.consume_fuel(true).allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        p1::add_to_linker_sync(&mut linker, |wasi| wasi)?;
        let linked = linker.instantiate_pre(&Module::new(&engine, wasm)?)?;
        Ok(Self { engine, linked })
    }

    fn attempt(&self) -> anyhow::Result<()> {
        let output = MemoryOutputPipe::new(4096);
        let wasi = WasiCtxBuilder::new().arg("null").env("INDEX", "1").stdout(output.clone()).build_p1();
        let mut store = Store::new(&self.engine, wasi);
        store.set_fuel(1_000_000_000)?;
        let instance = self.linked.instantiate(&mut store)?;
        instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ())?;
        drop(store);
        std::hint::black_box(output.contents());
        Ok(())
    }
}

fn sandboxed(wasm: &[u8], attempts: u32, workers: usize) -> anyhow::Result<f64> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("null.wasm");
    std::fs::write(&path, wasm)?;
    let (sender, mut events) = unbounded_channel();
    let config =
        SandboxConfig { workers, cache_dir: dir.path().join("cache"), cache_key: [1; 32], ..SandboxConfig::default() };
    let sandbox = Sandbox::start(config, sender)?;
    let module = ModuleFile { digest: Digest([1; 32]), path: path.to_string_lossy().into_owned() };
    sandbox.send_many(vec![Command::Prepare(module), Command::Define(Box::new(work(attempts)?))]);
    anyhow::ensure!(events.blocking_recv().is_some(), "the module is not prepared");
    let start = |index| {
        let id = AttemptId { task: TaskId { run: RunId(1), index }, term: Term(1), grant: GrantSeq(1) };
        Command::Start(AttemptSpec { id, ordinal: 1, ahead: 0, payload: Box::default() })
    };
    let began = Instant::now();
    let mut indices = 0..attempts;
    let mut ended = 0;
    sandbox.send_many(indices.by_ref().take(WINDOW * workers).map(start).collect());
    while ended < attempts {
        let batch = events.blocking_recv().unwrap_or_default();
        let count = batch.len();
        for event in batch {
            if let AttemptEvent::Ended(end) = event {
                anyhow::ensure!(end.outcome.status == Status::Succeeded, "{end:?}");
                ended += 1;
            }
        }
        sandbox.send_many(indices.by_ref().take(count).map(start).collect());
    }
    let took = began.elapsed().as_secs_f64();
    sandbox.shutdown();
    Ok(took)
}

fn work(count: u32) -> anyhow::Result<WorkSpec> {
    let resources = Resources { cpu: CpuMillis(1000), memory: MemBytes(16 << 20) };
    let timeout = std::time::Duration::from_secs(60);
    Ok(WorkSpec {
        run: RunId(1),
        namespace: "default".parse()?,
        job: "null".parse()?,
        count,
        long_running: false,
        tier: Tier::Preemptible,
        priority: 50,
        execution: Execution::default(),
        module: Digest([1; 32]),
        args: Vec::new(),
        env: Vec::new(),
        budgets: Budgets { resources, fuel: Fuel(1_000_000_000), timeout: Some(timeout), output: 1 << 20 },
        dirs: Vec::new(),
        capabilities: Capabilities::NONE,
        input: Input::None,
    })
}
