use weir_api::{Dimension, Task, TaskState, TaskWhy, WhyPending, units};
use weir_scheduler as scheduler;
use weir_wire::{id::RunId, kind::Condition};

/// Causes that exclude nodes, in one sentence; the table beside it has all of them.
const CAUSES_NAMED_MAX: usize = 3;

/// Why tasks of a run wait.
pub(crate) fn why(run: RunId, why: &scheduler::WhyPending) -> WhyPending {
    let ready = why.nodes.saturating_sub(why.nodes_not_ready);
    // Each node is counted once, under the first of its causes.
    let excluded: u32 = why
        .excluded
        .iter()
        .map(|(_, nodes)| *nodes)
        .chain(why.too_small.iter().chain(&why.exhausted).map(|(_, nodes)| *nodes))
        .chain([why.other_pool, why.max_per_node])
        .sum();
    WhyPending {
        run: run.to_string(),
        pending: why.pending.into(),
        retrying: why.backoff.into(),
        nodes: why.nodes.into(),
        fitting: ready.saturating_sub(excluded).into(),
        summary: summary(why, ready),
        dimensions: dimensions(why),
    }
}

/// Why a task does not run, given why tasks of its run are pending.
pub(crate) fn task(task: &Task, view: &scheduler::WhyPending, run: WhyPending, wall_ms: u64) -> TaskWhy {
    let on = task.node.as_deref().map(|node| format!(" on {node}")).unwrap_or_default();
    let summary = match task.state {
        TaskState::Pending if task.dormant.is_some() => {
            let why = task.dormant.as_deref().unwrap_or_default();
            format!("the task is not wanted at this moment{on}: {why}")
        }
        TaskState::Pending => match task.next_retry_ms {
            Some(at) => {
                let seconds = at.saturating_sub(wall_ms).div_ceil(1000);
                let after = task.reason.map(|reason| format!(" after {reason}")).unwrap_or_default();
                format!("the task waits {seconds} s for attempt {}{after}", task.attempt)
            }
            None => run.summary.clone(),
        },
        TaskState::Assigned => format!("the task is granted to a node and about to start{on}"),
        TaskState::Running => format!("the task runs{on}"),
        TaskState::Stopping => format!("the task was asked to stop and still runs{on}"),
        TaskState::Unknown => {
            let held = view.brake.map(|nodes| format!(": {}", braked(nodes))).unwrap_or_default();
            let node = task.node.as_deref().map_or("its node".to_owned(), |node| format!("node {node}"));
            format!("the task was running when {node} fell silent, and may still run{held}")
        }
        TaskState::Succeeded | TaskState::Failed | TaskState::Killed | TaskState::Lost | TaskState::Rejected => {
            format!("the task {}", ended(task))
        }
    };
    TaskWhy { task: task.id.clone(), state: task.state, summary, next_retry_ms: task.next_retry_ms, run }
}

/// How a task ended.
pub(crate) fn ended(task: &Task) -> String {
    let reason = task.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("has ended as {}{reason}", task.state)
}

fn dimensions(why: &scheduler::WhyPending) -> Vec<Dimension> {
    let one = |dimension: &str, nodes: u32, detail: &str| Dimension {
        dimension: dimension.to_owned(),
        nodes: nodes.into(),
        detail: detail.to_owned(),
    };
    let mut all = Vec::new();
    if why.nodes_not_ready > 0 {
        all.push(one("not_ready", why.nodes_not_ready, "not connected, not yet known, cordoned, or draining"));
    }
    let excluded = why.excluded.iter();
    all.extend(excluded.map(|(name, nodes)| one(name, *nodes, "they do not meet it")));
    let too_small = why.too_small.iter();
    all.extend(too_small.map(|(name, nodes)| one(name, *nodes, "too small for the task even when empty")));
    let exhausted = why.exhausted.iter();
    all.extend(exhausted.map(|(name, nodes)| one(name, *nodes, "in use by other tasks")));
    if why.other_pool > 0 {
        all.push(one("pool", why.other_pool, "dedicated to another pool, or to none"));
    }
    if why.max_per_node > 0 {
        all.push(one("max_per_node", why.max_per_node, "as many tasks of the run as one node may have"));
    }
    all.sort_by_key(|dimension| std::cmp::Reverse(dimension.nodes));
    if let Some(max) = why.max_running {
        let detail = format!("the run has its {max} tasks running already");
        all.insert(0, one("max_running", 0, &detail));
    }
    for part in &why.quota {
        let (used, limit) = (amount(part.part, part.used), amount(part.part, part.limit));
        let detail = format!("{used} of the namespace's {limit} are used by its production tasks");
        all.insert(0, one(&format!("quota {}", part.part), 0, &detail));
    }
    for ahead in &why.ahead_of {
        let (tasks, runs) = (count(ahead.tasks, "task"), count(ahead.runs.into(), "run"));
        let what = format!("{tasks} of {runs} of namespace {} with priority {}", ahead.namespace, ahead.priority);
        let (word, how) = match (ahead.shares, ahead.tasks) {
            (true, _) => ("beside", "share the room by the weights of the namespaces"),
            (false, 1) => ("ahead", "is served first"),
            (false, _) => ("ahead", "are served first"),
        };
        all.push(one(&format!("{word} {}", ahead.tier.as_str()), 0, &format!("{what} {how}")));
    }
    all
}

