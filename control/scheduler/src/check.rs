//! An independent check of plans. It shares no code with placement, and reads the tables another way.

use alloc::collections::BTreeMap;

use weir_wire::{id::RunId, limits};

use crate::{
    grant::{Grant, GrantKey},
    node::Nodes,
    phase::Phase,
    plan::PlannedGrant,
    run::Run,
};

/// Checks a planned grant against the tables.
///
/// # Errors
/// A sentence that says which rule it breaks.
pub(crate) fn grant(
    plan: &PlannedGrant,
    runs: &BTreeMap<RunId, Run>,
    nodes: &Nodes,
    grants: &BTreeMap<GrantKey, Grant>,
) -> Result<(), &'static str> {
    let run = runs.get(&plan.run).ok_or("the run does not exist")?;
    let node = nodes.get(plan.slot);
    if plan.len == 0 || plan.len > limits::GRANT_LEN_MAX || plan.first + plan.len > run.count() {
        return Err("the range is empty or out of bounds");
    }
    if (plan.first..plan.first + plan.len).any(|index| run.phase(index) != Phase::Pending) {
        return Err("a task of the range is not pending");
    }
    if node.session.is_none() || node.lost || !node.presented || node.draining || node.record.cordoned {
        return Err("the node is not ready");
    }
    let (mut cpu, mut memory) = (0u64, 0u64);
    for key in &node.grants {
        let held = grants.get(key).ok_or("the node holds a grant that does not exist")?;
        let resources = &runs.get(&held.run).ok_or("a grant belongs to no run")?.work.budgets.resources;
        cpu += u64::from(resources.cpu.0);
        memory += resources.memory.0;
    }
    let wanted = &run.work.budgets.resources;
    if cpu + u64::from(wanted.cpu.0) > u64::from(node.capacity.cpu.0) {
        return Err("the node's cpu would be exceeded");
    }
    if memory + wanted.memory.0 > node.capacity.memory.0 {
        return Err("the node's memory would be exceeded");
    }
    if node.grants.len() >= node.lanes_max as usize {
        return Err("the node's lanes would be exceeded");
    }
    Ok(())
}
