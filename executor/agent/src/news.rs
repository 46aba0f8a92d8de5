//! What goes into a report beside outcomes; none of it is sent again, since a full state says the same.

use alloc::{collections::BTreeMap, vec::Vec};

use weir_wire::{
    message::{Report, Returned, Started, TaskProgress},
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
}

impl News {
    pub(crate) fn clear(&mut self) {
        self.started.clear();
        self.returned.clear();
        self.progress.clear();
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
