//! The allowed range of every field of a job spec.

use std::ops::RangeInclusive;

/// The most bytes of a spec, in either syntax.
pub const SPEC_BYTES_MAX: usize = 256 << 10;
/// The longest name of a job, namespace or published directory.
pub const NAME_LEN_MAX: usize = 63;
/// Tasks of one run.
pub const COUNT: RangeInclusive<u64> = 1..=10_000_000;
/// Tasks of a service, each of which is looked after for ever.
pub const SERVICE_COUNT: RangeInclusive<u64> = 1..=100_000;
/// Tasks of one run that execute at once.
pub const MAX_RUNNING: RangeInclusive<u64> = 1..=10_000_000;
/// Placement order.
pub const PRIORITY: RangeInclusive<u64> = 0..=100;
/// Thousandths of a core: threads are off, so a task cannot use more than one.
pub const CPU_MILLI: RangeInclusive<u64> = 10..=1_000;
/// One Wasm page up to all that 32-bit addresses reach.
pub const MEMORY_BYTES: RangeInclusive<u64> = 64 << 10..=4 << 30;
/// Fuel; the upper end is about three years of computing and leaves room for sums.
pub const FUEL: RangeInclusive<u64> = 1..=1_000_000_000_000_000_000;
/// Wall clock of one attempt.
pub const TIMEOUT_MS: RangeInclusive<u64> = 1..=7 * 86_400_000;
/// How long a task may wait for its start, and how late a missed firing may be.
pub const START_DEADLINE_MS: RangeInclusive<u64> = 1_000..=30 * 86_400_000;
/// How long a service's new task runs before it counts as healthy.
pub const HEALTHY_AFTER_MS: RangeInclusive<u64> = 0..=3_600_000;
/// Tasks that may fail for good before a run is stopped.
pub const MAX_FAILED: RangeInclusive<u64> = 0..=10_000_000;
/// Jobs that one job waits for.
pub const AFTER_MAX: usize = 16;
/// Captured output of one attempt.
pub const OUTPUT_BYTES: RangeInclusive<u64> = 0..=64 << 20;
/// Where a guest sees its scratch directory.
pub const SCRATCH_PATH: &str = "/tmp";
/// The scratch directory of one attempt.
pub const SCRATCH_BYTES: RangeInclusive<u64> = 64 << 10..=4 << 30;
/// Attempts that may end in a counted failure.
pub const ATTEMPTS: RangeInclusive<u64> = 1..=100;
/// Either end of the wait between two attempts.
pub const BACKOFF_MS: RangeInclusive<u64> = 10..=3_600_000;
/// Arguments of one task.
pub const ARGS_MAX: usize = 256;
/// Environment variables of one task.
pub const ENV_MAX: usize = 256;
/// Bytes of all arguments and environment variables together; they travel with every grant of a new run.
pub const ARGS_AND_ENV_BYTES_MAX: usize = 64 << 10;
/// Granted directories.
pub const DIRS_MAX: usize = 16;
/// Places that a guest may connect to.
pub const NETS_MAX: usize = 16;
/// Their ports.
pub const PORT: RangeInclusive<u64> = 1..=65_535;
/// Placement constraints.
pub const CONSTRAINTS_MAX: usize = 32;
/// Wishes about nodes.
pub const AFFINITIES_MAX: usize = 16;
/// How much a wish weighs, either way.
pub const WEIGHT_MAX: i8 = 100;
/// Values in the list of one constraint.
pub const CONSTRAINT_VALUES_MAX: usize = 64;
/// The longest regular expression.
pub const PATTERN_LEN_MAX: usize = 256;
/// Bytes of a compiled regular expression; a short one with large repetitions could have megabytes.
pub const PATTERN_PROGRAM_BYTES_MAX: usize = 64 << 10;
/// Numbers of a version.
pub const VERSION_NUMBERS_MAX: usize = 8;
/// Tasks of one run on one node.
pub const MAX_PER_NODE: RangeInclusive<u64> = 1..=10_000;
/// The longest path, attribute or attribute value.
pub const TEXT_LEN_MAX: usize = 1_024;
