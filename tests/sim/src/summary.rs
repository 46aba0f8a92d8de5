//! How a world ended, and sums over many.

use std::{collections::BTreeMap, fmt};

use crate::property::Violation;

/// How a world ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// The broken property, if one was.
    pub violation: Option<Violation>,
    /// Folds everything that happened: the same seed gives the same hash.
    pub hash: u64,
    /// Simulated time, nanoseconds.
    pub time_ns: u64,
    /// What happened, in numbers.
    pub totals: Totals,
}

/// What happened in one or many worlds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    /// Worlds.
    pub worlds: u64,
    /// Simulated milliseconds, times the nodes of each world.
    pub node_ms: u64,
    /// Events handled.
    pub events: u64,
    /// Messages sent between control plane and executors.
    pub messages: u64,
    /// Tasks with a recorded outcome.
    pub tasks: u64,
    /// Transactions of the store.
    pub commits: u64,
    /// Faults and mishaps by name.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Totals {
    /// Adds those of other worlds.
    pub fn add(&mut self, other: &Self) {
        self.worlds += other.worlds;
        self.node_ms += other.node_ms;
        self.events += other.events;
        self.messages += other.messages;
        self.tasks += other.tasks;
        self.commits += other.commits;
        for (name, count) in &other.counts {
            *self.counts.entry(name).or_default() += count;
        }
    }
}

/// One line of JSON.
impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { worlds, node_ms, events, messages, tasks, commits, counts } = self;
        let hours = node_ms / 36_000;
        write!(f, r#"{{"worlds":{worlds},"node_hours":{}.{:02},"#, hours / 100, hours % 100)?;
        write!(f, r#""events":{events},"messages":{messages},"tasks":{tasks},"commits":{commits},"faults":{{"#)?;
        for (at, (name, count)) in counts.iter().enumerate() {
            write!(f, r#"{}"{name}":{count}"#, if at > 0 { "," } else { "" })?;
        }
        f.write_str("}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_one_line_of_json() {
        let mut totals = Totals { worlds: 1, node_ms: 5_400_000, ..Totals::default() };
        totals.counts.insert("reset", 2);
        let mut sum = totals.clone();
        sum.add(&totals);
        assert_eq!(
            sum.to_string(),
            r#"{"worlds":2,"node_hours":3.00,"events":0,"messages":0,"tasks":0,"commits":0,"faults":{"reset":4}}"#
        );
    }
}
