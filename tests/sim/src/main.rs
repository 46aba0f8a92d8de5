//! Explores seeds: see `USAGE`, and `docs/SIMULATOR.md`.
//!
//! Exit code 0: nothing found; 1: wrong usage; 127: a core has crashed; 128: a liveness property is broken; 129: a
//! safety property is broken.

mod args;

use std::{
    fs::File,
    io::{BufWriter, Write},
    process::ExitCode,
};

use args::{Args, Which};
use weir_sim::{Options, Property, Summary, Totals, Violation, describe, run, shrink};

const CRASH: u8 = 127;
const LIVENESS: u8 = 128;
const SAFETY: u8 = 129;

fn main() -> ExitCode {
    let args = match args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(message) => {
            say(&format!("{message}\n{}", args::USAGE));
            return ExitCode::from(1);
        }
    };
    if args.help {
        say(args::USAGE);
        return ExitCode::SUCCESS;
    }
    match perform(&args) {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            say(&message);
            ExitCode::from(1)
        }
    }
}

fn perform(args: &Args) -> Result<u8, String> {
    let mut totals = Totals::default();
    let mut worst = 0;
    let mut examine = |options: Options| -> Result<bool, String> {
        let options = if args.calm { options.calm() } else { options };
        let summary = run(options.clone(), sink(args)?);
        totals.add(&summary.totals);
        report(args, &options, &summary);
        let Some(violation) = summary.violation else { return Ok(false) };
        worst = worst.max(code_of(violation.property));
        if args.shrink {
            make_small(args, options, &violation)?;
        }
        Ok(args.first)
    };
    match &args.which {
        Which::Replay(file) => {
            let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
            let options = Options::from_text(&text).map_err(|error| format!("{file}: {error}"))?;
            examine(options)?;
        }
        Which::Seeds(seeds) => {
            for seed in seeds.clone() {
                if examine(Options::from_seed(seed, args.overrides))? {
                    break;
                }
            }
        }
    }
    print(&totals.to_string());
    Ok(worst)
}

fn report(args: &Args, options: &Options, summary: &Summary) {
    let seed = options.seed;
    if let Some(violation) = &summary.violation {
        print(&format!("seed {seed}: {violation}"));
        // Set by whoever knows which state of the repository this was built from.
        if let Ok(commit) = std::env::var("WEIR_SIM_COMMIT") {
            print(&format!("commit {commit}, {}", describe(options)));
        }
    }
    if args.is_single() {
        let Summary { hash, time_ns, .. } = summary;
        print(&format!("seed {seed}: hash {hash:016x}, {} s simulated", time_ns / 1_000_000_000));
    } else if args.forever && seed % 1000 == 999 {
        say(&format!("seed {seed} done"));
    }
}

/// Writes the smallest world that breaks the same property into a file.
fn make_small(args: &Args, options: Options, violation: &Violation) -> Result<(), String> {
    let seed = options.seed;
    let (small, runs) = shrink(options, violation, say);
    let found = run(small.clone(), None).violation.map(|violation| violation.to_string());
    let file = args.out.clone().unwrap_or_else(|| format!("sim-{seed}.txt"));
    let found = found.unwrap_or_default();
    let text = format!("# {found}\n# {} (after {runs} worlds)\n{}", describe(&small), small.to_text());
    std::fs::write(&file, text).map_err(|error| format!("cannot write {file}: {error}"))?;
    print(&format!("shrunken to {}: {found}\nreplay it with: cargo xtask sim --replay {file}", describe(&small)));
    Ok(())
}

fn sink(args: &Args) -> Result<Option<Box<dyn Write>>, String> {
    let Some(name) = &args.trace else { return Ok(None) };
    if name == "-" {
        return Ok(Some(Box::new(std::io::stdout())));
    }
    let file = File::create(name).map_err(|error| format!("cannot write {name}: {error}"))?;
    Ok(Some(Box::new(BufWriter::new(file))))
}

fn code_of(property: Property) -> u8 {
    if property == Property::Crash {
        CRASH
    } else if property.is_liveness() {
        LIVENESS
    } else {
        SAFETY
    }
}

fn print(line: &str) {
    // A reader that has gone away, such as `head`, is not an error.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
