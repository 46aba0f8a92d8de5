//! The promises, checked against a history. It shares no code with what it checks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use super::history::{Deed, End, Expected, History, Step, Stored, Submission, input};

#[cfg(test)]
mod tests;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub promise: Promise,
    /// What was found.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.promise, self.what)
    }
}

/// What is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// What was acknowledged exists, under the id that was given.
    Acknowledged,
    /// A key makes one run, however often it is sent.
    Idempotent,
    /// Every task ends, and has one outcome.
    OneOutcome,
    /// The outcome is the right one.
    RightOutcome,
    /// An outcome that was seen stays.
    Final,
    /// `at_most_once` is never executed twice.
    AtMostOnce,
    /// Two attempts of a fenced task never run at once.
    Fenced,
    /// No instant of a cron job fires twice, and none is left out while the control plane works.
    Cron,
    /// Services and system jobs have as many tasks as they should.
    Lasting,
    /// A daemon goes on whatever happens around it.
    Alive,
}

/// Gives every promise that the history breaks.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    submissions(history, &mut found);
    stored(history, &mut found);
    recorded(history, &mut found);
    seen(history, &mut found);
    at_most_once(history, &mut found);
    fenced(&history.steps, &mut found);
    cron(history, &mut found);
    for lasting in history.lasting.iter().filter(|lasting| lasting.running != lasting.wanted) {
        let what = format!("{} of {} tasks of {} run", lasting.running, lasting.wanted, lasting.job);
        found.push(Violation { promise: Promise::Lasting, what });
    }
    let crashes = history.crashed.iter().map(|what| Violation { promise: Promise::Alive, what: what.clone() });
    found.extend(crashes);
    found
}

fn submissions(history: &History, found: &mut Vec<Violation>) {
    for (key, submission) in &history.submissions {
        for run in &submission.answers {
            let problem = match history.stored.get(run) {
                None => "does not exist".to_owned(),
                Some(stored) if stored.job != submission.job => format!("is one of {}", stored.job),
                Some(stored) if stored.key.as_ref() != Some(key) => format!("says it is of {:?}", stored.key),
                Some(_) => continue,
            };
            let what = format!("{run} of {}, acknowledged for {key}, {problem}", submission.job);
            found.push(Violation { promise: Promise::Acknowledged, what });
        }
        let runs: BTreeSet<&String> = submission.answers.iter().collect();
        if runs.len() > 1 {
            let what = format!("{key} was answered with {runs:?}");
            found.push(Violation { promise: Promise::Idempotent, what });
        }
        if submission.result.as_ref().is_some_and(|result| *result != input(key, 0).into_bytes()) {
            let what = format!("the caller of {key} got {:?}", submission.result);
            found.push(Violation { promise: Promise::RightOutcome, what });
        }
    }
}

fn stored(history: &History, found: &mut Vec<Violation>) {
    let mut by_key: BTreeMap<&String, &String> = BTreeMap::new();
    for (run, stored) in &history.stored {
        outcomes(run, stored, found);
        let Some(key) = &stored.key else { continue };
        let Some(submission) = history.submissions.get(key) else {
            let what = format!("{run} says that it is of {key}, which nobody sent");
            found.push(Violation { promise: Promise::Idempotent, what });
            continue;
        };
        if let Some(other) = by_key.insert(key, run) {
            let what = format!("{key} made both {other} and {run}");
            found.push(Violation { promise: Promise::Idempotent, what });
        }
        right(run, stored, key, submission, found);
    }
}

/// Every task of an accepted run has ended, once.
fn outcomes(run: &str, stored: &Stored, found: &mut Vec<Violation>) {
    let mut times: BTreeMap<u32, usize> = (0..stored.count).map(|index| (index, 0)).collect();
    for (index, _) in &stored.tasks {
        *times.entry(*index).or_default() += 1;
    }
    let wrong: Vec<(u32, usize)> = times.into_iter().filter(|(_, times)| *times != 1).take(5).collect();
    let counted = stored.ended_count == u64::from(stored.count);
    if !stored.ended || !counted || !wrong.is_empty() {
        let (ended, counted, count) = (stored.ended, stored.ended_count, stored.count);
        let what = format!(
            "{run} of {}: ended: {ended}, {counted} of {count} outcomes; tasks with another number than one: {wrong:?}",
            stored.job
        );
        found.push(Violation { promise: Promise::OneOutcome, what });
    }
}

