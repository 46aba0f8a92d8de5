//! Every maximum of the scheduler.

use core::time::Duration;

use weir_wire::limits;

/// Most tasks that are open in the whole cluster, unless [`crate::Config::open_tasks_max`] allows fewer.
pub const OPEN_TASKS_MAX: u64 = 50_000_000;
/// Most runs that are open in the whole cluster.
pub const OPEN_RUNS_MAX: usize = 1_000_000;
/// Most runs that are known, open or ended; a submission beyond that is refused as busy.
pub const RUNS_MAX: usize = 2_000_000;
/// Most transactions waiting for the one in flight; a submission beyond that is refused as busy.
pub const BATCHES_WAITING_MAX: usize = 64;
/// A batch is closed when its delta has about this many bytes.
pub const DELTA_BYTES_TARGET: usize = 256 << 10;
/// A batch is closed when its results and logs have about this many bytes.
pub const SEGMENT_BYTES_TARGET: usize = 4 << 20;
/// Results and logs of one transaction up to this many bytes stay in the delta; more become a segment object.
pub const INLINE_RESULTS_BYTES_MAX: usize = 4 << 10;
/// Results and logs kept in line for one run; beyond that they become segment objects.
pub const INLINE_RESULTS_PER_RUN_MAX: usize = 256;
/// Most grants decided in one turn: about two milliseconds of work.
pub const GRANTS_PER_TURN_MAX: usize = 2048;
/// Most tasks looked at while forming one grant.
pub const GRANT_SCAN_MAX: u32 = limits::GRANT_LEN_MAX;
/// Most attributes by which nodes are grouped; constraints on others are looked at node by node.
pub const ASKED_ATTRIBUTES_MAX: usize = 256;
/// Most bytes of a compiled regular expression, as in the API.
pub const PATTERN_PROGRAM_BYTES_MAX: usize = 64 << 10;
/// Most numbers of a version, as in the API.
pub const VERSION_NUMBERS_MAX: usize = 8;
/// Most modules that nodes are asked about before placement; tasks of others go anywhere.
pub const MODULES_MAX: usize = 100_000;
/// Most grants of one run that a node gets at a time where nobody else waits.
pub const GRANTS_PER_VISIT_MAX: usize = 8;
/// The same where others wait.
pub const GRANTS_PER_TURN_OF_RUN_MAX: usize = 4;
/// Tasks that a namespace holds for each one that it gets at a turn, where others of its priority wait.
pub const HELD_PER_VISIT: u64 = 16;
/// Waiting tasks that a run has for each task that a node gets at a time: smaller runs go to a node each.
pub const PENDING_PER_VISIT: usize = 16;
/// Up to this many nodes, all are compared for the least filled; of more, two are drawn at random.
pub const NODES_COMPARED_MAX: usize = 16;
/// Most nodes looked at closely for one run that has others make room.
pub const EVICT_NODES_MAX: usize = 64;
/// Most grants that are ended to make room for one task.
pub const VICTIMS_MAX: usize = 16;
/// Most tasks for which room is made at one time.
pub const CLAIMS_PER_ROUND_MAX: usize = 64;
/// Most waiting runs looked at for that at one time.
pub const EVICTING_RUNS_MAX: usize = 16;
/// How much higher the priority of production has to be than that of production which makes room for it.
pub const PREEMPT_GAP: u8 = 10;
/// How long a run that was made to make room has nobody do so in turn.
pub const MEEK_FOR: Duration = Duration::from_secs(60);
/// How much longer than the grace of its victims room is kept for a run.
pub const CLAIM_SLACK: Duration = Duration::from_secs(5);
/// How soon room is made for more tasks.
pub const EVICTION_RETRY: Duration = Duration::from_millis(100);
/// How rarely it is looked for where none can be made.
pub const EVICTION_RETRY_MAX: Duration = Duration::from_secs(15);
/// Most tasks that a dry run tries.
pub const PLAN_TASKS_MAX: u32 = 10_000;
/// Most nodes, and most victims, that a dry run names.
pub const PLAN_NAMES_MAX: usize = 100;
/// Tasks of a plan for which somebody is looked for who makes room.
pub const PLAN_EVICTIONS_MAX: u32 = 1_000;
/// Most lanes named in the answer to why a run waits.
pub const WHY_AHEAD_MAX: usize = 20;
/// Nodes that are looked at to find out that none of them could ever run what waits ahead.
pub const WHY_NODES_MAX: usize = 4096;
/// Most nodes that became free and are remembered for a class that found no room; beyond, it searches all again.
pub const NODES_FREED_MAX: usize = 64;
/// How much fuller a node with the compiled module may be than one without it, thousandths.
pub const MODULE_BONUS: u32 = 100;
/// What is added to the measured use of tasks that are not revocable, percent.
pub const MEASURED_MARGIN_PERCENT: u32 = 10;
/// Most items of one submission request.
pub const SUBMISSION_ITEMS_MAX: usize = 1000;
/// Most versions and runs of jobs kept.
pub const JOBS_MAX: usize = 1_000_000;
/// Most nodes.
pub const NODES_MAX: usize = 100_000;
/// Nodes that were given up within this time count as vanished together with those that vanish now.
pub const BRAKE_WINDOW: Duration = Duration::from_secs(60);
/// How often the brake is looked at while it is on.
pub const BRAKE_CHECK_EVERY: Duration = Duration::from_secs(1);
/// Longest deadline of a drain.
pub const DRAIN_DEADLINE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Longest delay of a free retry.
pub const FREE_RETRY_DELAY_MAX: Duration = Duration::from_secs(30);
/// Longest idempotency key, bytes.
pub const IDEMPOTENCY_KEY_LEN_MAX: usize = 256;
/// A batch with this many outcomes or more makes the next one wait for [`crate::Config::batch_window`].
pub const BUSY_BATCH_OUTCOMES: usize = 32;
/// A batch with fewer outcomes waits for twice that window.
pub const THIN_BATCH_OUTCOMES: usize = 64;

