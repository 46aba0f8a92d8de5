//! The model of an executor's sandbox: what runs, what it uses, and how it ends.

use core::time::Duration;

use weir_agent::{Input, limits::MEASURE_EVERY};
use weir_wire::{
    attempt::{AttemptEvent, Command, ModuleReady, Progress},
    codec::Document,
    id::{AttemptId, Digest},
    kind::{Execution, Tier},
    resources::Resources,
    task::{Reason, RetryClass},
};

use crate::{
    event::{Act, Kind},
    guest,
    jobs::SPIN_TIMEOUT,
    property::{Check, Property, broken},
    world::{World, ns},
};

/// How soon a throttled attempt that would have ended is looked at again.
const THROTTLE_LOOK: Duration = Duration::from_millis(250);

/// The longest attempt behind which the sandbox goes on by itself.
const TURN: Duration = Duration::from_millis(1);
/// The chance that it does, where it may, per million.
const GOES_ON: u64 = 900_000;
/// The longest time after which it says so: worker and agent share the machine with the guests.
const LAG: Duration = Duration::from_millis(30);
/// The chance that an attempt behind which others may be started waits for its place, per million, and how long at the most:
/// beyond the time after which the agent gives back what is behind it.
const WAITS: u64 = 300_000;
const WAIT_MAX: Duration = Duration::from_millis(600);

/// One attempt that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) plan: guest::Plan,
    pub(crate) spec: Spec,
    pub(crate) since: u64,
    pub(crate) throttled: bool,
    /// Tasks behind it that the sandbox may start by itself.
    pub(crate) ahead: u32,
    /// It began, or may have gone on, without being told.
    pub(crate) chained: bool,
    /// It is being stopped.
    pub(crate) cancelled: bool,
}

/// What the sandbox was told of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    pub(crate) resources: Resources,
    pub(crate) execution: Execution,
    pub(crate) tier: Tier,
    /// Its tasks end when they are stopped, or crash.
    pub(crate) endless: bool,
}

impl World {
    /// An agent tells its sandbox something.
    pub(crate) fn node_command(&mut self, at: usize, command: Command) -> Check {
        let epoch = self.nodes[at].epoch;
        let node = &mut self.nodes[at];
        if let Command::Cancel(cancel) = &command {
            node.running.entry(cancel.id).and_modify(|running| running.cancelled = true);
        }
        match command {
            Command::Define(spec) => {
                let (resources, execution) = (spec.budgets.resources, spec.execution);
                let endless = spec.budgets.timeout.is_none();
                node.specs.insert(spec.run, Spec { resources, execution, tier: spec.tier, endless });
            }
            Command::Forget(run) => {
                node.specs.remove(&run);
                if node.running.keys().any(|id| id.task.run == run) {
                    return broken(Property::Crash, format!("run {run} is forgotten while it runs"));
                }
            }
            Command::Prepare(module) => {
                let due = self.now + ns(node.rng.duration(Duration::from_millis(1), Duration::from_millis(200)));
                self.events.push(due, Kind::Prepared { node: at, epoch, digest: module.digest });
            }
            Command::Cancel(cancel) if node.zombie && cancel.reason == Reason::NodeLost => {
                // What does not end by itself is ended by hand, long after it should have been.
                let act = Act::Cancelled(cancel.reason);
                self.events.push(self.now + ns(SPIN_TIMEOUT), Kind::Guest { node: at, epoch, id: cancel.id, act });
                self.count("ignored-fence");
            }
            Command::Cancel(cancel) if node.thawing => {
                return self.guest(at, cancel.id, Act::Cancelled(cancel.reason));
            }
            Command::Cancel(cancel) => {
                let due = self.now + ns(node.rng.duration(Duration::ZERO, Duration::from_millis(5)));
                node.ends_until = node.ends_until.max(due);
                let act = Act::Cancelled(cancel.reason);
                self.events.push(due, Kind::Guest { node: at, epoch, id: cancel.id, act });
            }
            Command::Start(_) => return broken(Property::Crash, "a start came as a sandbox command"),
            Command::Throttle(throttle) => {
                if let Some(running) = node.running.get_mut(&throttle.id) {
                    running.throttled = throttle.on;
                }
            }
            Command::Settle(id) => {
                let running = node.running.get_mut(&id).filter(|running| running.ahead > 0);
                if let Some(running) = running {
                    running.ahead = 0;
                    self.count("settled");
                    return self.tell(at, AttemptEvent::Settled(id), true);
                }
            }
            Command::Follow(_) | Command::Inspect(_) | Command::Lease(_) => {}
        }
        Ok(())
    }

