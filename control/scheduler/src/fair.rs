//! What each namespace uses, its share of the cluster, and its quota.

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

use weir_wire::{
    id::{Namespace, RunId},
    kind::Tier,
    record::Quota,
    resources::Resources,
};

/// The weight of a namespace without a record.
const WEIGHT: u32 = 100;
/// The share of a whole cluster, for a namespace of weight 1.
const WHOLE: u64 = 1 << 60;

/// A number for a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SpaceId(pub(crate) u32);

/// Sums over grants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Thousandths of a core.
    pub(crate) cpu: u64,
    /// Bytes.
    pub(crate) memory: u64,
    pub(crate) grants: u64,
}

impl Sums {
    fn add(&mut self, resources: &Resources) {
        self.cpu += u64::from(resources.cpu.0);
        self.memory += resources.memory.0;
        self.grants += 1;
    }

    fn sub(&mut self, resources: &Resources) {
        self.cpu -= u64::from(resources.cpu.0);
        self.memory -= resources.memory.0;
        self.grants -= 1;
    }
}

/// One namespace.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) all: Sums,
    pub(crate) production: Sums,
    pub(crate) quota: Option<Quota>,
    weight: u64,
    /// Production runs that wait for the quota, in the order in which they were found to exceed it.
    pub(crate) parked: VecDeque<RunId>,
    shrunk: bool,
}

/// All namespaces.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    table: Vec<Space>,
    by_name: BTreeMap<Namespace, SpaceId>,
    /// The share that one thousandth of a core, or one KiB, is.
    cpu_unit: u64,
    memory_unit: u64,
    /// Namespaces whose share has become smaller since that was last asked.
    shrunk: Vec<SpaceId>,
}

impl Shares {
    /// The number of a namespace.
    pub(crate) fn space(&mut self, namespace: &Namespace) -> SpaceId {
        if let Some(id) = self.by_name.get(namespace) {
            return *id;
        }
        let id = SpaceId(u32::try_from(self.table.len()).expect("fewer namespaces than jobs"));
        self.by_name.insert(namespace.clone(), id);
        self.table.push(Space {
            all: Sums::default(),
            production: Sums::default(),
            quota: None,
            weight: u64::from(WEIGHT),
            parked: VecDeque::new(),
            shrunk: false,
        });
        id
    }

    /// A namespace by name.
    pub(crate) fn find(&self, namespace: &Namespace) -> Option<&Space> {
        self.by_name.get(namespace).map(|id| self.get(*id))
    }

    /// The number of a namespace, if it has one.
    pub(crate) fn id(&self, namespace: &Namespace) -> Option<SpaceId> {
        self.by_name.get(namespace).copied()
    }

    /// The name of a namespace; it is searched for, and only when somebody asks.
    pub(crate) fn name(&self, space: SpaceId) -> Option<&Namespace> {
        self.by_name.iter().find(|(_, id)| **id == space).map(|(name, _)| name)
    }

    /// A namespace by number.
    pub(crate) fn get(&self, space: SpaceId) -> &Space {
        &self.table[space.0 as usize]
    }

    /// A namespace by number.
    pub(crate) fn get_mut(&mut self, space: SpaceId) -> &mut Space {
        &mut self.table[space.0 as usize]
    }

    /// Sets or removes the quota and weight of a namespace; gives the runs that waited for it.
    pub(crate) fn set_quota(&mut self, namespace: &Namespace, quota: Option<Quota>) -> Vec<RunId> {
        let space = self.space(namespace);
        let entry = self.get_mut(space);
        entry.weight = quota.as_ref().map_or(u64::from(WEIGHT), |quota| u64::from(quota.weight.max(1)));
        entry.quota = quota;
        let parked = entry.parked.drain(..).collect();
        self.shrink(space);
        parked
    }

    /// Takes over what the cluster offers.
    pub(crate) fn set_totals(&mut self, cpu: u64, memory_kib: u64) {
        self.cpu_unit = WHOLE / cpu.max(1);
        self.memory_unit = WHOLE / memory_kib.max(1);
        (0..self.table.len()).for_each(|at| self.shrink(SpaceId(u32::try_from(at).unwrap_or(u32::MAX))));
    }

    /// The weighted dominant share of a namespace.
    pub(crate) fn share(&self, space: SpaceId) -> u64 {
        let space = self.get(space);
        let cpu = space.all.cpu.saturating_mul(self.cpu_unit);
        let memory = (space.all.memory >> 10).saturating_mul(self.memory_unit);
        cpu.max(memory) / space.weight
    }

    /// Enters a grant.
    pub(crate) fn add(&mut self, space: SpaceId, tier: Tier, resources: &Resources) {
        let space = self.get_mut(space);
        space.all.add(resources);
        if tier == Tier::Production {
            space.production.add(resources);
        }
    }

