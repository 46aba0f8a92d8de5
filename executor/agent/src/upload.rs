//! Large captures: in the blob store before their outcome is in the outbox.

use alloc::{boxed::Box, format};

use weir_wire::{
    id::AttemptId,
    outcome::{BlobRef, Captured, Outcome},
    task::Status,
};

use crate::{
    agent::Agent,
    input::Part,
    lifecycle::host_error,
    limits,
    output::Output,
    range::{Phase, RangeKey, Transfer, Upload},
};

impl Agent {
    /// Holds the lane until the captures are stored, which bounds how many wait for a control plane that is away.
    pub(crate) fn begin_upload(&mut self, key: RangeKey, outcome: Outcome, result: Box<[u8]>, log: Box<[u8]>) {
        let Some(range) = self.ranges.get_mut(&key) else { return };
        let transfer = |bytes: Box<[u8]>| {
            if bytes.is_empty() { Transfer::Done } else { Transfer::Wanted(bytes) }
        };
        let upload = Upload { outcome, result: transfer(result), log: transfer(log), tries: 0 };
        range.phase = Phase::Uploading(Box::new(upload));
        self.send_uploads(key);
    }

    pub(crate) fn uploaded(&mut self, id: AttemptId, part: Part, blob: BlobRef) {
        let Some(upload) = self.upload(id) else { return };
        let (transfer, captured) = upload.part(part);
        if *transfer == Transfer::Done {
            return;
        }
        *transfer = Transfer::Done;
        *captured = Captured::Blob(blob);
        self.stats.uploads += 1;
        self.finish_upload((id.term, id.grant));
    }

    pub(crate) fn upload_failed(&mut self, id: AttemptId, part: Part, bytes: Box<[u8]>, message: &str, retry: bool) {
        let up = self.is_up();
        let Some(upload) = self.upload(id) else { return };
        upload.tries += u32::from(up);
        let again = retry && upload.tries < limits::TRIES_MAX;
        tracing::warn!(task.id = %id.task, ?part, message, again, "capture not uploaded");
        if again {
            *upload.part(part).0 = Transfer::Wanted(bytes);
            self.retry_at.get_or_insert(self.now.mono + limits::RETRY_DELAY);
            return;
        }
        *upload.part(part).0 = Transfer::Done;
        if part == Part::Result && upload.outcome.status == Status::Succeeded {
            // A success whose result is lost is none.
            upload.outcome.status = Status::Failed;
            upload.outcome.failure = Some(Box::new(host_error(format!("the result cannot be stored: {message}"))));
        }
        self.finish_upload((id.term, id.grant));
    }

    /// Uploads what could not be uploaded before.
    pub(crate) fn upload_again(&mut self) {
        let uploading = |range: &&crate::range::Range| matches!(range.phase, Phase::Uploading(_));
        let keys: alloc::vec::Vec<_> = self.ranges.values().filter(uploading).map(crate::range::Range::key).collect();
        for key in keys {
            self.send_uploads(key);
        }
    }

    fn upload(&mut self, id: AttemptId) -> Option<&mut Upload> {
        let range = self.ranges.get_mut(&(id.term, id.grant)).filter(|range| range.is_current(id))?;
        if let Phase::Uploading(upload) = &mut range.phase { Some(upload) } else { None }
    }

    fn send_uploads(&mut self, key: RangeKey) {
        if !self.is_up() {
            return;
        }
        let Some(range) = self.ranges.get_mut(&key) else { return };
        let id = range.attempt();
        let Phase::Uploading(upload) = &mut range.phase else {
            return;
        };
        for part in [Part::Result, Part::Log] {
            let transfer = upload.part(part).0;
            if matches!(transfer, Transfer::Wanted(_))
                && let Transfer::Wanted(bytes) = core::mem::replace(transfer, Transfer::Sent)
            {
                self.outputs.push_back(Output::Upload { id, part, bytes });
            }
        }
    }

    fn finish_upload(&mut self, key: RangeKey) {
        let Some(range) = self.ranges.get_mut(&key) else { return };
        let Phase::Uploading(upload) = &range.phase else { return };
        if upload.result != Transfer::Done || upload.log != Transfer::Done {
            return;
        }
        if let Phase::Uploading(upload) = core::mem::replace(&mut range.phase, Phase::Waiting) {
            self.record(key, upload.outcome);
            self.advance(key);
        }
    }
}

impl Upload {
    fn part(&mut self, part: Part) -> (&mut Transfer, &mut Captured) {
        match part {
            Part::Result => (&mut self.result, &mut self.outcome.result),
            Part::Log => (&mut self.log, &mut self.outcome.log),
        }
    }
}
