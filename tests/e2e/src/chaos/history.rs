//! What clients saw and what is stored in the end: all that the checker knows.

use std::{collections::BTreeMap, time::Duration};

/// The record of one execution of the harness.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// What clients asked for, by idempotency key.
    pub submissions: BTreeMap<String, Submission>,
    /// Terminal states of tasks that clients saw meanwhile.
    pub seen: Vec<Seen>,
    /// What is stored in the end, by run.
    pub stored: BTreeMap<String, Stored>,
    /// Outcomes as the leaders recorded them, in that order; nothing where the log was not read as a whole.
    pub recorded: Option<Vec<Recorded>>,
    /// What guests did that must not be done twice, in the order in which the kernel saw it.
    pub steps: Vec<Step>,
    /// Jobs that keep tasks running.
    pub lasting: Vec<Lasting>,
    /// The cron job.
    pub cron: Cron,
    /// When the control plane was disturbed, since 1970 by a clock that is right; each ends when it should work again.
    pub disturbed: Vec<(Duration, Duration)>,
    /// How the wall clock of the daemons was set, in this order; it is right before the first setting.
    pub clock: Vec<ClockSet>,
    /// Daemons that ended although nobody killed them, with what they said last.
    pub crashed: Vec<String>,
}

/// A setting of the daemons' wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSet {
    /// When, by a clock that is right, since 1970.
    pub at: Duration,
    /// By how many milliseconds it is ahead from then on.
    pub offset_ms: i64,
}

/// One thing that a client asked for, as often as it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// The job.
    pub job: String,
    /// The number of tasks.
    pub count: u32,
    /// What is to become of each task.
    pub expected: Expected,
    /// The run of every answer that there was.
    pub answers: Vec<String>,
    /// The result that the client was given with the answer, of calls that have one.
    pub result: Option<Vec<u8>>,
}

/// What is to become of every task of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It succeeds with its input, which [`input`] gives, as its result.
    Echo,
    /// It fails for good.
    Failure,
    /// It is executed once at most: it succeeds as in [`Expected::Echo`], is lost, or fails with its worker process.
    Once,
}

/// The input of a task: different for every task that there is, and the name of its mark.
#[must_use]
pub fn input(key: &str, index: u32) -> String {
    format!("{key}.{index}")
}

/// The final states of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Succeeded.
    Succeeded,
    /// Failed for good.
    Failed,
    /// Lost with its node.
    Lost,
    /// Any other one, which no task of the workload may have.
    Other,
}

/// A final state that a client saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The run.
    pub run: String,
    /// The task.
    pub index: u32,
    /// The state.
    pub end: End,
}

/// Outcomes that one transaction recorded: of tasks of a run that follow one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The run.
    pub run: String,
    /// The first task.
    pub first: u32,
    /// How many.
    pub len: u32,
    /// How they ended.
    pub end: End,
}

/// A run as it is stored in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// The job.
    pub job: String,
    /// The key of the submission that it says it is of.
    pub key: Option<String>,
    /// Whether all of it has ended.
    pub ended: bool,
    /// The number of its tasks.
    pub count: u32,
    /// The sum of its tasks that have ended, as it counts them itself.
    pub ended_count: u64,
    /// The instant that it was fired for, in milliseconds since 1970.
    pub scheduled_ms: Option<u64>,
    /// All entries of its list of tasks that have ended.
    pub tasks: Vec<(u32, End)>,
    /// All entries of its list of results.
    pub results: Vec<(u32, Vec<u8>)>,
}

/// Something that an attempt did with its mark, a file of each executor's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The executor.
    pub node: usize,
    /// The mark: the input of its task.
    pub mark: String,
    /// What it did.
    pub deed: Deed,
}

/// What an attempt can do with its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It has begun.
    Open,
    /// It goes on.
    Read,
    /// It is over; the kernel sees this also of a process that was killed.
    Close,
}

/// A job that keeps tasks running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lasting {
    /// The job.
    pub job: String,
    /// How many it was last told to keep.
    pub wanted: u64,
    /// How many run in the end.
    pub running: u64,
}

/// A cron job and the time in which it was to fire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cron {
    /// The job.
    pub job: String,
    /// Milliseconds between two instants, which are its multiples.
    pub period_ms: u64,
    /// From when on, since 1970, by a clock that is right.
    pub since: Duration,
    /// Until when.
    pub until: Duration,
}
