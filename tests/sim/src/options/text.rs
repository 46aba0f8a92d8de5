//! Options as a small text file, `name = value` on each line, that replays a world exactly.

use core::{fmt, time::Duration};
use std::collections::BTreeSet;

use crate::{faults::Fault, options::Options, options::Overrides};

/// Why a file cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    line: usize,
    what: &'static str,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl core::error::Error for Error {}

/// A value of an option.
trait Value: Sized {
    fn show(&self) -> String;
    fn read(text: &str) -> Option<Self>;
}

macro_rules! plain {
    ($($kind:ty),*) => { $(
        impl Value for $kind {
            fn show(&self) -> String {
                self.to_string()
            }
            fn read(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )* };
}
plain!(u64, u32, usize, bool);

/// Microseconds: nothing finer is drawn.
impl Value for Duration {
    fn show(&self) -> String {
        format!("{}us", self.as_micros())
    }
    fn read(text: &str) -> Option<Self> {
        text.strip_suffix("us")?.parse().ok().map(Self::from_micros)
    }
}

impl Value for BTreeSet<String> {
    fn show(&self) -> String {
        self.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
    }
    fn read(text: &str) -> Option<Self> {
        Some(text.split_whitespace().map(str::to_owned).collect())
    }
}

macro_rules! options {
    ($($($name:ident).+),* $(,)?) => {
        fn each(options: &Options, mut see: impl FnMut(&str, String)) {
            $( see(stringify!($($name).+), options.$($name).+.show()); )*
        }

        fn set(options: &mut Options, name: &str, value: &str) -> Option<()> {
            match name {
                $( stringify!($($name).+) => options.$($name).+ = Value::read(value)?, )*
                _ => return None,
            }
            Some(())
        }
    };
}
options!(
    nodes,
    replicas,
    safety,
    liveness,
    events_max,
    dropped,
    work.jobs,
    work.submissions,
    work.stops,
    work.count_max,
    work.task_time_max,
    work.large,
    work.failing,
    work.spinning,
    work.long,
    work.fenced,
    work.once,
    work.operations,
    work.namespaces,
    work.production,
    work.revocable,
    work.quotas,
    work.crons,
    work.services,
    work.systems,
    work.functions,
    work.endless,
    work.dependent,
    work.ending,
    work.picky,
    work.changes,
    faults.recover_max,
    faults.drifting,
    faults.drifting_far,
    faults.zombies,
    net.delay_max,
    net.spikes,
    net.spike_max,
    net.resets,
    net.stragglers,
    net.idle_timeout,
    store.delay_max,
    store.unknown,
    store.late_max,
    store.watch_lag_max,
    store.removal_lag_max,
    store.page_len,
    store.pinned,
    checkpoint_log_len,
    outbox_len_max,
    lanes_max,
    preempt_delay,
    preempt_grace,
);

impl Options {
    /// The file that replays this world; sabotage and flips, which belong to tests, are not in it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = format!("seed = {}\n", self.seed);
        each(self, |name, value| out.push_str(&format!("{name} = {value}\n")));
        for (fault, count) in Fault::ALL.into_iter().zip(self.faults.counts) {
            out.push_str(&format!("fault.{} = {count}\n", fault.name()));
        }
        out
    }

    /// Reads what [`Options::to_text`] wrote. The seed comes first; an option that is missing is drawn from it. A line
    /// that begins with `#` is a comment.
    ///
    /// # Errors
    /// The first line that is no option of this build, or has no value.
    pub fn from_text(text: &str) -> Result<Self, Error> {
        let mut options: Option<Self> = None;
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let error = |what| Error { line: at + 1, what };
            let (name, value) = line.split_once('=').ok_or(error("`name = value` is expected"))?;
            let (name, value) = (name.trim(), value.trim());
            let Some(options) = &mut options else {
                let seed = value.parse().ok().filter(|_| name == "seed").ok_or(error("the seed comes first"))?;
                options = Some(Self::from_seed(seed, Overrides::default()));
                continue;
            };
            let known = match name.strip_prefix("fault.") {
                Some(kind) => options.set_fault(kind, value),
                None => set(options, name, value),
            };
            known.ok_or(error("no such option, or no such value of it"))?;
        }
        options.ok_or(Error { line: 0, what: "there is no seed" })
    }

    fn set_fault(&mut self, kind: &str, value: &str) -> Option<()> {
        let at = Fault::ALL.iter().position(|fault| fault.name() == kind)?;
        self.faults.counts[at] = value.parse().ok()?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_survive_their_text() {
        for seed in 0..100 {
            let mut options = Options::from_seed(seed, Overrides::default());
            options.nodes = 77;
            options.faults.counts[3] += 5;
            options.dropped = ["submission-3".to_owned(), "node-crash-1".to_owned()].into();
            assert_eq!(Options::from_text(&options.to_text()), Ok(options));
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (text, line) in [("", 0), ("nodes = 3", 1), ("# x\nseed = 1\nnode = 3", 3), ("seed = 1\nnodes = -1", 2)] {
            assert_eq!(Options::from_text(text).unwrap_err().line, line, "{text}");
        }
    }
}
