//! Every maximum that two parties have to agree on; a limit of one crate alone lives in that crate.

use core::time::Duration;

/// Longest control frame, bytes: half of etcd's request limit, and what one report batch may hold.
pub const FRAME_LEN_MAX: usize = 1 << 20;
/// Longest string in a message or record, bytes.
pub const STRING_LEN_MAX: usize = 64 << 10;
/// Most elements in one list of a message or record.
pub const LIST_LEN_MAX: usize = 1 << 20;
/// Most tasks in one run.
pub const TASKS_PER_RUN_MAX: u32 = 10_000_000;
/// Longest range in one grant, tasks; measured: beyond 256 the gain per task is below 10 %.
pub const GRANT_LEN_MAX: u32 = 4096;
/// Tasks in one checkpoint block.
pub const BLOCK_LEN: u32 = 65_536;
/// Largest result or log carried inside a report, bytes; larger ones are uploaded as blobs.
pub const INLINE_CAPTURE_MAX: usize = 1024;
/// Largest payload carried inside a submission, bytes; larger ones are blobs.
pub const INLINE_PAYLOAD_MAX: usize = 64 << 10;
/// Largest items blob, bytes.
pub const ITEMS_LEN_MAX: u64 = 256 << 20;
/// Largest module, bytes.
pub const MODULE_LEN_MAX: u64 = 128 << 20;
/// Largest blob of any kind, bytes.
pub const BLOB_LEN_MAX: u64 = 256 << 20;
/// Longest error message of a guest or a trap, bytes.
pub const MESSAGE_LEN_MAX: usize = 4096;
/// Most frames of a Wasm backtrace.
pub const BACKTRACE_FRAMES_MAX: usize = 32;
/// Longest name (namespace, job, node, cluster), bytes: a DNS label.
pub const NAME_LEN_MAX: usize = 63;
/// Most arguments or environment variables of a task.
pub const ARGS_MAX: usize = 256;
/// Most bytes of all arguments and environment variables of a task together.
pub const ARGS_BYTES_MAX: usize = 64 << 10;
/// Most directory grants of a task.
pub const DIR_GRANTS_MAX: usize = 16;
/// Most attributes of a node.
pub const NODE_ATTRIBUTES_MAX: usize = 64;
/// Most compiled modules that an executor names when it connects.
pub const HELLO_MODULES_MAX: usize = 256;
/// Most labels that an operator may give a node.
pub const NODE_LABELS_MAX: usize = 64;
/// Longest name of a label, bytes.
pub const LABEL_NAME_LEN_MAX: usize = 128;
/// Longest value of a label, bytes.
pub const LABEL_VALUE_LEN_MAX: usize = 256;
/// Longest note of an operator to a drain, bytes.
pub const DRAIN_MESSAGE_LEN_MAX: usize = 1024;
/// Most constraints, or affinities, of a job.
pub const CONSTRAINTS_MAX: usize = 32;
/// Most values of one constraint.
pub const CONSTRAINT_VALUES_MAX: usize = 64;
/// Most jobs that one may depend on.
pub const DEPENDENCIES_MAX: usize = 16;
/// Most names and values of a run's metadata.
pub const META_MAX: usize = 64;
/// Most runs in one submission segment.
pub const RUNS_PER_SEGMENT_MAX: usize = 4096;
/// Most bytes in one store transaction; etcd refuses requests over 1.5 MiB.
pub const TXN_BYTES_MAX: usize = 1 << 20;
/// Most operations in one store transaction; etcd refuses more than 128, three are the guard and the head.
pub const TXN_OPS_MAX: usize = 120;
/// Largest output budget of an attempt, bytes.
pub const OUTPUT_MAX: u64 = 64 << 20;
/// Most unacknowledged outcomes that an executor keeps before it stops accepting work.
pub const OUTBOX_LEN_MAX: usize = 1 << 17;
/// Most grants that one node may hold.
pub const GRANTS_PER_NODE_MAX: usize = 4096;

/// How long a silent connection between executor and control counts as one, by default.
pub const LINK_IDLE_TIMEOUT: Duration = Duration::from_millis(5500);
/// How long an executor hears nothing on a connection, by default; then it asks whether the other end is there. Longer
/// than [`NODE_RENEW_EVERY`], whose answers tell as much.
pub const LINK_KEEP_ALIVE: Duration = Duration::from_millis(4250);
/// Longest wait of an executor before it connects again.
pub const RECONNECT_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long a node may be silent before it is given up and its work is started elsewhere, by default.
pub const NODE_TIMEOUT: Duration = Duration::from_secs(12);
/// How long a renewal holds on an executor, by default; its executor counts from when it sent the renewal.
pub const NODE_LEASE: Duration = Duration::from_secs(15);
/// How often executors renew, by default.
pub const NODE_RENEW_EVERY: Duration = Duration::from_secs(4);
/// How long an executor may take to end what its lapsed lease does not cover, before a leader counts on it.
pub const LEASE_GRACE: Duration = Duration::from_secs(5);
/// How much faster or slower a machine's clock may run than another one's, in thousandths.
pub const CLOCK_DRIFT_PERMILLE: u32 = 10;
/// Longest time without a leader when one dies: its lease of 3 s, a second to be elected and to read the store, and the
/// longest wait of an executor before it connects again.
pub const FAILOVER_MAX: Duration = Duration::from_secs(7);

// A failover must stop nothing that runs: a renewal that is due just then still comes in time.
const _: () = assert!((NODE_LEASE.as_millis() - NODE_RENEW_EVERY.as_millis()) * 2 >= FAILOVER_MAX.as_millis() * 3);
const _: () = assert!(FAILOVER_MAX.as_millis() >= 4000 + RECONNECT_WAIT_MAX.as_millis());

// A control plane that restarts gives nodes this long to come back. An executor that has to find out by itself that its
// connection is dead (it waits for an answer from when it next says something), and then waits as long as it ever does,
// must still be in time, or running work is done twice. What it says next is a renewal, or a question of the link.
const _: () = assert!(LINK_KEEP_ALIVE.as_millis() > NODE_RENEW_EVERY.as_millis());
const _: () = assert!(
    LINK_KEEP_ALIVE.as_millis() + LINK_IDLE_TIMEOUT.as_millis() + RECONNECT_WAIT_MAX.as_millis()
        < NODE_TIMEOUT.as_millis()
);
// The stack repeats what is lost within milliseconds: a second is enough to be heard.
const _: () = assert!(LINK_KEEP_ALIVE.as_millis() + 1000 < LINK_IDLE_TIMEOUT.as_millis());
const _: () = assert!(INLINE_CAPTURE_MAX < FRAME_LEN_MAX);
const _: () = assert!(INLINE_PAYLOAD_MAX < TXN_BYTES_MAX);
const _: () = assert!(FRAME_LEN_MAX <= TXN_BYTES_MAX);
const _: () = assert!(MODULE_LEN_MAX <= BLOB_LEN_MAX && ITEMS_LEN_MAX <= BLOB_LEN_MAX);
