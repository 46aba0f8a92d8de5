//! The metrics of the control plane.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use weir_scheduler::SchedulerStats;
use weir_wire::{message::Report, task::Status};

const METADATA: Metadata<'static> = Metadata::new("weir_control", Level::INFO, None);
const COMMIT_SECONDS: &str = "weir_commit_duration_seconds";
/// Upper bounds of the commit histogram, seconds: a local etcd answers within a millisecond, a sick one in seconds.
const COMMIT_BUCKETS: [f64; 11] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0];
/// The metrics of one control plane. It has a recorder of its own, so that a process may run several daemons.
pub(crate) struct Metrics {
    handle: PrometheusHandle,
    outcomes: [Counter; Status::ALL.len()],
    pub(crate) commits: Counter,
    pub(crate) commit_retries: Counter,
    commit_seconds: Histogram,
    pub(crate) sessions: Gauge,
    pub(crate) sessions_refused: Counter,
    pub(crate) blob_bytes_sent: Counter,
    pub(crate) blob_bytes_received: Counter,
    leading: Gauge,
    calls_waiting: Gauge,
    open_runs: Gauge,
    open_tasks: Gauge,
    grants: Gauge,
    batches_waiting: Gauge,
    brake: Gauge,
    nodes_held: Gauge,
    log_len: Gauge,
    outcomes_ignored: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new();
        let buckets = builder.set_buckets_for_metric(Matcher::Full(COMMIT_SECONDS.to_owned()), &COMMIT_BUCKETS);
        let recorder = buckets.expect("the list of buckets is not empty").build_recorder();
        let r = Registry { recorder: &recorder };
        Self {
            handle: recorder.handle(),
            outcomes: Status::ALL.map(|status| r.outcomes(status)),
            commits: r.counter("weir_commits_total", "Transactions that became durable"),
            commit_retries: r.counter(
                "weir_commit_retries_total",
                "Transactions submitted again because the store gave no answer or the blob store failed",
            ),
            commit_seconds: r.histogram(COMMIT_SECONDS, "Time from submitting a transaction until it was durable"),
            sessions: r.gauge("weir_sessions", "Executors connected to this process"),
            sessions_refused: r.counter("weir_sessions_refused_total", "Sessions of executors that were refused"),
            blob_bytes_sent: r.counter("weir_blob_bytes_sent_total", "Bytes of blobs sent to executors"),
            blob_bytes_received: r.counter("weir_blob_bytes_received_total", "Bytes of blobs received from executors"),
            leading: r.gauge("weir_leading", "1 while this process leads, otherwise 0"),
            calls_waiting: r.gauge("weir_calls_waiting", "Requests and questions that wait for the driver"),
            open_runs: r.gauge("weir_open_runs", "Runs with tasks that have not ended"),
            open_tasks: r.gauge("weir_open_tasks", "Tasks that have not ended"),
            grants: r.gauge("weir_grants", "Grants held by nodes"),
            batches_waiting: r.gauge("weir_batches_waiting", "Transactions that wait for the one in flight"),
            brake: r
                .gauge("weir_brake", "1 while many nodes vanished at once and their work is not replaced, otherwise 0"),
            nodes_held: r.gauge("weir_nodes_held", "Vanished nodes that are not given up because of the brake"),
            log_len: r.gauge("weir_log_deltas", "Deltas in the log since the last checkpoint"),
            outcomes_ignored: r
                .gauge("weir_outcomes_ignored", "Outcomes of superseded attempts that changed nothing in this term"),
        }
    }

    /// Counts the outcomes in a report.
    pub(crate) fn reported(&self, report: &Report) {
        let mut counts = [0u64; Status::ALL.len()];
        let outcomes = report.groups.iter().flat_map(|group| &group.outcomes);
        for (_, outcome) in outcomes {
            if let Some(slot) = Status::ALL.iter().position(|status| *status == outcome.status) {
                counts[slot] += 1;
            }
        }
        for (counter, count) in self.outcomes.iter().zip(counts) {
            if count > 0 {
                counter.increment(count);
            }
        }
    }

    /// Counts a transaction that became durable.
    pub(crate) fn committed(&self, took: Duration) {
        self.commits.increment(1);
        self.commit_seconds.record(took.as_secs_f64());
    }

    /// All metrics in the text format of Prometheus; without `stats` when this process does not lead.
    pub(crate) fn render(&self, stats: Option<SchedulerStats>, calls_waiting: usize) -> String {
        self.leading.set(if stats.is_some() { 1.0 } else { 0.0 });
        let stats = stats.unwrap_or_default();
        self.calls_waiting.set(float(calls_waiting as u64));
        self.open_runs.set(float(stats.open_runs as u64));
        self.open_tasks.set(float(stats.open_tasks));
        self.grants.set(float(stats.grants as u64));
        self.batches_waiting.set(float(stats.batches_waiting as u64));
        self.brake.set(if stats.brake_on { 1.0 } else { 0.0 });
        self.nodes_held.set(float(stats.nodes_held as u64));
        self.log_len.set(float(stats.log_len as u64));
        self.outcomes_ignored.set(float(stats.outcomes_ignored));
        // Drains the samples of the histogram, which would otherwise pile up.
        self.handle.run_upkeep();
        self.handle.render()
    }
}

struct Registry<'a> {
    recorder: &'a PrometheusRecorder,
}

impl Registry<'_> {
    fn counter(&self, name: &'static str, description: &'static str) -> Counter {
        self.recorder.describe_counter(KeyName::from_const_str(name), None, description.into());
        self.recorder.register_counter(&Key::from_static_name(name), &METADATA)
    }

    fn outcomes(&self, status: Status) -> Counter {
        const NAME: &str = "weir_outcomes_reported_total";
        let description = "Outcomes of attempts reported by executors, repeated reports included";
        self.recorder.describe_counter(KeyName::from_const_str(NAME), None, description.into());
        let key = Key::from_parts(NAME, vec![Label::new("status", status.state().as_str())]);
        self.recorder.register_counter(&key, &METADATA)
    }

    fn gauge(&self, name: &'static str, description: &'static str) -> Gauge {
        self.recorder.describe_gauge(KeyName::from_const_str(name), None, description.into());
        self.recorder.register_gauge(&Key::from_static_name(name), &METADATA)
    }

    fn histogram(&self, name: &'static str, description: &'static str) -> Histogram {
        self.recorder.describe_histogram(KeyName::from_const_str(name), None, description.into());
        self.recorder.register_histogram(&Key::from_static_name(name), &METADATA)
    }
}

/// Prometheus knows only floats; they are exact up to 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "a gauge of more than 2^53 may be rounded")]
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_rendered_by_name() {
        let metrics = Metrics::new();
        metrics.committed(Duration::from_millis(3));
        metrics.sessions.increment(2.0);
        let text = metrics.render(None, 7);
        for line in [
            "weir_commits_total 1",
            "weir_sessions 2",
            "weir_calls_waiting 7",
            "weir_leading 0",
            "weir_commit_duration_seconds_bucket{le=\"0.005\"} 1",
            "weir_commit_duration_seconds_bucket{le=\"0.002\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