/// One sentence about a run that is only planned.
pub(crate) fn summary_of(why: &scheduler::WhyPending) -> String {
    summary(why, why.nodes.saturating_sub(why.nodes_not_ready))
}

/// One sentence, by what has to change first.
fn summary(why: &scheduler::WhyPending, ready: u32) -> String {
    let waiting = why.pending.saturating_sub(why.backoff);
    let tasks = waits(waiting);
    if why.paused {
        return "its job is paused; `resume` starts its tasks again".to_owned();
    }
    // What a vanished node held is not pending yet.
    if why.settled && why.brake.is_none() && !why.over_quota && !why.reconciling {
        return settled(why, ready);
    }
    if why.pending == 0 && why.brake.is_none() && !why.settled {
        return none_pending(why.assigned);
    }
    if let Some(waits) = dependencies(why) {
        return waits;
    }
    if why.over_quota {
        return "a task on one more node would exceed the quota of the namespace".to_owned();
    }
    if let Some(nodes) = why.brake {
        return braked(nodes);
    }
    if why.reconciling {
        return "the control plane has just started and waits for its nodes to say what they run".to_owned();
    }
    if waiting == 0 {
        let seconds = why.next_retry_ms.unwrap_or(0).div_ceil(1000);
        let (whose, first) = if why.backoff == 1 { ("its", "") } else { ("their", "the first ") };
        return format!("{} for {whose} next attempt, {first}for {seconds} s", waits(why.backoff));
    }
    if why.evicting > 0 {
        return format!("{} for others that were asked to make room", waits(why.evicting));
    }
    if let Some(part) = why.quota.first() {
        return beyond_quota(&tasks, part);
    }
    if let Some(max) = why.max_running {
        return format!("{tasks} because max_running = {max} is reached");
    }
    if why.nodes == 0 {
        return format!("{tasks} because no node has joined the cluster");
    }
    if ready == 0 {
        return format!("{tasks} because none of the {} nodes is ready", why.nodes);
    }
    // Each node is counted once, under the first of its causes.
    let excluded = why.excluded.iter().map(|(_, nodes)| *nodes);
    let never = excluded.chain(why.too_small.iter().map(|(_, nodes)| *nodes)).sum::<u32>() + why.other_pool;
    if never >= ready {
        let nodes = if ready == 1 {
            "the ready node cannot".to_owned()
        } else {
            format!("none of the {ready} ready nodes can")
        };
        return format!(
            "{tasks} because {nodes} ever run {}: {}",
            if waiting == 1 { "it" } else { "them" },
            never_causes(why)
        );
    }
    let left = ready - never;
    if why.max_per_node >= left {
        return format!("{tasks} because each node that could run more has as many of the run as max_per_node allows");
    }
    let nodes = count(left.into(), "node");
    if why.ahead > 0 {
        return format!("{tasks} for room on {nodes} behind {}", count(why.ahead.into(), "other run"));
    }
    let shares = if why.ahead_of.iter().any(|ahead| ahead.shares) { ", shared with other namespaces" } else { "" };
    format!("{tasks} for room on {nodes}{shares}")
}

/// What tasks that wait for no place wait for instead.
fn none_pending(assigned: u32) -> String {
    match assigned {
        0 => "no task is pending".to_owned(),
        1 => "no task is pending: 1 is assigned to a node, and has not reported a start".to_owned(),
        some => format!("no task is pending: {some} are assigned to nodes, and have not reported a start"),
    }
}

/// A quota holds the next task back.
fn beyond_quota(tasks: &str, part: &scheduler::QuotaUse) -> String {
    let of = |value| amount(part.part, value);
    let (used, needed, limit) = (of(part.used), of(part.needed), of(part.limit));
    format!(
        "{tasks} because with one more of them production tasks of the namespace would take {needed}, and its quota is \
         {limit}; at this moment they take {used}"
    )
}

