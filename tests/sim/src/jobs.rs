//! The jobs of a world, drawn from the seed.

use core::time::Duration;

use weir_wire::{
    id::{Digest, JobName, JobVersion, Namespace},
    kind::{Condition, Cron, Dependency, Execution, Kind, Overlap, Service, Tier},
    outcome::BlobRef,
    placement::{Affinity, Constraint, Placement},
    resources::Resources,
    units::{CpuMillis, Fuel, MemBytes},
    work::{Budgets, Capabilities, Input, JobRecord, RetryPolicy},
};

use crate::{
    options::Options,
    rng::{Purpose, Rng},
};

/// How long an attempt may take.
pub(crate) const SPIN_TIMEOUT: Duration = Duration::from_secs(30);
/// The smallest node of any world.
pub(crate) const NODE_CPU_MIN: u32 = 2000;
pub(crate) const NODE_MEMORY_MIN: u64 = 1 << 30;
/// Zones that every world with enough nodes has.
pub(crate) const ZONES: [&str; 3] = ["a", "b", "c"];

/// Whether a job asks for more than any node has, or for one that does not exist.
pub(crate) fn is_feasible(options: &Options, job: &JobRecord) -> bool {
    job.budgets.resources.cpu.0 <= NODE_CPU_MIN && (0..options.nodes).any(|node| matches(options, job, node))
}

/// Most tasks of a service.
pub(crate) const LONG_TASKS_MAX: u32 = 3;
const POOL: &str = "p";

/// A namespace by number.
pub(crate) fn namespace(at: usize) -> Namespace {
    format!("ns-{at}").parse().expect("a valid name")
}

/// Namespaces only share what they want with the same priority.
fn priority(options: &Options, rng: &mut Rng) -> u8 {
    let drawn = u8::try_from(rng.range(0, 100)).unwrap_or(50);
    if options.work.namespaces > 1 { drawn / 51 * 50 } else { drawn }
}

fn tier(options: &Options, rng: &mut Rng) -> Tier {
    let drawn = rng.below(1_000_000);
    if drawn < options.work.production {
        Tier::Production
    } else if drawn >= 1_000_000 - options.work.revocable {
        Tier::Revocable
    } else {
        Tier::Preemptible
    }
}

/// A job of a world.
pub(crate) fn draw(options: &Options, rng: &mut Rng, at: usize, earlier: &[JobRecord]) -> JobRecord {
    let zones = ZONES.len().min(options.nodes);
    let text = |text: &str| text.to_owned();
    let constraints = match rng.below(8) {
        0 => vec![Constraint::equal("zone", "nowhere")],
        1 | 2 => vec![Constraint::equal("zone", *rng.pick::<&str>(&ZONES[..zones.max(1)]))],
        _ => Vec::new(),
    };
    let cpu = if rng.chance(60_000) { 1_000_000 } else { rng.range_u32(10, NODE_CPU_MIN) };
    let resources = Resources { cpu: CpuMillis(cpu), memory: MemBytes(rng.range(1, NODE_MEMORY_MIN >> 20) << 20) };
    let execution = Execution {
        fenced: rng.chance(options.work.fenced),
        at_most_once: rng.chance(options.work.once),
        stop_on_disconnect: rng.chance(200_000),
    };
    let mut standing = Rng::new(options.seed, Purpose::Standing, at as u64);
    let job = JobRecord {
        kind: Kind::Batch,
        tier: tier(options, &mut standing),
        max_failed: None,
        start_deadline: None,
        after: Vec::new(),
        input_from: None,
        execution,
        namespace: namespace(standing.index(options.work.namespaces.max(1))),
        job: format!("job-{at}").parse::<JobName>().expect("a valid name"),
        version: JobVersion(0),
        module: Digest([u8::try_from(at % 250).unwrap_or(0); 32]),
        args: vec![text("x")],
        env: Vec::new(),
        budgets: Budgets { resources, fuel: Fuel(1_000_000), timeout: Some(SPIN_TIMEOUT), output: 1 << 20 },
        dirs: Vec::new(),
        capabilities: Capabilities::NONE,
        count: 1,
        max_running: if rng.chance(300_000) { rng.range_u32(1, 6) } else { 0 },
        priority: priority(options, rng),
        retry: RetryPolicy {
            attempts: if execution.at_most_once { 1 } else { rng.range_u32(1, 4) },
            backoff_min: rng.duration(Duration::from_millis(1), Duration::from_secs(1)),
            backoff_max: rng.duration(Duration::from_secs(1), Duration::from_secs(5)),
            retry_deterministic: rng.chance(200_000),
        },
        placement: Placement { constraints, ..Placement::default() },
        created_ms: 0,
        message: String::new(),
    };
    special(options, &mut standing, job, earlier)
}

