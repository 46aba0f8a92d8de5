//! A task with what it does at this moment.

use serde::Serialize;
use weir_api::{Task, TaskLive};

use super::{
    View,
    text::{bytes, count, micros},
};

/// The least CPU time that says something about a pace, microseconds.
const CPU_US_MIN: u64 = 1_000;

/// A task and, while it executes, what it does.
#[derive(Debug, Serialize)]
pub(crate) struct InspectedTask {
    #[serde(flatten)]
    pub(crate) task: Task,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) live: Option<TaskLive>,
}

impl View for InspectedTask {
    const COLUMNS: &'static [&'static str] = Task::COLUMNS;
    const WIDE_FROM: usize = Task::WIDE_FROM;

    fn name(&self) -> String {
        self.task.name()
    }

    fn cells(&self) -> Vec<String> {
        self.task.cells()
    }

    fn fields(&self, wide: bool) -> Vec<(&'static str, String)> {
        let mut fields = self.task.fields(wide);
        if let Some(live) = &self.live {
            fields.extend([("now", doing(live)), ("so far", so_far(live))]);
            fields.extend(fuel_left(live).map(|left| ("fuel left", left)));
            if !live.backtrace.is_empty() {
                fields.push(("stack", live.backtrace.join("\n")));
            }
        }
        fields
    }
}

/// What a task does, in words.
fn doing(live: &TaskLive) -> String {
    match &live.host_call {
        None => "computes".to_owned(),
        Some(call) => {
            let name = call.name.as_deref().unwrap_or("a host call, most likely of a file");
            format!("waits in {name}, for {}", micros(call.for_us))
        }
    }
}

/// What it has used so far.
fn so_far(live: &TaskLive) -> String {
    let mut used = Vec::new();
    used.extend(live.fuel.map(|fuel| format!("fuel {}", count(fuel))));
    used.push(format!("cpu {}", micros(live.cpu_us)));
    used.extend(live.memory.map(|memory| format!("memory {}", bytes(memory))));
    used.push(format!("wall {}", micros(live.wall_us)));
    used.join(", ")
}

/// What is left of the fuel, and how long that lasts if it goes on as so far.
fn fuel_left(live: &TaskLive) -> Option<String> {
    let (used, max) = (live.fuel?, live.fuel_max?);
    let left = max.saturating_sub(used);
    let percent = u128::from(left) * 100 / u128::from(max.max(1));
    let lasts_us =
        (live.cpu_us >= CPU_US_MIN).then(|| u128::from(left) * u128::from(live.cpu_us) / u128::from(used.max(1)));
    let lasts = lasts_us
        .map(|us| format!(", about {} of CPU time at its pace so far", micros(u64::try_from(us).unwrap_or(u64::MAX))));
    Some(format!("{} of {} ({percent} %){}", count(left), count(max), lasts.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use weir_api::LiveCall;

    use super::*;

    #[test]
    fn what_is_not_known_is_not_shown() {
        let live = TaskLive { fuel: Some(2_000_000), memory: Some(65_536), cpu_us: 1_500, ..TaskLive::default() };
        assert_eq!(
            (doing(&live), so_far(&live)),
            ("computes".to_owned(), "fuel 2 M, cpu 1.5 ms, memory 64 KiB, wall 0 µs".to_owned())
        );
        let live = TaskLive { fuel_max: Some(10_000_000), ..live };
        assert_eq!(fuel_left(&live).as_deref(), Some("8 M of 10 M (80 %), about 6 ms of CPU time at its pace so far"));
        let host_call = Some(LiveCall { name: None, for_us: 2_000_000 });
        let live = TaskLive { host_call, ..TaskLive::default() };
        assert_eq!(doing(&live), "waits in a host call, most likely of a file, for 2 s");
        assert!(!so_far(&live).contains("fuel"));
    }
}
