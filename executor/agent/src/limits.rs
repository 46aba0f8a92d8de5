//! Maxima of the agent alone; those that both sides agree on are in [`weir_wire::limits`].

use core::time::Duration;

use weir_wire::limits;

/// Most runs known at a time; a run without a held range makes room when it is reached.
pub const RUNS_MAX: usize = 8192;
/// Most tasks followed live at a time.
pub const FOLLOWS_MAX: usize = 256;
/// Most renewals that wait for their answer; older ones count as lost.
pub const RENEWALS_MAX: usize = 16;
/// Estimated bytes of unacknowledged outcomes at which no further task is started: a control plane that records nothing
/// must not use up the node's memory.
pub const OUTBOX_BYTES_MAX: usize = 256 << 20;
/// Estimated bytes of outcomes at which a report leaves at once, and the most that one report carries.
pub const REPORT_BYTES_MAX: usize = 512 << 10;
/// Least time between two reports of a node that runs out of work, while the first is not acknowledged.
pub const REPORT_INTERVAL_MIN: Duration = Duration::from_millis(1);
/// Most entries of each further list of a report.
pub const REPORT_NEWS_MAX: usize = 4096;
/// Longest piece of live output in one message, bytes.
pub const OUTPUT_LEN_MAX: usize = 64 << 10;
/// Longest backtrace in an outcome, bytes over all frames.
pub const BACKTRACE_BYTES_MAX: usize = 16 << 10;
/// Tries to fetch a module or payload, or to upload a capture, while connected.
pub const TRIES_MAX: u32 = 10;
/// Wait before such a try is repeated.
pub const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Once an attempt has run this long, the tasks behind it go back so that another lane or node can start them.
pub const GIVE_BACK_AFTER: Duration = Duration::from_millis(200);
/// Most tasks that the sandbox starts by itself behind one that it was told to start: with it, as many as one turn of a
/// worker can run.
pub const AHEAD_MAX: u32 = 63;
/// An attempt that took no longer, and succeeded, lets the tasks behind it be started so: what takes a turn of the sandbox
/// gains nothing by it.
pub const QUICK_TIME: Duration = Duration::from_millis(1);
/// Longest payload that is given to the sandbox together with the right to start further tasks, each of which copies it.
pub const AHEAD_PAYLOAD_LEN_MAX: usize = 1024;
/// Least time between two progress messages: people read them.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// How often a draining node gives back what it is still granted; at once would be a busy loop with the leader.
pub const DRAIN_RETURN_INTERVAL: Duration = Duration::from_secs(1);
/// How long the peer may take to answer the first message.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the daemon measures what attempts use.
pub const MEASURE_EVERY: Duration = Duration::from_millis(250);
/// Added to what is measured, so that growth up to the next measurement finds room.
pub const MEASURED_MARGIN_PERCENT: u32 = 10;
/// A measurement that differs from the one reported last by more than this part of the capacity is reported soon.
pub const MEASURED_CHANGE_PERCENT: u64 = 5;
/// Least time between two reported measurements: reports cost the leader more than what they say is worth.
pub const MEASURED_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Smaller changes are reported this often.
pub const MEASURED_INTERVAL: Duration = Duration::from_secs(5);
/// Part of the capacity that has to be free beyond its need before an attempt is not throttled any more.
pub const UNTHROTTLE_PERCENT: u32 = 5;
/// Most attempts that are looked into at a time.
pub const INSPECTIONS_MAX: usize = 16;
/// How long somebody waits for a look into an attempt; a profile takes its own time besides.
pub const INSPECT_TIME: Duration = Duration::from_secs(2);
/// The wire version from which on there are looks into attempts, and speeds.
pub const WIRE_OF_INSIGHT: u32 = 2;
/// CPU time after which older attempts weigh half in the speed of the node.
pub const SPEED_WINDOW: Duration = Duration::from_mins(1);
/// Least CPU time of attempts that says something about the speed.
pub const SPEED_CPU_MIN: Duration = Duration::from_millis(100);
/// A speed that differs by less than this from the one reported last is not reported.
pub const SPEED_CHANGE_PERCENT: u64 = 5;
/// Least time between two reported speeds.
pub const SPEED_INTERVAL: Duration = Duration::from_secs(5);
/// Shortest renewal interval accepted from a leader.
pub const RENEW_EVERY_MIN: Duration = Duration::from_millis(100);

const _: () = assert!(REPORT_BYTES_MAX + REPORT_NEWS_MAX * 96 < limits::FRAME_LEN_MAX);
const _: () = assert!(limits::GRANTS_PER_NODE_MAX * 64 < limits::FRAME_LEN_MAX);
const _: () = assert!(OUTPUT_LEN_MAX + 64 < limits::FRAME_LEN_MAX);
