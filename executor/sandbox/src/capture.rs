//! What an attempt writes: a bounded log of records, kept in memory until the attempt ends.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use weir_wire::{
    attempt::{AttemptEvent, OutputChunk, Progress},
    codec::{self, Reader, Wire},
    id::AttemptId,
    log::{Record, Stream},
};

use crate::limits::{LOG_RECORD_BYTES_MAX, PROGRESS_INTERVAL};

/// Bytes of framing that every log may have on top of twice its budget.
const FRAMING_BYTES_FREE: u64 = 64 << 10;

/// The output budget is used up; the write that found out was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// The output of one attempt, shared between the guest's streams and the worker.
#[derive(Debug)]
pub(crate) struct Capture(Mutex<Written>);

#[derive(Debug)]
struct Written {
    started: Instant,
    budget: u64,
    kept: u64,
    offered: u64,
    full: bool,
    log: Vec<u8>,
    /// The record that still grows.
    open: Option<OpenRecord>,
    /// How much of `log` was reported live.
    reported: usize,
    progress: Option<(u64, u64)>,
    progress_reported: Option<Instant>,
}

#[derive(Debug)]
struct OpenRecord {
    stream: Stream,
    at_ms: u64,
    bytes: Vec<u8>,
}

/// All that an attempt wrote.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    /// Encoded records.
    pub(crate) log: Vec<u8>,
    /// Bytes offered, those beyond the budget included.
    pub(crate) offered: u64,
}

impl Capture {
    pub(crate) const fn new(started: Instant, budget: u64) -> Self {
        Self(Mutex::new(Written {
            started,
            budget,
            kept: 0,
            offered: 0,
            full: false,
            log: Vec::new(),
            open: None,
            reported: 0,
            progress: None,
            progress_reported: None,
        }))
    }

    /// Records a write, as far as the budget goes.
    pub(crate) fn write(&self, stream: Stream, bytes: &[u8]) -> Result<(), Full> {
        self.with(|written| written.write(stream, bytes))
    }

    /// Records how far the guest says it is; only the latest is kept until it is reported.
    pub(crate) fn progress(&self, done: u64, total: u64) {
        self.with(|written| written.progress = Some((done, total)));
    }

    /// Whether the budget was passed.
    pub(crate) fn is_full(&self) -> bool {
        self.with(|written| written.full)
    }

    /// Reports progress, at most one event an interval unless it is the last one.
    pub(crate) fn report_progress(&self, id: AttemptId, last: bool, events: &mut Vec<AttemptEvent>) {
        self.with(|written| {
            if written.progress.is_none() {
                return;
            }
            let now = Instant::now();
            let due = written.progress_reported.is_none_or(|then| now.duration_since(then) >= PROGRESS_INTERVAL);
            if (due || last)
                && let Some((done, total)) = written.progress.take()
            {
                written.progress_reported = Some(now);
                events.push(AttemptEvent::Progress(Progress { id, done, total }));
            }
        });
    }

    /// Reports what was written since the last report, or from the beginning.
    pub(crate) fn report_output(&self, id: AttemptId, replay: bool, events: &mut Vec<AttemptEvent>) {
        self.with(|written| {
            written.close_record();
            if replay {
                written.reported = 0;
            }
            let fresh = written.log.get(written.reported..).unwrap_or_default();
            let decoded = each_record(fresh, |Record { stream, at_ms, bytes }| {
                events.push(AttemptEvent::Output(OutputChunk { id, stream, at_ms, bytes }));
            });
            if let Err(error) = decoded {
                tracing::error!(attempt.id = %id, %error, "the sandbox cannot read a log that it wrote itself");
            }
            written.reported = written.log.len();
        });
    }

    /// Takes everything.
    pub(crate) fn take(&self) -> Captured {
        self.with(|written| {
            written.close_record();
            Captured { log: std::mem::take(&mut written.log), offered: written.offered }
        })
    }

