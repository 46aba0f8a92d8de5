//! Placement: a pure function from what is known to the next [`Plan`].

use alloc::collections::BTreeMap;

use weir_wire::{id::RunId, limits};

use crate::{
    config::Config,
    limits::NODES_SCANNED_MAX,
    node::Nodes,
    plan::{BlockedClass, Plan, PlannedGrant},
    queue::{Class, Queue},
    run::Run,
};

/// Decides the next step: the run whose turn it is, on the least filled node that takes it.
///
/// The cost is one look at the head of each class and, as long as the least filled node takes the task, one node.
pub(crate) fn next(config: &Config, queue: &Queue, runs: &BTreeMap<RunId, Run>, nodes: &Nodes) -> Plan {
    let Some((class_id, run_id)) = queue.first() else {
        return Plan::Idle;
    };
    let class = queue.get(class_id);
    let takes = |slot: &usize| nodes.get(*slot).takes(&class.key);
    let Some(slot) = nodes.least_filled().take(NODES_SCANNED_MAX).find(takes) else {
        return Plan::Block(BlockedClass(class_id));
    };
    let run = runs.get(&run_id).expect("queued runs exist");
    let len_max = range_len(config, run, class);
    let (first, len) = run.next_range(len_max).expect("a queued run has pending tasks");
    let ordinal = run.ordinal(first);
    Plan::Grant(PlannedGrant { run: run_id, first, len, ordinal, node: nodes.get(slot).id().clone(), slot })
}

/// How many tasks the next grant of a run may have: enough to keep a lane busy for [`Config::range_target`], and
/// fewer towards the end, so that all lanes end together (guided self-scheduling).
fn range_len(config: &Config, run: &Run, class: &Class) -> u32 {
    let Some(task_us) = run.task_us else { return 1 };
    let target_us = u64::try_from(config.range_target.as_micros()).unwrap_or(u64::MAX);
    let wanted = u32::try_from(target_us / task_us.max(1)).unwrap_or(u32::MAX).clamp(1, limits::GRANT_LEN_MAX);
    let lanes = match run.job.max_running {
        0 => class.lanes,
        limit => class.lanes.min(limit),
    };
    let left = run.in_phase(crate::phase::Phase::Pending) / lanes.max(1).saturating_mul(2);
    wanted.min(left.max(1))
}

/// Counts the lanes of a class again if the set of ready nodes has changed.
pub(crate) fn refresh_lanes(queue: &mut Queue, nodes: &Nodes) {
    for class in queue.classes_mut() {
        if class.lanes_generation == nodes.generation {
            continue;
        }
        class.lanes_generation = nodes.generation;
        let lanes = nodes
            .iter()
            .filter(|node| node.is_ready() && node.matches(&class.key.constraints))
            .map(|node| class.key.resources.times_in(&node.capacity).min(u64::from(node.lanes_max)))
            .fold(0u64, u64::saturating_add);
        class.lanes = u32::try_from(lanes).unwrap_or(u32::MAX);
    }
}
