//! Equivalence classes of runs: what does not fit for one run of a class does not fit for any.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use weir_wire::{
    id::RunId,
    kind::{Kind, Tier},
    message::WIRE_MIN,
    placement::{
        Comparison, Constraint, NETWORK_ATTRIBUTE, NODE_ATTRIBUTE, Operator, Placement, SCRATCH_ATTRIBUTE,
        WIRE_ATTRIBUTE,
    },
    resources::Resources,
    work::{Capabilities, JobRecord},
};

use crate::{
    constraint::Test,
    group::{Book, Group},
    limits::WHY_NODES_MAX,
    node::{Node, Nodes},
    queue::Lane,
    room::Room,
};

/// The label over whose values services are spread unless they say otherwise.
const ZONE_ATTRIBUTE: &str = "zone";

/// A number for a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassId(pub(crate) u32);

/// What all runs of a class have in common, as far as placement is concerned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassKey {
    pub(crate) resources: Resources,
    pub(crate) book: Book,
    pub(crate) placement: Placement,
    /// A run with a limit per node finds no room where others do: it is a class of its own.
    pub(crate) alone: Option<RunId>,
}

impl ClassKey {
    /// The class of a run.
    pub(crate) fn new(run: RunId, job: &JobRecord) -> Self {
        let mut placement = job.placement.clone();
        placement.constraints.extend(implied(&job.capabilities));
        placement.constraints.sort();
        placement.affinities.sort();
        if placement.spread.is_none() && matches!(job.kind, Kind::Service(_)) {
            placement.spread = Some(ZONE_ATTRIBUTE.into());
        }
        Self {
            resources: job.budgets.resources,
            book: book_of(job.tier),
            alone: (placement.max_per_node > 0).then_some(run),
            placement,
        }
    }

    /// What one task takes.
    pub(crate) const fn want(&self) -> Room {
        Room { cpu: self.resources.cpu.0, lanes: 1, memory: self.resources.memory.0 }
    }
}

/// What capabilities ask of a node; conditions like any other, so that `why` names them.
fn implied(capabilities: &Capabilities) -> Vec<Constraint> {
    let wire = capabilities.wire_min();
    let version = || Constraint {
        attribute: WIRE_ATTRIBUTE.into(),
        operator: Operator::Version(Comparison::GreaterOrEqual),
        values: alloc::vec![alloc::format!("{wire}")],
    };
    let scratch = || Constraint { attribute: SCRATCH_ATTRIBUTE.into(), operator: Operator::Exists, values: Vec::new() };
    let network = || Constraint { attribute: NETWORK_ATTRIBUTE.into(), operator: Operator::Exists, values: Vec::new() };
    let version = (wire > WIRE_MIN).then(version);
    let scratch = (capabilities.scratch > 0).then(scratch);
    let network = (!capabilities.nets.is_empty()).then(network);
    [version, scratch, network].into_iter().flatten().collect()
}

/// The book into which a task of a tier is entered.
pub(crate) const fn book_of(tier: Tier) -> Book {
    match tier {
        Tier::Production | Tier::Preemptible => Book::Firm,
        Tier::Revocable => Book::Slack,
    }
}

/// The placement rules of a class, compiled.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Number of the attribute, and what is asked of it: decided per group.
    tests: Vec<(usize, Test)>,
    /// What is asked node by node: the name, and attributes beyond the limit.
    named: Vec<(String, Test)>,
    /// The only nodes that come into question, by name.
    pub(crate) only: Option<Vec<String>>,
    preferences: Vec<(usize, Test, i32)>,
    /// The number of the attribute over which tasks are spread.
    pub(crate) spread: Option<usize>,
    pool: Option<String>,
}

impl Rules {
    fn new(placement: &Placement, nodes: &mut Nodes) -> Self {
        let mut rules = Self {
            tests: Vec::new(),
            named: Vec::new(),
            only: None,
            preferences: Vec::new(),
            spread: placement.spread.as_deref().and_then(|attribute| nodes.ask(attribute)),
            pool: placement.pool.clone(),
        };
        for constraint in &placement.constraints {
            let test = Test::new(constraint);
            let name = constraint.attribute.as_str();
            let by_name = matches!(constraint.operator, Operator::Equal | Operator::In);
            let against_name = matches!(constraint.operator, Operator::NotEqual | Operator::NotIn);
            if name == NODE_ATTRIBUTE && by_name {
                rules.only.get_or_insert_with(|| constraint.values.clone());
            }
            // A group per node would be the price of asking for names.
            let attribute = if name == NODE_ATTRIBUTE && (by_name || against_name) { None } else { nodes.ask(name) };
            match attribute {
                Some(attribute) => rules.tests.push((attribute, test)),
                None => rules.named.push((name.into(), test)),
            }
        }
        for affinity in &placement.affinities {
            if let Some(attribute) = nodes.ask(&affinity.constraint.attribute) {
                rules.preferences.push((attribute, Test::new(&affinity.constraint), affinity.weight));
            }
        }
        rules
    }

    /// The sum of the preferences that a group meets; `None` if its nodes do not come into question.
    fn score(&self, group: &Group) -> Option<i32> {
        if group.value(0) != self.pool.as_deref() {
            return None;
        }
        if !self.tests.iter().all(|(attribute, test)| test.holds(group.value(*attribute))) {
            return None;
        }
        let met = self.preferences.iter().filter(|(attribute, test, _)| test.holds(group.value(*attribute)));
        Some(met.map(|(_, _, weight)| *weight).sum())
    }

