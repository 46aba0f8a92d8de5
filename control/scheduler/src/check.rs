//! An independent check of plans. It shares no code with placement, and reads the tables another way.

use weir_wire::{
    kind::Tier,
    limits,
    placement::{Comparison, Constraint, Operator},
};

use crate::{node::Node, phase::Phase, plan::PlannedGrant, preempt::Eviction, run::Run, scheduler::Leading};

/// Checks a planned grant against the tables.
///
/// # Errors
/// A sentence that says which rule it breaks.
pub(crate) fn grant(plan: &PlannedGrant, leading: &Leading) -> Result<(), &'static str> {
    let run = leading.runs.get(&plan.run).ok_or("the run does not exist")?;
    let node = leading.nodes.get(plan.slot);
    if plan.len == 0 || plan.len > limits::GRANT_LEN_MAX || plan.first + plan.len > run.count() {
        return Err("the range is empty or out of bounds");
    }
    if (plan.first..plan.first + plan.len).any(|index| run.phase(index) != Phase::Pending) {
        return Err("a task of the range is not pending");
    }
    if node.session.is_none() || node.lost || !node.presented {
        return Err("the node is not there");
    }
    if node.draining || node.record.cordoned || node.holdoff.is_some() {
        return Err("the node is not ready");
    }
    rules(run, node)?;
    books(run, node, plan, leading)?;
    quota(run, leading)
}

/// Checks grants that are to be ended for a run.
///
/// # Errors
/// A sentence that says which rule it breaks.
pub(crate) fn eviction(plan: &Eviction, leading: &Leading) -> Result<(), &'static str> {
    let run = leading.runs.get(&plan.run).ok_or("the run does not exist")?;
    let node = leading.nodes.get(plan.slot);
    if run.job.tier != Tier::Production || run.site.meek_until > leading.now {
        return Err("the run may have nobody make room");
    }
    rules(run, node)?;
    quota(run, leading)?;
    let (mut cpu, mut memory, mut lanes) = (0u64, 0u64, 0usize);
    for slot in node.grants.iter() {
        let held = leading.grants.get(*slot);
        let owner = leading.runs.get(&held.run).ok_or("a grant belongs to no run")?;
        let ends = plan.victims.iter().any(|victim| victim.key == held.key);
        let junior = owner.job.namespace == run.job.namespace
            && u32::from(owner.job.priority) + u32::from(crate::limits::PREEMPT_GAP) <= u32::from(run.job.priority);
        if ends && (owner.id == run.id || held.evicted || (owner.job.tier == Tier::Production && !junior)) {
            return Err("a victim must not be touched");
        }
        if ends || held.evicted {
            continue;
        }
        lanes += 1;
        if owner.job.tier != Tier::Revocable {
            cpu += u64::from(owner.job.budgets.resources.cpu.0);
            memory += owner.job.budgets.resources.memory.0;
        }
    }
    cpu += u64::from(node.books.claimed.cpu.0) + u64::from(run.job.budgets.resources.cpu.0);
    memory += node.books.claimed.memory.0 + run.job.budgets.resources.memory.0;
    lanes += node.books.claims as usize + 1;
    let fits = cpu <= u64::from(node.capacity.cpu.0) && memory <= node.capacity.memory.0;
    if plan.victims.iter().any(|victim| !node.grants.iter().any(|slot| *slot == victim.slot)) {
        return Err("a victim is not on the node");
    }
    if fits && lanes <= node.lanes_max as usize { Ok(()) } else { Err("it would not help") }
}

/// Pool and constraints, word by word.
fn rules(run: &Run, node: &Node) -> Result<(), &'static str> {
    let placement = &run.job.placement;
    if value(node, "pool") != placement.pool.as_deref() {
        return Err("the node and the job are not of the same pool");
    }
    if run.job.capabilities.wire_min() > node.wire {
        return Err("the node's session cannot carry the run");
    }
    if run.job.capabilities.scratch > 0 && value(node, "scratch").is_none() {
        return Err("the node has no scratch directories");
    }
    if !run.job.capabilities.nets.is_empty() && value(node, "network").is_none() {
        return Err("the node has no network");
    }
    if placement.constraints.iter().any(|constraint| !met(constraint, value(node, &constraint.attribute))) {
        return Err("a constraint is not met");
    }
    Ok(())
}

fn value<'a>(node: &'a Node, attribute: &str) -> Option<&'a str> {
    if attribute == "node" {
        return Some(node.record.node.as_str());
    }
    if attribute == "wire" {
        return node.attributes.iter().find(|own| own.0 == attribute).map(|own| own.1.as_str());
    }
    let label = node.record.labels.iter().find(|label| label.0 == attribute);
    let own = node.attributes.iter().find(|own| own.0 == attribute);
    label.or(own).map(|pair| pair.1.as_str())
}