/// So much of a part of a quota, with its unit.
fn amount(part: &str, value: u64) -> String {
    match part {
        "cpu" => {
            let text = format!("{}.{:03}", value / 1000, value % 1000);
            let cores = text.trim_end_matches('0').trim_end_matches('.');
            format!("{cores} core{}", if cores == "1" { "" } else { "s" })
        }
        "memory" => units::format_size(value),
        _ => count(value, "task"),
    }
}

fn braked(nodes: u32) -> String {
    format!(
        "{nodes} nodes vanished at once, so their work is not replaced until enough of them are back or an operator \
         releases the brake"
    )
}

/// Of a system job that has a task on each node that it can have one on.
fn settled(why: &scheduler::WhyPending, ready: u32) -> String {
    let unmet = why.excluded.iter().map(|(_, nodes)| *nodes).sum::<u32>() + why.other_pool;
    if ready == 0 {
        return format!("none of the {} nodes is ready", why.nodes);
    }
    if unmet < ready {
        return "no task is pending: each ready node that matches has one".to_owned();
    }
    format!("no ready node matches, so it has no task: {}", never_causes(why))
}

/// What excludes nodes for ever, most nodes first.
fn never_causes(why: &scheduler::WhyPending) -> String {
    let unmet = why.excluded.iter().map(|(name, nodes)| (*nodes, format!("not meet `{name}`")));
    let small = why.too_small.iter().map(|(name, nodes)| (*nodes, format!("not have enough {name} even when empty")));
    let pool = (why.other_pool > 0).then(|| (why.other_pool, "not belong to the pool".to_owned()));
    let mut causes: Vec<(u32, String)> = unmet.chain(small).chain(pool).collect();
    causes.sort_by_key(|(nodes, _)| std::cmp::Reverse(*nodes));
    let one = |(nodes, what): &(u32, String)| format!("{nodes} {} {what}", if *nodes == 1 { "does" } else { "do" });
    let named: Vec<String> = causes.iter().take(CAUSES_NAMED_MAX).map(one).collect();
    named.join(", ")
}

pub(crate) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn waits(tasks: u32) -> String {
    if tasks == 1 { "1 task waits".to_owned() } else { format!("{tasks} tasks wait") }
}