    fn with<R>(&self, f: impl FnOnce(&mut Written) -> R) -> R {
        // Nothing in this module panics half-way through a change.
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Written {
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), Full> {
        self.offered = self.offered.saturating_add(bytes.len() as u64);
        let room = usize::try_from(self.budget - self.kept).unwrap_or(usize::MAX);
        let kept = bytes.get(..room).unwrap_or(bytes);
        // Many tiny writes to alternating streams would otherwise cost several times their size.
        let framing_full = self.log.len() as u64 > self.budget.saturating_mul(2).saturating_add(FRAMING_BYTES_FREE);
        if !self.full && !framing_full && !kept.is_empty() {
            self.kept += kept.len() as u64;
            self.append(stream, kept);
        }
        if framing_full || kept.len() < bytes.len() {
            self.full = true;
            return Err(Full);
        }
        Ok(())
    }

    fn append(&mut self, stream: Stream, bytes: &[u8]) {
        let at_ms = millis(self.started.elapsed());
        // A line of the SDK's log is a record of its own.
        let mut joins = !matches!(stream, Stream::Log(_));
        let mut rest = bytes;
        while !rest.is_empty() {
            let open = self.open.take_if(|open| {
                joins && open.stream == stream && open.at_ms == at_ms && open.bytes.len() < LOG_RECORD_BYTES_MAX
            });
            self.close_record();
            let mut open = open.unwrap_or(OpenRecord { stream, at_ms, bytes: Vec::new() });
            let room = LOG_RECORD_BYTES_MAX - open.bytes.len();
            let (fits, left) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            open.bytes.extend_from_slice(fits);
            self.open = Some(open);
            joins = false;
            rest = left;
        }
    }

    fn close_record(&mut self) {
        if let Some(OpenRecord { stream, at_ms, bytes }) = self.open.take() {
            Record { stream, at_ms, bytes: bytes.into_boxed_slice() }.append_to(&mut self.log);
        }
    }
}

impl Captured {
    /// The bytes of standard output alone.
    ///
    /// # Errors
    /// The log does not decode, which is a fault of this module: the attempt must not count as one with no output.
    pub(crate) fn stdout(&self) -> Result<Vec<u8>, codec::Error> {
        let mut bytes = Vec::new();
        each_record(&self.log, |record| {
            if record.stream == Stream::Stdout {
                bytes.extend_from_slice(&record.bytes);
            }
        })?;
        Ok(bytes)
    }
}

/// Decodes one record at a time, since a whole log may be large.
fn each_record(log: &[u8], mut take: impl FnMut(Record)) -> Result<(), codec::Error> {
    let mut input = Reader::new(log);
    while input.remaining() > 0 {
        take(Record::decode(&mut input)?);
    }
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use weir_wire::id::{GrantSeq, RunId, TaskId, Term};

    use super::*;

    const ID: AttemptId = AttemptId { task: TaskId { run: RunId(1), index: 2 }, term: Term(3), grant: GrantSeq(4) };

    #[test]
    fn the_first_bytes_are_kept_and_all_are_counted() {
        let capture = Capture::new(Instant::now(), 8);
        assert_eq!(capture.write(Stream::Stdout, b"12345"), Ok(()));
        assert_eq!(capture.write(Stream::Stdout, b"6789"), Err(Full));
        assert_eq!(capture.write(Stream::Stderr, b"x"), Err(Full));
        let captured = capture.take();
        assert_eq!(captured.stdout().unwrap(), b"12345678");
        assert_eq!((captured.offered, capture.is_full()), (10, true));
    }

    #[test]
    fn a_budget_met_exactly_is_not_passed() {
        let capture = Capture::new(Instant::now(), 3);
        assert_eq!(capture.write(Stream::Stdout, b"abc"), Ok(()));
        assert_eq!(capture.write(Stream::Stdout, b""), Ok(()));
        assert!(!capture.is_full());
        assert_eq!(capture.write(Stream::Stdout, b"d"), Err(Full));
    }

    #[test]
    fn framing_is_bounded() {
        let capture = Capture::new(Instant::now(), 1 << 20);
        let mut written = 0u64;
        while capture.write(if written.is_multiple_of(2) { Stream::Stdout } else { Stream::Stderr }, b"x").is_ok() {
            written += 1;
        }
        let captured = capture.take();
        assert!(capture.is_full() && captured.log.len() < (2 << 20) + (65 << 10), "{}", captured.log.len());
    }

    #[test]
    fn large_output_is_whole_and_its_log_decodes() {
        const MIB: usize = 1 << 20;
        for (total, write) in [(2 * MIB, 2 * MIB), (10 * MIB, 10 * MIB), (64 * MIB, 64 * MIB), (10 * MIB, 4093)] {
            let capture = Capture::new(Instant::now(), total as u64);
            let bytes: Vec<u8> = (0..total).map(|at| (at % 251).to_le_bytes()[0]).collect();
            for part in bytes.chunks(write) {
                assert_eq!(capture.write(Stream::Stdout, part), Ok(()));
            }
            let mut events = Vec::new();
            capture.report_output(ID, true, &mut events);
            let captured = capture.take();
            assert!(captured.stdout().unwrap() == bytes, "{total} bytes, {write} at a time");
            let records = weir_wire::log::records(&captured.log).unwrap();
            assert!(records.iter().all(|record| record.bytes.len() <= LOG_RECORD_BYTES_MAX));
            assert_eq!((records.len(), records.iter().map(|r| r.bytes.len()).sum()), (events.len(), total));
        }
    }

    #[test]
    fn long_lines_of_the_log_are_split_and_never_joined() {
        let capture = Capture::new(Instant::now(), 1 << 20);
        let line = vec![b'x'; LOG_RECORD_BYTES_MAX + 1];
        for bytes in [&*line, b"a", b"b"] {
            assert_eq!(capture.write(Stream::Log(weir_wire::log::Level::Info), bytes), Ok(()));
        }
        let records = weir_wire::log::records(&capture.take().log).unwrap();
        let lengths: Vec<_> = records.iter().map(|record| record.bytes.len()).collect();
        assert_eq!(lengths, [LOG_RECORD_BYTES_MAX, 1, 1, 1]);
    }

    #[test]
    fn a_log_that_does_not_decode_is_an_error() {
        let captured = Captured { log: vec![0xff; 9], offered: 9 };
        assert!(captured.stdout().is_err());
    }

    #[test]
    fn a_late_follower_sees_everything_once() {
        let capture = Capture::new(Instant::now(), 100);
        let mut events = Vec::new();
        capture.write(Stream::Stdout, b"a").unwrap();
        capture.report_output(ID, true, &mut events);
        capture.write(Stream::Stderr, b"b").unwrap();
        capture.report_output(ID, false, &mut events);
        capture.report_output(ID, false, &mut events);
        let bytes: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                AttemptEvent::Output(chunk) => Some((chunk.stream, &*chunk.bytes)),
                AttemptEvent::Module(_)
                | AttemptEvent::Progress(_)
                | AttemptEvent::Ended(_)
                | AttemptEvent::Seen(_)
                | AttemptEvent::Settled(_) => None,
            })
            .collect();
        assert_eq!(bytes, [(Stream::Stdout, &b"a"[..]), (Stream::Stderr, &b"b"[..])]);
        assert_eq!(capture.take().stdout().unwrap(), b"a");
    }
}
