//! Outputs as lines of text, with short names for runs.

use std::collections::BTreeMap;

use weir_scheduler::{NodeView, Output, Reply};
use weir_wire::{
    codec::Document,
    id::RunId,
    key,
    message::{Extended, ToExecutor},
    node::NodeRecord,
    record::{Block, Delta, JobState, Quota, RunDelta, RunMeta, SubmissionSegment},
    txn::Txn,
};

/// Names of runs in the order in which they were first seen: r1, r2, …
#[derive(Debug, Default)]
pub(crate) struct Names {
    runs: BTreeMap<RunId, String>,
}

impl Names {
    pub(crate) fn of(&mut self, run: RunId) -> String {
        let next = format!("r{}", self.runs.len() + 1);
        self.runs.entry(run).or_insert(next).clone()
    }

    pub(crate) fn find(&self, name: &str) -> RunId {
        let found = self.runs.iter().find(|(_, known)| *known == name);
        *found.unwrap_or_else(|| panic!("no run is called {name}")).0
    }

    /// One line for an output; nothing for those that only wake people.
    pub(crate) fn show(&mut self, output: &Output) -> Option<String> {
        Some(match output {
            Output::Commit { txn, object } => {
                let object = object
                    .as_ref()
                    .map_or(String::new(), |(name, bytes)| format!(" after object {name} ({} bytes)", bytes.len()));
                format!("commit {} in term {}{object}{}", txn.seq, txn.term, self.txn(txn))
            }
            Output::Send { session, message } => format!("s{} <- {}", session.0, self.message(message)),
            Output::Close { session } => format!("s{} closed", session.0),
            Output::Reply { id, result } => match result {
                Ok(Reply::Job { version, created }) => format!("reply {}: version {version}, created {created}", id.0),
                Ok(Reply::Runs { runs, repeated }) => {
                    let runs: Vec<String> = runs.iter().map(|run| self.of(*run)).collect();
                    format!("reply {}: runs {}{}", id.0, runs.join(" "), if *repeated { ", repeated" } else { "" })
                }
                Ok(Reply::Stopping) => format!("reply {}: stopping", id.0),
                Ok(Reply::Following(on)) => format!("reply {}: following {on}", id.0),
                Ok(Reply::Inspecting) => format!("reply {}: inspecting", id.0),
                Ok(Reply::Done) => format!("reply {}: done", id.0),
                Err(error) => format!("reply {}: error: {error}", id.0),
            },
            Output::Inspected(inspected) => format!("seen for {}: {:?}", inspected.token, inspected.seen),
            Output::TaskOutput(output) => format!("output of {}.{}", self.of(output.run), output.index),
            Output::NextInstant { job, version, after_ms, .. } => {
                format!("next instant of {job} version {version} after {after_ms}")
            }
            Output::AssembleInput { run, from, items } => {
                format!("assemble input of {} from {}, items {items}", self.of(*run), self.of(*from))
            }
            Output::Changed { .. } => return None,
        })
    }

    fn txn(&mut self, txn: &Txn) -> String {
        let mut text = String::new();
        for (name, value) in &txn.puts {
            let line = if name.starts_with(key::LOG) {
                let delta = Delta::from_bytes(value).expect("a delta");
                let runs: Vec<String> = delta.runs.iter().map(|run| self.delta(run)).collect();
                format!("log: {}", runs.join("; "))
            } else if name.starts_with(key::NODES) {
                format!("{name}{}", registration(&NodeRecord::from_bytes(value).expect("a registration")))
            } else if name.starts_with(key::SUBMISSIONS) {
                let segment = SubmissionSegment::from_bytes(value).expect("a segment");
                let keys: Vec<&str> = segment.keys.iter().map(|key| key.key.as_str()).collect();
                format!("sub: {} runs, keys {keys:?}", segment.runs.len())
            } else if name.starts_with(key::JOB_STATES) {
                let JobState { job, paused, cron_through_ms, .. } = JobState::from_bytes(value).expect("a job state");
                format!("state of {job}: paused {paused}, through {cron_through_ms}")
            } else if name.starts_with(key::QUOTAS) {
                let quota = Quota::from_bytes(value).expect("a quota");
                format!("quota: weight {}, {:?} {:?} {:?}", quota.weight, quota.cpu, quota.memory, quota.running)
            } else {
                match key::parse_checkpoint(name) {
                    Some(key::Checkpoint::Block(run, block)) => {
                        let value = Block::from_bytes(value).expect("a block");
                        let (run, applied) = (self.of(run), value.applied);
                        let fenced: Vec<u32> = value.fenced.iter().map(|grant| grant.index).collect();
                        let fenced = if fenced.is_empty() { String::new() } else { format!(", fenced {fenced:?}") };
                        format!("block {run}/{block} through {applied}: {:?}{fenced}", value.states)
                    }
                    Some(key::Checkpoint::Meta(run)) => {
                        let value = RunMeta::from_bytes(value).expect("a run checkpoint");
                        let attempts = value.usage.attempts;
                        format!("meta {} through {}: {attempts} attempts", self.of(run), value.applied)
                    }
                    None => name.clone(),
                }
            };
            text.push_str(&format!("\n  put {line}"));
        }
        for range in &txn.deletes {
            let end = range.end.replace('\0', "\\0");
            text.push_str(&format!("\n  delete {}..{end}", range.start));
        }
        text
    }

