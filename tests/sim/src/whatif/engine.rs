//! The virtual clock: what happens next, and who is told.

use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use core::{cmp::Reverse, time::Duration};

use weir_scheduler::{Config, Input, Policy, Reply, RequestError, RequestId};
use weir_wire::{
    id::{AttemptId, ClusterName, RunId, Seq},
    kind::Tier,
    message::{ToControl, ToExecutor},
    units::{Instant, Now},
};

use super::{
    cluster::Cluster,
    error::Error,
    machine::Machine,
    meter::Meter,
    office::Office,
    report::{self, Report},
    submit::Submissions,
    waits::Waits,
    workload::Workload,
};

/// How long nothing has to happen before what still waits is taken to wait for ever.
const STALL: Duration = Duration::from_secs(600);
/// The same when only work that never ends by itself is left.
const STALL_FOREVER: Duration = Duration::from_secs(60);
/// Nothing fails here, so signs of life need not come often: they would be most of what happens.
const RENEW_EVERY: Duration = Duration::from_secs(600);

/// What a simulation is told beside cluster and workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Of all draws; the same seed gives the same report.
    pub seed: u64,
    /// How nodes are filled. Default [`Policy::Spread`].
    pub policy: Policy,
    /// How long a transaction takes to be durable. Default 1 ms.
    pub commit_delay: Duration,
    /// When the simulation ends; without it, when all work that ends by itself has ended.
    pub until: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 1, policy: Policy::Spread, commit_delay: Duration::from_millis(1), until: None }
    }
}

/// Runs a workload on a cluster.
///
/// # Errors
/// When the scheduler refuses something that is not a matter of room.
pub fn simulate(cluster: &Cluster, workload: &Workload, options: &Options) -> Result<Report, Error> {
    let mut config = config();
    config.placement = options.policy;
    // Long-running simulations would otherwise consist of renewals.
    (config.renew_every, config.lease) = (RENEW_EVERY, RENEW_EVERY * 4);
    config.node_timeout = RENEW_EVERY * 8;
    let mut engine = Engine::new(cluster, workload, options, Office::new(config, options));
    engine.run(|engine| engine.is_over())?;
    Ok(report::report(&engine))
}

/// The scheduler's defaults.
pub(crate) fn config() -> Config {
    Config::new(cluster_name())
}

pub(super) fn cluster_name() -> ClusterName {
    "what-if".parse().expect("a valid name")
}

/// Something that will happen.
#[derive(Debug)]
pub(super) enum Event {
    /// A line of the workload is due.
    Submit(usize),
    /// A run is to be stopped.
    Stop(RunId),
    /// The store has an answer.
    Committed(Seq),
    /// A machine wants to be woken.
    Tick { machine: usize, due: u64 },
    /// An attempt ends by itself, unless it was throttled meanwhile.
    End { machine: usize, id: AttemptId },
    /// A machine measures what its tasks use.
    Measure(usize),
    /// Submissions that were put off are tried again.
    Retry,
}

#[derive(Debug)]
struct Entry {
    at: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// What is delivered at the present moment.
#[derive(Debug)]
pub(super) enum Mail {
    ToMachine(usize, ToExecutor),
    ToControl(usize, Box<ToControl>),
    /// As it came over the wire; the control plane decodes it.
    Bytes(usize, Vec<u8>),
    ToUser(RequestId, Result<Reply, RequestError>),
}

/// A run that was accepted.
#[derive(Debug)]
pub(super) struct RunState {
    pub(super) item: usize,
    /// When its line was due.
    pub(super) due_at: u64,
    /// Runs that it waits for.
    pub(super) after: Vec<RunId>,
    /// When its last task ended.
    pub(super) ended_at: u64,
    /// Tasks that have not ended by themselves.
    pub(super) left: u32,
    /// One bit for each task that was ever started.
    pub(super) seen: Vec<u64>,
    pub(super) started: u32,
    /// It was asked to stop.
    pub(super) stopped: bool,
}

/// One simulation.
#[derive(Debug)]
pub(crate) struct Engine<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) workload: &'a Workload,
    pub(super) options: &'a Options,
    pub(super) now: u64,
    events: BinaryHeap<Reverse<Entry>>,
    next_number: u64,
    pub(super) mail: VecDeque<Mail>,
    pub(super) office: Office,
    pub(super) machines: Vec<Machine>,
    pub(super) submissions: Submissions,
    pub(super) runs: BTreeMap<RunId, RunState>,
    pub(super) meter: Meter,
    pub(super) waits: Waits,
    /// Attempts that were ended by somebody else, and the time they had run, by reason.
    pub(super) cancelled: BTreeMap<&'static str, (u64, u64)>,
    /// How often an attempt was throttled.
    pub(super) throttled: u64,
    /// There is revocable work, so that it matters what other tasks really use.
    pub(super) oversubscribes: bool,
    /// Lines and stops to come.
    pub(super) expected: usize,
    /// Attempts that run, are not throttled and end by themselves.
    pub(super) running_finite: usize,
    /// Tasks that end by themselves and have not.
    pub(super) left_finite: u64,
    pub(super) last_progress: u64,
    /// When the last attempt ended.
    pub(super) last_end: u64,
    /// When a task was last started that had never been before.
    pub(super) last_first_start: u64,
    /// Attempts that ended by themselves.
    pub(super) tasks_ended: u64,
    /// Most attempts that ran at the same time and end by themselves.
    pub(super) running_max: usize,
}

