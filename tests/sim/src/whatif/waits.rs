//! How long tasks waited for their place.

use std::collections::BTreeMap;

use weir_wire::{id::Namespace, kind::Tier};

/// Waiting times in milliseconds, by namespace and tier.
#[derive(Debug, Default)]
pub(super) struct Waits {
    by: BTreeMap<(Namespace, Tier), Vec<u32>>,
}

/// A distribution in short, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spread {
    pub(super) tasks: usize,
    pub(super) p50: u32,
    pub(super) p90: u32,
    pub(super) p99: u32,
    pub(super) max: u32,
}

impl Waits {
    /// A task has started after this many nanoseconds.
    pub(super) fn started(&mut self, namespace: &Namespace, tier: Tier, wait: u64) {
        let ms = u32::try_from(wait / 1_000_000).unwrap_or(u32::MAX);
        self.by.entry((namespace.clone(), tier)).or_default().push(ms);
    }

    pub(super) fn by_tier(&self) -> Vec<(Tier, Spread)> {
        let of = |tier: Tier| self.by.iter().filter(move |((_, other), _)| *other == tier).map(|(_, waits)| waits);
        Tier::ALL.into_iter().filter_map(|tier| Some((tier, spread(of(tier))?))).collect()
    }

    pub(super) fn by_namespace(&self) -> Vec<(Namespace, Spread)> {
        let mut names: Vec<&Namespace> = self.by.keys().map(|(namespace, _)| namespace).collect();
        names.dedup();
        let of = |name| self.by.iter().filter(move |((other, _), _)| other == name).map(|(_, waits)| waits);
        names.into_iter().filter_map(|name| Some((name.clone(), spread(of(name))?))).collect()
    }
}

fn spread<'a>(waits: impl Iterator<Item = &'a Vec<u32>>) -> Option<Spread> {
    let mut all: Vec<u32> = waits.flatten().copied().collect();
    all.sort_unstable();
    // The smallest value that this many of a hundred do not exceed.
    let at = |percent: usize| all.get((all.len() * percent).div_ceil(100).max(1) - 1).copied();
    Some(Spread { tasks: all.len(), p50: at(50)?, p90: at(90)?, p99: at(99)?, max: *all.last()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut waits = Waits::default();
        let (a, b): (Namespace, Namespace) = ("a".parse().expect("a name"), "b".parse().expect("a name"));
        assert_eq!(waits.by_tier(), []);
        for ms in 1..=100u64 {
            waits.started(&a, Tier::Preemptible, ms * 1_000_000);
        }
        waits.started(&b, Tier::Preemptible, 0);
        waits.started(&b, Tier::Production, 7_999_999);
        let all = Spread { tasks: 101, p50: 50, p90: 90, p99: 99, max: 100 };
        let one = Spread { tasks: 1, p50: 7, p90: 7, p99: 7, max: 7 };
        assert_eq!(waits.by_tier(), [(Tier::Production, one), (Tier::Preemptible, all)]);
        let names = waits.by_namespace();
        assert_eq!(names.len(), 2);
        assert_eq!((names[1].1.tasks, names[1].1.p50, names[1].1.max), (2, 0, 7));
    }
}
