//! When a report leaves, and what it says.

use weir_wire::{
    message::{Report, ToControl},
    units::Instant,
};

use crate::{agent::Agent, limits, output::Output};

impl Agent {
    /// Makes the next report if one is due. Called when all other outputs are drained, so that the events of one turn
    /// share a report.
    pub(crate) fn report_if_due(&mut self) -> Option<Output> {
        let now = self.now.mono;
        self.report_at().filter(|at| *at <= now)?;
        let batch = self.outbox.next_batch(limits::REPORT_BYTES_MAX);
        let mut report = Report { first: batch.first, groups: batch.groups, ..Report::default() };
        let returned = self.returned_at().is_some_and(|at| at <= now);
        if returned {
            self.last_returned = now;
        }
        self.news.fill(&mut report, now, returned);
        self.last_report = now;
        self.closed = 0;
        self.stats.reports += 1;
        Some(Output::Send(ToControl::Report(report)))
    }

    /// When the next report is due; in the past when it is overdue, `None` when there is nothing to say.
    pub(crate) fn report_at(&self) -> Option<Instant> {
        if !self.is_up() {
            return None;
        }
        let paced = self.last_report + self.config.report_interval;
        let outcomes = self.outbox.has_unsent().then(|| {
            // With nothing left to do, the control plane waits for this report and the node for its answer.
            let at_once = !self.outbox.in_flight()
                || self.ranges.is_empty()
                || self.outbox.has_numbered_unsent()
                || self.outbox.unsent_bytes() >= limits::REPORT_BYTES_MAX;
            // Half of the lanes are idle: they get new work while the others still have some.
            let running_dry = self.closed >= self.ranges.len();
            if at_once {
                self.now.mono
            } else if running_dry {
                self.last_report + limits::REPORT_INTERVAL_MIN
            } else {
                paced
            }
        });
        let started = (!self.news.started.is_empty()).then_some(paced);
        let progress = self.news.progress_due().map(|due| due.max(paced));
        let measured = self.news.has_measured().then_some(paced);
        [outcomes, started, progress, measured, self.returned_at()].into_iter().flatten().min()
    }

    /// Given-back tasks wait for another place, so they leave at once; see [`limits::DRAIN_RETURN_INTERVAL`].
    fn returned_at(&self) -> Option<Instant> {
        let soonest =
            if self.is_draining() { self.last_returned + limits::DRAIN_RETURN_INTERVAL } else { Instant::default() };
        (!self.news.returned.is_empty()).then_some(soonest)
    }
}
