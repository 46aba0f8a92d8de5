//! The cluster, as `nodes.toml` describes it.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use weir_wire::{
    id::{Namespace, NodeId},
    limits as wire,
    record::Quota,
    resources::Resources,
};

use super::{
    error::{Error, read},
    limits::{NODES_FILE_BYTES_MAX, NODES_MAX},
    quantity,
};

/// Machines and quotas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cluster {
    /// Groups of equal machines.
    pub groups: Vec<Group>,
    pub(crate) quotas: Vec<Quota>,
}

/// Equal machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Their names are this with a number.
    pub name: String,
    /// How many there are.
    pub count: u32,
    /// What each of them offers.
    pub resources: Resources,
    /// Most tasks of each at one time.
    pub lanes: u32,
    /// Facts and labels, by name.
    pub attributes: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    node: Vec<toml::Spanned<GroupText>>,
    #[serde(default)]
    quota: Vec<toml::Spanned<QuotaText>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupText {
    #[serde(default = "default_name")]
    name: String,
    #[serde(default = "default_count")]
    count: u32,
    cpu: f64,
    memory: String,
    #[serde(default = "default_lanes")]
    lanes: u32,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaText {
    namespace: String,
    #[serde(default = "default_weight")]
    weight: u32,
    cpu: Option<f64>,
    memory: Option<String>,
    running: Option<u32>,
}

fn default_name() -> String {
    "node".to_owned()
}

const fn default_count() -> u32 {
    1
}

const fn default_lanes() -> u32 {
    1024
}

const fn default_weight() -> u32 {
    100
}

impl Cluster {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, has an unknown key or a value out of range.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::parse(&path.display().to_string(), &read(path, NODES_FILE_BYTES_MAX)?)
    }

    /// Reads the text of a file of this name.
    ///
    /// # Errors
    /// As [`Cluster::read`].
    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        let line = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
        let parsed: File = toml::from_str(text).map_err(|error| {
            let what = error.message().trim().replace('\n', ", ");
            error
                .span()
                .map_or_else(|| Error::file(file, what.clone()), |span| Error::line(file, line(span.start), &what))
        })?;
        let mut cluster = Self::default();
        for group in parsed.node {
            let at = line(group.span().start);
            cluster.groups.push(group.into_inner().check().map_err(|what| Error::line(file, at, what))?);
        }
        for quota in parsed.quota {
            let at = line(quota.span().start);
            cluster.quotas.push(quota.into_inner().check().map_err(|what| Error::line(file, at, what))?);
        }
        if cluster.is_empty() {
            return Err(Error::file(file, "describes no node; write [[node]] with cpu and memory"));
        }
        if cluster.len() > u64::from(NODES_MAX) {
            return Err(Error::file(file, format!("describes more than {NODES_MAX} nodes")));
        }
        Ok(cluster)
    }

    /// The number of machines.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.groups.iter().map(|group| u64::from(group.count)).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names of all machines with their group: the number goes on over groups of the same name.
    pub(super) fn machines(&self) -> impl Iterator<Item = (NodeId, &Group)> {
        let mut next = BTreeMap::<&str, u32>::new();
        self.groups.iter().flat_map(move |group| {
            let first = next.entry(&group.name).or_default();
            let numbers = *first..*first + group.count;
            *first += group.count;
            numbers.map(move |number| {
                let name = format!("{}-{number}", group.name).parse().expect("checked with the longest number");
                (name, group)
            })
        })
    }
}

impl GroupText {
    fn check(self) -> Result<Group, String> {
        let Self { name, count, cpu, memory, lanes, attributes } = self;
        format!("{name}-{NODES_MAX}").parse::<NodeId>().map_err(|error| format!("name {name:?}: {error}"))?;
        if count > NODES_MAX {
            return Err(format!("count is {count}, and is to be at most {NODES_MAX}"));
        }
        let most = u32::try_from(wire::GRANTS_PER_NODE_MAX).unwrap_or(u32::MAX);
        if !(1..=most).contains(&lanes) {
            return Err(format!("lanes is {lanes}, and is to be from 1 to {most}"));
        }
        if attributes.len() > wire::NODE_ATTRIBUTES_MAX {
            return Err(format!("a node has at most {} attributes", wire::NODE_ATTRIBUTES_MAX));
        }
        Ok(Group { name, count, resources: quantity::resources(cpu, &memory)?, lanes, attributes })
    }
}

impl QuotaText {
    fn check(self) -> Result<Quota, String> {
        let Self { namespace, weight, cpu, memory, running } = self;
        if !(1..=1000).contains(&weight) {
            return Err(format!("weight is {weight}, and is to be from 1 to 1000"));
        }
        let namespace: Namespace = namespace.parse().map_err(|error| format!("namespace {namespace:?}: {error}"))?;
        let cpu = cpu.map(quantity::cpu).transpose()?;
        let memory = memory.as_deref().map(quantity::memory).transpose()?;
        Ok(Quota { namespace, weight, cpu, memory, running })
    }
}
