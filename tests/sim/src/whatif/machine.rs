//! One node: the real agent, with a sandbox in which every attempt takes the time that the workload says.

use std::collections::BTreeMap;

use weir_agent::{Agent, Config, Input, Output, limits::MEASURE_EVERY};
use weir_wire::{
    attempt::{AttemptEvent, Command, EndedAttempt, ModuleReady},
    codec::Document,
    id::{AttemptId, Incarnation, RunId},
    kind::Tier,
    outcome::{Captured, Failure, Outcome, Usage},
    resources::Resources,
    task::{Reason, Source, Status},
    units::{CpuMillis, Fuel, MemBytes},
};

use super::{
    draw,
    engine::{Engine, Event, Mail, cluster_name},
    meter::Amount,
    workload::Item,
};

/// One node.
#[derive(Debug)]
pub(super) struct Machine {
    agent: Agent,
    capacity: Resources,
    /// When it is to be woken; `u64::MAX` when it is not.
    pub(super) armed: u64,
    running: BTreeMap<AttemptId, Running>,
    /// What runs reserves, by the simulator's own book.
    reserved: Resources,
    beyond: Amount,
    /// What attempts that are not revocable use.
    firm: Resources,
    /// A measurement is to come.
    measures: bool,
}

#[derive(Debug, Clone, Copy)]
struct Running {
    item: usize,
    since: u64,
    time: Time,
}

/// What is left of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    /// It runs until it is stopped.
    Forever,
    /// It ends then.
    Ends(u64),
    /// It is throttled, and gets no CPU; so much is left.
    Throttled(u64),
}

