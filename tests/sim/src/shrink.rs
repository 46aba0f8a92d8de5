//! Making a failing world small: whatever can be left out while the same property still breaks is left out.

use core::time::Duration;

use crate::{
    explore,
    faults::{FAULTS, Fault},
    options::Options,
    property::Violation,
    workload::Workload,
};

/// Most worlds that are run for one shrinking.
const RUNS_MAX: u32 = 2000;

/// One way to make a world smaller; `None` when it is that small.
type Step = fn(&Options) -> Option<Options>;

fn changed(options: &Options, change: impl FnOnce(&mut Options)) -> Option<Options> {
    let mut smaller = options.clone();
    change(&mut smaller);
    (smaller != *options).then_some(smaller)
}

/// From what helps most to what helps least.
const STEPS: [Step; 45] = [
    |options| changed(options, |to| to.faults.counts = [0; FAULTS]),
    |options| changed(options, |to| to.nodes = (to.nodes / 2).max(1)),
    |options| changed(options, |to| to.nodes = (to.nodes - 1).max(1)),
    |options| changed(options, |to| to.work.submissions /= 2),
    |options| changed(options, |to| to.work.submissions = to.work.submissions.saturating_sub(1)),
    |options| changed(options, |to| to.work.count_max = (to.work.count_max / 2).max(1)),
    |options| changed(options, |to| to.work.stops /= 2),
    |options| changed(options, |to| to.work.jobs = (to.work.jobs / 2).max(1)),
    |options| changed(options, |to| to.replicas = 1),
    |options| changed(options, |to| to.replicas = (to.replicas - 1).max(1)),
    |options| changed(options, |to| to.net.resets = 0),
    |options| changed(options, |to| to.net.spikes = 0),
    |options| changed(options, |to| to.net.stragglers = 0),
    |options| changed(options, |to| to.store.unknown = 0),
    |options| changed(options, |to| to.faults.drifting = 0),
    |options| changed(options, |to| to.faults.drifting_far = 0),
    |options| changed(options, |to| to.faults.zombies = 0),
    |options| changed(options, |to| to.work.fenced = 0),
    |options| changed(options, |to| to.work.once = 0),
    |options| changed(options, |to| to.work.operations = 0),
    |options| changed(options, |to| to.work.operations /= 2),
    |options| changed(options, |to| to.work.quotas = 0),
    |options| changed(options, |to| to.work.quotas /= 2),
    |options| changed(options, |to| to.work.revocable = 0),
    |options| changed(options, |to| to.work.crons = 0),
    |options| changed(options, |to| to.work.services = 0),
    |options| changed(options, |to| to.work.systems = 0),
    |options| changed(options, |to| to.work.functions = 0),
    |options| changed(options, |to| to.work.endless = 0),
    |options| changed(options, |to| to.work.dependent = 0),
    |options| changed(options, |to| to.work.ending = 0),
    |options| changed(options, |to| to.work.picky = 0),
    |options| changed(options, |to| to.work.changes = 0),
    |options| changed(options, |to| to.work.changes /= 2),
    |options| changed(options, |to| to.work.production = 0),
    |options| changed(options, |to| to.work.namespaces = 1),
    |options| changed(options, |to| to.work.failing = 0),
    |options| changed(options, |to| to.work.large = 0),
    |options| changed(options, |to| to.work.spinning = 0),
    |options| changed(options, |to| to.work.long = 0),
    |options| changed(options, |to| to.store.page_len = 4096),
    |options| changed(options, |to| to.checkpoint_log_len = 2000),
    |options| changed(options, |to| to.outbox_len_max = 100_000),
    |options| changed(options, |to| to.store.watch_lag_max = Duration::ZERO),
    |options| changed(options, |to| to.safety = (to.safety / 2).max(Duration::from_secs(1))),
];

/// Shrinks a world that breaks a property, and says how many worlds that took.
#[must_use]
pub fn shrink(options: Options, found: &Violation, mut say: impl FnMut(&str)) -> (Options, u32) {
    let mut search = Search { best: options, found, runs: 0 };
    loop {
        let runs = search.runs;
        let before = search.best.clone();
        for step in STEPS {
            while let Some(smaller) = step(&search.best) {
                if !search.keeps(smaller) {
                    break;
                }
            }
        }
        search.fault_kinds();
        search.single_things();
        say(&format!("{} worlds run, {} in this round", search.runs, search.runs - runs));
        if search.best == before || search.runs >= RUNS_MAX {
            return (search.best, search.runs);
        }
    }
}

struct Search<'a> {
    best: Options,
    found: &'a Violation,
    runs: u32,
}

impl Search<'_> {
    /// Whether a smaller world breaks the same property; then it is the best.
    fn keeps(&mut self, smaller: Options) -> bool {
        if self.runs >= RUNS_MAX {
            return false;
        }
        self.runs += 1;
        let violation = explore::run(smaller.clone(), None).violation;
        let keeps = violation.is_some_and(|violation| violation.is_like(self.found));
        if keeps {
            self.best = smaller;
        }
        keeps
    }

    /// Leaves out all faults of a kind, or half of them.
    fn fault_kinds(&mut self) {
        for kind in 0..FAULTS {
            while self.best.faults.counts[kind] > 0 {
                let without = changed(&self.best, |to| to.faults.counts[kind] = 0);
                let half = changed(&self.best, |to| to.faults.counts[kind] /= 2);
                let less = without.is_some_and(|smaller| self.keeps(smaller));
                if !less && !half.is_some_and(|smaller| self.keeps(smaller)) {
                    break;
                }
            }
        }
    }

    /// Leaves out single faults, submissions and stops.
    fn single_things(&mut self) {
        let faults = Fault::ALL.into_iter().zip(self.best.faults.counts);
        let mut names: Vec<String> =
            faults.flat_map(|(fault, count)| (0..count).map(move |at| format!("{}-{at}", fault.name()))).collect();
        names.extend((0..self.best.work.submissions).map(|at| format!("submission-{at}")));
        names.extend((0..self.best.work.stops).map(|at| format!("stop-{at}")));
        names.extend((0..self.best.work.operations).map(|at| format!("operation-{at}")));
        names.extend((0..self.best.work.quotas).map(|at| format!("quota-{at}")));
        names.extend((0..self.best.work.changes).map(|at| format!("change-{at}")));
        for name in names {
            let smaller = changed(&self.best, |to| {
                to.dropped.insert(name);
            });
            if let Some(smaller) = smaller {
                self.keeps(smaller);
            }
        }
    }
}

/// What a world has in it, for people.
#[must_use]
pub fn describe(options: &Options) -> String {
    let workload = Workload::draw(options);
    let faults = crate::faults::plan(options);
    format!(
        "{} nodes, {} replicas, {} wishes, {} faults in {} s",
        options.nodes,
        options.replicas,
        workload.wishes.len(),
        faults.len(),
        options.safety.as_secs()
    )
}
