//! The workload, as `trace.jsonl` describes it: one JSON object a line, each a run of a job.

use std::{collections::BTreeSet, io::BufRead, path::Path};

use serde::Deserialize;
use weir_wire::{
    id::{JobName, Namespace},
    kind::{Condition, Dependency, Kind, Service, Tier},
    limits as wire,
    placement::Placement,
    resources::Resources,
};

use super::{
    constraint,
    error::Error,
    limits::{COUNT_MAX, DURATIONS_MAX, ITEMS_MAX, LINE_BYTES_MAX, TASKS_MAX, WORKLOAD_FILE_BYTES_MAX},
    quantity,
};

/// All runs, by the time of their submission.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Workload {
    pub(crate) items: Vec<Item>,
}

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    /// The line of the file.
    pub(crate) line: usize,
    /// When it is submitted, nanoseconds.
    pub(crate) at: u64,
    pub(crate) namespace: Namespace,
    pub(crate) job: JobName,
    pub(crate) kind: Kind,
    pub(crate) tier: Tier,
    pub(crate) priority: u8,
    pub(crate) count: u32,
    pub(crate) max_running: u32,
    pub(crate) resources: Resources,
    pub(crate) usage: Fractions,
    pub(crate) length: Length,
    /// When a run that does not end by itself is stopped, nanoseconds after its submission.
    pub(crate) stop_after: Option<u64>,
    pub(crate) placement: Placement,
    pub(crate) after: Vec<Dependency>,
}

/// What tasks use of what they reserve, millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fractions {
    pub(crate) cpu: u32,
    pub(crate) memory: u32,
}

/// How long tasks run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Length {
    /// Until they are stopped.
    Forever,
    /// One for each task, nanoseconds; from the beginning again when there are more tasks.
    List(Vec<u64>),
    /// All equally likely.
    Uniform { min: u64, max: u64 },
    /// Mostly shorter than the mean, with a tail.
    Exponential { mean: u64 },
    /// A bell on a logarithmic scale; sigma in millionths.
    LogNormal { mean: u64, sigma: u32 },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default)]
    at: f64,
    job: String,
    #[serde(default = "default_namespace")]
    namespace: String,
    #[serde(default)]
    kind: KindText,
    #[serde(default)]
    tier: TierText,
    #[serde(default = "default_priority")]
    priority: u8,
    #[serde(default = "default_count")]
    count: u32,
    #[serde(default)]
    max_running: u32,
    #[serde(default = "default_cpu")]
    cpu: f64,
    #[serde(default = "default_memory")]
    memory: String,
    duration: Option<DurationText>,
    usage: Option<UsageText>,
    #[serde(default)]
    constraints: Vec<String>,
    spread: Option<String>,
    #[serde(default)]
    max_per_node: u32,
    pool: Option<String>,
    #[serde(default)]
    after: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindText {
    #[default]
    Batch,
    Function,
    Service,
    System,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TierText {
    Production,
    #[default]
    Preemptible,
    Revocable,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "duration is a number of seconds, a list of them, {min, max}, {mean} or {mean, sigma}")]
enum DurationText {
    Fixed(f64),
    List(Vec<f64>),
    Drawn(Drawn),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drawn {
    min: Option<f64>,
    max: Option<f64>,
    mean: Option<f64>,
    sigma: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "usage is a number from 0 to 1, or {cpu, memory}")]
enum UsageText {
    Both(f64),
    Each(UsageEach),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageEach {
    #[serde(default = "one")]
    cpu: f64,
    #[serde(default = "one")]
    memory: f64,
}

fn default_namespace() -> String {
    "default".to_owned()
}

const fn default_priority() -> u8 {
    50
}

const fn default_count() -> u32 {
    1
}

const fn default_cpu() -> f64 {
    0.1
}

fn default_memory() -> String {
    "64MiB".to_owned()
}

const fn one() -> f64 {
    1.0
}

impl Workload {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or a line is not JSON, has an unknown key, a value out of range or a dependency on a job
    /// that no earlier line has.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let failed = |error: std::io::Error| Error::file(&name, error.to_string());
        let file = std::fs::File::open(path).map_err(failed)?;
        let limited = std::io::Read::take(file, WORKLOAD_FILE_BYTES_MAX + 1);
        Self::parse(&name, std::io::BufReader::new(limited))
    }