fn right(run: &str, stored: &Stored, key: &str, submission: &Submission, found: &mut Vec<Violation>) {
    let mut wrong = Vec::new();
    if stored.count != submission.count {
        wrong.push(format!("{} tasks in place of {}", stored.count, submission.count));
    }
    for (index, end) in &stored.tasks {
        let may = match submission.expected {
            Expected::Echo => *end == End::Succeeded,
            Expected::Failure => *end == End::Failed,
            Expected::Once => matches!(end, End::Succeeded | End::Lost | End::Failed),
        };
        let mut results = stored.results.iter().filter(|(of, _)| of == index).map(|(_, result)| result);
        let result = (results.next(), results.next());
        let fits = match end {
            End::Succeeded => matches!(result, (Some(bytes), None) if *bytes == input(key, *index).into_bytes()),
            // Whatever has written nothing may have an empty result, also when it failed.
            End::Failed | End::Lost | End::Other => result.0.is_none_or(Vec::is_empty) && result.1.is_none(),
        };
        if !may || !fits {
            wrong.push(format!("task {index} {end:?} with {result:?}"));
        }
    }
    if !wrong.is_empty() {
        let what = format!("{run} of {key}, {:?}: {:?}", submission.expected, &wrong[..wrong.len().min(5)]);
        found.push(Violation { promise: Promise::RightOutcome, what });
    }
}

/// Each outcome that is stored was recorded by one transaction, and no other one recorded anything of its task.
fn recorded(history: &History, found: &mut Vec<Violation>) {
    let Some(recorded) = &history.recorded else { return };
    let mut first: BTreeMap<(&str, u32), End> = BTreeMap::new();
    for range in recorded {
        for index in range.first..range.first.saturating_add(range.len) {
            if let Some(before) = first.insert((&range.run, index), range.end) {
                let what = format!("{}.{index} was recorded as {before:?}, and again as {:?}", range.run, range.end);
                found.push(Violation { promise: Promise::OneOutcome, what });
            }
        }
    }
    for (run, stored) in &history.stored {
        for (index, end) in &stored.tasks {
            let recorded = first.get(&(run.as_str(), *index));
            if recorded != Some(end) {
                let what = format!("{run}.{index} is {end:?}, and was recorded as {recorded:?}");
                found.push(Violation { promise: Promise::OneOutcome, what });
            }
        }
    }
}

fn seen(history: &History, found: &mut Vec<Violation>) {
    let mut first: BTreeMap<(&str, u32), End> = BTreeMap::new();
    let last = history
        .stored
        .iter()
        .flat_map(|(run, stored)| stored.tasks.iter().map(move |(index, end)| ((run.as_str(), *index), *end)));
    let seen = history.seen.iter().map(|seen| ((seen.run.as_str(), seen.index), seen.end));
    for ((run, index), end) in seen.chain(last) {
        let before = *first.entry((run, index)).or_insert(end);
        if before != end {
            let what = format!("task {run}.{index} was {before:?}, and later {end:?}");
            found.push(Violation { promise: Promise::Final, what });
        }
    }
}

/// How often a mark was opened is how many attempts of its task have begun.
fn at_most_once(history: &History, found: &mut Vec<Violation>) {
    let mut begun: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for step in history.steps.iter().filter(|step| step.deed == Deed::Open) {
        begun.entry(&step.mark).or_default().push(step.node);
    }
    let of_once = history.submissions.iter().filter(|(_, submission)| submission.expected == Expected::Once);
    for (key, submission) in of_once {
        for index in 0..submission.count {
            let mark = input(key, index);
            let nodes = begun.get(mark.as_str()).map(Vec::as_slice).unwrap_or_default();
            if nodes.len() > 1 {
                let what = format!("{mark} was executed {} times, on executors {nodes:?}", nodes.len());
                found.push(Violation { promise: Promise::AtMostOnce, what });
            }
        }
    }
    // And what is said to have succeeded was executed: otherwise the marks prove nothing.
    for (run, stored) in &history.stored {
        let Some((key, submission)) = stored.key.as_ref().and_then(|key| history.submissions.get_key_value(key)) else {
            continue;
        };
        let succeeded = stored.tasks.iter().filter(|(_, end)| *end == End::Succeeded).map(|(index, _)| *index);
        if submission.expected == Expected::Once
            && let Some(index) = succeeded.into_iter().find(|index| !begun.contains_key(input(key, *index).as_str()))
        {
            let what = format!("{run}.{index} succeeded, and nobody saw it begin");
            found.push(Violation { promise: Promise::AtMostOnce, what });
        }
    }
}

