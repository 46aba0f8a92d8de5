//! How long it takes from a command that ends an attempt to the event of its end.

use std::time::Instant;

use anyhow::{Result, ensure};
use weir_isolation::{Bench, Guest};
use weir_wire::{
    id::{AttemptId, RunId},
    task::Reason,
};

use super::guests::{FOREVER, SLEEP, SPIN, ready_then};
use crate::{
    report::{Report, median},
    stage,
};

/// Attempts of each kind that are ended.
const STOPS: u32 = 40;
/// Guests that spin meanwhile, on each worker.
const NEIGHBOURS: u32 = 8;

pub(super) fn measure(report: &mut Report) -> Result<()> {
    let mut bench = stage::start(|_| ())?;
    for (key, then) in [("stop_sleeping_ms", SLEEP), ("stop_spinning_ms", SPIN)] {
        let guest = Guest::new(ready_then(then)).fuel(FOREVER);
        let module = bench.prepare(&guest.wasm).digest;
        let run = bench.define(&guest, module);
        let alone = stops(&mut bench, run)?;
        let crowd = Crowd::start(&mut bench);
        let among = stops(&mut bench, run)?;
        crowd.end(&mut bench);
        let worst = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
        let text = |times: &[f64]| format!("median {:.2}, worst {:.2} ms", median(times.to_vec()), worst(times));
        report.row(format!("{key}, alone"), text(&alone));
        report.row(format!("{key}, beside {NEIGHBOURS} that spin on each worker"), text(&among));
        report.figure(key, worst(&alone).max(worst(&among)), 2);
    }
    Ok(())
}

/// Starts attempts one after the other and ends each once it runs; milliseconds.
fn stops(bench: &mut Bench, run: RunId) -> Result<Vec<f64>> {
    (0..STOPS)
        .map(|index| {
            let id = bench.start_task(run, index);
            ensure!(bench.wait_for_output(id) == b"ready", "a guest wrote something else");
            let began = Instant::now();
            bench.cancel(id, Reason::Cancelled);
            let end = bench.end(id);
            ensure!(end.reason() == Some(Reason::Cancelled), "it ended by itself: {end:?}");
            Ok(began.elapsed().as_secs_f64() * 1e3)
        })
        .collect()
}

/// Guests that spin.
struct Crowd(Vec<AttemptId>);

impl Crowd {
    fn start(bench: &mut Bench) -> Self {
        let guest = Guest::new(ready_then(SPIN)).fuel(FOREVER);
        let module = bench.prepare(&guest.wasm).digest;
        let run = bench.define(&guest, module);
        let threads = u32::try_from(stage::threads()).unwrap_or(1);
        let ids: Vec<_> = (0..NEIGHBOURS * threads).map(|index| bench.start_task(run, index)).collect();
        for id in &ids {
            bench.wait_for_output(*id);
        }
        Self(ids)
    }

    fn end(self, bench: &mut Bench) {
        for id in self.0 {
            bench.cancel(id, Reason::Cancelled);
            bench.end(id);
        }
    }
}
