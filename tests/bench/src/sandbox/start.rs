//! How long a first attempt takes when its module is new, in the cache, or loaded.

use std::{path::Path, time::Instant};

use anyhow::{Context, Result, ensure};
use weir_isolation::{Bench, Guest};
use weir_wire::{attempt::Command, id::Digest};

use super::guests::variant;
use crate::{
    null,
    report::{Report, percentile},
    stage,
};

/// Modules that are compiled, and then loaded after each restart.
const MODULES: u32 = 50;
const RESTARTS: u32 = 10;
/// Attempts of a module that is loaded.
const WARM: u32 = 1_000;

pub(super) fn measure(report: &mut Report) -> Result<()> {
    let dir = tempfile::tempdir().context("make a temporary directory")?;
    let program = std::fs::read(weir_e2e::binaries::guest("wasm32-wasip1", "echo-wasi")?)?;
    for (what, wasm) in [("null module", null::module()?), ("a program in Rust", program)] {
        let keys = what == "null module";
        let cache = dir.path().join(if keys { "null" } else { "program" });
        row(report, &format!("start, {what}, cold cache"), &mut restart(&cache, &wasm)?.1);
        let (mut restarts, mut starts) = (Vec::new(), Vec::new());
        for _ in 0..RESTARTS {
            let (until_first, times) = restart(&cache, &wasm)?;
            restarts.push(until_first);
            starts.extend(times);
        }
        row(report, &format!("start, {what}, warm cache, first after a restart"), &mut starts);
        row(report, "start of the sandbox itself and the first of these", &mut restarts);
        row(report, &format!("start, {what}, loaded"), &mut loaded(&wasm)?);
        if keys {
            report.figure("warm_start_p50_us", percentile(&mut starts, 0.5), 0);
            report.figure("warm_start_p99_us", percentile(&mut starts, 0.99), 0);
        }
    }
    Ok(())
}

fn row(report: &mut Report, label: &str, times_us: &mut [f64]) {
    let [p50, p99] = [0.5, 0.99].map(|share| percentile(times_us, share));
    report.row(label, format!("p50 {p50:.0}, p99 {p99:.0} us"));
}

/// Starts a sandbox over a cache and runs a first attempt of each module, one after the other; microseconds until the first
/// has ended, and from the order to prepare each module to the end of its attempt.
fn restart(cache: &Path, wasm: &[u8]) -> Result<(f64, Vec<f64>)> {
    let began = Instant::now();
    let mut bench = stage::start(|config| cache.clone_into(&mut config.cache_dir))?;
    let (mut until_first, mut times) = (0.0, Vec::new());
    for number in 0..MODULES {
        let guest = Guest::new(variant(wasm, number));
        let module = bench.store(&guest.wasm);
        let digest = module.digest;
        let ordered = Instant::now();
        bench.send(vec![Command::Prepare(module)]);
        let ready = bench.ready(digest);
        ensure!(ready.refused.is_none(), "a module is refused: {ready:?}");
        run(&mut bench, &guest, digest)?;
        times.push(micros(ordered));
        if number == 0 {
            until_first = micros(began);
        }
    }
    Ok((until_first, times))
}

/// From the command to the end of an attempt of a module that is loaded; microseconds.
fn loaded(wasm: &[u8]) -> Result<Vec<f64>> {
    let mut bench = stage::start(|_| ())?;
    let guest = Guest::new(wasm);
    let module = bench.prepare(&guest.wasm).digest;
    let mut once = || {
        let began = Instant::now();
        run(&mut bench, &guest, module)?;
        anyhow::Ok(micros(began))
    };
    (0..WARM).map(|_| once()).collect()
}

fn run(bench: &mut Bench, guest: &Guest, module: Digest) -> Result<()> {
    let id = bench.start_prepared(guest, module);
    let end = bench.end(id);
    ensure!(end.reason().is_none(), "an attempt failed: {end:?}");
    Ok(())
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}
