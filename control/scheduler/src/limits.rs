//! Every maximum of the scheduler.

use core::time::Duration;

use weir_wire::limits;

/// Most tasks that are open in the whole cluster.
pub const OPEN_TASKS_MAX: u64 = 50_000_000;
/// Most runs that are open in the whole cluster.
pub const OPEN_RUNS_MAX: usize = 1_000_000;
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
/// Most grants decided in one turn.
pub const GRANTS_PER_TURN_MAX: usize = 1024;
/// Most tasks looked at while forming one grant.
pub const GRANT_SCAN_MAX: u32 = limits::GRANT_LEN_MAX;
/// Most nodes looked at for one placement before the rest is left for the next turn.
pub const NODES_SCANNED_MAX: usize = 20_000;
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
pub const BUSY_BATCH_OUTCOMES: usize = 64;

const _: () = assert!(DELTA_BYTES_TARGET * 2 < limits::TXN_BYTES_MAX);
const _: () = assert!(SUBMISSION_ITEMS_MAX <= limits::RUNS_PER_SEGMENT_MAX);
