//! Tasks of the trace as lines of a workload: what the trace calls a task is a run here, and its instances are the tasks.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use weir_wire::{limits, units::MemBytes};

use super::{super::error::Error, mebibytes};

/// One line of `batch_task.csv` that is kept.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) job: String,
    pub(super) task: String,
    pub(super) count: u32,
    pub(super) start: u64,
    pub(super) seconds: u64,
    pub(super) cores: f64,
    pub(super) memory: MemBytes,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    at: u64,
    job: &'a str,
    count: u32,
    cpu: f64,
    memory: String,
    duration: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    after: Vec<&'a str>,
}

/// Number and dependencies out of a name such as `R5_3_4`; none for a task that stands by itself.
pub(super) fn dag(name: &str) -> Option<(u32, Vec<u32>)> {
    let digits = name.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    if digits.len() == name.len() {
        return None;
    }
    let mut parts = digits.split('_').map(str::parse::<u32>);
    let number = parts.next()?.ok()?;
    // What follows the numbers, such as a stage, says nothing about dependencies.
    Some((number, parts.map_while(Result::ok).filter(|other| *other != number).collect()))
}

/// One line for each row, ordered by time.
pub(super) fn trace(rows: Vec<Row>) -> Result<String, Error> {
    let mut jobs = BTreeMap::<String, Vec<Row>>::new();
    for row in rows {
        jobs.entry(row.job.clone()).or_default().push(row);
    }
    let first = jobs.values().flatten().map(|row| row.start).min().unwrap_or(0);
    let mut lines = Vec::new();
    for (at, rows) in jobs.values().enumerate() {
        lines.extend(lines_of(at, rows, first)?);
    }
    lines.sort_by_key(|(at, _)| *at);
    Ok(lines.into_iter().map(|(_, line)| line + "\n").collect())
}

/// The lines of one job, each behind those that it is after.
fn lines_of(place: usize, rows: &[Row], first: u64) -> Result<Vec<(u64, String)>, Error> {
    let graph: Vec<Option<(u32, Vec<u32>)>> = rows.iter().map(|row| dag(&row.task)).collect();
    let by_number: BTreeMap<u32, usize> =
        graph.iter().enumerate().filter_map(|(at, dag)| Some((dag.as_ref()?.0, at))).collect();
    let after: Vec<Vec<usize>> = graph
        .iter()
        .map(|dag| {
            let numbers = dag.iter().flat_map(|(_, after)| after);
            let known: BTreeSet<usize> = numbers.filter_map(|number| by_number.get(number)).copied().collect();
            known.into_iter().take(limits::DEPENDENCIES_MAX).collect()
        })
        .collect();
    let names: Vec<String> = (0..rows.len()).map(|at| name(place, &rows[at].job, at)).collect();
    let submitted = rows.iter().map(|row| row.start).min().unwrap_or(first) - first;
    let (mut due, mut lines) = (vec![0; rows.len()], Vec::with_capacity(rows.len()));
    for at in order(rows, &after)? {
        let row = &rows[at];
        // A stage is submitted with its job and waits for the stages before it, but never before these are submitted.
        let own = if after[at].is_empty() { row.start - first } else { submitted };
        due[at] = after[at].iter().map(|other| due[*other]).fold(own, u64::max);
        let line = Line {
            at: due[at],
            job: &names[at],
            count: row.count,
            cpu: (row.cores * 1000.0).round() / 1000.0,
            memory: mebibytes(row.memory),
            duration: row.seconds,
            after: after[at].iter().map(|other| names[*other].as_str()).collect(),
        };
        let text = serde_json::to_string(&line).map_err(|error| Error::file(&row.file, error.to_string()))?;
        lines.push((due[at], text));
    }
    Ok(lines)
}

/// The rows of a job so that each comes behind those that it is after.
fn order(rows: &[Row], after: &[Vec<usize>]) -> Result<Vec<usize>, Error> {
    let mut followers = vec![Vec::new(); rows.len()];
    for (at, before) in after.iter().enumerate() {
        before.iter().for_each(|other| followers[*other].push(at));
    }
    let mut missing: Vec<usize> = after.iter().map(Vec::len).collect();
    let mut order: Vec<usize> = (0..rows.len()).filter(|at| missing[*at] == 0).collect();
    let mut next = 0;
    while let Some(at) = order.get(next).copied() {
        next += 1;
        for follower in &followers[at] {
            missing[*follower] -= 1;
            if missing[*follower] == 0 {
                order.push(*follower);
            }
        }
    }
    match missing.iter().position(|count| *count > 0).and_then(|at| rows.get(at)) {
        None => Ok(order),
        Some(row) => {
            let what = format!("task {} of job {} waits for itself", row.task, row.job);
            Err(Error::line(&row.file, row.line, what))
        }
    }
}

/// A valid name that no other job has.
fn name(place: usize, job: &str, task: usize) -> String {
    let clean: String =
        job.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{}-{place}-{task}", clean.trim_matches('-').chars().take(40).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_a_task_is_after() {
        for (name, expected) in [
            ("M1", Some((1, vec![]))),
            ("R2_1", Some((2, vec![1]))),
            ("J5_3_4", Some((5, vec![3, 4]))),
            ("R4_2_Stg1", Some((4, vec![2]))),
            ("M3_3", Some((3, vec![]))),
            ("task_Nzg3ODAw==", None),
            ("MergeTask", None),
            ("12", None),
            ("M", None),
            ("", None),
        ] {
            assert_eq!(dag(name), expected, "{name}");
        }
    }
}
