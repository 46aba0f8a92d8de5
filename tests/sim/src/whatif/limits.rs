//! Every maximum of what is read from files.

/// Largest file with nodes, bytes.
pub(super) const NODES_FILE_BYTES_MAX: u64 = 16 << 20;
/// Largest file with a workload, or table of a public trace, bytes.
pub(super) const WORKLOAD_FILE_BYTES_MAX: u64 = 2 << 30;
/// Longest line of a workload, bytes.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;
/// Most lines of a workload: each is a job and a run, and the scheduler takes no more jobs.
pub(super) const ITEMS_MAX: usize = weir_scheduler::limits::JOBS_MAX;
/// Most tasks of a workload: a waiting time is kept for each.
pub(super) const TASKS_MAX: u64 = 20_000_000;
/// Most tasks of one line.
pub(super) const COUNT_MAX: u32 = 10_000_000;
/// Most durations in a list.
pub(super) const DURATIONS_MAX: usize = 100_000;
/// Most nodes.
pub(super) const NODES_MAX: u32 = 100_000;
/// Latest instant and longest duration, seconds: ten years.
pub(super) const SECONDS_MAX: f64 = 315_360_000.0;
/// Most cores of a node or a task.
pub(super) const CORES_MAX: f64 = 4096.0;
