//! Explores seeds: `weir-sim --seed N [--trace]`, `weir-sim --seeds A..B [--nodes N]`.
//!
//! Exit code 0: nothing found; 1: wrong usage; 128: a liveness property is broken; 129: a correctness property is broken.

use std::{
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

use weir_sim::{Options, Property, Summary, Violation, World};

const USAGE: &str = "usage: weir-sim (--seed N | --seeds A..B) [--nodes N] [--trace]";
const LIVENESS: u8 = 128;
const CORRECTNESS: u8 = 129;

struct Args {
    seeds: std::ops::Range<u64>,
    nodes: Option<usize>,
    trace: bool,
}

fn main() -> ExitCode {
    let Some(args) = parse(std::env::args().skip(1)) else {
        let _ = writeln!(std::io::stderr(), "{USAGE}");
        return ExitCode::from(1);
    };
    let mut worst = 0;
    let (mut events, mut tasks, mut count) = (0, 0, 0u64);
    let mut out = std::io::stdout().lock();
    for seed in args.seeds {
        let summary = run(seed, args.nodes, args.trace);
        events += summary.events;
        tasks += summary.tasks;
        count += 1;
        for line in &summary.lines {
            let _ = writeln!(out, "{line}");
        }
        if let Some(violation) = &summary.violation {
            let _ = writeln!(out, "seed {seed}: {violation}");
            let code = if violation.property.is_liveness() { LIVENESS } else { CORRECTNESS };
            worst = worst.max(code);
        }
        if args.trace {
            let Summary { hash, commits, terms, .. } = summary;
            let _ = writeln!(out, "seed {seed}: hash {hash:016x}, {commits} commits, last term {terms}");
        }
    }
    let _ = writeln!(out, "{count} seeds, {events} events, {tasks} tasks recorded");
    ExitCode::from(worst)
}

/// Runs one seed; a panic of a core is a broken invariant.
fn run(seed: u64, nodes: Option<usize>, trace: bool) -> Summary {
    let options = Options::from_seed(seed, nodes);
    catch_unwind(AssertUnwindSafe(|| World::new(options, trace).run())).unwrap_or_else(|_| Summary {
        violation: Some(Violation {
            property: Property::Invariant,
            at_ns: 0,
            message: "a panic, see above".to_owned(),
        }),
        hash: 0,
        events: 0,
        time_ns: 0,
        tasks: 0,
        commits: 0,
        terms: 0,
        lines: Vec::new(),
    })
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Args> {
    let (mut seeds, mut nodes, mut trace) = (None, None, false);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seed" => {
                let seed: u64 = args.next()?.parse().ok()?;
                seeds = Some(seed..seed.checked_add(1)?);
            }
            "--seeds" => {
                let text = args.next()?;
                let (low, high) = text.split_once("..")?;
                seeds = Some(low.parse().ok()?..high.parse().ok()?);
            }
            "--nodes" => nodes = Some(args.next()?.parse().ok().filter(|nodes| *nodes > 0)?),
            "--trace" => trace = true,
            _ => return None,
        }
    }
    Some(Args { seeds: seeds?, nodes, trace })
}
