//! Tasks that the sandbox starts by itself behind one that it was told to start: a lane of short tasks then does not wait
//! for its agent between any two of them.
//!
//! How far the sandbox is, the agent learns a little later. Until it knows, it neither gives the tasks in question back nor
//! ends what runs: it has the sandbox settle, and does then what it has put off.

use weir_wire::{attempt::Command, id::AttemptId, message, task::Reason, work::Input as RunInput};

use crate::{
    agent::Agent,
    limits,
    output::Output,
    range::{Phase, Range, RangeKey},
};

/// What waits until it is known which task of a range runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PutOff {
    Stop(message::Stop),
    /// What was not started goes back.
    GiveBack,
    /// What runs is to be ended.
    Cancel(Reason),
}

impl Agent {
    /// How many tasks behind the next one of a range the sandbox may start by itself.
    pub(crate) fn ahead(&self, range: &Range) -> u32 {
        let Some(run) = self.runs.get(&range.grant.run).filter(|run| run.quick) else { return 0 };
        // What depends on a lease or may be throttled is started one by one.
        let alone = range.fenced || range.tied || range.booking.revocable;
        let large = match &run.spec.input {
            RunInput::None => false,
            RunInput::Inline(bytes) => bytes.len() > limits::AHEAD_PAYLOAD_LEN_MAX,
            RunInput::Blob(_) | RunInput::Items(_) => true,
        };
        if alone || large || self.outbox.bytes() >= limits::OUTBOX_BYTES_MAX / 2 {
            return 0;
        }
        let behind = range.end - range.next - 1;
        let room = self.config.outbox_len_max.saturating_sub(self.outbox.len() + self.running + self.ahead + 1);
        // Others may wait for it.
        let room = room / self.parked.max(1);
        let ahead = behind.min(limits::AHEAD_MAX).min(u32::try_from(room).unwrap_or(u32::MAX));
        if ahead == 0 || self.follows.is_empty() {
            return ahead;
        }
        // What somebody watches is followed from its start.
        let attempt = range.attempt();
        let watched = core::iter::successors(attempt.next(), |id| id.next()).take(ahead as usize);
        let unwatched = watched.take_while(|id| !self.follows.contains(&id.task)).count();
        u32::try_from(unwatched).unwrap_or(ahead)
    }

    /// Notes whether the tasks of a run end at once.
    pub(crate) fn note_quick(&mut self, key: RangeKey, quick: bool) {
        let run = self.ranges.get(&key).map(|range| range.grant.run);
        if let Some(run) = run.and_then(|run| self.runs.get_mut(&run)) {
            run.quick = quick;
        }
    }

    /// Puts something off until it is known which task of a range runs, unless that is known.
    pub(crate) fn puts_off(&mut self, key: RangeKey, what: PutOff) -> bool {
        let Some(range) = self.ranges.get_mut(&key).filter(|range| range.ahead > 0) else { return false };
        if !range.put_off.contains(&what) {
            range.put_off.push(what);
            let id = range.attempt();
            self.emit(Output::Sandbox(Command::Settle(id)));
        }
        true
    }

    /// The sandbox starts nothing more by itself.
    pub(crate) fn settled(&mut self, id: AttemptId) {
        let key = (id.term, id.grant);
        let current = self.ranges.get(&key).filter(|range| range.attempt() == id);
        if current.is_some_and(|range| matches!(range.phase, Phase::Running(_))) {
            self.settle(key);
            self.do_put_off(key);
        } else {
            self.stats.events_unexpected += 1;
        }
    }

    /// Forgets what the sandbox might have started.
    pub(crate) fn settle(&mut self, key: RangeKey) {
        if let Some(range) = self.ranges.get_mut(&key) {
            self.ahead -= core::mem::take(&mut range.ahead) as usize;
        }
    }

    /// Does what was put off, now that it is known which task runs, or that none does.
    pub(crate) fn do_put_off(&mut self, key: RangeKey) {
        let Some(range) = self.ranges.get_mut(&key) else { return };
        for what in core::mem::take(&mut range.put_off) {
            match what {
                PutOff::Stop(stop) => self.stop_range(key, &stop),
                PutOff::GiveBack => self.give_rest_back(key),
                PutOff::Cancel(reason) => self.cancel(key, reason),
            }
        }
    }
}
