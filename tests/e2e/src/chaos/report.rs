//! What came of it, in words.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    check::{Violation, check},
    history::{Deed, End, History},
};

/// What came of it.
#[derive(Debug)]
pub struct Report {
    seed: u64,
    lasted: Duration,
    faults: BTreeMap<&'static str, u64>,
    jobs: BTreeMap<String, Sum>,
    attempts_seen: usize,
    outcomes_seen: usize,
    outcomes_recorded: Option<u64>,
    /// Every broken promise.
    pub violations: Vec<Violation>,
}

#[derive(Debug, Default)]
struct Sum {
    sent: usize,
    answered: usize,
    runs: usize,
    tasks: [usize; 4],
}

impl Report {
    pub(super) fn new(seed: u64, lasted: Duration, faults: BTreeMap<&'static str, u64>, history: &History) -> Self {
        let mut jobs: BTreeMap<String, Sum> = BTreeMap::new();
        for submission in history.submissions.values() {
            let sum = jobs.entry(submission.job.clone()).or_default();
            sum.sent += 1;
            sum.answered += usize::from(!submission.answers.is_empty());
        }
        for stored in history.stored.values() {
            let sum = jobs.entry(stored.job.clone()).or_default();
            sum.runs += 1;
            for (_, end) in &stored.tasks {
                let kind = [End::Succeeded, End::Failed, End::Lost, End::Other].iter().position(|kind| kind == end);
                sum.tasks[kind.unwrap_or(0)] += 1;
            }
        }
        let attempts_seen = history.steps.iter().filter(|step| step.deed == Deed::Open).count();
        let (outcomes_seen, violations) = (history.seen.len(), check(history));
        let outcomes_recorded = history.recorded.as_ref();
        let outcomes_recorded = outcomes_recorded.map(|all| all.iter().map(|range| u64::from(range.len)).sum());
        Self { seed, lasted, faults, jobs, attempts_seen, outcomes_seen, outcomes_recorded, violations }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "seed {}, {} s, {} faults", self.seed, self.lasted.as_secs(), self.faults.values().sum::<u64>())?;
        for (fault, count) in &self.faults {
            writeln!(out, "  {count:4}  {fault}")?;
        }
        for (job, sum) in &self.jobs {
            let [succeeded, failed, lost, other] = sum.tasks;
            writeln!(
                out,
                "{job}: {} submissions, {} acknowledged; {} runs, tasks: {succeeded} succeeded, {failed} failed, {lost} lost, \
                 {other} other",
                sum.sent, sum.answered, sum.runs
            )?;
        }
        writeln!(
            out,
            "{} attempts seen by their marks, {} outcomes seen before the end",
            self.attempts_seen, self.outcomes_seen
        )?;
        match self.outcomes_recorded {
            Some(outcomes) => writeln!(out, "{outcomes} outcomes recorded in etcd's log, all of which was read")?,
            None => writeln!(out, "etcd's log was compacted before all of it was read: not checked")?,
        }
        for violation in &self.violations {
            writeln!(out, "VIOLATION {violation}")?;
        }
        write!(out, "{} violations", self.violations.len())
    }
}
