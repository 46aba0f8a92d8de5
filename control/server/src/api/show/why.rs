use weir_api::{Dimension, WhyPending};
use weir_scheduler as scheduler;
use weir_wire::id::RunId;

/// Why tasks of a run wait.
pub(crate) fn why(run: RunId, why: &scheduler::WhyPending) -> WhyPending {
    let ready = why.nodes.saturating_sub(why.nodes_not_ready);
    let excluded: u32 = why
        .excluded
        .iter()
        .map(|(_, nodes)| *nodes)
        .chain(why.too_small.iter().chain(&why.exhausted).map(|(_, nodes)| *nodes))
        .max()
        .unwrap_or(0);
    WhyPending {
        run: run.to_string(),
        pending: why.pending.into(),
        retrying: why.backoff.into(),
        nodes: why.nodes.into(),
        // A node can be counted under several dimensions, so this is the most that can be fitting.
        fitting: ready.saturating_sub(excluded).into(),
        summary: summary(why, ready),
        dimensions: dimensions(why),
    }
}

fn dimensions(why: &scheduler::WhyPending) -> Vec<Dimension> {
    let one = |dimension: &str, nodes: u32, detail: &str| Dimension {
        dimension: dimension.to_owned(),
        nodes: nodes.into(),
        detail: detail.to_owned(),
    };
    let mut all = Vec::new();
    if why.nodes_not_ready > 0 {
        all.push(one("not_ready", why.nodes_not_ready, "not connected, not yet known, or draining"));
    }
    let excluded = why.excluded.iter();
    all.extend(excluded.map(|(name, nodes)| one(name, *nodes, "the node does not meet it")));
    let too_small = why.too_small.iter();
    all.extend(too_small.map(|(name, nodes)| one(name, *nodes, "too small for the task even when empty")));
    let exhausted = why.exhausted.iter();
    all.extend(exhausted.map(|(name, nodes)| one(name, *nodes, "in use by other tasks")));
    all.sort_by_key(|dimension| std::cmp::Reverse(dimension.nodes));
    if let Some(max) = why.max_running {
        let detail = format!("the run has its {max} tasks running already");
        all.insert(0, one("max_running", 0, &detail));
    }
    all
}

/// One sentence, by what has to change first.
fn summary(why: &scheduler::WhyPending, ready: u32) -> String {
    let waiting = why.pending.saturating_sub(why.backoff);
    if why.pending == 0 {
        return "no task is pending".to_owned();
    }
    if why.reconciling {
        return "the control plane has just started and waits for its nodes to say what they run".to_owned();
    }
    if waiting == 0 {
        let seconds = why.next_retry_ms.unwrap_or(0).div_ceil(1000);
        return format!("{} tasks wait for their next attempt, the first for {seconds} s", why.backoff);
    }
    if let Some(max) = why.max_running {
        return format!("{waiting} tasks wait because max_running = {max} is reached");
    }
    if why.nodes == 0 {
        return format!("{waiting} tasks wait because no node has joined the cluster");
    }
    if ready == 0 {
        return format!("{waiting} tasks wait because none of the {} nodes is ready", why.nodes);
    }
    let never: u32 = why.excluded.iter().map(|(_, nodes)| *nodes).max().unwrap_or(0);
    let small: u32 = why.too_small.iter().map(|(_, nodes)| *nodes).max().unwrap_or(0);
    if never.max(small) >= ready {
        return format!("{waiting} tasks wait because none of the {ready} ready nodes can ever run them");
    }
    if why.ahead > 0 {
        return format!("{waiting} tasks wait for room behind {} other runs", why.ahead);
    }
    format!("{waiting} tasks wait for room on {ready} ready nodes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_what_has_to_change() {
        let base = scheduler::WhyPending { pending: 5, nodes: 2, ..scheduler::WhyPending::default() };
        let cases = [
            (scheduler::WhyPending { pending: 0, ..base.clone() }, "no task is pending"),
            (scheduler::WhyPending { nodes: 0, ..base.clone() }, "no node has joined"),
            (scheduler::WhyPending { nodes_not_ready: 2, ..base.clone() }, "none of the 2 nodes is ready"),
            (scheduler::WhyPending { reconciling: true, ..base.clone() }, "has just started"),
            (scheduler::WhyPending { backoff: 5, next_retry_ms: Some(1500), ..base.clone() }, "the first for 2 s"),
            (scheduler::WhyPending { max_running: Some(1), ..base.clone() }, "max_running = 1"),
            (scheduler::WhyPending { too_small: vec![("memory", 2)], ..base.clone() }, "can ever run"),
            (scheduler::WhyPending { exhausted: vec![("cpu", 2)], ahead: 3, ..base.clone() }, "behind 3 other runs"),
            (scheduler::WhyPending { exhausted: vec![("cpu", 2)], ..base.clone() }, "room on 2 ready nodes"),
        ];
        for (view, expected) in cases {
            let shown = why(RunId(1), &view);
            assert!(shown.summary.contains(expected), "{} / {expected}", shown.summary);
        }
    }
}