    /// An attempt begins.
    pub(crate) fn node_attempt(&mut self, at: usize, id: AttemptId, ahead: u32) -> Check {
        let rng = &mut self.nodes[at].rng;
        let wait = if ahead > 0 && rng.chance(WAITS) { rng.duration(Duration::ZERO, WAIT_MAX) } else { Duration::ZERO };
        self.attempt_begins(at, id, (ahead, ahead > 0), wait)?;
        if wait.is_zero() {
            return self.settle_if_long(at, id);
        }
        self.count("attempt-waits");
        let epoch = self.nodes[at].epoch;
        self.events.push(self.now + ns(wait), Kind::Guest { node: at, epoch, id, act: Act::Begins });
        Ok(())
    }

    /// Behind an attempt that does not end at once the sandbox starts nothing.
    fn settle_if_long(&mut self, at: usize, id: AttemptId) -> Check {
        let long = |running: &&mut Running| running.ahead > 0 && (running.plan.endless || running.plan.time > TURN);
        if let Some(running) = self.nodes[at].running.get_mut(&id).filter(long) {
            running.ahead = 0;
            return self.tell(at, AttemptEvent::Settled(id), true);
        }
        Ok(())
    }

    fn attempt_begins(&mut self, at: usize, id: AttemptId, (ahead, chained): (u32, bool), wait: Duration) -> Check {
        let slow = self.nodes[at].id.as_str().ends_with('7');
        let mut plan = guest::plan(&self.options, id, slow);
        let node = &mut self.nodes[at];
        if node.stale.contains(&(id.term, id.grant)) {
            return broken(Property::Term, format!("{id} runs under a grant of an older term"));
        }
        let Some(spec) = node.specs.get(&id.task.run).copied() else {
            return broken(Property::Crash, format!("{id} starts before its run is defined"));
        };
        if spec.endless {
            guest::last(&mut plan, self.healed);
        }
        let running = Running { plan, spec, since: self.now, throttled: false, ahead, chained, cancelled: false };
        let begun = node.begun.entry((id.term, id.grant)).or_default();
        *begun = (*begun).max(id.task.index + 1);
        if node.running.insert(id, running).is_some() {
            return broken(Property::Once, format!("{id} is started twice"));
        }
        for revocable in [false, true] {
            let used = node.reserved(revocable);
            if !used.fits(&node.capacity) || node.running.len() > node.lanes_max as usize {
                let (capacity, count) = (node.capacity, node.running.len());
                return broken(Property::Capacity, format!("node {at} runs {count} tasks with {used} of {capacity}"));
            }
        }
        // What was given to another node meanwhile, and is being stopped here, is not the leader's to count.
        let counts = |(other, running): &(&AttemptId, &Running)| other.task.run == id.task.run && !running.cancelled;
        let same = node.running.iter().filter(counts).count();
        let most = self.oracle.runs.get(&id.task.run).map_or(0, |known| known.job.placement.max_per_node as usize);
        if most > 0 && same > most {
            return broken(
                Property::Capacity,
                format!("node {at} runs {same} tasks of {}, {most} at most", id.task.run),
            );
        }
        let epoch = node.epoch;
        let execution = spec.execution;
        self.measure_later(at);
        if !plan.endless {
            self.events.push(self.now + ns(wait + plan.time), Kind::Guest { node: at, epoch, id, act: Act::End });
        }
        self.fenced_begins(at, id, execution)?;
        if plan.progress {
            let act = Act::Progress;
            self.events.push(self.now + ns(wait + plan.time / 2), Kind::Guest { node: at, epoch, id, act });
        }
        Ok(())
    }

