//! `hostile`: thousands of hostile and honest guests at once in the worker processes of one sandbox. What honest ones wait
//! for, how late the daemon's side ticks, and what is left behind.

use std::{
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use weir_isolation::{
    Guest, Held,
    crowd::{self, Crowd, Passed},
    hostile::Kind,
};
use weir_wire::{
    attempt::{CancelSpec, Command},
    task::Reason,
};

use crate::{
    report::{Report, median, percentile},
    stage,
};

const ROUNDS: u32 = 4;
/// Attempts at the same time for each worker. All have the weight of a whole core.
const AT_ONCE: usize = 8;
/// Runs of each honest kind alone.
const ALONE: usize = 25;
/// What keeps the other workers busy meanwhile.
const SPIN: &str = r#"(module (memory (export "memory") 1) (func (export "_start") (loop $more (br $more))))"#;
/// How often the daemon's side ticks.
const TICK: Duration = Duration::from_millis(50);

pub(crate) fn run(attempts: u32) -> Result<()> {
    let workers = stage::threads();
    let mut bench = stage::start(|config| config.scratch = Some(config.cache_dir.with_file_name("scratch")))?;
    let hostile = crowd::hostile().into_iter().chain(of_the_examples()?).collect();
    let mut crowd = Crowd::enter(&mut bench, crowd::honest(), hostile);
    // Alone on its worker, that is: the hardware threads of one core slow each other down, and the crowd has all of them.
    let spins = Guest::new(SPIN).fuel(u64::MAX / 2);
    let others: Vec<_> = (1..workers).map(|_| bench.start(&spins)).collect();
    let alone: Vec<f64> = (0..crowd.honest().len())
        .map(|kind| median((0..ALONE).map(|_| ms(crowd.alone(&mut bench, kind))).collect()))
        .collect();
    for id in others {
        bench.send(vec![Command::Cancel(CancelSpec { id, reason: Reason::Cancelled })]);
        bench.end(id);
    }
    let ticker = Ticker::start();
    let (mut passed, mut held) = (Vec::new(), Vec::new());
    let began = Instant::now();
    for _ in 0..ROUNDS {
        passed.extend(crowd.round(&mut bench, attempts / ROUNDS, AT_ONCE * workers));
        held.push(stage::held(&bench));
    }
    let took = began.elapsed();
    let latest = ticker.stop()?;
    let mut report = Report::new("hostile");
    report.row(
        "attempts",
        format!("{attempts} in {:.1} s, {AT_ONCE} at once on each of {workers} workers", took.as_secs_f64()),
    );
    report.row("hostile", crowd.hostile().join(", "));
    let mut worst = 0.0f64;
    for (kind, (name, alone)) in crowd.honest().into_iter().zip(alone).enumerate() {
        worst = worst.max(times(&mut report, name, alone, &passed, kind));
    }
    report.figure("honest_p99_ratio", worst, 2);
    report.figure("latest_tick_ms", ms(latest), 1);
    growth(&mut report, &held);
    report.print()
}

/// Prints the times of one honest kind; its p99 as a multiple of its fair time, which is that alone for each whole core's
/// weight on its worker.
fn times(report: &mut Report, name: &str, alone: f64, passed: &[Passed], kind: usize) -> f64 {
    let mut times: Vec<f64> =
        passed.iter().filter(|passed| passed.kind == kind).map(|passed| ms(passed.time)).collect();
    let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| percentile(&mut times, share));
    #[expect(clippy::cast_precision_loss, reason = "a few attempts")]
    let fair = alone * AT_ONCE as f64;
    report.row(
        format!("honest, {name}"),
        format!(
            "alone {alone:.2} ms; p50 {p50:.1}, p99 {p99:.1}, most {most:.1} ms; {:.2} of {fair:.1} ms",
            p99 / fair
        ),
    );
    p99 / fair
}

/// Prints what the processes held after each round, and how much more that is in the last than after the first.
fn growth(report: &mut Report, held: &[Held]) {
    for (round, held) in held.iter().enumerate() {
        let Held { memory, threads, descriptors } = held;
        let text = format!("{} KiB, {threads} threads, {descriptors} descriptors", memory >> 10);
        report.row(format!("held after round {}", round + 1), text);
    }
    let (Some(first), Some(last)) = (held.first(), held.last()) else { return };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let more = |of: fn(&Held) -> u64| of(last) as f64 - of(first) as f64;
    report.figure("memory_growth_kib", more(|held| held.memory) / 1024.0, 0);
    report.figure("thread_growth", more(|held| held.threads), 0);
    report.figure("descriptor_growth", more(|held| held.descriptors), 0);
}

/// The hostile guests of `examples/hostile`.
fn of_the_examples() -> Result<Vec<Kind>> {
    let mut kinds = Vec::new();
    for (file, name, reason) in [
        ("hostile-spin", "a program that spins", Some(Reason::FuelExhausted)),
        ("hostile-grow", "a program that takes all memory", Some(Reason::MemoryLimit)),
        ("hostile-recurse", "a program that recurses", Some(Reason::StackOverflow)),
        ("hostile-flood", "a program that floods stdout", Some(Reason::OutputLimit)),
        ("hostile-fill", "a program that fills its scratch directory", None),
    ] {
        let wasm = std::fs::read(weir_e2e::binaries::guest("wasm32-wasip1", file)?)?;
        let guest = Guest::new(wasm).fuel(200_000_000).output(256 << 10);
        let guest = if file == "hostile-spin" { guest.fuel(20_000_000) } else { guest };
        kinds.push(Kind { name, guest: if reason.is_none() { guest.scratch(1 << 20) } else { guest }, reason });
    }
    Ok(kinds)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A thread that wants to run at a fixed rate, as the daemon does that renews its lease.
struct Ticker {
    stop: Sender<()>,
    thread: JoinHandle<Duration>,
}

impl Ticker {
    fn start() -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let (mut due, mut latest) = (Instant::now(), Duration::ZERO);
            loop {
                due += TICK;
                let wait = due.saturating_duration_since(Instant::now());
                if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return latest;
                }
                latest = latest.max(due.elapsed());
            }
        });
        Self { stop, thread }
    }

    /// How late the latest tick was.
    fn stop(self) -> Result<Duration> {
        drop(self.stop);
        self.thread.join().map_err(|_| anyhow!("the ticking thread panicked"))
    }
}
