//! Looks into running attempts, which only their nodes can take.

use alloc::format;
use core::time::Duration;

use weir_wire::{id::RunId, inspect::Inspect, message::ToExecutor};

use crate::{
    input::RequestId,
    limits,
    output::{Output, Reply, RequestError},
    scheduler::Scheduler,
};

impl Scheduler {
    /// Has a node look into a running task; the token of the answer is the request's number.
    pub(crate) fn inspect(
        &mut self,
        id: RequestId,
        (run, index): (RunId, u32),
        sample_for: Option<Duration>,
    ) -> Result<(), RequestError> {
        let leading = self.leading.as_deref_mut().ok_or(RequestError::NotLeader)?;
        let state = leading.runs.get(&run).ok_or(RequestError::NoSuchRun)?;
        if index >= state.count() {
            return Err(RequestError::NoSuchTask { index, count: state.count() });
        }
        let slot = state.lane_of(index).filter(|_| state.phase(index).is_granted());
        let Some(slot) = slot else {
            return Err(RequestError::Conflict(format!("task {index} is not on a node at this moment")));
        };
        let node = leading.nodes.get(leading.grants.get(slot).node());
        let Some(session) = node.session else {
            let message = format!("node {} is away, and task {index} with it: it has no connection", node.id());
            return Err(RequestError::Conflict(message));
        };
        if node.wire < limits::WIRE_OF_INSIGHT {
            let message = format!(
                "node {} speaks wire version {}, and this needs {}: upgrade its executor, or raise `wire_max`",
                node.id(),
                node.wire,
                limits::WIRE_OF_INSIGHT
            );
            return Err(RequestError::Conflict(message));
        }
        self.send(session, ToExecutor::Inspect(Inspect { token: id.0, run, index, sample_for }));
        self.outputs.push_back(Output::Reply { id, result: Ok(Reply::Inspecting) });
        Ok(())
    }
}
