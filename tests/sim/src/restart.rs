//! R: what runs and is wanted is not stopped to be started anew.

use weir_scheduler::RunState;
use weir_wire::{
    message::Stop,
    task::{Reason, TaskState},
};

use crate::{
    property::{Check, Property, broken},
    world::World,
};

impl World {
    /// Looks at a stop of one grant of a long-running job: what a node presents goes on there, unless its run is stopped, its
    /// task is not wanted or is another node's by now. What is fenced may have been given up, and be at its end.
    pub(crate) fn check_stop(&self, at: usize, session: u64, stop: &Stop) -> Check {
        let Some(known) = self.oracle.runs.get(&stop.run) else { return Ok(()) };
        if stop.grant.is_none() && stop.index.is_none() && !known.stopped {
            return broken(Property::Accepted, format!("{} is told to stop, which is not stored", stop.run));
        }
        let unasked = stop.reason == Reason::Cancelled && stop.index.is_none() && !known.stopped;
        let Some(grant) = stop.grant.filter(|_| unasked && known.job.kind.is_long_running()) else { return Ok(()) };
        if known.job.execution.is_fenced() {
            return Ok(());
        }
        let node = &self.nodes[self.session(session).node];
        let Some(id) = node.running.keys().find(|id| id.task.run == stop.run && id.grant == grant) else {
            return Ok(());
        };
        let replica = &self.replicas[at];
        let now = replica.clock.now(self.now);
        let Some(scheduler) = &replica.scheduler else { return Ok(()) };
        let asked = scheduler.run(stop.run).is_none_or(|run| run.state != RunState::Active);
        let view = scheduler.task(now, stop.run, id.task.index).filter(|view| view.dormant.is_none() && !asked);
        let Some(view) = view else { return Ok(()) };
        let here = view.node.as_ref() == Some(&node.id);
        let given = matches!(view.state, TaskState::Assigned | TaskState::Running);
        let anew = view.state == TaskState::Pending || (given && here);
        if anew {
            return broken(
                Property::Restart,
                format!("{id} is stopped on {}, and its task is {:?}", node.id, view.state),
            );
        }
        Ok(())
    }
}
