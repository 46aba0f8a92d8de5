//! Which faults come when: drawn from the seed before anything starts.

use std::time::Duration;

use super::rng::Rng;
use crate::network::Way;

/// A kind of fault. The numbers choose the victim; whether a leader is there to be hit shows when it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGTERM to the leader, which is to step down; started again at the end.
    StopLeader,
    /// `kill -9` of the leader, started again at the end.
    KillLeader,
    /// The same with any replica of the control plane.
    KillReplica(usize),
    /// The same with an executor.
    KillExecutor(usize),
    /// `kill -9` of one of an executor's worker processes, which it starts again itself.
    KillWorker(usize),
    /// `kill -9` of a member of the etcd.
    KillEtcd(usize),
    /// All members of the etcd but this one are killed.
    LoseQuorum(usize),
    /// SIGSTOP to the leader, SIGCONT at the end.
    PauseLeader,
    /// The same with an executor.
    PauseExecutor(usize),
    /// The same with a member of the etcd.
    PauseEtcd(usize),
    /// The leader does not reach etcd.
    CutLeaderFromEtcd(Way),
    /// The leader does not reach any executor.
    CutLeaderFromExecutors,
    /// An executor does not reach any replica.
    CutExecutor(usize),
    /// The history of the etcd is compacted, and a member defragmented.
    Compact(usize),
    /// The quota alarm of the etcd is raised, as by a full one.
    FillEtcd(usize),
    /// The disk of the blobs is full.
    FillBlobs,
    /// The disk of an executor is full.
    FillExecutor(usize),
    /// `kill -9` of an executor, whose caches are damaged before it is started again.
    DamageExecutor(usize),
    /// The wall clock of all daemons is set an hour ahead, for good.
    StepAhead,
    /// It is set an hour back, and ahead again at the end.
    StepBack,
}

impl Fault {
    /// What it is called in the report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StopLeader => "step-down of the leader",
            Self::KillLeader => "kill -9 of the leader",
            Self::KillReplica(_) => "kill -9 of a replica",
            Self::KillExecutor(_) => "kill -9 of an executor",
            Self::KillWorker(_) => "kill -9 of a worker process",
            Self::KillEtcd(_) => "kill -9 of an etcd member",
            Self::LoseQuorum(_) => "loss of etcd's quorum",
            Self::PauseLeader => "pause of the leader",
            Self::PauseExecutor(_) => "pause of an executor",
            Self::PauseEtcd(_) => "pause of an etcd member",
            Self::CutLeaderFromEtcd(Way::Refused) => "leader cut from etcd, refused",
            Self::CutLeaderFromEtcd(Way::Frozen | Way::Open) => "leader cut from etcd, silent",
            Self::CutLeaderFromExecutors => "leader cut from executors",
            Self::CutExecutor(_) => "executor cut from all",
            Self::Compact(_) => "compaction of etcd",
            Self::FillEtcd(_) => "full etcd",
            Self::FillBlobs => "full disk of the blobs",
            Self::FillExecutor(_) => "full disk of an executor",
            Self::DamageExecutor(_) => "damaged caches of an executor",
            Self::StepAhead => "wall clock set ahead",
            Self::StepBack => "wall clock set back",
        }
    }

    /// Whether it may keep the control plane from work.
    #[must_use]
    pub const fn disturbs_control(self) -> bool {
        !matches!(
            self,
            Self::KillExecutor(_)
                | Self::KillWorker(_)
                | Self::PauseExecutor(_)
                | Self::CutExecutor(_)
                | Self::FillExecutor(_)
                | Self::DamageExecutor(_)
        )
    }

    /// How long it lasts, in milliseconds: from well below the leases to well above them. The leader's is 3 s, a node is
    /// given up after 12 s, and its own lease with all margins is 21 s.
    const fn lasts(self) -> (u64, u64) {
        match self {
            Self::StopLeader | Self::KillLeader | Self::KillReplica(_) | Self::KillEtcd(_) => (0, 5_000),
            Self::KillExecutor(_) | Self::DamageExecutor(_) => (0, 15_000),
            Self::LoseQuorum(_) | Self::FillEtcd(_) | Self::FillBlobs | Self::FillExecutor(_) => (1_000, 10_000),
            Self::StepBack => (1_000, 8_000),
            Self::PauseLeader | Self::PauseEtcd(_) => (500, 8_000),
            Self::PauseExecutor(_) | Self::CutExecutor(_) => (1_000, 30_000),
            Self::CutLeaderFromEtcd(_) => (1_000, 10_000),
            Self::CutLeaderFromExecutors => (1_000, 15_000),
            Self::KillWorker(_) | Self::Compact(_) | Self::StepAhead => (0, 0),
        }
    }
}

