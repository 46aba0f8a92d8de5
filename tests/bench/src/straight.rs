//! The null task straight over wasmtime: what a program without Weir would write, tuned as well as we know how.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, anyhow, ensure};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, Linker, Module, PoolingAllocationConfig, Store};
use wasmtime_wasi::{
    WasiCtxBuilder,
    p1::{self, WasiP1Ctx},
    p2::pipe::MemoryOutputPipe,
};

use crate::null;

/// Runs `tasks` null tasks on `threads` threads, each with an engine and a pool of its own; tasks per second.
///
/// Every task gets a fresh store with fuel and a WASI context with the environment that Weir gives, and its result is
/// checked.
pub(crate) fn tasks_per_s(wasm: &[u8], tasks: u32, threads: usize) -> Result<f64> {
    rate(wasm, tasks, threads, true)
}

/// The same without fuel, so that nothing ends a guest that spins.
pub(crate) fn unmetered_tasks_per_s(wasm: &[u8], tasks: u32, threads: usize) -> Result<f64> {
    rate(wasm, tasks, threads, false)
}

fn rate(wasm: &[u8], tasks: u32, threads: usize, metered: bool) -> Result<f64> {
    let programs = (0..threads).map(|_| Program::new(wasm, metered)).collect::<Result<Vec<_>>>()?;
    let next = AtomicU32::new(0);
    let began = Instant::now();
    thread::scope(|scope| {
        let run = |program| scope.spawn(|| work(program, &next, tasks));
        let threads: Vec<_> = programs.into_iter().map(run).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    Ok(f64::from(tasks) / began.elapsed().as_secs_f64())
}

fn work(program: Program, next: &AtomicU32, tasks: u32) -> Result<()> {
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= tasks {
            return Ok(());
        }
        program.run(index, tasks).with_context(|| format!("run task {index}"))?;
    }
}

struct Program {
    engine: Engine,
    instance: wasmtime::InstancePre<WasiP1Ctx>,
    metered: bool,
}

impl Program {
    fn new(wasm: &[u8], metered: bool) -> Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_memories(64).total_core_instances(64).total_tables(64).linear_memory_keep_resident(256 << 10);
        let mut config = Config::new();
        config.consume_fuel(metered).allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).map_err(anyhow::Error::from)?;
        let module = Module::new(&engine, wasm).map_err(anyhow::Error::from)?;
        let mut linker: Linker<WasiP1Ctx> = Linker::new(&engine);
        p1::add_to_linker_sync(&mut linker, |wasi| wasi).map_err(anyhow::Error::from)?;
        let instance = linker.instantiate_pre(&module).map_err(anyhow::Error::from)?;
        Ok(Self { engine, instance, metered })
    }

    fn run(&self, index: u32, tasks: u32) -> Result<()> {
        let stdout = MemoryOutputPipe::new(4096);
        let mut wasi = WasiCtxBuilder::new();
        wasi.arg("null").stdout(stdout.clone());
        wasi.env("WEIR_NAMESPACE", "default").env("WEIR_JOB", "null").env("WEIR_RUN", "0000000000000");
        wasi.env("WEIR_TASK_INDEX", index.to_string());
        wasi.env("WEIR_TASK_COUNT", tasks.to_string()).env("WEIR_ATTEMPT", "1");
        let mut store = Store::new(&self.engine, wasi.build_p1());
        if self.metered {
            store.set_fuel(FUEL)?;
        }
        let instance = self.instance.instantiate(&mut store)?;
        instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ())?;
        ensure!(!self.metered || store.get_fuel()? < FUEL, "no fuel was burned");
        drop(store);
        ensure!(stdout.contents()[..] == null::expected(index).to_le_bytes(), "a wrong result");
        Ok(())
    }
}

const FUEL: u64 = 10_000_000_000;
