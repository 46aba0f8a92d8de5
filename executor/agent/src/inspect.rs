//! Looks into running attempts, for people who wait for the answer.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use weir_wire::{
    attempt::Command,
    id::{AttemptId, TaskId},
    inspect::{AttemptSeen, Inspect, InspectSpec, Inspected, PROFILE_TIME_MAX, Seen},
    message::ToControl,
    units::Instant,
};

use crate::{
    agent::Agent,
    limits,
    output::Output,
    range::{Phase, Range},
};

/// Somebody waits for what is seen of an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inspection {
    token: u64,
    id: AttemptId,
    sampled: bool,
    /// After that nobody waits any more.
    until: Instant,
}

impl Agent {
    pub(crate) fn inspect(&mut self, inspect: Inspect) {
        let Inspect { token, run, index, sample_for } = inspect;
        let task = TaskId { run, index };
        let running = |range: &&Range| matches!(range.phase, Phase::Running(_)) && range.attempt().task == task;
        let Some(id) = self.ranges.values().find(running).map(Range::attempt) else {
            return self.send_seen(token, Seen::Nothing("it is not executing on its node at this moment".into()));
        };
        let now = self.now.mono;
        self.inspections.retain(|inspection| inspection.until > now);
        let sampled = sample_for.is_some();
        if self.inspections.len() >= limits::INSPECTIONS_MAX {
            return self.send_seen(token, Seen::Nothing("its node is looking into too many attempts already".into()));
        }
        let same = |other: &Inspection| other.id == id && other.sampled == sampled;
        let known = self.inspections.iter().any(same);
        if known && sampled {
            return self.send_seen(token, Seen::Nothing("a profile of it is being taken already".into()));
        }
        let sample_for = sample_for.map(|time| time.min(PROFILE_TIME_MAX));
        let until = now + limits::INSPECT_TIME + sample_for.unwrap_or(Duration::ZERO);
        self.inspections.push(Inspection { token, id, sampled, until });
        // Whoever asks meanwhile gets the same answer.
        if !known {
            self.emit(Output::Sandbox(Command::Inspect(InspectSpec { id, sample_for })));
        }
    }

    /// Passes on what the sandbox has seen to those who wait for it.
    pub(crate) fn seen(&mut self, AttemptSeen { id, seen }: AttemptSeen) {
        let answers = |inspection: &mut Inspection| {
            inspection.id == id
                && match seen {
                    Seen::Moment(_) => !inspection.sampled,
                    Seen::Profile(_) => inspection.sampled,
                    Seen::Nothing(_) => true,
                }
        };
        let answered: Vec<Inspection> = self.inspections.extract_if(.., answers).collect();
        for inspection in answered {
            self.send_seen(inspection.token, seen.clone());
        }
    }

    /// An attempt that ends is not looked into any more.
    pub(crate) fn inspected_ended(&mut self, id: AttemptId) {
        let nothing = Seen::Nothing(String::from("its attempt has ended meanwhile"));
        self.seen(AttemptSeen { id, seen: nothing });
    }

    fn send_seen(&mut self, token: u64, seen: Seen) {
        self.emit(Output::Send(ToControl::Inspected(Inspected { token, seen })));
    }
}