impl Engine<'_> {
    /// Starts all executors and connects them.
    pub(super) fn join(&mut self) {
        let cluster = self.cluster;
        let name = cluster_name();
        for (at, (node, group)) in cluster.machines().enumerate() {
            let mut config = Config::new(name.clone(), node, Incarnation(1), group.resources);
            config.boot = at as u64 + 1;
            config.lanes_max = group.lanes;
            config.attributes = group.attributes.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            self.machines.push(Machine {
                agent: Agent::new(config, crate::rng::mix(self.options.seed ^ at as u64)),
                capacity: group.resources,
                armed: u64::MAX,
                running: BTreeMap::new(),
                reserved: Resources::default(),
                beyond: Amount::default(),
                firm: Resources::default(),
                measures: false,
            });
        }
        for at in 0..self.machines.len() {
            self.machine_input(at, Input::Connected);
        }
    }

    /// Hands something to an agent, and carries out what it asks for.
    pub(super) fn machine_input(&mut self, at: usize, input: Input) {
        let now = self.clock();
        self.machines[at].agent.handle(now, input);
        while let Some(output) = self.machines[at].agent.poll_output() {
            self.machine_output(at, output);
        }
        let machine = &mut self.machines[at];
        if let Some((deadline, _)) = machine.agent.poll_deadline() {
            let due = deadline.0.max(self.now);
            if due < machine.armed {
                machine.armed = due;
                self.push(due, Event::Tick { machine: at, due });
            }
        }
    }

    fn machine_output(&mut self, at: usize, output: Output) {
        match output {
            Output::Send(message) if self.office.record.is_some() => {
                self.mail.push_back(Mail::Bytes(at, message.to_bytes()));
            }
            Output::Send(message) => self.mail.push_back(Mail::ToControl(at, Box::new(message))),
            Output::Start(start) => self.attempt_starts(at, start.id),
            Output::FetchModule(digest) => {
                self.machine_input(at, Input::ModuleStored { digest, path: String::new() });
            }
            Output::FetchPayload { run, .. } => self.machine_input(at, Input::PayloadReady { run }),
            Output::Sandbox(Command::Prepare(module)) => {
                let ready = ModuleReady {
                    digest: module.digest,
                    refused: None,
                    machine_fault: false,
                    compile_time: core::time::Duration::ZERO,
                };
                self.machine_input(at, Input::Sandbox(AttemptEvent::Module(ready)));
            }
            // Nothing is started here that was not asked for.
            Output::Sandbox(Command::Settle(id)) if self.machines[at].running.contains_key(&id) => {
                self.machine_input(at, Input::Sandbox(AttemptEvent::Settled(id)));
            }
            Output::Sandbox(Command::Cancel(cancel)) => self.attempt_cancelled(at, cancel.id, cancel.reason),
            Output::Sandbox(Command::Throttle(throttle)) => self.throttle(at, throttle.id, throttle.on),
            Output::Sandbox(
                Command::Define(_)
                | Command::Forget(_)
                | Command::Settle(_)
                | Command::Follow(_)
                | Command::Inspect(_)
                | Command::Lease(_)
                | Command::Start(_),
            )
            | Output::Upload { .. } => {}
            // Nothing fails here: the scheduler's side of a closed session is an error already.
            Output::Disconnect(reason) => tracing::error!(machine = at, %reason, "an agent disconnects"),
            Output::Exit(reason) => tracing::error!(machine = at, %reason, "an agent exits"),
        }
    }

    fn attempt_starts(&mut self, at: usize, id: AttemptId) {
        let (run, index) = (id.task.run, id.task.index);
        let ready_at = self.ready_at(run);
        let Some(state) = self.runs.get_mut(&run) else { return };
        let item = &self.workload.items[state.item];
        let (word, bit) = (index as usize / 64, 1u64 << (index % 64));
        if state.seen[word] & bit == 0 {
            state.seen[word] |= bit;
            state.started += 1;
            self.last_first_start = self.now;
            self.waits.started(&item.namespace, item.tier, self.now.saturating_sub(ready_at));
        }
        let time = match draw::duration(self.options.seed, state.item, index, &item.length) {
            None => Time::Forever,
            Some(time) => Time::Ends(self.now + time),
        };
        self.machines[at].running.insert(id, Running { item: state.item, since: self.now, time });
        self.count(at, item, true);
        if let Time::Ends(due) = time {
            self.running_finite += 1;
            self.running_max = self.running_max.max(self.running_finite);
            self.push(due, Event::End { machine: at, id });
        }
        self.progress();
    }

    /// From when on a run could have been placed, as far as other work goes.
    fn ready_at(&self, run: RunId) -> u64 {
        let Some(state) = self.runs.get(&run) else { return self.now };
        let upstream = state.after.iter().filter_map(|run| self.runs.get(run)).map(|run| run.ended_at);
        upstream.fold(state.due_at, u64::max)
    }

    /// An attempt has run for as long as it takes.
    pub(super) fn attempt_ends(&mut self, at: usize, id: AttemptId) {
        let now = self.now;
        // One that was throttled has another end.
        let ends = |running: &Running| matches!(running.time, Time::Ends(due) if due <= now);
        let Some(running) = self.machines[at].running.get(&id).copied().filter(ends) else { return };
        self.machines[at].running.remove(&id);
        let item = &self.workload.items[running.item];
        self.count(at, item, false);
        self.running_finite -= 1;
        self.left_finite -= 1;
        self.tasks_ended += 1;
        self.last_end = self.now;
        if let Some(state) = self.runs.get_mut(&id.task.run) {
            state.left -= 1;
            state.ended_at = self.now;
        }
        self.progress();
        let outcome = Outcome::succeeded(usage(item, self.now - running.since), Captured::Empty, Captured::Empty);
        self.ended(at, id, outcome);
    }

    fn attempt_cancelled(&mut self, at: usize, id: AttemptId, reason: Reason) {
        let Some(running) = self.machines[at].running.remove(&id) else { return };
        let item = &self.workload.items[running.item];
        if matches!(running.time, Time::Throttled(_)) {
            self.meter.task(self.now, item.tier, Amount::default(), cpu_used(item), 1.0);
        }
        self.count(at, item, false);
        self.running_finite -= usize::from(matches!(running.time, Time::Ends(_)));
        self.last_end = self.now;
        let time = self.now - running.since;
        // What the workload itself stops is no loss.
        if reason != Reason::Cancelled {
            let (count, lost) = self.cancelled.entry(reason.as_str()).or_default();
            *count += 1;
            *lost += time;
        }
        self.progress();
        let failure = Failure::new(reason, Source::Control, reason.as_str());
        let outcome = Outcome { usage: usage(item, time), ..Outcome::not_run(Status::Killed, failure) };
        self.ended(at, id, outcome);
    }

    /// An attempt gets no CPU, or some again.
    fn throttle(&mut self, at: usize, id: AttemptId, on: bool) {
        let now = self.now;
        let Some(running) = self.machines[at].running.get_mut(&id) else { return };
        let item = &self.workload.items[running.item];
        match (running.time, on) {
            (Time::Ends(due), true) => {
                running.time = Time::Throttled(due.saturating_sub(now));
                self.throttled += 1;
                self.running_finite -= 1;
                self.meter.task(now, item.tier, Amount::default(), cpu_used(item), -1.0);
            }
            (Time::Throttled(left), false) => {
                running.time = Time::Ends(now + left);
                self.running_finite += 1;
                self.meter.task(now, item.tier, Amount::default(), cpu_used(item), 1.0);
                self.push(now + left, Event::End { machine: at, id });
                self.progress();
            }
            (Time::Forever | Time::Ends(_) | Time::Throttled(_), _) => {}
        }
    }

    /// A machine measures what its tasks use.
    pub(super) fn measure(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        machine.measures = false;
        let firm = machine.firm;
        self.machine_input(at, Input::Measured(firm));
    }

    fn ended(&mut self, at: usize, id: AttemptId, outcome: Outcome) {
        let (large_result, large_log) = (Box::default(), Box::default());
        let ended = EndedAttempt { id, outcome, large_result, large_log, next_started: false };
        self.machine_input(at, Input::Sandbox(AttemptEvent::Ended(Box::new(ended))));
    }

    /// Enters a task of this line into the books of a machine, or takes it out.
    fn count(&mut self, at: usize, item: &Item, starts: bool) {
        let machine = &mut self.machines[at];
        let change = |book: &mut Resources, by: &Resources| {
            let changed = if starts { book.checked_add(by) } else { book.checked_sub(by) };
            *book = changed.expect("what ends has started, and sums are bounded by lanes");
        };
        change(&mut machine.reserved, &item.resources);
        if item.tier != Tier::Revocable {
            change(&mut machine.firm, &used(item));
        }
        let over = Resources {
            cpu: CpuMillis(machine.reserved.cpu.0.saturating_sub(machine.capacity.cpu.0)),
            memory: MemBytes(machine.reserved.memory.0.saturating_sub(machine.capacity.memory.0)),
        };
        let (over, before) = (Amount::of(&over), machine.beyond);
        machine.beyond = over;
        let sign = if starts { 1.0 } else { -1.0 };
        self.meter.task(self.now, item.tier, Amount::of(&item.resources), Amount::of(&used(item)), sign);
        let measures = self.oversubscribes && item.tier != Tier::Revocable;
        if measures && !core::mem::replace(&mut machine.measures, true) {
            let due = self.now + u64::try_from(MEASURE_EVERY.as_nanos()).unwrap_or(u64::MAX);
            self.push(due, Event::Measure(at));
        }
        if over != before {
            self.meter.beyond(self.now, Amount { cpu: over.cpu - before.cpu, memory: over.memory - before.memory });
        }
    }
}

/// What a task of this line really uses while it runs.
pub(super) fn used(item: &Item) -> Resources {
    let part = |whole: u64, millionths: u32| {
        u64::try_from(u128::from(whole) * u128::from(millionths) / 1_000_000).unwrap_or(whole)
    };
    let Resources { cpu, memory } = item.resources;
    let cpu = u32::try_from(part(u64::from(cpu.0), item.usage.cpu)).unwrap_or(cpu.0);
    Resources { cpu: CpuMillis(cpu), memory: MemBytes(part(memory.0, item.usage.memory)) }
}

fn cpu_used(item: &Item) -> Amount {
    Amount { cpu: Amount::of(&used(item)).cpu, memory: 0.0 }
}

fn usage(item: &Item, time: u64) -> Usage {
    let used = used(item);
    let wall_us = time / 1000;
    Usage {
        fuel: Fuel(0),
        cpu_us: wall_us / 1000 * u64::from(used.cpu.0),
        wall_us,
        peak_memory: used.memory,
        output_bytes: 0,
    }
}