    fn delta(&mut self, delta: &RunDelta) -> String {
        let mut parts = vec![self.of(delta.run)];
        parts.extend(delta.ended.iter().map(|range| format!("{}+{} {:?}", range.first, range.len, range.status)));
        for exception in delta.exceptions.iter() {
            let (index, failures, reason) = (exception.index, exception.failures, exception.failure.reason);
            parts.push(format!("[{index}: {reason}, {failures} failures, {:?}]", exception.status));
        }
        if let Some(reason) = delta.stop {
            parts.push(format!("stop: {reason}"));
        }
        parts.extend(delta.desired.map(|desired| format!("{desired} desired")));
        parts.extend(delta.target.map(|target| format!("target {target}")));
        parts.extend(delta.pins.iter().map(|pin| format!("{} on {}", pin.index, pin.node)));
        if delta.usage.attempts > 0 {
            parts.push(format!("{} attempts", delta.usage.attempts));
        }
        if !delta.inline.is_empty() {
            parts.push(format!("{} entries", delta.inline.len()));
        }
        for grant in &delta.fenced {
            parts.push(format!("{} fenced as {}/{} on {}", grant.index, grant.term, grant.grant, grant.node));
        }
        parts.extend(delta.unfenced.iter().map(|index| format!("{index} unfenced")));
        if delta.in_segment {
            parts.push("in segment".to_owned());
        }
        parts.join(" ")
    }

    fn message(&mut self, message: &ToExecutor) -> String {
        match message {
            ToExecutor::Welcome(welcome) => format!("welcome to term {}", welcome.term),
            ToExecutor::Refuse(refuse) => format!("refuse {:?}", refuse.code),
            ToExecutor::Define(work) => format!("define {}", self.of(work.run)),
            ToExecutor::DefineMore(Extended(work)) => format!("define more {}", self.of(work.run)),
            ToExecutor::Grant(grant) => {
                let (first, len, ordinal) = (grant.first, grant.len, grant.ordinal);
                format!("grant {}/{} {}.{first}+{len} attempt {ordinal}", grant.term, grant.grant, self.of(grant.run))
            }
            ToExecutor::Stop(stop) => {
                let index = stop.index.map_or(String::new(), |index| format!(".{index}"));
                let grant = stop.grant.map_or(String::new(), |grant| format!(" grant {grant}"));
                format!("stop {}{index}{grant}: {}", self.of(stop.run), stop.reason)
            }
            ToExecutor::Ack(ack) => format!("ack {}", ack.through),
            ToExecutor::Renewed(renewed) => format!("renewed {}", renewed.token),
            ToExecutor::Forget(run) => format!("forget {}", self.of(*run)),
            ToExecutor::Present => "present".to_owned(),
            ToExecutor::Inspect(inspect) => {
                format!("inspect {}.{} for {}", self.of(inspect.run), inspect.index, inspect.token)
            }
            ToExecutor::Follow(follow) => format!("follow {}.{} {}", self.of(follow.run), follow.index, follow.on),
        }
    }
}

/// What an operator and the brake did with a node, behind its name.
fn registration(record: &NodeRecord) -> String {
    let mut text = String::new();
    if record.cordoned {
        text.push_str(" cordoned");
    }
    if let Some(drain) = &record.drain {
        text.push_str(&format!(" drain within {:?}", drain.deadline));
    }
    for (name, value) in &record.labels {
        text.push_str(&format!(" {name}={value}"));
    }
    if record.gone_ms.is_some() {
        text.push_str(" gone");
    }
    text
}

/// One line for a node.
pub(crate) fn node(node: &NodeView) -> String {
    let mut text = format!("{} {}, {} of {} grants", node.node, node.state.as_str(), node.grants, node.lanes_max);
    if let Some(fuel) = node.fuel_per_s {
        text.push_str(&format!(", {fuel} fuel/s"));
    }
    if node.cordoned {
        text.push_str(", cordoned");
    }
    if node.held {
        text.push_str(", held");
    }
    if let Some(drain) = &node.drain {
        let tasks = format!("{:?}", drain.tasks);
        let tasks = tasks.trim_start_matches("KindCounts { ").trim_end_matches(" }");
        let some: Vec<&str> = tasks.split(", ").filter(|count| !count.ends_with(": 0")).collect();
        let left = drain.left.map_or(String::new(), |left| format!(" within {left:?}"));
        text.push_str(&format!(", drained {}{left}: {}", drain.drained, some.join(", ")));
    }
    if !node.labels.is_empty() {
        text.push_str(&format!(", {:?}", node.attributes));
    }
    text
}

/// The fields of a debugged struct that say something.
pub(crate) fn facts(debug: &str) -> String {
    let inner = debug.split_once(" { ").map_or("", |(_, fields)| fields.strip_suffix(" }").unwrap_or(fields));
    let (mut fields, mut depth) = (vec![String::new()], 0);
    for c in inner.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            fields.push(String::new());
        } else if let Some(field) = fields.last_mut() {
            field.push(c);
        }
    }
    let says = |field: &&str| ![": 0", ": []", ": None", ": false"].iter().any(|nothing| field.ends_with(nothing));
    fields.iter().map(|field| field.trim()).filter(says).collect::<Vec<_>>().join(", ")
}
