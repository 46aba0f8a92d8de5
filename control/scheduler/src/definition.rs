//! Which executors know which runs: asked at every grant, so that the run keeps a bit for each node.

use weir_wire::id::RunId;

use crate::{node::Node, run::Run, scheduler::Leading};

/// Runs in the list of a node that have ended, beyond as many as it knows, before they are left out.
const ENDED_LISTED_MAX: usize = 64;

/// Notes that a node's executor knows a run from now on; whether it did not know it before.
pub(crate) fn tell(run: &mut Run, node: &mut Node, slot: usize) -> bool {
    run.defined_on.insert(slot);
    if run.told.contains(slot) {
        return false;
    }
    run.told.insert(slot);
    node.told.push(run.id);
    node.told_open += 1;
    true
}

impl Leading {
    /// Notes that the executor of a node does not know a run after all.
    pub(crate) fn untell(&mut self, id: RunId, slot: usize) {
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.told.contains(slot)) else { return };
        run.told.remove(slot);
        let node = self.nodes.get_mut(slot);
        node.told.retain(|known| *known != id);
        node.told_open -= 1;
    }

    /// Notes that the executor of a node knows nothing: its session is new.
    pub(crate) fn untell_all(&mut self, slot: usize) {
        let node = self.nodes.get_mut(slot);
        node.told_open = 0;
        for id in core::mem::take(&mut node.told) {
            if let Some(run) = self.runs.get_mut(&id) {
                run.told.remove(slot);
            }
        }
    }

    /// Notes that a run has ended on a node, whose executor is to forget it.
    pub(crate) fn told_run_ended(&mut self, slot: usize) {
        let node = self.nodes.get_mut(slot);
        node.told_open -= 1;
        if node.told.len() > 2 * node.told_open as usize + ENDED_LISTED_MAX {
            let runs = &self.runs;
            node.told.retain(|id| runs.get(id).is_some_and(|run| run.told.contains(slot)));
        }
    }
}
