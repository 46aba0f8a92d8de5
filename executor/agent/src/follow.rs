//! Live output of attempts that somebody watches.

use weir_wire::{
    attempt::{Command, FollowSpec, OutputChunk},
    id::{AttemptId, TaskId},
    log::Stream,
    message::{self, Follow, ToControl},
};

use crate::{
    agent::Agent,
    limits,
    output::Output,
    range::{Phase, Range},
};

impl Agent {
    pub(crate) fn follow(&mut self, follow: Follow) {
        let task = TaskId { run: follow.run, index: follow.index };
        if !follow.on {
            if self.follows.remove(&task) {
                self.command_follow(task, false);
            }
            return;
        }
        let held = self.ranges.values().any(|range| holds(range, task));
        if !held || self.follows.len() >= limits::FOLLOWS_MAX {
            self.send_chunk(task, Stream::Stdout, 0, &[], true);
        } else if self.follows.insert(task) {
            // A task that waits is followed when it is started.
            self.command_follow(task, true);
        }
    }

    /// Follows an attempt from its start, if somebody waits for it.
    pub(crate) fn follow_started(&mut self, id: AttemptId) {
        if self.follows.contains(&id.task) {
            self.emit(Output::Sandbox(Command::Follow(FollowSpec { id, on: true })));
        }
    }

    /// The task will write no more here.
    pub(crate) fn follow_ended(&mut self, task: TaskId) {
        if self.follows.remove(&task) {
            self.send_chunk(task, Stream::Stdout, 0, &[], true);
        }
    }

    pub(crate) fn live_output(&mut self, chunk: &OutputChunk) {
        if !self.follows.contains(&chunk.id.task) {
            return;
        }
        for bytes in chunk.bytes.chunks(limits::OUTPUT_LEN_MAX) {
            self.send_chunk(chunk.id.task, chunk.stream, chunk.at_ms, bytes, false);
        }
    }

    /// The watchers of a session go with it.
    pub(crate) fn unfollow_all(&mut self) {
        while let Some(task) = self.follows.pop_first() {
            self.command_follow(task, false);
        }
    }

    fn command_follow(&mut self, task: TaskId, on: bool) {
        let running = |range: &&Range| matches!(range.phase, Phase::Running(_)) && range.attempt().task == task;
        if let Some(id) = self.ranges.values().find(running).map(Range::attempt) {
            self.emit(Output::Sandbox(Command::Follow(FollowSpec { id, on })));
        }
    }

    fn send_chunk(&mut self, task: TaskId, stream: Stream, at_ms: u64, bytes: &[u8], last: bool) {
        let output = message::Output { run: task.run, index: task.index, stream, at_ms, bytes: bytes.into(), last };
        self.emit(Output::Send(ToControl::Output(output)));
    }
}

fn holds(range: &Range, task: TaskId) -> bool {
    let uploading = matches!(range.phase, Phase::Uploading(_)) && range.next == task.index;
    range.grant.run == task.run && (range.next..range.end).contains(&task.index) && !uploading
}
