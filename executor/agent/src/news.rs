//! What goes into a report beside outcomes; none of it is sent again, since a full state says the same.

use alloc::{collections::BTreeMap, vec::Vec};

use weir_wire::{
    message::{Report, Returned, Started, TaskProgress},
    resources::Resources,
    units::Instant,
};

use crate::{limits, range::RangeKey};

/// News for the next report.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) started: Vec<Started>,
    pub(crate) returned: Vec<Returned>,
    progress: BTreeMap<RangeKey, TaskProgress>,
    progress_at: Instant,
    /// The newest measurement, if it is to be reported.
    measured: Option<Resources>,
    /// What was reported last in this session, and when.
    measured_sent: Option<(Resources, Instant)>,
}

impl News {
    pub(crate) fn clear(&mut self) {
        self.started.clear();
        self.returned.clear();
        self.progress.clear();
        // A leader forgets it with the session.
        self.measured = self.measured.or(self.measured_sent.take().map(|(used, _)| used));
    }

    /// Keeps a measurement if it says something new.
    pub(crate) fn note_measured(&mut self, used: Resources, capacity: Resources, now: Instant) {
        let differs = |was: u64, is: u64, of: u64| was.abs_diff(is) > of / 100 * limits::MEASURED_CHANGE_PERCENT;
        let wanted = self.measured_sent.is_none_or(|(was, at)| {
            let large = differs(was.cpu.0.into(), used.cpu.0.into(), capacity.cpu.0.into())
                || differs(was.memory.0, used.memory.0, capacity.memory.0);
            let wait = if large { limits::MEASURED_INTERVAL_MIN } else { limits::MEASURED_INTERVAL };
            was != used && now.since(at) >= wait
        });
        self.measured = wanted.then_some(used);
    }

    /// Has the newest measurement reported, whatever was reported before.
    pub(crate) const fn repeat_measured(&mut self, used: Resources) {
        self.measured = Some(used);
    }

    /// Whether a measurement waits for a report.
    pub(crate) const fn has_measured(&self) -> bool {
        self.measured.is_some()
    }

    /// Keeps the newest progress of an attempt.
    pub(crate) fn note_progress(&mut self, key: RangeKey, progress: TaskProgress) {
        self.progress.insert(key, progress);
    }

    /// The attempt is over, and so is its progress.
    pub(crate) fn drop_progress(&mut self, key: RangeKey) {
        if !self.progress.is_empty() {
            self.progress.remove(&key);
        }
    }

    /// When progress may be sent again, if there is some.
    pub(crate) fn progress_due(&self) -> Option<Instant> {
        (!self.progress.is_empty()).then_some(self.progress_at)
    }

    /// Moves what is due into a report.
    pub(crate) fn fill(&mut self, report: &mut Report, now: Instant, with_returned: bool) {
        report.started = take(&mut self.started);
        report.measured = self.measured.take();
        self.measured_sent = report.measured.map(|used| (used, now)).or(self.measured_sent);
        if with_returned {
            report.returned = take(&mut self.returned);
        }
        if self.progress_due().is_some_and(|due| due <= now) {
            while report.progress.len() < limits::REPORT_NEWS_MAX
                && let Some((_, progress)) = self.progress.pop_first()
            {
                report.progress.push(progress);
            }
            if self.progress.is_empty() {
                self.progress_at = now + limits::PROGRESS_INTERVAL;
            }
        }
    }
}

fn take<T>(list: &mut Vec<T>) -> Vec<T> {
    list.drain(..list.len().min(limits::REPORT_NEWS_MAX)).collect()
}
