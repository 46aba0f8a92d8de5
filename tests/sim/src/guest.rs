//! The model of guests: what an attempt does follows from the seed and its identity.

use core::time::Duration;

use weir_wire::{
    attempt::EndedAttempt,
    id::{AttemptId, RunId},
    outcome::{Captured, Failure, Outcome, Usage},
    resources::Resources,
    task::{Reason, Source, Status},
    units::{CpuMillis, Fuel, MemBytes},
};

use crate::{
    jobs::SPIN_TIMEOUT,
    options::Options,
    rng::{Purpose, Rng},
};

/// How the attempts of one task end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Always well.
    Good,
    /// Always badly, for this reason.
    Poison(Reason),
    /// Sometimes badly.
    Flaky,
    /// It computes for ever, until its time is over or somebody stops it.
    Spin,
}

/// What one attempt does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) time: Duration,
    /// Why it fails, if it does.
    pub(crate) reason: Option<Reason>,
    pub(crate) large: bool,
    pub(crate) progress: bool,
    /// It ends when somebody ends it.
    pub(crate) endless: bool,
}

/// The nature of a task.
pub(crate) fn nature(options: &Options, run: RunId, index: u32) -> Nature {
    let mut rng = Rng::new(options.seed ^ run.0, Purpose::Nature, u64::from(index));
    if rng.chance(options.work.spinning) {
        return Nature::Spin;
    }
    if !rng.chance(options.work.failing) {
        return Nature::Good;
    }
    match rng.below(4) {
        0 => Nature::Poison(*rng.pick(&[Reason::Trap, Reason::FuelExhausted, Reason::MemoryLimit])),
        1 => Nature::Poison(*rng.pick(&[Reason::ExitNonzero, Reason::WallTimeout])),
        _ => Nature::Flaky,
    }
}

/// What an attempt does.
pub(crate) fn plan(options: &Options, id: AttemptId, slow: bool) -> Plan {
    let task = id.task;
    let which = u64::from(task.index) ^ (id.term.0 << 40) ^ (id.grant.0 << 20);
    let mut rng = Rng::new(options.seed ^ task.run.0, Purpose::Attempt, which);
    let upper = if slow { options.work.task_time_max } else { options.work.task_time_max / 4 };
    // Mostly short, with a tail.
    let upper = if rng.chance(900_000) { upper / 4 } else { upper };
    let mut time = rng.duration(Duration::from_micros(20), upper.max(Duration::from_micros(50)));
    let reason = match nature(options, task.run, task.index) {
        Nature::Good => None,
        Nature::Spin => {
            time = SPIN_TIMEOUT;
            Some(Reason::WallTimeout)
        }
        Nature::Poison(reason) => Some(reason),
        Nature::Flaky => {
            let reasons = [Reason::ExitNonzero, Reason::HostError, Reason::WallTimeout];
            rng.chance(400_000).then(|| *rng.pick(&reasons))
        }
    };
    let (large, progress) = (rng.chance(options.work.large), rng.chance(100_000));
    if rng.chance(options.work.long) {
        // Only what outlives the wait for its node shows whether a fence holds.
        time = time.max(rng.duration(SPIN_TIMEOUT / 3, SPIN_TIMEOUT));
    }
    Plan { time, reason, large, progress, endless: false }
}

/// Makes an attempt one that is to last: it crashes where it would have failed, until faults are healed.
pub(crate) fn last(plan: &mut Plan, healed: bool) {
    plan.endless = healed || plan.reason.is_none();
    plan.reason = plan.reason.filter(|_| !plan.endless);
}

/// What an attempt really uses of what it may.
pub(crate) fn uses(seed: u64, id: AttemptId, limits: Resources) -> Resources {
    let mut rng = Rng::new(seed ^ id.task.run.0, Purpose::Use, u64::from(id.task.index));
    let mut part = |whole: u64| whole * rng.range(20, 100) / 100;
    let cpu = u32::try_from(part(u64::from(limits.cpu.0))).unwrap_or(limits.cpu.0);
    Resources { cpu: CpuMillis(cpu), memory: MemBytes(part(limits.memory.0)) }
}

/// The result of a task: the same whichever attempt succeeds.
pub(crate) fn result(run: RunId, index: u32) -> Vec<u8> {
    let mut bytes = run.0.to_le_bytes().to_vec();
    bytes.extend_from_slice(&index.to_le_bytes());
    bytes
}

/// The end of an attempt that ran to its end.
pub(crate) fn ended(id: AttemptId, plan: &Plan) -> EndedAttempt {
    let usage = Usage {
        fuel: Fuel(1000),
        cpu_us: 10,
        wall_us: u64::try_from(plan.time.as_micros()).unwrap_or(u64::MAX),
        peak_memory: MemBytes(65_536),
        output_bytes: 12,
    };
    let bytes = result(id.task.run, id.task.index);
    let (mut result, mut large_result) = (Captured::Empty, Box::default());
    if plan.reason.is_none() {
        if plan.large {
            large_result = bytes.into_boxed_slice();
        } else {
            result = Captured::inline(&bytes);
        }
    }
    let outcome = match plan.reason {
        None => Outcome::succeeded(usage, result, Captured::inline(b"done")),
        Some(reason) => Outcome {
            status: Status::Failed,
            failure: Some(Box::new(Failure::new(reason, Source::Guest, reason.as_str()))),
            usage,
            result,
            log: Captured::inline(b"failed"),
        },
    };
    EndedAttempt { id, outcome, large_result, large_log: Box::default(), next_started: false }
}

/// The end of an attempt that was cancelled.
pub(crate) fn cancelled(id: AttemptId, reason: Reason) -> EndedAttempt {
    let failure = Failure::new(reason, Source::Control, "cancelled");
    let outcome = Outcome::not_run(Status::Killed, failure);
    EndedAttempt { id, outcome, large_result: Box::default(), large_log: Box::default(), next_started: false }
}
