//! The life of a range: start, end, next.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use weir_wire::{
    attempt::{CancelSpec, Command, EndedAttempt, Progress},
    id::{AttemptId, TaskId},
    limits as shared,
    message::{Started, TaskProgress},
    outcome::{Failure, Outcome},
    task::{self, Source, Status},
    work::Input as RunInput,
};

use crate::{
    agent::Agent,
    ahead::PutOff,
    limits,
    output::{Output, Payload, Start},
    range::{Phase, Range, RangeKey, Running},
    supply::Readiness,
};

impl Agent {
    /// Takes a range as far as it can go now: to the start of its next task, to a wait, or to its end.
    pub(crate) fn advance(&mut self, key: RangeKey) {
        loop {
            let full = self.outbox.len() + self.running + self.ahead >= self.config.outbox_len_max
                || self.outbox.bytes() >= limits::OUTBOX_BYTES_MAX;
            let Some(range) = self.ranges.get(&key) else { return };
            assert!(!range.is_started(), "advanced a range whose task has not ended");
            if range.next >= range.end {
                return self.close(key);
            }
            match self.readiness(range.grant.run) {
                Readiness::Waiting => return self.rest(key, Phase::Waiting),
                Readiness::Ready | Readiness::Failed(_) if full => return self.rest(key, Phase::Parked),
                Readiness::Ready => return self.start(key),
                Readiness::Failed(failure) => {
                    let task = range.attempt().task;
                    self.record(key, Outcome::not_run(Status::Failed, failure));
                    self.follow_ended(task);
                }
            }
        }
    }

    /// Takes the end of an attempt from the sandbox.
    pub(crate) fn ended(&mut self, ended: EndedAttempt) {
        let EndedAttempt { id, mut outcome, large_result, large_log, next_started } = ended;
        let key = (id.term, id.grant);
        let range = self.ranges.get_mut(&key).filter(|range| range.attempt() == id);
        let evicted = |range: &Range| matches!(&range.phase, Phase::Running(running) if running.evicted);
        let Some(range) = range.filter(|range| matches!(range.phase, Phase::Running(_))) else {
            self.stats.events_unexpected += 1;
            tracing::debug!(task.id = %id.task, "end of an attempt that is not held");
            return;
        };
        if evicted(range)
            && let Some(failure) = outcome.failure.as_mut().filter(|failure| failure.reason == task::Reason::Preempted)
        {
            failure.source = Source::Executor;
        }
        range.phase = Phase::Waiting;
        let next_started = next_started && range.ahead > 0;
        self.running -= 1;
        self.end_grace(key);
        self.news.drop_progress(key);
        if !self.follows.is_empty() {
            self.follow_ended(id.task);
        }
        if !self.inspections.is_empty() {
            self.inspected_ended(id);
        }
        self.speedometer.add(&outcome.usage);
        self.report_speed();
        bound(&mut outcome);
        let small = large_result.is_empty() && large_log.is_empty();
        let quick = Duration::from_micros(outcome.usage.wall_us) <= limits::QUICK_TIME;
        self.note_quick(key, small && quick && outcome.status == Status::Succeeded);
        if small && next_started {
            self.record(key, outcome);
            return self.goes_on(key);
        }
        self.settle(key);
        if small {
            self.record(key, outcome);
            self.do_put_off(key);
            self.advance(key);
        } else {
            self.begin_upload(key, outcome, large_result, large_log);
            self.do_put_off(key);
        }
    }

    /// The sandbox has begun with the next task of a range, as it was allowed to.
    fn goes_on(&mut self, key: RangeKey) {
        let Some(range) = self.ranges.get_mut(&key) else { return };
        assert!(range.next < range.end, "went on past the end of a range");
        let id = range.attempt();
        range.ahead -= 1;
        self.ahead -= 1;
        self.begun(id);
        if self.ranges.get(&key).is_some_and(|range| range.ahead == 0) {
            self.do_put_off(key);
        }
    }

    /// Notes that the task of an attempt runs from now on.
    fn begun(&mut self, id: AttemptId) {
        let now = self.now.mono;
        if let Some(range) = self.ranges.get_mut(&(id.term, id.grant)) {
            range.phase = Phase::Running(Running { since: now, ..Running::default() });
        }
        self.running += 1;
        self.stats.attempts_started += 1;
        let due = now + self.config.started_after.min(limits::GIVE_BACK_AFTER);
        self.sweep_at = Some(self.sweep_at.map_or(due, |at| at.min(due)));
        if !self.follows.is_empty() {
            self.follow_started(id);
        }
    }

    pub(crate) fn progress(&mut self, progress: &Progress) {
        let key = (progress.id.term, progress.id.grant);
        let current = self.ranges.get(&key).filter(|range| range.attempt() == progress.id);
        if current.is_some_and(|range| matches!(range.phase, Phase::Running(_))) && self.is_up() {
            let TaskId { run, index } = progress.id.task;
            let news = TaskProgress { run, index, done: progress.done, total: progress.total };
            self.news.note_progress(key, news);
        }
    }

