//! All results of a run in one answer, segment by segment.

use std::collections::VecDeque;

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use futures_util::stream;
use weir_api::{Problem, TaskResult, routes};
use weir_wire::{
    id::RunId,
    outcome::Captured,
    segment::{Entries, Entry},
};

use super::{
    Api,
    asked::{self, Segments},
    entry::damaged,
    refusal::Refusal,
    reply::Reply,
    runs,
};
use crate::index_set::IndexSet;

/// What is still to be sent.
struct Rest {
    api: Api,
    run: RunId,
    inline: Vec<Entry>,
    /// Names, newest first: where a task is in several, the newest counts.
    segments: VecDeque<String>,
    sent: IndexSet,
}

/// Reads the results of all ended tasks as NDJSON, in no order; of a run that has not ended, those that are there.
#[utoipa::path(get, path = routes::RUN_RESULTS, tag = "runs", params(("ns" = String, Path, description = "The namespace"), ("run" = String, Path, description = "The run")),
    responses((status = 200, description = "One line a task", body = TaskResult, content_type = "application/x-ndjson"),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn read(
    State(api): State<Api>,
    Segments((ns, run)): Segments<(String, String)>,
) -> Result<Response, Refusal> {
    let (namespace, id) = (asked::namespace(&ns)?, asked::run_id(&run)?);
    let asked_for = namespace.clone();
    let (revision, found) = api
        .ask(move |scheduler, _| {
            let found = runs::is_in(scheduler, &asked_for, id).then(|| {
                let count = scheduler.run_record(id).map_or(0, |record| record.count);
                let segments = scheduler.segments(id).into_iter().rev().map(|segment| segment.name);
                (scheduler.inline_entries(id), segments.collect(), count)
            });
            (scheduler.revision(), found)
        })
        .await?;
    let (inline, segments, count) = found.ok_or_else(|| runs::missing(&namespace, id))?;
    let rest = Rest { api, run: id, inline, segments, sent: IndexSet::new(count) };
    let lines = stream::try_unfold(rest, Rest::next);
    Ok(Reply::body(Body::from_stream(lines), routes::NDJSON_TYPE).revision(revision).done())
}

impl Rest {
    /// The lines of the next segment.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, std::io::Error> {
        let inline = std::mem::take(&mut self.inline);
        if !inline.is_empty() {
            let mut lines = Vec::new();
            for entry in &inline {
                self.write(entry, &mut lines)?;
            }
            return Ok(Some((lines.into(), self)));
        }
        let Some(name) = self.segments.pop_front() else { return Ok(None) };
        if self.api.closing.is_cancelled() {
            return Err(std::io::Error::other("the control plane shuts down"));
        }
        let broken = |refusal: Refusal| std::io::Error::other(refusal.problem.detail);
        let segment = self.api.segment(&name).await.map_err(broken)?;
        let mut lines = Vec::new();
        for entry in Entries::new(&segment).map_err(damaged).map_err(broken)? {
            let (run, entry) = entry.map_err(damaged).map_err(broken)?;
            if run == self.run {
                self.write(&entry, &mut lines)?;
            }
        }
        Ok(Some((lines.into(), self)))
    }

    fn write(&mut self, entry: &Entry, lines: &mut Vec<u8>) -> Result<(), std::io::Error> {
        if !self.sent.insert(entry.index) {
            return Ok(());
        }
        let line = match &entry.result {
            Captured::Empty => TaskResult::inline(entry.index, &[]),
            Captured::Inline(bytes) => TaskResult::inline(entry.index, bytes),
            Captured::Blob(blob) => TaskResult {
                index: entry.index,
                size: blob.len,
                blob: Some(blob.digest.to_string()),
                ..TaskResult::default()
            },
        };
        serde_json::to_writer(&mut *lines, &line)?;
        lines.push(b'\n');
        Ok(())
    }
}