    /// A guest does something.
    pub(crate) fn guest(&mut self, at: usize, id: AttemptId, act: Act) -> Check {
        if act == Act::Begins {
            return self.settle_if_long(at, id);
        }
        let node = &mut self.nodes[at];
        if act == Act::Progress {
            if !node.running.contains_key(&id) {
                return Ok(());
            }
            let progress = Progress { id, done: 1, total: 2 };
            return self.node_input(at, Input::Sandbox(AttemptEvent::Progress(progress)));
        }
        if act == Act::End && node.running.get(&id).is_some_and(|running| running.throttled) {
            // It gets no CPU, and goes on once it is let go.
            let epoch = node.epoch;
            self.events.push(self.now + ns(THROTTLE_LOOK), Kind::Guest { node: at, epoch, id, act });
            self.measure_later(at);
            return Ok(());
        }
        let Some(Running { plan, ahead, chained, .. }) = node.running.remove(&id) else {
            return Ok(());
        };
        let well = act == Act::End && plan.reason.is_none() && !plan.large;
        let next = id.next().filter(|_| ahead > 0 && well && node.rng.chance(GOES_ON));
        self.fenced_ends(at, id.task);
        self.measure_later(at);
        if act == Act::End && plan.reason.is_some_and(|reason| reason.retry_class() == RetryClass::Counted) {
            *self.failures.entry(id.task).or_default() += 1;
        }
        let mut ended = match act {
            Act::Cancelled(reason) => {
                self.count(reason.as_str());
                guest::cancelled(id, reason)
            }
            Act::End | Act::Progress | Act::Begins => guest::ended(id, &plan),
        };
        ended.next_started = next.is_some();
        if let Some(next) = next {
            self.count("next-started");
            self.attempt_begins(at, next, (ahead - 1, true), Duration::ZERO)?;
        }
        self.tell(at, AttemptEvent::Ended(Box::new(ended)), chained)?;
        next.map_or(Ok(()), |next| self.settle_if_long(at, next))
    }

    /// The sandbox says something, at once or a little later, and in any case in order.
    fn tell(&mut self, at: usize, event: AttemptEvent, late: bool) -> Check {
        // The sandbox speaks to the executor in wire types: what it says survives their encoding.
        let Ok(event) = AttemptEvent::from_bytes(&event.to_bytes()) else {
            return broken(Property::Crash, "an attempt event does not decode");
        };
        let node = &mut self.nodes[at];
        let lag = if late { ns(node.rng.duration(Duration::ZERO, LAG)) } else { 0 };
        let due = (self.now + lag).max(node.told_at);
        if due <= self.now {
            return self.node_input(at, Input::Sandbox(event));
        }
        node.told_at = due;
        let epoch = node.epoch;
        self.events.push(due, Kind::Told { node: at, epoch, event: Box::new(event) });
        Ok(())
    }

    /// Has a machine measure, where what is measured matters.
    fn measure_later(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if self.options.work.revocable > 0 && !std::mem::replace(&mut node.measures, true) {
            let epoch = node.epoch;
            self.events.push(self.now + ns(MEASURE_EVERY), Kind::Measure { node: at, epoch });
        }
    }

    /// A machine measures what its attempts use.
    pub(crate) fn measure(&mut self, at: usize) -> Check {
        let seed = self.options.seed;
        let node = &mut self.nodes[at];
        node.measures = false;
        let mut used = Resources::default();
        for (id, running) in node.running.iter().filter(|(_, running)| running.spec.tier != Tier::Revocable) {
            let Resources { cpu, memory } = guest::uses(seed, *id, running.spec.resources);
            used.cpu.0 += cpu.0;
            used.memory.0 += memory.0;
        }
        self.node_input(at, Input::Measured(used))
    }

    /// A module is compiled.
    pub(crate) fn prepared(&mut self, at: usize, digest: Digest) -> Check {
        self.nodes[at].prepared.insert(digest);
        let ready = ModuleReady { digest, refused: None, machine_fault: false, compile_time: Duration::ZERO };
        self.node_input(at, Input::Sandbox(AttemptEvent::Module(ready)))
    }
}
