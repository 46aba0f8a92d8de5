//! Formats of stored values that are read and not written any more.

use alloc::vec::Vec;

use crate::{
    codec::{Error, Reader, Wire},
    ended::EndedRanges,
    record::{Delta, EndedRange, RunDelta},
    work::{Capabilities, JobRecord},
};

/// A [`Delta`] of format 1, in which every range of ended tasks had its first task, its length and its status.
pub(crate) fn delta(input: &mut Reader<'_>) -> Result<Delta, Error> {
    let (term, wall_ms) = (Wire::decode(input)?, Wire::decode(input)?);
    let runs = Vec::<OldRunDelta>::decode(input)?;
    Ok(Delta { term, wall_ms, runs: runs.into_iter().map(|run| run.0).collect() })
}

/// A [`JobRecord`] of format 1, which had no capabilities.
pub(crate) fn job_record(input: &mut Reader<'_>) -> Result<JobRecord, Error> {
    Ok(JobRecord {
        namespace: Wire::decode(input)?,
        job: Wire::decode(input)?,
        version: Wire::decode(input)?,
        kind: Wire::decode(input)?,
        module: Wire::decode(input)?,
        args: Wire::decode(input)?,
        env: Wire::decode(input)?,
        budgets: Wire::decode(input)?,
        dirs: Wire::decode(input)?,
        capabilities: Capabilities::NONE,
        count: Wire::decode(input)?,
        max_running: Wire::decode(input)?,
        priority: Wire::decode(input)?,
        tier: Wire::decode(input)?,
        max_failed: Wire::decode(input)?,
        start_deadline: Wire::decode(input)?,
        after: Wire::decode(input)?,
        input_from: Wire::decode(input)?,
        execution: Wire::decode(input)?,
        retry: Wire::decode(input)?,
        placement: Wire::decode(input)?,
        created_ms: Wire::decode(input)?,
        message: Wire::decode(input)?,
    })
}

struct OldRunDelta(RunDelta);

impl Wire for OldRunDelta {
    fn encode(&self, out: &mut Vec<u8>) {
        // Nothing writes it; a list can be read only of what can be written.
        self.0.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        let run = Wire::decode(input)?;
        let ended = Vec::<EndedRange>::decode(input)?;
        let valid = |range: &EndedRange| range.len > 0 && range.first.checked_add(range.len).is_some();
        if !ended.iter().all(valid) {
            return Err(Error::Invalid("range of tasks"));
        }
        Ok(Self(RunDelta {
            run,
            ended: EndedRanges::pack(ended),
            exceptions: Wire::decode(input)?,
            usage: Wire::decode(input)?,
            stop: Wire::decode(input)?,
            inline: Wire::decode(input)?,
            in_segment: Wire::decode(input)?,
            desired: Wire::decode(input)?,
            target: Wire::decode(input)?,
            pins: Wire::decode(input)?,
            fenced: Wire::decode(input)?,
            unfenced: Wire::decode(input)?,
        }))
    }
}
