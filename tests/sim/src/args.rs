//! The command line.

use core::{ops::Range, time::Duration};

use weir_sim::Overrides;

/// What can be said.
pub(crate) const USAGE: &str = "\
usage: weir-sim (--seed N | --seeds A..B | --forever [--from N] | --replay FILE)
                [--nodes N] [--replicas N] [--hours H | --seconds S] [--calm] [--first]
                [--trace FILE] [--shrink [--out FILE]]

  --forever   explores seeds until a property breaks
  --first     stops at the first seed that breaks a property
  --hours     length of the phase with work and faults, in place of the one drawn from the seed
  --calm      nothing goes wrong
  --trace     writes what happens, `-` for standard output
  --shrink    makes each failing world small, and writes it to a file that --replay reads";

/// What was said.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) which: Which,
    pub(crate) forever: bool,
    pub(crate) first: bool,
    pub(crate) overrides: Overrides,
    pub(crate) calm: bool,
    pub(crate) trace: Option<String>,
    pub(crate) shrink: bool,
    pub(crate) out: Option<String>,
    /// Only says how it is used.
    pub(crate) help: bool,
}

/// Which worlds to run.
#[derive(Debug)]
pub(crate) enum Which {
    Seeds(Range<u64>),
    Replay(String),
}

impl Args {
    /// Whether it is about one world only.
    pub(crate) fn is_single(&self) -> bool {
        match &self.which {
            Which::Seeds(seeds) => seeds.end - seeds.start == 1,
            Which::Replay(_) => true,
        }
    }
}

/// Reads the arguments.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut which = None;
    let (mut from, mut overrides) = (0, Overrides::default());
    let mut args = Args {
        which: Which::Seeds(0..0),
        forever: false,
        first: false,
        overrides,
        calm: false,
        trace: None,
        shrink: false,
        out: None,
        help: false,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--seed" => {
                let seed = number(&value()?)?;
                which = Some(Which::Seeds(seed..seed.saturating_add(1)));
            }
            "--seeds" => which = Some(Which::Seeds(range(&value()?)?)),
            "--replay" => which = Some(Which::Replay(value()?)),
            "--forever" => (args.forever, args.first) = (true, true),
            "--from" => from = number(&value()?)?,
            "--first" => args.first = true,
            "--nodes" => overrides.nodes = Some(positive(&value()?)?),
            "--replicas" => overrides.replicas = Some(positive(&value()?)?),
            "--hours" => overrides.safety = Some(Duration::from_secs(number(&value()?)?.saturating_mul(3600))),
            "--seconds" => overrides.safety = Some(Duration::from_secs(number(&value()?)?)),
            "--calm" => args.calm = true,
            "--trace" => args.trace = Some(value()?),
            "--shrink" => args.shrink = true,
            "--out" => args.out = Some(value()?),
            "--help" | "-h" => args.help = true,
            _ => return Err(format!("unknown argument {word}")),
        }
    }
    if args.help {
        return Ok(args);
    }
    if args.forever {
        which = Some(Which::Seeds(from..u64::MAX));
    }
    args.which = which.ok_or("no seed was given")?;
    args.overrides = overrides;
    Ok(args)
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or(format!("{text} is not a positive number"))
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (low, high) = text.split_once("..").ok_or(format!("{text} is not a range such as 0..200"))?;
    let range = number(low)?..number(high)?;
    if range.is_empty() { Err(format!("{text} has no seeds")) } else { Ok(range) }
}