fn met(constraint: &Constraint, value: Option<&str>) -> bool {
    let named = constraint.values.iter().any(|wanted| Some(wanted.as_str()) == value);
    let wanted = constraint.values.first().map_or("", |first| first.as_str());
    match (constraint.operator, value) {
        (Operator::Equal | Operator::In, _) => named,
        (Operator::NotEqual | Operator::NotIn, _) => !named,
        (Operator::Exists, _) => value.is_some(),
        (Operator::NotExists, _) => value.is_none(),
        (Operator::Matches | Operator::Version(_), None) => false,
        (Operator::Matches, Some(value)) => {
            let built = regex::bytes::RegexBuilder::new(wanted).unicode(false).build();
            built.is_ok_and(|pattern| pattern.find(value.as_bytes()).is_some())
        }
        (Operator::Version(comparison), Some(value)) => version_met(comparison, value, wanted),
    }
}

/// Compares number by number, the missing ones as 0.
fn version_met(comparison: Comparison, value: &str, wanted: &str) -> bool {
    let numbers = |text: &str| {
        let text = text.trim_start_matches('v');
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let parts = text[..end].split('.').take_while(|part| !part.is_empty()).take(8);
        let parsed: alloc::vec::Vec<Option<u64>> = parts.map(|part| part.parse().ok()).collect();
        parsed.into_iter().collect::<Option<alloc::vec::Vec<u64>>>().filter(|numbers| !numbers.is_empty())
    };
    let (Some(mut one), Some(mut other)) = (numbers(value), numbers(wanted)) else {
        return false;
    };
    one.resize(8, 0);
    other.resize(8, 0);
    let order = one.cmp(&other);
    match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}

/// Both books of the node, counted again from its grants; lanes, and tasks of the run.
fn books(run: &Run, node: &Node, plan: &PlannedGrant, leading: &Leading) -> Result<(), &'static str> {
    let (mut firm, mut revocable, mut same) = ([0u64; 2], [0u64; 2], 0u32);
    for slot in node.grants.iter() {
        let held = leading.grants.get(*slot);
        if held.node() != plan.slot {
            return Err("the node holds a grant of another one");
        }
        let owner = leading.runs.get(&held.run).ok_or("a grant belongs to no run")?;
        let resources = &owner.job.budgets.resources;
        let book = if owner.job.tier == Tier::Revocable { &mut revocable } else { &mut firm };
        book[0] += u64::from(resources.cpu.0);
        book[1] += resources.memory.0;
        same += u32::from(held.run == plan.run);
    }
    let wanted = [u64::from(run.job.budgets.resources.cpu.0), run.job.budgets.resources.memory.0];
    let capacity = [u64::from(node.capacity.cpu.0), node.capacity.memory.0];
    let kept = |at: usize| match plan.claimed {
        true => 0,
        false => [u64::from(node.books.claimed.cpu.0), node.books.claimed.memory.0][at],
    };
    for at in 0..2 {
        let taken = if run.job.tier == Tier::Revocable {
            let measured = node.books.measured.map_or(firm[at], |used| {
                let used = [u64::from(used.cpu.0), used.memory.0][at];
                let unmeasured = [u64::from(node.books.unmeasured.cpu.0), node.books.unmeasured.memory.0][at];
                firm[at].min(used / 100 * 110 + unmeasured)
            });
            measured + revocable[at]
        } else {
            firm[at]
        };
        if taken + kept(at) + wanted[at] > capacity[at] {
            return Err(["the node's cpu would be exceeded", "the node's memory would be exceeded"][at]);
        }
    }
    let claims = if plan.claimed { 0 } else { node.books.claims as usize };
    if node.grants.len() + claims >= node.lanes_max as usize {
        return Err("the node's lanes would be exceeded");
    }
    let limit = run.job.placement.max_per_node;
    if limit > 0 && same >= limit {
        return Err("the run would have too many tasks on the node");
    }
    Ok(())
}

/// The namespace's quota, counted again from what its runs hold.
fn quota(run: &Run, leading: &Leading) -> Result<(), &'static str> {
    let Some(quota) = &leading.shares.get(run.site.space).quota else {
        return Ok(());
    };
    if run.job.tier != Tier::Production {
        return Ok(());
    }
    let (mut cpu, mut memory, mut number) = (0u64, 0u64, 0u64);
    let mut count = |owner: &Run, grants: u64| {
        cpu += u64::from(owner.job.budgets.resources.cpu.0) * grants;
        memory += owner.job.budgets.resources.memory.0 * grants;
        number += grants;
    };
    count(run, 1);
    let owners = leading.runs.values().filter(|owner| owner.job.tier == Tier::Production);
    let own = owners.filter(|owner| owner.job.namespace == run.job.namespace);
    own.for_each(|owner| count(owner, u64::from(owner.lanes.len())));
    let exceeded = quota.cpu.is_some_and(|limit| cpu > u64::from(limit.0))
        || quota.memory.is_some_and(|limit| memory > limit.0)
        || quota.running.is_some_and(|limit| number > u64::from(limit));
    if exceeded { Err("the namespace's quota would be exceeded") } else { Ok(()) }
}
