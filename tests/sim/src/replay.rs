//! Replays of two public records in placing many tasks: what the control plane's part costs in CPU time.
//!
//! The real scheduler and real agents run on a virtual clock, and all that the scheduler is told is put on record. Then
//! another scheduler is told the same alone, so that the work of thousands of agents in between does not empty its
//! caches. What is counted is the thread's CPU time of this second one: in the scheduler, in encoding each message to an
//! executor, and in decoding each message of one. Transactions are encoded by the scheduler.

mod account;
mod workload;

use core::time::Duration;

pub(crate) use account::{Heard, Record};

use account::Account;
use weir_scheduler::Scheduler;

use crate::whatif::{Engine, Error, Office, Options, config};

/// One replay.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Machines.
    pub nodes: u32,
    /// Runs, each of a job of its own.
    pub jobs: u32,
    /// Tasks of each run.
    pub tasks_per_job: u32,
    /// How long each task runs; long enough for all of them to run at the same time.
    pub task_time: Duration,
}

/// One million tasks on 5,000 nodes.
pub const C1M: Shape = Shape { nodes: 5_000, jobs: 1_000, tasks_per_job: 1_000, task_time: Duration::from_secs(60) };
/// Two million tasks on 6,100 nodes.
pub const C2M: Shape = Shape { nodes: 6_100, jobs: 2_000, tasks_per_job: 1_000, task_time: Duration::from_secs(60) };

impl Shape {
    /// All tasks.
    #[must_use]
    pub const fn tasks(&self) -> u64 {
        self.jobs as u64 * self.tasks_per_job as u64
    }
}

/// What a replay cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// CPU time of the scheduler, log and submission bytes included.
    pub core: Duration,
    /// CPU time of encoding messages to executors.
    pub encode: Duration,
    /// CPU time of decoding messages of executors.
    pub decode: Duration,
    /// Messages to executors, and their bytes.
    pub sent: (u64, u64),
    /// Messages of executors.
    pub received: u64,
    /// Transactions, and bytes of their values.
    pub stored: (u64, u64),
    /// Most tasks that ran at the same time.
    pub running_max: u64,
    /// Simulated time until all tasks had started.
    pub all_started: Duration,
    /// Simulated time until the last outcome was durable.
    pub all_durable: Duration,
    /// Tasks with an outcome in the stored bytes.
    pub recorded: u64,
}

impl Cost {
    /// CPU time of the control plane.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.core + self.encode + self.decode
    }
}

/// Runs a replay, and reads the stored bytes afterwards.
///
/// # Errors
/// When the scheduler refuses something, or a task has no outcome or two in the stored bytes.
pub fn replay(shape: &Shape) -> Result<Cost, Error> {
    let (cluster, workload) = workload::of(shape);
    let options = Options { commit_delay: Duration::from_millis(2), ..Options::default() };
    let mut office = Office::new(config(), &options);
    office.record = Some(Box::default());
    let mut engine = Engine::new(&cluster, &workload, &options, office);
    engine.run(Engine::all_is_recorded)?;
    let times = (engine.last_first_start(), engine.elapsed(), engine.running_max());
    let record = engine.office_mut().record.take().unwrap_or_default();
    drop(engine);
    let mut account = Account::default();
    account.replay(Scheduler::new(config(), options.seed), *record);
    let recorded = account.recorded().map_err(|what| Error::File { file: "the store".to_owned(), what })?;
    Ok(Cost {
        core: account.core.total(),
        encode: account.encode.total(),
        decode: account.decode.total(),
        sent: account.sent,
        received: account.received,
        stored: account.stored,
        all_started: times.0,
        all_durable: times.1,
        running_max: times.2,
        recorded,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_of_a_small_replay_is_recorded() {
        let shape = Shape { nodes: 5, jobs: 3, tasks_per_job: 40, task_time: Duration::from_secs(5) };
        let cost = replay(&shape).expect("a replay");
        assert_eq!((cost.recorded, cost.running_max), (120, 120));
        assert!(cost.all_started < cost.all_durable, "{cost:?}");
        assert!(cost.sent.0 > 120 && cost.received > 10 && cost.stored.1 > 100, "{cost:?}");
        assert!(cost.total() > Duration::ZERO);
    }
}
