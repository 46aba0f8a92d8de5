//! What each worker process gets of the sandbox: threads, lanes, directories.

use weir_wire::{
    units::MemBytes,
    worker::{PublishedName, WorkerSetup},
};

use super::groups::{Group, Sizes};
use crate::limits::{ADDRESS_SPACE_MAX, LANE_ADDRESS_BYTES};

/// How worker processes are set up. Each group has all threads and lanes: any of them may get all attempts of the node.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Threads of all processes of a group together; each gets as many as the others or one less.
    pub(crate) threads: usize,
    /// Processes of a group whose namespaces are not kept apart.
    pub(crate) processes: usize,
    /// Attempts that one thread holds at a time.
    pub(crate) lanes: u32,
    pub(crate) memory_max: u64,
    pub(crate) published: Vec<PublishedName>,
    pub(crate) scratch: bool,
}

impl Plan {
    /// A namespace of its own gets one process, or as many as it takes for the address space: it shares its fate with
    /// nobody else, and a process takes memory.
    pub(super) fn sizes(&self) -> Sizes {
        let threads_max = ADDRESS_SPACE_MAX / u64::from(self.lanes).saturating_mul(LANE_ADDRESS_BYTES).max(1);
        let threads_max = usize::try_from(threads_max).unwrap_or(usize::MAX).max(1);
        Sizes { shared: self.processes, apart: self.threads.div_ceil(threads_max).max(1) }
    }

    /// What the process at a position of its group is told first.
    pub(super) fn setup(&self, group: &Group, position: usize) -> WorkerSetup {
        let size = self.sizes().of(group);
        let threads = (self.threads + size - 1 - position.min(size - 1)) / size;
        WorkerSetup {
            threads: u32::try_from(threads).unwrap_or(u32::MAX),
            lanes: self.lanes,
            memory_max: MemBytes(self.memory_max),
            published: self.published.clone(),
            scratch: self.scratch,
            network: group.networked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_all_threads_within_the_address_space() {
        let group = Group::apart("a".parse().expect("a name"), false);
        for (threads, processes, lanes, apart) in
            [(1, 1, 64, 1), (8, 8, 64, 1), (7, 3, 64, 1), (512, 512, 64, 5), (512, 64, 1024, 74), (1, 1, 1, 1)]
        {
            let plan = Plan { threads, processes, lanes, memory_max: 1, published: Vec::new(), scratch: false };
            let sizes = plan.sizes();
            assert_eq!((sizes.shared, sizes.apart), (processes, apart), "{threads} threads with {lanes} lanes");
            let of_apart = (0..sizes.apart).map(|at| plan.setup(&group, at).threads).collect::<Vec<_>>();
            assert_eq!(of_apart.iter().sum::<u32>() as usize, threads);
            for threads in of_apart {
                assert!(u64::from(threads) * u64::from(lanes) * LANE_ADDRESS_BYTES <= ADDRESS_SPACE_MAX);
            }
            let of_shared = (0..processes).map(|at| plan.setup(&Group::SHARED, at).threads).sum::<u32>();
            assert_eq!(of_shared as usize, threads);
        }
    }
}