    /// Removes a grant; gives a run that waited for the quota, if this makes room in it.
    pub(crate) fn sub(&mut self, space: SpaceId, tier: Tier, resources: &Resources) -> Option<RunId> {
        self.shrink(space);
        let space = self.get_mut(space);
        space.all.sub(resources);
        if tier != Tier::Production {
            return None;
        }
        space.production.sub(resources);
        space.parked.pop_front()
    }

    /// Whether the quota allows one more production task.
    pub(crate) fn allows(&self, space: SpaceId, resources: &Resources) -> bool {
        let space = self.get(space);
        let Some(quota) = &space.quota else { return true };
        let used = &space.production;
        quota.cpu.is_none_or(|limit| used.cpu + u64::from(resources.cpu.0) <= u64::from(limit.0))
            && quota.memory.is_none_or(|limit| used.memory + resources.memory.0 <= limit.0)
            && quota.running.is_none_or(|limit| used.grants < u64::from(limit))
    }

    /// How many more production tasks the quota allows.
    pub(crate) fn room_in_quota(&self, space: SpaceId, resources: &Resources) -> u32 {
        let space = self.get(space);
        let Some(quota) = &space.quota else { return u32::MAX };
        let used = &space.production;
        let times = |limit: u64, used: u64, one: u64| limit.saturating_sub(used).checked_div(one).unwrap_or(u64::MAX);
        let cpu = quota.cpu.map(|limit| times(u64::from(limit.0), used.cpu, u64::from(resources.cpu.0)));
        let memory = quota.memory.map(|limit| times(limit.0, used.memory, resources.memory.0));
        let running = quota.running.map(|limit| times(u64::from(limit), used.grants, 1));
        let least = [cpu, memory, running].into_iter().flatten().min().unwrap_or(u64::MAX);
        u32::try_from(least).unwrap_or(u32::MAX)
    }

    /// Namespaces whose share may have become smaller since the last call.
    pub(crate) fn take_shrunk(&mut self) -> Vec<SpaceId> {
        let shrunk = core::mem::take(&mut self.shrunk);
        for space in &shrunk {
            self.get_mut(*space).shrunk = false;
        }
        shrunk
    }

    fn shrink(&mut self, space: SpaceId) {
        if !core::mem::replace(&mut self.get_mut(space).shrunk, true) {
            self.shrunk.push(space);
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_wire::units::{CpuMillis, MemBytes};

    use super::*;

    const fn of(cpu: u32, memory_mib: u64) -> Resources {
        Resources { cpu: CpuMillis(cpu), memory: MemBytes(memory_mib << 20) }
    }

    fn space(shares: &mut Shares, name: &str, weight: Option<u32>) -> SpaceId {
        let namespace: Namespace = name.parse().expect("a valid name");
        if let Some(weight) = weight {
            let quota = Quota { namespace: namespace.clone(), weight, cpu: None, memory: None, running: None };
            shares.set_quota(&namespace, Some(quota));
        }
        shares.space(&namespace)
    }

    #[test]
    fn the_dominant_resource_and_the_weight_decide() {
        let mut shares = Shares::default();
        shares.set_totals(100_000, 100 << 10);
        let (cpu, memory) = (space(&mut shares, "cpu", None), space(&mut shares, "memory", None));
        shares.add(cpu, Tier::Preemptible, &of(10_000, 1));
        shares.add(memory, Tier::Preemptible, &of(1_000, 20));
        assert!(shares.share(cpu) < shares.share(memory), "a tenth of the cpu is less than a fifth of the memory");
        let heavy = space(&mut shares, "heavy", Some(300));
        shares.add(heavy, Tier::Preemptible, &of(1_000, 40));
        assert!(shares.share(heavy) < shares.share(memory), "three times the weight, twice the share");
        assert!(shares.take_shrunk().contains(&heavy));
        assert_eq!(shares.sub(memory, Tier::Preemptible, &of(1_000, 20)), None);
        assert_eq!((shares.share(memory), shares.take_shrunk()), (0, alloc::vec![memory]));
    }

    #[test]
    fn a_quota_limits_production_only() {
        let mut shares = Shares::default();
        let namespace: Namespace = "a".parse().expect("a valid name");
        let id = shares.space(&namespace);
        let quota = Quota {
            namespace: namespace.clone(),
            weight: 100,
            cpu: Some(CpuMillis(1000)),
            memory: None,
            running: Some(3),
        };
        shares.set_quota(&namespace, Some(quota));
        shares.add(id, Tier::Preemptible, &of(5000, 1));
        assert!(shares.allows(id, &of(1000, 1)) && !shares.allows(id, &of(1001, 1)));
        for _ in 0..3 {
            shares.add(id, Tier::Production, &of(1, 1));
        }
        assert!(!shares.allows(id, &of(1, 1)), "three are running");
        shares.get_mut(id).parked.push_back(RunId(7));
        assert_eq!(shares.sub(id, Tier::Production, &of(1, 1)), Some(RunId(7)));
        assert!(shares.allows(id, &of(1, 1)));
    }
}