    /// Reads the lines of a file of this name.
    ///
    /// # Errors
    /// As [`Workload::read`].
    pub fn parse(file: &str, mut input: impl BufRead) -> Result<Self, Error> {
        let (mut items, mut text, mut bytes) = (Vec::new(), String::new(), 0u64);
        for line in 1.. {
            text.clear();
            let limited = &mut std::io::Read::take(&mut input, LINE_BYTES_MAX as u64 + 1);
            let read = limited.read_line(&mut text).map_err(|error| Error::line(file, line, error.to_string()))?;
            bytes += read as u64;
            if read > LINE_BYTES_MAX {
                return Err(Error::line(file, line, format!("has more than {LINE_BYTES_MAX} bytes")));
            }
            if bytes > WORKLOAD_FILE_BYTES_MAX {
                return Err(Error::file(file, format!("has more than {WORKLOAD_FILE_BYTES_MAX} bytes")));
            }
            if read == 0 {
                break;
            }
            if text.trim().is_empty() {
                continue;
            }
            if items.len() >= ITEMS_MAX {
                return Err(Error::line(file, line, format!("a workload has at most {ITEMS_MAX} lines")));
            }
            items.push(parse_line(&text, line).map_err(|what| Error::line(file, line, what))?);
        }
        items.sort_by_key(|item: &Item| item.at);
        Self { items }.check(file)
    }

    /// All tasks that are asked for; a system job counts once.
    #[must_use]
    pub fn tasks(&self) -> u64 {
        self.items.iter().map(|item| u64::from(item.count)).sum()
    }

    /// Whether nothing is submitted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The same without revocable work.
    #[must_use]
    pub fn without_revocable(&self) -> Self {
        let kept = self.items.iter().filter(|item| item.tier != Tier::Revocable);
        Self { items: kept.cloned().collect() }
    }

    fn check(self, file: &str) -> Result<Self, Error> {
        if self.is_empty() {
            return Err(Error::file(file, "submits nothing"));
        }
        if self.tasks() > TASKS_MAX {
            return Err(Error::file(file, format!("has {} tasks, and at most {TASKS_MAX} are allowed", self.tasks())));
        }
        let mut known = BTreeSet::new();
        for item in &self.items {
            for dependency in &item.after {
                if !known.contains(&(&item.namespace, &dependency.job)) {
                    let what = format!("after: no job {} is submitted before this one", dependency.job);
                    return Err(Error::line(file, item.line, what));
                }
            }
            known.insert((&item.namespace, &item.job));
        }
        Ok(self)
    }
}

fn parse_line(text: &str, line: usize) -> Result<Item, String> {
    let parsed: Line = serde_json::from_str(text).map_err(|error| {
        // Each line is parsed by itself, so its number in there says nothing.
        let text = error.to_string();
        text.rsplit_once(" at line ")
            .map_or_else(|| text.clone(), |(what, _)| format!("{what}, column {}", error.column()))
    })?;
    parsed.check(line)
}

impl Line {
    fn check(self, line: usize) -> Result<Item, String> {
        let placement = self.placement()?;
        let long_running = matches!(self.kind, KindText::Service | KindText::System);
        let (length, stop_after) = match (self.duration, long_running) {
            (Some(DurationText::Fixed(value)), true) => (Length::Forever, Some(quantity::seconds("duration", value)?)),
            (None, true) => (Length::Forever, None),
            (Some(_), true) => return Err("the duration of a service or system job is one number".to_owned()),
            (Some(duration), false) => (duration.check()?, None),
            (None, false) => return Err("duration is missing".to_owned()),
        };
        let usage = match self.usage {
            None => (1.0, 1.0),
            Some(UsageText::Both(value)) => (value, value),
            Some(UsageText::Each(each)) => (each.cpu, each.memory),
        };
        if self.priority > 100 {
            return Err(format!("priority is {}, and is to be from 0 to 100", self.priority));
        }
        if !(1..=COUNT_MAX).contains(&self.count) {
            return Err(format!("count is {}, and is to be from 1 to {COUNT_MAX}", self.count));
        }
        if self.count != 1 && matches!(self.kind, KindText::Function | KindText::System) {
            return Err("a function or system job has no count".to_owned());
        }
        if self.after.len() > wire::DEPENDENCIES_MAX {
            return Err(format!("a job is after at most {} others", wire::DEPENDENCIES_MAX));
        }
        Ok(Item {
            line,
            at: quantity::seconds("at", self.at)?,
            namespace: self.namespace.parse().map_err(|error| format!("namespace: {error}"))?,
            job: self.job.parse().map_err(|error| format!("job: {error}"))?,
            kind: self.kind.wire(),
            tier: self.tier.wire(),
            priority: self.priority,
            count: self.count,
            max_running: self.max_running,
            resources: quantity::resources(self.cpu, &self.memory)?,
            usage: Fractions {
                cpu: quantity::fraction("usage of cpu", usage.0)?,
                memory: quantity::fraction("usage of memory", usage.1)?,
            },
            length,
            stop_after,
            placement,
            after: self.after.iter().map(|text| dependency(text)).collect::<Result<_, _>>()?,
        })
    }