    /// Whether a node of a group that comes into question does so itself.
    pub(crate) fn admits(&self, node: &Node) -> bool {
        self.named.iter().all(|(name, test)| test.holds(node.attribute(name)))
    }

    /// Whether nodes have to be looked at one by one.
    pub(crate) const fn is_per_node(&self) -> bool {
        !self.named.is_empty()
    }
}

/// The groups that come into question for a class.
#[derive(Debug, Default)]
pub(crate) struct Eligible {
    epoch: u64,
    /// By group.
    scores: Vec<Option<i32>>,
    /// Groups by score, the highest first.
    pub(crate) tiers: Vec<(i32, Vec<usize>)>,
}

impl Eligible {
    /// Takes over groups that have come into being.
    fn update(&mut self, rules: &Rules, nodes: &Nodes) {
        if self.epoch != nodes.groups.epoch {
            *self = Self { epoch: nodes.groups.epoch, ..Self::default() };
        }
        for (at, group) in nodes.groups.all().iter().enumerate().skip(self.scores.len()) {
            let score = rules.score(group);
            self.scores.push(score);
            let Some(score) = score else { continue };
            match self.tiers.binary_search_by(|(known, _)| score.cmp(known)) {
                Ok(tier) => self.tiers[tier].1.push(at),
                Err(tier) => self.tiers.insert(tier, (score, alloc::vec![at])),
            }
        }
    }

    /// The score of a group; `None` if it does not come into question.
    pub(crate) fn score(&self, group: usize) -> Option<i32> {
        self.scores.get(group).copied().flatten()
    }
}

/// How much of the cluster a class searches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Everything.
    All,
    /// Nothing had room; only these nodes have got some since.
    Freed(Vec<usize>),
}

/// One class.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) key: ClassKey,
    pub(crate) rules: Rules,
    pub(crate) eligible: Eligible,
    pub(crate) reach: Reach,
    /// Its waiting runs.
    pub(crate) lanes: BTreeMap<Lane, BTreeSet<(u64, RunId)>>,
    /// Runs that are of this class.
    pub(crate) runs: u32,
    /// It is on the list of classes that are told of freed nodes.
    pub(crate) sleeping: bool,
    /// Tasks of this class that all ready nodes could run at the same time, when that was last counted.
    lanes_max: u32,
    /// The state of the node table for which that was counted.
    lanes_generation: u64,
}

impl Class {
    /// Compiles a class.
    pub(crate) fn new(key: ClassKey, nodes: &mut Nodes) -> Self {
        let rules = Rules::new(&key.placement, nodes);
        if key.book == Book::Slack {
            nodes.ask_slack();
        }
        Self {
            key,
            rules,
            eligible: Eligible::default(),
            reach: Reach::All,
            lanes: BTreeMap::new(),
            runs: 0,
            sleeping: false,
            lanes_max: 0,
            lanes_generation: u64::MAX,
        }
    }

    /// No node can take another task of this class until one of them changes.
    pub(crate) fn is_blocked(&self) -> bool {
        matches!(&self.reach, Reach::Freed(slots) if slots.is_empty())
    }

    /// Whether anything of a tier waits.
    pub(crate) fn waits(&self, tier: Tier) -> bool {
        self.lanes.keys().any(|lane| lane.band.tier == tier)
    }

    /// Whether a cluster that has nodes has none that could run a task of this class, even an empty one. It is found out
    /// when somebody asks; of a class with very many nodes in question it is not.
    pub(crate) fn is_hopeless(&self, nodes: &Nodes) -> bool {
        let groups = nodes.groups.all();
        // They may have been formed anew since it was served.
        let current = self.eligible.epoch == nodes.groups.epoch && self.eligible.scores.len() == groups.len();
        let score = |(at, group)| if current { self.eligible.score(at) } else { self.rules.score(group) };
        let slots =
            groups.iter().enumerate().filter(|group| score(*group).is_some()).flat_map(|(_, group)| &group.slots);
        let could =
            |node: &Node| node.lanes_max > 0 && self.key.resources.fits(&node.capacity) && self.rules.admits(node);
        let searched = self.is_blocked() && nodes.by_name().next().is_some();
        searched && slots.zip(0..).all(|(slot, seen)| seen < WHY_NODES_MAX && !could(nodes.get(*slot)))
    }

    /// Brings the groups that come into question up to date.
    pub(crate) fn update(&mut self, nodes: &Nodes) {
        self.eligible.update(&self.rules, nodes);
    }

    /// Whether a node comes into question, room aside.
    pub(crate) fn admits(&self, nodes: &Nodes, slot: usize) -> bool {
        let group = nodes.place(slot).and_then(|place| self.eligible.score(place.group));
        group.is_some() && self.rules.admits(nodes.get(slot))
    }

    /// Tasks that all ready nodes could run at the same time; an upper bound.
    pub(crate) fn lanes_max(&mut self, nodes: &Nodes) -> u32 {
        if self.lanes_generation != nodes.generation {
            self.lanes_generation = nodes.generation;
            self.update(nodes);
            let groups = self.eligible.tiers.iter().flat_map(|(_, groups)| groups);
            let slots = groups.flat_map(|group| &nodes.groups.get(*group).slots).map(|slot| nodes.get(*slot));
            let lanes = slots
                .filter(|node| node.is_ready())
                .map(|node| self.key.resources.times_in(&node.capacity).min(u64::from(node.lanes_max)))
                .fold(0u64, u64::saturating_add);
            self.lanes_max = u32::try_from(lanes).unwrap_or(u32::MAX);
        }
        self.lanes_max
    }
}