/// An attempt that goes on after one elsewhere has gone on, or that begins beside one on its own node, is a second one.
///
/// The file of an executor that is frozen stays open while its task is started elsewhere: that is no overlap.
fn fenced(steps: &[Step], found: &mut Vec<Violation>) {
    let mut of_mark: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
    for step in steps {
        of_mark.entry(&step.mark).or_default().push(step);
    }
    for (mark, steps) in of_mark {
        // By node: attempts that are open, and whether another node went on since the last one began.
        let mut open: BTreeMap<usize, (u32, Option<usize>)> = BTreeMap::new();
        for step in steps {
            let mine = open.entry(step.node).or_default();
            let other = match step.deed {
                Deed::Open => {
                    *mine = (mine.0 + 1, None);
                    (mine.0 > 1).then_some(step.node)
                }
                Deed::Close => {
                    mine.0 = mine.0.saturating_sub(1);
                    None
                }
                Deed::Read => {
                    let passed_by = mine.1;
                    let others = open.iter_mut().filter(|(node, _)| **node != step.node);
                    others.for_each(|(_, state)| state.1 = Some(step.node));
                    passed_by
                }
            };
            if let Some(other) = other {
                let what = format!("{mark} ran on executor {} and on {other} at once", step.node);
                found.push(Violation { promise: Promise::Fenced, what });
                break;
            }
        }
    }
}

fn cron(history: &History, found: &mut Vec<Violation>) {
    let cron = &history.cron;
    let mut fired: BTreeMap<u64, &String> = BTreeMap::new();
    for (run, stored) in history.stored.iter().filter(|(_, stored)| stored.job == cron.job) {
        let problem = match stored.scheduled_ms {
            None => "was fired for no instant".to_owned(),
            Some(instant) if instant % cron.period_ms != 0 => format!("was fired for {instant}, which is none"),
            Some(instant) => match fired.insert(instant, run) {
                Some(other) => format!("and {other} were both fired for {instant}"),
                None => continue,
            },
        };
        found.push(Violation { promise: Promise::Cron, what: format!("{run} {problem}") });
    }
    for (since, until, offset_ms) in clock(history) {
        let shown = |time: u64| time.saturating_add_signed(offset_ms);
        let mut instant = shown(since).next_multiple_of(cron.period_ms.max(1));
        while instant < shown(until) && cron.period_ms > 0 {
            let at = instant.saturating_add_signed(-offset_ms);
            let disturbed = history.disturbed.iter().any(|(from, to)| (millis(*from)..=millis(*to)).contains(&at));
            if !disturbed && !fired.contains_key(&instant) {
                let what = format!("{instant} did not fire, and the control plane was at work");
                found.push(Violation { promise: Promise::Cron, what });
            }
            instant += cron.period_ms;
        }
    }
}

/// The spans of the time in which the cron job was to fire, by a clock that is right, and how far the daemons' one is ahead.
fn clock(history: &History) -> Vec<(u64, u64, i64)> {
    let (since, until) = (millis(history.cron.since), millis(history.cron.until));
    let mut spans = Vec::new();
    let (mut from, mut offset_ms) = (since, 0);
    for set in &history.clock {
        let at = millis(set.at).clamp(since, until);
        spans.push((from, at, offset_ms));
        (from, offset_ms) = (at, set.offset_ms);
    }
    spans.push((from, until, offset_ms));
    spans
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