/// What the run waits for, if that is what holds it back.
fn dependencies(why: &scheduler::WhyPending) -> Option<String> {
    if why.assembling {
        return Some("the results that are its input are being put together".to_owned());
    }
    let one = |up: &scheduler::DependencyView| {
        let how = match up.condition {
            Condition::Success => "to succeed",
            Condition::Failure => "to fail",
            Condition::Any => "to end",
        };
        format!("run {} of `{}` {how}, which is {}", up.run, up.job, super::run::of(up.state))
    };
    let all: Vec<String> = why.dependency.iter().map(one).collect();
    (!all.is_empty()).then(|| format!("it waits for {}", all.join(", and for ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_what_has_to_change() {
        let base = scheduler::WhyPending { pending: 5, nodes: 2, ..scheduler::WhyPending::default() };
        let over_quota = |part, used, needed, limit| scheduler::WhyPending {
            quota: vec![scheduler::QuotaUse { part, used, needed, limit }],
            ..base.clone()
        };
        let (unmet, full) = (vec![("zone == b".to_owned(), 1)], vec![("cpu", 2)]);
        let cases = [
            (scheduler::WhyPending { pending: 0, ..base.clone() }, "no task is pending"),
            (
                scheduler::WhyPending { pending: 0, assigned: 3, ..base.clone() },
                "no task is pending: 3 are assigned to nodes, and have not reported a start",
            ),
            (
                over_quota("cpu", 0, 300, 200),
                "5 tasks wait because with one more of them production tasks of the namespace would take 0.3 cores, and \
                 its quota is 0.2 cores; at this moment they take 0 cores",
            ),
            (over_quota("memory", 1 << 20, 3 << 20, 2 << 20), "would take 3MiB, and its quota is 2MiB"),
            (
                over_quota("running", 1, 2, 1),
                "would take 2 tasks, and its quota is 1 task; at this moment they take 1 task",
            ),
            (scheduler::WhyPending { nodes: 0, ..base.clone() }, "no node has joined"),
            (
                scheduler::WhyPending { pending: 0, settled: true, ..base.clone() },
                "each ready node that matches has one",
            ),
            (
                scheduler::WhyPending {
                    pending: 0,
                    settled: true,
                    excluded: vec![("os == mars".into(), 2)],
                    ..base.clone()
                },
                "no ready node matches, so it has no task: 2 do not meet `os == mars`",
            ),
            (scheduler::WhyPending { nodes_not_ready: 2, ..base.clone() }, "none of the 2 nodes is ready"),
            (scheduler::WhyPending { reconciling: true, ..base.clone() }, "has just started"),
            (scheduler::WhyPending { paused: true, ..base.clone() }, "is paused"),
            (scheduler::WhyPending { assembling: true, ..base.clone() }, "put together"),
            (scheduler::WhyPending { over_quota: true, ..base.clone() }, "exceed the quota"),
            (scheduler::WhyPending { brake: Some(9), ..base.clone() }, "9 nodes vanished at once"),
            (scheduler::WhyPending { backoff: 5, next_retry_ms: Some(1500), ..base.clone() }, "the first for 2 s"),
            (scheduler::WhyPending { max_running: Some(1), ..base.clone() }, "max_running = 1"),
            (scheduler::WhyPending { too_small: vec![("memory", 2)], ..base.clone() }, "can ever run"),
            (
                scheduler::WhyPending { excluded: unmet.clone(), too_small: vec![("cpu", 1)], ..base.clone() },
                "none of the 2 ready nodes can ever run them: 1 does not meet `zone == b`, 1 does not have enough cpu",
            ),
            (
                scheduler::WhyPending { pending: 1, other_pool: 2, ..base.clone() },
                "ever run it: 2 do not belong to the pool",
            ),
            (
                scheduler::WhyPending { excluded: unmet, max_per_node: 1, ahead: 1, ..base.clone() },
                "max_per_node allows",
            ),
            (
                scheduler::WhyPending { exhausted: full.clone(), ahead: 3, ..base.clone() },
                "on 2 nodes behind 3 other runs",
            ),
            (scheduler::WhyPending { exhausted: full.clone(), ahead: 1, ..base.clone() }, "behind 1 other run"),
            (scheduler::WhyPending { exhausted: full, ..base.clone() }, "for room on 2 nodes"),
        ];
        for (view, expected) in cases {
            let shown = why(RunId(1), &view);
            assert!(shown.summary.contains(expected), "{} / {expected}", shown.summary);
        }
    }

    #[test]
    fn a_task_says_why_it_is_dormant_and_that_the_brake_holds_it() {
        let held = scheduler::WhyPending { brake: Some(4), ..scheduler::WhyPending::default() };
        let told = |state, dormant: Option<&str>| {
            let task = Task { state, node: Some("n1".into()), dormant: dormant.map(str::to_owned), ..TASK };
            super::task(&task, &held, why(RunId(1), &held), 0).summary
        };
        let unknown = told(TaskState::Unknown, None);
        assert!(
            unknown.starts_with(
                "the task was running when node n1 fell silent, and may still run: 4 nodes vanished at once"
            ),
            "{unknown}"
        );
        let dormant = told(TaskState::Pending, Some("its node is gone"));
        assert_eq!(dormant, "the task is not wanted at this moment on n1: its node is gone");
    }

    const TASK: Task = Task {
        id: String::new(),
        run: String::new(),
        job: String::new(),
        namespace: String::new(),
        index: 0,
        state: TaskState::Pending,
        reason: None,
        source: None,
        attempt: 1,
        exit_code: None,
        node: None,
        usage: None,
        trap: None,
        message: None,
        result_size: None,
        log_size: None,
        progress: None,
        next_retry_ms: None,
        dormant: None,
    };

    #[test]
    fn what_is_ahead_is_told_from_what_shares() {
        let ahead = |shares: bool, tasks: u64| scheduler::Ahead {
            tier: weir_wire::kind::Tier::Preemptible,
            priority: 50,
            namespace: "a".to_owned(),
            runs: 1,
            tasks,
            shares,
        };
        let base = scheduler::WhyPending { pending: 1, nodes: 1, exhausted: vec![("cpu", 1)], ..Default::default() };
        let view = scheduler::WhyPending { ahead_of: vec![ahead(false, 1), ahead(true, 3)], ..base };
        let shown = why(RunId(1), &view);
        let lines: Vec<String> = shown.dimensions.iter().map(|d| format!("{}: {}", d.dimension, d.detail)).collect();
        assert_eq!(lines[1], "ahead preemptible: 1 task of 1 run of namespace a with priority 50 is served first");
        assert!(lines[2].starts_with("beside preemptible: 3 tasks of 1 run of namespace a"), "{}", lines[2]);
        assert!(lines[2].ends_with("share the room by the weights of the namespaces"), "{}", lines[2]);
        assert!(shown.summary.ends_with("for room on 1 node, shared with other namespaces"), "{}", shown.summary);
    }
}