    /// Puts the outcome of task `next` into the outbox.
    pub(crate) fn record(&mut self, key: RangeKey, outcome: Outcome) {
        let Some(range) = self.ranges.get_mut(&key) else { return };
        assert!(range.next < range.end, "recorded an outcome past the end of a range");
        let (run, index) = (range.grant.run, range.next);
        range.next += 1;
        self.stats.attempts_ended += 1;
        self.stats.attempts_succeeded += u64::from(outcome.status == Status::Succeeded);
        self.outbox.push(key, run, index, outcome);
    }

    /// Releases a range without tasks.
    pub(crate) fn close(&mut self, key: RangeKey) {
        let Some(range) = self.ranges.remove(&key) else { return };
        assert!(range.next >= range.end && !range.is_started(), "closed a range with tasks");
        self.parked -= usize::from(matches!(range.phase, Phase::Parked));
        self.closed += 1;
        self.ledger.release(range.booking);
        if let Some(run) = self.runs.get_mut(&range.grant.run) {
            run.ranges -= 1;
        }
        self.drop_run_if_done(range.grant.run);
    }

    /// Asks the sandbox to end the running task of a range.
    pub(crate) fn cancel(&mut self, key: RangeKey, reason: task::Reason) {
        let Some(range) = self.ranges.get_mut(&key) else { return };
        let id = range.attempt();
        if let Phase::Running(running) = &mut range.phase
            && !core::mem::replace(&mut running.cancelled, true)
        {
            self.emit(Output::Sandbox(Command::Cancel(CancelSpec { id, reason })));
        }
    }

    pub(crate) fn cancel_all(&mut self, reason: task::Reason) {
        let keys: Vec<RangeKey> = self.ranges.keys().copied().collect();
        for key in keys {
            if !self.puts_off(key, PutOff::Cancel(reason)) {
                self.cancel(key, reason);
            }
        }
    }

    /// Looks at what has been running for a while.
    pub(crate) fn sweep(&mut self) {
        let now = self.now.mono;
        let (mut due, mut long) = (None, Vec::new());
        for range in self.ranges.values_mut() {
            let (id, behind) = (range.attempt(), range.next + 1 < range.end);
            let Phase::Running(running) = &mut range.phase else {
                continue;
            };
            let report_at = running.since + self.config.started_after;
            let give_back_at = running.since + limits::GIVE_BACK_AFTER;
            if !running.reported && report_at <= now {
                running.reported = true;
                if matches!(self.session, crate::session::Session::Up { .. }) {
                    self.news.started.push(Started { id });
                }
            }
            let next = [(!running.reported).then_some(report_at), behind.then_some(give_back_at)];
            if behind && give_back_at <= now {
                long.push(range.key());
            } else {
                due = next.into_iter().flatten().chain(due).min();
            }
        }
        self.sweep_at = due;
        long.into_iter().for_each(|key| self.give_rest_back(key));
    }

    fn start(&mut self, key: RangeKey) {
        let Some(range) = self.ranges.get(&key) else { return };
        let Some(run) = self.runs.get(&range.grant.run) else {
            return;
        };
        let fenced = range.fenced;
        assert!(!fenced || self.lease.holds(self.now.mono), "a fenced attempt was to be started without a lease");
        let ahead = self.ahead(range);
        let payload = match &run.spec.input {
            RunInput::None => Payload::Inline([].into()),
            RunInput::Inline(bytes) => Payload::Inline(bytes.clone()),
            RunInput::Blob(_) => Payload::Blob,
            RunInput::Items(_) => Payload::Item(range.next),
        };
        let start = Start { id: range.attempt(), ordinal: range.grant.ordinal, ahead, payload };
        let id = start.id;
        if let Some(range) = self.ranges.get_mut(&key) {
            self.parked -= usize::from(matches!(range.phase, Phase::Parked));
            range.ahead = ahead;
        }
        self.ahead += ahead as usize;
        if fenced {
            self.pass_lease_on();
        }
        self.emit(Output::Start(start));
        self.begun(id);
        if self.cpu_is_short {
            self.throttle_started(key);
        }
    }

    fn rest(&mut self, key: RangeKey, phase: Phase) {
        let Some(range) = self.ranges.get_mut(&key) else { return };
        self.parked -= usize::from(matches!(range.phase, Phase::Parked));
        self.parked += usize::from(matches!(phase, Phase::Parked));
        range.phase = phase;
    }
}

/// Keeps the texts of an outcome within what a report can carry.
fn bound(outcome: &mut Outcome) {
    let Some(failure) = &mut outcome.failure else { return };
    cut(&mut failure.message, shared::MESSAGE_LEN_MAX);
    failure.backtrace.truncate(shared::BACKTRACE_FRAMES_MAX);
    let mut room = limits::BACKTRACE_BYTES_MAX;
    for frame in &mut failure.backtrace {
        cut(frame, room);
        room -= frame.len();
    }
}

fn cut(text: &mut String, len_max: usize) {
    if text.len() > len_max {
        text.truncate(text.floor_char_boundary(len_max));
    }
}

/// The end of a task that the executor could not run.
pub(crate) fn host_error(message: impl Into<String>) -> Failure {
    Failure::new(task::Reason::HostError, Source::Executor, message)
}

impl Range {
    /// The key of the range of an attempt, if that is what runs or is being uploaded.
    pub(crate) fn is_current(&self, id: AttemptId) -> bool {
        self.is_started() && self.attempt() == id
    }
}