/// Most tasks of a service.
pub const SERVICE_TASKS_MAX: u32 = 100_000;
/// After this time of running, a task of a system job counts as healthy.
pub const SYSTEM_HEALTHY_AFTER: Duration = Duration::from_secs(10);
/// How long a task of a service keeps away from the node on which it crashed, if there is another one.
pub const AVOID_FOR: Duration = Duration::from_secs(600);
/// How many ended runs are kept unless [`crate::Config::keep_ended_max`] says otherwise.
pub const KEEP_ENDED_MAX: usize = 100_000;
/// How long an ended run is kept unless [`crate::Config::keep_ended_for`] says otherwise.
pub const KEEP_ENDED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long an ended run is kept at least, unless [`crate::Config::keep_ended_min`] says otherwise.
pub const KEEP_ENDED_MIN: Duration = Duration::from_secs(300);
/// How often ended runs are looked at for those whose time has come.
pub const RETENTION_CHECK_EVERY: Duration = Duration::from_secs(60);
/// How soon they are looked at when there are more than are kept.
pub const RETENTION_CHECK_SOON: Duration = Duration::from_secs(1);
/// Most submissions looked at for that at one time.
pub const RETENTION_LOOKS_MAX: usize = 1024;
/// Most submissions and checkpoints that are deleted by one transaction.
pub const RETENTION_PER_COMMIT_MAX: usize = 100;
/// Most pins of a system job in one transaction.
pub const PINS_PER_COMMIT_MAX: usize = 1000;
/// Longest schedule or time zone of a cron job, bytes.
pub const SCHEDULE_LEN_MAX: usize = 256;
/// Instants of a schedule are at least this far apart, milliseconds: schedules have whole seconds.
pub const INSTANTS_APART_MS: u64 = 1000;
/// A firing that is late by no more than this is not late.
pub const FIRING_LATE_MIN: Duration = Duration::from_secs(1);
/// How often wall time is looked at while a firing is awaited: it may have been set.
pub const WALL_CHECK_EVERY: Duration = Duration::from_secs(30);
/// When a firing is tried again for which there was no room in the queue.
pub const FIRE_AGAIN_AFTER_MS: u64 = 1_000;
/// How often a run's payload is asked for before the run fails.
pub const ASSEMBLY_TRIES_MAX: u32 = 12;
/// Delay after the first failure to make a payload; doubled for each further one.
pub const ASSEMBLY_DELAY: Duration = Duration::from_secs(1);
/// The wire version from which on executors look into attempts and say how fast they are.
pub const WIRE_OF_INSIGHT: u32 = 2;
/// Longest such delay.
pub const ASSEMBLY_DELAY_MAX: Duration = Duration::from_secs(60);

const _: () = assert!(DELTA_BYTES_TARGET * 2 < limits::TXN_BYTES_MAX);
const _: () = assert!(SUBMISSION_ITEMS_MAX <= limits::RUNS_PER_SEGMENT_MAX);