impl<'a> Engine<'a> {
    /// Nothing has happened yet.
    pub(crate) fn new(cluster: &'a Cluster, workload: &'a Workload, options: &'a Options, office: Office) -> Self {
        let mut engine = Self {
            cluster,
            workload,
            options,
            now: 0,
            events: BinaryHeap::new(),
            next_number: 0,
            mail: VecDeque::new(),
            office,
            machines: Vec::new(),
            submissions: Submissions::default(),
            runs: BTreeMap::new(),
            meter: Meter::new(),
            waits: Waits::default(),
            cancelled: BTreeMap::new(),
            throttled: 0,
            oversubscribes: workload.items.iter().any(|item| item.tier == Tier::Revocable),
            expected: workload.items.len(),
            running_finite: 0,
            left_finite: 0,
            last_progress: 0,
            last_end: 0,
            last_first_start: 0,
            tasks_ended: 0,
            running_max: 0,
        };
        for (at, item) in workload.items.iter().enumerate() {
            engine.push(item.at, Event::Submit(at));
        }
        engine
    }

    /// Goes on until `over` says so, nothing is left to happen, or the time is up.
    ///
    /// # Errors
    /// When the scheduler refuses something that is not a matter of room.
    pub(crate) fn run(&mut self, over: impl Fn(&Self) -> bool) -> Result<(), Error> {
        self.open()?;
        self.set_quotas()?;
        self.join();
        let until = self.options.until.map_or(u64::MAX, nanos);
        loop {
            self.deliver()?;
            if over(self) {
                break;
            }
            let event = self.events.peek().map(|Reverse(entry)| entry.at);
            let due = self.office.due();
            let Some(at) = event.into_iter().chain(due).min().filter(|at| *at <= until) else { break };
            self.now = self.now.max(at);
            if due.is_some_and(|due| due <= self.now) {
                self.control(Input::Tick)?;
            } else if let Some(Reverse(entry)) = self.events.pop() {
                self.happen(entry.event)?;
            }
        }
        if let Some(until) = self.options.until {
            self.now = self.now.max(nanos(until));
        }
        self.meter.advance(self.now);
        Ok(())
    }

    /// Whether every task that ends by itself has, and its outcome is durable.
    pub(crate) fn all_is_recorded(&self) -> bool {
        self.expected == 0 && self.left_finite == 0 && self.office.core.stats().open_tasks == 0
    }

    /// When the last task was started for the first time.
    pub(crate) const fn last_first_start(&self) -> Duration {
        Duration::from_nanos(self.last_first_start)
    }

    /// The present moment.
    pub(crate) const fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    /// Most attempts that ran at the same time.
    pub(crate) const fn running_max(&self) -> u64 {
        self.running_max as u64
    }

    pub(crate) const fn office_mut(&mut self) -> &mut Office {
        &mut self.office
    }

    pub(super) fn push(&mut self, at: u64, event: Event) {
        self.next_number += 1;
        self.events.push(Reverse(Entry { at, number: self.next_number, event }));
    }

    pub(super) const fn clock(&self) -> Now {
        Now { mono: Instant(self.now), wall_ms: self.now / 1_000_000 }
    }

    /// Something has started, ended or was accepted.
    pub(super) const fn progress(&mut self) {
        self.last_progress = self.now;
    }

    /// The time that the report is about.
    pub(super) fn end(&self) -> u64 {
        self.options.until.map_or(self.last_progress, nanos)
    }

    fn is_over(&self) -> bool {
        if self.options.until.is_some() || self.expected > 0 || self.running_finite > 0 {
            return false;
        }
        if self.left_finite == 0 && self.submissions.only_finite {
            return true;
        }
        let patience = if self.left_finite == 0 { STALL_FOREVER } else { STALL };
        self.now.saturating_sub(self.last_progress) > nanos(patience)
    }

    fn deliver(&mut self) -> Result<(), Error> {
        while let Some(mail) = self.mail.pop_front() {
            match mail {
                Mail::ToMachine(at, message) => self.machine_input(at, weir_agent::Input::Control(message)),
                Mail::ToControl(at, message) => self.hear(at, *message)?,
                Mail::Bytes(at, bytes) => self.control_bytes(at, bytes)?,
                Mail::ToUser(id, result) => self.answered(id, result)?,
            }
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Submit(item) => {
                self.expected -= 1;
                self.submit(item)
            }
            Event::Retry => self.submit_more(),
            Event::Stop(run) => {
                self.expected -= 1;
                self.stop(run)
            }
            Event::Committed(seq) => self.committed(seq),
            Event::Tick { machine, due } => {
                if self.machines[machine].armed == due {
                    self.machines[machine].armed = u64::MAX;
                    self.machine_input(machine, weir_agent::Input::Tick);
                }
                Ok(())
            }
            Event::End { machine, id } => {
                self.attempt_ends(machine, id);
                Ok(())
            }
            Event::Measure(machine) => {
                self.measure(machine);
                Ok(())
            }
        }
    }
}

/// A duration in nanoseconds.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
