//! Books of what the newest leader has given out, kept from the messages alone.
//!
//! A grant counts from when it is sent until its last outcome arrives, it comes back, or its session breaks. The leader
//! may count more than these books do, since it remembers grants of broken sessions, and never less.

use std::collections::BTreeMap;

use weir_wire::{
    id::{GrantSeq, Namespace, Term},
    kind::Tier,
    message::{Grant, Report},
    record::Quota,
    work::JobRecord,
};

/// Sums over grants of one namespace.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    /// Grants of any tier.
    pub(crate) grants: u32,
    production: u32,
    cpu: u64,
    memory: u64,
    /// Resources of all of them.
    pub(crate) all: [u64; 2],
}

#[derive(Debug)]
struct Held {
    namespace: Namespace,
    production: bool,
    cpu: u64,
    memory: u64,
    end: u32,
}

/// The books.
#[derive(Debug, Default)]
pub(crate) struct Given {
    term: Term,
    held: BTreeMap<u64, BTreeMap<GrantSeq, Held>>,
    sums: BTreeMap<Namespace, Sums>,
}

impl Given {
    /// A leader sends a grant.
    pub(crate) fn grant(&mut self, session: u64, grant: &Grant, job: &JobRecord) {
        if grant.term > self.term {
            *self = Self { term: grant.term, ..Self::default() };
        }
        let resources = &job.budgets.resources;
        let held = Held {
            namespace: job.namespace.clone(),
            production: job.tier == Tier::Production,
            cpu: u64::from(resources.cpu.0),
            memory: resources.memory.0,
            end: grant.first + grant.len,
        };
        self.count(&held, true);
        self.held.entry(session).or_default().insert(grant.grant, held);
    }

    fn count(&mut self, held: &Held, begins: bool) {
        let sums = self.sums.entry(held.namespace.clone()).or_default();
        let change = |sum: u64, by: u64| if begins { sum + by } else { sum - by };
        sums.all = [change(sums.all[0], held.cpu), change(sums.all[1], held.memory)];
        sums.grants = if begins { sums.grants + 1 } else { sums.grants - 1 };
        if held.production {
            sums.production = if begins { sums.production + 1 } else { sums.production - 1 };
            sums.cpu = change(sums.cpu, held.cpu);
            sums.memory = change(sums.memory, held.memory);
        }
    }

    /// A report reaches a leader.
    pub(crate) fn report(&mut self, session: u64, report: &Report) {
        let term = self.term;
        for group in report.groups.iter().filter(|group| group.term == term) {
            let last = group.outcomes.iter().map(|(index, _)| *index + 1).max();
            let end = self.held.get(&session).and_then(|held| held.get(&group.grant)).map(|held| held.end);
            if end.is_some() && last >= end {
                self.end(session, group.grant);
            }
        }
        for returned in report.returned.iter().filter(|returned| returned.term == term) {
            self.end(session, returned.grant);
        }
    }

    fn end(&mut self, session: u64, grant: GrantSeq) {
        if let Some(held) = self.held.get_mut(&session).and_then(|held| held.remove(&grant)) {
            self.count(&held, false);
        }
    }

    /// A session is gone.
    pub(crate) fn session_ends(&mut self, session: u64) {
        for held in self.held.remove(&session).unwrap_or_default().into_values() {
            self.count(&held, false);
        }
    }

    /// What a namespace holds.
    pub(crate) fn sums(&self, namespace: &Namespace) -> Sums {
        self.sums.get(namespace).copied().unwrap_or_default()
    }
}

impl Sums {
    /// What of a quota they exceed.
    pub(crate) fn exceeds(&self, quota: &Quota) -> Option<&'static str> {
        let cpu = quota.cpu.is_some_and(|limit| self.cpu > u64::from(limit.0));
        let memory = quota.memory.is_some_and(|limit| self.memory > limit.0);
        let running = quota.running.is_some_and(|limit| self.production > limit);
        [(cpu, "cpu"), (memory, "memory"), (running, "number")]
            .into_iter()
            .find(|(over, _)| *over)
            .map(|(_, what)| what)
    }
}