    fn placement(&self) -> Result<Placement, String> {
        if self.constraints.len() > wire::CONSTRAINTS_MAX {
            return Err(format!("a job has at most {} constraints", wire::CONSTRAINTS_MAX));
        }
        let mut constraints =
            self.constraints.iter().map(|text| constraint::parse(text)).collect::<Result<Vec<_>, _>>()?;
        constraints.sort();
        Ok(Placement {
            constraints,
            affinities: Vec::new(),
            spread: self.spread.clone(),
            max_per_node: self.max_per_node,
            pool: self.pool.clone(),
        })
    }
}

/// A job, with `:failure` or `:any` behind it unless its success is meant.
fn dependency(text: &str) -> Result<Dependency, String> {
    let (job, condition) = match text.split_once(':') {
        None => (text, Condition::Success),
        Some((job, "success")) => (job, Condition::Success),
        Some((job, "failure")) => (job, Condition::Failure),
        Some((job, "any")) => (job, Condition::Any),
        Some((_, other)) => return Err(format!("after: {other:?} is none of success, failure, any")),
    };
    Ok(Dependency { job: job.parse().map_err(|error| format!("after: {error}"))?, condition })
}

impl DurationText {
    fn check(self) -> Result<Length, String> {
        let seconds = |value| quantity::seconds("duration", value);
        match self {
            Self::Fixed(value) => Ok(Length::List(vec![seconds(value)?])),
            Self::List(list) if list.is_empty() || list.len() > DURATIONS_MAX => {
                Err(format!("a list of durations has from 1 to {DURATIONS_MAX} of them"))
            }
            Self::List(list) => Ok(Length::List(list.into_iter().map(seconds).collect::<Result<_, _>>()?)),
            Self::Drawn(Drawn { min: Some(min), max: Some(max), mean: None, sigma: None }) if min <= max => {
                Ok(Length::Uniform { min: seconds(min)?, max: seconds(max)? })
            }
            Self::Drawn(Drawn { min: None, max: None, mean: Some(mean), sigma: None }) => {
                Ok(Length::Exponential { mean: seconds(mean)? })
            }
            Self::Drawn(Drawn { min: None, max: None, mean: Some(mean), sigma: Some(sigma) }) => {
                let sigma = quantity::whole(sigma * 1e6, 4e6).and_then(|value| u32::try_from(value).ok());
                Ok(Length::LogNormal { mean: seconds(mean)?, sigma: sigma.ok_or("sigma is to be from 0 to 4")? })
            }
            Self::Drawn(_) => Err("a drawn duration is {min, max}, {mean} or {mean, sigma}".to_owned()),
        }
    }
}

impl KindText {
    const fn wire(self) -> Kind {
        match self {
            Self::Batch => Kind::Batch,
            Self::Function => Kind::Function,
            Self::Service => Kind::Service(Service { healthy_after: core::time::Duration::from_secs(10) }),
            Self::System => Kind::System,
        }
    }
}

impl TierText {
    const fn wire(self) -> Tier {
        match self {
            Self::Production => Tier::Production,
            Self::Preemptible => Tier::Preemptible,
            Self::Revocable => Tier::Revocable,
        }
    }
}
