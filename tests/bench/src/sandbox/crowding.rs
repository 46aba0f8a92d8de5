//! Many attempts at the same time: how many a second, and what each takes of memory while it sleeps.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use weir_isolation::{Bench, Guest};

use super::guests::{COMPUTE, FOREVER, SLEEP, command};
use crate::{bare::Bare, report::Report, stage};

/// Attempts at the same time.
const CROWDS: [u32; 4] = [1, 10, 100, 1_000];
const TIME: Duration = Duration::from_secs(1);
const SLEEPERS: u32 = 1_000;
const PAGE: u64 = 64 << 10;
const GIB: f64 = 1_073_741_824.0;

/// Attempts a second with so many at once, of the null module and of one that computes for three slices.
pub(super) fn rates(report: &mut Report, null: &mut Bare) -> Result<()> {
    let mut bench = stage::start(|config| config.lanes_per_worker = lanes())?;
    let guest = Guest::new(command(COMPUTE));
    let module = bench.prepare(&guest.wasm).digest;
    let run = bench.define(&guest, module);
    for at_once in CROWDS {
        let null = null.tasks_per_s_of(20_000 + 80 * at_once, at_once)?;
        let (began, mut next, mut ended) = (Instant::now(), at_once, 0u32);
        for index in 0..at_once {
            bench.start_task(run, index);
        }
        while ended < next {
            let end = bench.any_end();
            ensure!(end.reason().is_none(), "an attempt failed: {end:?}");
            ended += 1;
            if began.elapsed() < TIME {
                bench.start_task(run, next);
                next += 1;
            }
        }
        let computing = f64::from(ended) / began.elapsed().as_secs_f64();
        let text = format!("null module {null:.0}/s, three slices of fuel {computing:.0}/s");
        report.row(format!("{at_once} at once, worker processes"), text);
    }
    Ok(())
}

/// Resident memory of all processes for each attempt that sleeps.
pub(super) fn idle(report: &mut Report) -> Result<()> {
    let mut bench = stage::start(|config| config.lanes_per_worker = lanes())?;
    let guest = Guest::new(command(SLEEP)).fuel(FOREVER);
    let module = bench.prepare(&guest.wasm).digest;
    let run = bench.define(&guest, module);
    let first = bench.start_task(run, 0);
    until_asleep(&bench, 1)?;
    let before = stage::held(&bench);
    for index in 1..=SLEEPERS {
        bench.start_task(run, index);
    }
    until_asleep(&bench, u64::from(SLEEPERS) + 1)?;
    let after = stage::held(&bench);
    ensure!(bench.is_quiet(), "attempt {first:?} or another one ended");
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let each = after.memory.saturating_sub(before.memory) as f64 / f64::from(SLEEPERS);
    report.figure("bytes_per_idle_attempt", each, 0);
    report.row("sleeping attempts in a GiB", format!("{:.0}", GIB / each));
    Ok(())
}

/// Lanes of a worker, so that all sleep at the same time.
fn lanes() -> u32 {
    (SLEEPERS + 1).div_ceil(u32::try_from(stage::threads()).unwrap_or(1)) + 1
}

/// Waits until so many guests have their memory, and a little for each to go to sleep.
fn until_asleep(bench: &Bench, number: u64) -> Result<()> {
    let (_open, clock) = mpsc::channel::<()>();
    let wait = |time_ms| {
        let _over = clock.recv_timeout(Duration::from_millis(time_ms));
    };
    let began = Instant::now();
    while bench.used().memory.0 < number * PAGE {
        ensure!(began.elapsed() < Duration::from_secs(20), "guests do not start");
        wait(10);
    }
    wait(500);
    Ok(())
}