/// A fault with its time, from the start of the unrest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// When it comes.
    pub at: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    /// What it is.
    pub fault: Fault,
}

/// Waits between two faults while all kinds come, in milliseconds; they overlap, as they do in bad nights.
const GAP_MS: (u64, u64) = (200, 4_000);
/// The same while executors alone are hit: no leader would otherwise be at work for long enough to give one up.
const EXECUTOR_GAP_MS: (u64, u64) = (1_000, 5_000);
/// How long the control plane is left alone after that: beyond a node's lease with all margins.
const LULL_MS: (u64, u64) = (18_000, 24_000);
const ETCD_MEMBERS: usize = super::ETCD_MEMBERS;
const EXECUTORS: usize = super::EXECUTORS;

/// The faults of this seed, which begin and end within this time.
///
/// Rounds of all kinds, shuffled, and rounds of faults of executors alone come in turn, so that a short plan has most.
#[must_use]
pub fn plan(seed: u64, total: Duration) -> Vec<Planned> {
    let mut rng = Rng::new(seed, "faults");
    let (mut plan, mut at) = (Vec::new(), Duration::ZERO);
    while at < total {
        for (mut round, (low, high)) in [(kinds(&mut rng), GAP_MS), (of_executors(&mut rng), EXECUTOR_GAP_MS)] {
            while !round.is_empty() {
                let fault = round.swap_remove(rng.index(round.len()));
                at += rng.millis(low, high);
                let lasts = rng.millis(fault.lasts().0, fault.lasts().1);
                plan.push(Planned { at, lasts: lasts.min(total.saturating_sub(at)), fault });
            }
        }
        at += rng.millis(LULL_MS.0, LULL_MS.1);
    }
    plan.retain(|planned| planned.at < total);
    plan
}

fn of_executors(rng: &mut Rng) -> Vec<Fault> {
    let first = rng.index(EXECUTORS);
    // Not three of them: the brake would keep their work where it is.
    vec![Fault::CutExecutor(first), Fault::PauseExecutor((first + 1) % EXECUTORS)]
}

fn kinds(rng: &mut Rng) -> Vec<Fault> {
    vec![
        Fault::StopLeader,
        Fault::KillLeader,
        Fault::KillWorker(rng.index(EXECUTORS)),
        Fault::KillWorker(rng.index(EXECUTORS)),
        Fault::KillReplica(rng.index(super::REPLICAS)),
        Fault::KillExecutor(rng.index(EXECUTORS)),
        Fault::KillExecutor(rng.index(EXECUTORS)),
        Fault::KillEtcd(rng.index(ETCD_MEMBERS)),
        Fault::LoseQuorum(rng.index(ETCD_MEMBERS)),
        Fault::PauseLeader,
        Fault::PauseExecutor(rng.index(EXECUTORS)),
        Fault::PauseEtcd(rng.index(ETCD_MEMBERS)),
        Fault::CutLeaderFromEtcd(Way::Frozen),
        Fault::CutLeaderFromEtcd(Way::Refused),
        Fault::CutLeaderFromExecutors,
        Fault::CutExecutor(rng.index(EXECUTORS)),
        Fault::Compact(rng.index(ETCD_MEMBERS)),
        Fault::FillEtcd(rng.index(ETCD_MEMBERS)),
        Fault::FillBlobs,
        Fault::FillExecutor(rng.index(EXECUTORS)),
        Fault::DamageExecutor(rng.index(EXECUTORS)),
        Fault::StepAhead,
        Fault::StepBack,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_faults_and_another_one_others() {
        let minute = Duration::from_secs(60);
        assert_eq!(plan(1, minute), plan(1, minute));
        assert_ne!(plan(1, minute), plan(2, minute));
    }

    #[test]
    fn all_kinds_come_and_all_of_them_end_in_time() {
        let total = Duration::from_secs(120);
        let plan = plan(3, total);
        let mut names: Vec<&str> = plan.iter().map(|planned| planned.fault.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 21, "{names:?}");
        assert!(plan.iter().all(|planned| planned.at + planned.lasts <= total));
    }
}