/// Makes a batch a job of another kind, or one with more rules.
fn special(options: &Options, rng: &mut Rng, mut job: JobRecord, earlier: &[JobRecord]) -> JobRecord {
    let work = &options.work;
    let kinds = [work.crons, work.services, work.systems, work.functions, work.endless, work.dependent];
    let drawn = rng.below(1_000_000);
    let mut upper = 0;
    let kind = kinds.iter().position(|share| {
        upper += share;
        drawn < upper
    });
    match kind {
        Some(0) => {
            job.kind = Kind::Cron(cron(rng));
            job.count = rng.range_u32(1, 3);
        }
        Some(1) => {
            job.kind = Kind::Service(Service { healthy_after: rng.duration(ms(50), ms(3000)) });
            long_running(rng, &mut job);
        }
        Some(2) => {
            job.kind = Kind::System;
            long_running(rng, &mut job);
        }
        Some(3) => job.kind = Kind::Function,
        Some(4) => job.budgets.timeout = None,
        Some(5) => depend(rng, &mut job, earlier),
        Some(_) | None => {}
    }
    let ends = !job.kind.is_long_running();
    if ends && rng.chance(work.ending) {
        job.start_deadline = Some(rng.duration(ms(500), options.safety)).filter(|_| rng.chance(600_000));
        job.max_failed = Some(rng.range_u32(0, 3)).filter(|_| rng.chance(600_000));
    }
    if rng.chance(work.picky) {
        pick_nodes(rng, &mut job.placement);
    }
    job
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn cron(rng: &mut Rng) -> Cron {
    Cron {
        schedule: crate::cron::schedule(*rng.pick(&[2, 5, 11, 30])),
        time_zone: "UTC".to_owned(),
        overlap: *rng.pick(&[Overlap::Allow, Overlap::Forbid, Overlap::Replace]),
        start_deadline: *rng.pick(&[ms(0), ms(10_000), ms(3_600_000)]),
    }
}

/// Tasks that are small enough for all of them to run at one time on the smallest node.
fn long_running(rng: &mut Rng, job: &mut JobRecord) {
    job.count = rng.range_u32(1, LONG_TASKS_MAX);
    let resources = Resources { cpu: CpuMillis(rng.range_u32(5, 50)), memory: MemBytes(rng.range(1, 16) << 20) };
    job.budgets = Budgets { resources, timeout: None, ..job.budgets };
    job.max_running = 0;
    job.execution.at_most_once = false;
    job.placement.constraints.retain(|rule| rule.values != ["nowhere"]);
}

/// Has a job wait for an earlier one that waits for none.
fn depend(rng: &mut Rng, job: &mut JobRecord, earlier: &[JobRecord]) {
    let free = |one: &&JobRecord| {
        one.namespace == job.namespace
            && one.kind == Kind::Batch
            && one.after.is_empty()
            && one.budgets.timeout.is_some()
    };
    let free: Vec<&JobRecord> = earlier.iter().filter(free).collect();
    if free.is_empty() {
        return;
    }
    let upstream = rng.pick(&free).job.clone();
    let condition = *rng.pick(&[Condition::Success, Condition::Success, Condition::Failure, Condition::Any]);
    job.input_from = Some(upstream.clone()).filter(|_| condition == Condition::Success && rng.chance(500_000));
    job.after = vec![Dependency { job: upstream, condition }];
}

fn pick_nodes(rng: &mut Rng, placement: &mut Placement) {
    if rng.chance(400_000) {
        placement.max_per_node = rng.range_u32(1, 3);
    }
    if rng.chance(400_000) {
        placement.spread = Some("zone".to_owned());
    }
    if rng.chance(400_000) {
        let constraint = Constraint::equal("zone", *rng.pick::<&str>(&ZONES));
        placement.affinities.push(Affinity { constraint, weight: *rng.pick(&[-50, 20, 100]) });
    }
    if rng.chance(200_000) {
        placement.pool = Some(POOL.to_owned());
    }
}

/// The pool of a node, by number.
pub(crate) const fn pool(options: &Options, node: usize) -> Option<&'static str> {
    if options.work.picky > 0 && node % 4 == 3 { Some(POOL) } else { None }
}

/// The zone of a node, by number.
pub(crate) const fn zone(node: usize) -> &'static str {
    ZONES[node % ZONES.len()]
}

/// Whether a node may have tasks of a job.
pub(crate) fn matches(options: &Options, job: &JobRecord, node: usize) -> bool {
    job.placement.constraints.iter().all(|rule| rule.values == [zone(node)])
        && job.placement.pool.as_deref() == pool(options, node)
}

/// A payload.
pub(crate) fn input(rng: &mut Rng) -> Input {
    let blob = BlobRef { digest: Digest([0xee; 32]), len: 100 };
    match rng.below(5) {
        0 => Input::Inline(Box::from(&b"payload"[..])),
        1 => Input::Blob(blob),
        2 => Input::Items(blob),
        _ => Input::None,
    }
}
