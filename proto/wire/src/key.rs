//! Where each record lives. Keys are relative to `/weir/<cluster>/`; numbers are fixed-width hexadecimal, so that the
//! store's order is the numeric one.

use alloc::{format, string::String};

use crate::id::{JobName, JobVersion, Namespace, NodeId, RunId, Seq};

/// The election key; its create-revision is the term.
pub const LEADER: &str = "leader";
/// The sequence number of the last log transaction.
pub const HEAD: &str = "head";
/// The random id of the blob store that belongs to this cluster.
pub const BLOB_STORE: &str = "blobs";
/// There while a snapshot is being restored; the digest of that snapshot.
pub const RESTORING: &str = "restoring";
/// All job specs.
pub const JOBS: &str = "job/";
/// All submission segments.
pub const SUBMISSIONS: &str = "sub/";
/// The delta log.
pub const LOG: &str = "log/";
/// All checkpoint blocks.
pub const CHECKPOINTS: &str = "ckpt/";
/// All node registrations.
pub const NODES: &str = "node/";

/// All states of jobs.
pub const JOB_STATES: &str = "jobstate/";
/// All quotas.
pub const QUOTAS: &str = "quota/";

/// The prefix of all keys of a cluster.
#[must_use]
pub fn prefix(cluster: &crate::id::ClusterName) -> String {
    format!("/weir/{cluster}/")
}

/// The spec of one job version.
#[must_use]
pub fn job(namespace: &Namespace, job: &JobName, version: JobVersion) -> String {
    format!("{JOBS}{namespace}/{job}/{:016x}", version.0)
}

/// One submission segment.
#[must_use]
pub fn submission(seq: Seq) -> String {
    format!("{SUBMISSIONS}{:016x}", seq.0)
}

/// One delta.
#[must_use]
pub fn log(seq: Seq) -> String {
    format!("{LOG}{:016x}", seq.0)
}

/// One state block of a run.
#[must_use]
pub fn block(run: RunId, block: u32) -> String {
    format!("{CHECKPOINTS}{run}/{block:08x}")
}

/// What a run's checkpoint holds besides its blocks.
#[must_use]
pub fn run_meta(run: RunId) -> String {
    format!("{CHECKPOINTS}{run}/meta")
}

/// All of a run's checkpoint.
#[must_use]
pub fn checkpoint(run: RunId) -> crate::txn::KeyRange {
    // '0' follows '/'.
    crate::txn::KeyRange { start: format!("{CHECKPOINTS}{run}/"), end: format!("{CHECKPOINTS}{run}0") }
}

/// One node registration.
#[must_use]
pub fn node(node: &NodeId) -> String {
    format!("{NODES}{node}")
}

/// The range of one key alone.
#[must_use]
pub fn only(key: String) -> crate::txn::KeyRange {
    let end = format!("{key}\0");
    crate::txn::KeyRange { start: key, end }
}

/// The state of one job.
#[must_use]
pub fn job_state(namespace: &Namespace, job: &JobName) -> String {
    format!("{JOB_STATES}{namespace}/{job}")
}

/// The quota of one namespace.
#[must_use]
pub fn quota(namespace: &Namespace) -> String {
    format!("{QUOTAS}{namespace}")
}

/// The sequence number at the end of a submission or log key.
#[must_use]
pub fn parse_seq(key: &str) -> Option<Seq> {
    let (_, hex) = key.rsplit_once('/')?;
    u64::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 16).map(Seq)
}

/// A checkpoint key taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint {
    /// A state block.
    Block(RunId, u32),
    /// The rest of a run.
    Meta(RunId),
}

/// Takes a checkpoint key apart.
#[must_use]
pub fn parse_checkpoint(key: &str) -> Option<Checkpoint> {
    let (run, rest) = key.strip_prefix(CHECKPOINTS)?.split_once('/')?;
    let run = run.parse().ok()?;
    match rest {
        "meta" => Some(Checkpoint::Meta(run)),
        block => u32::from_str_radix(block, 16).ok().map(|block| Checkpoint::Block(run, block)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_number_and_parse_back() {
        assert!(log(Seq(255)) < log(Seq(256)));
        assert_eq!(parse_seq(&log(Seq(77))), Some(Seq(77)));
        assert_eq!(parse_seq("log/zz"), None);
        assert_eq!(parse_checkpoint(&block(RunId(5), 3)), Some(Checkpoint::Block(RunId(5), 3)));
        assert_eq!(parse_checkpoint(&run_meta(RunId(5))), Some(Checkpoint::Meta(RunId(5))));
        assert_eq!(parse_checkpoint("ckpt/x/meta"), None);
        let all = checkpoint(RunId(5));
        let within = |key: &String| *key >= all.start && *key < all.end;
        assert!(within(&block(RunId(5), u32::MAX)) && within(&run_meta(RunId(5))) && !within(&run_meta(RunId(6))));
    }
}
