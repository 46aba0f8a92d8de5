//! Records of a log as lines of JSON.

use sha2::{Digest as _, Sha256};
use weir_api::{LogLevel, LogRecord, LogStream, LogsQuery};
use weir_wire::{
    codec::{Error, Reader, Wire as _},
    log::{Level, Record, Stream},
};

/// A longer record is cut into several lines, each of which is written and read in memory.
const LINE_BYTES_MAX: usize = 64 << 10;
/// About how much is sent at once, bytes.
const CHUNK_BYTES_TARGET: usize = 64 << 10;

/// Which streams are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filter {
    stdout: bool,
    stderr: bool,
}

impl Filter {
    pub(super) const fn new(query: &LogsQuery) -> Self {
        let all = query.stdout == query.stderr;
        Self { stdout: all || query.stdout, stderr: all || query.stderr }
    }

    pub(super) const fn wants(self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr | Stream::Log(_) => self.stderr,
        }
    }
}

/// How much of each stream was sent live, and a hash of it, to go on with the stored log where that ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    streams: [Prefix; 3],
    last_ms: u64,
}

#[derive(Debug, Clone, Default)]
struct Prefix {
    len: u64,
    hash: Sha256,
}

const fn slot(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
        Stream::Log(_) => 2,
    }
}

impl Seen {
    pub(super) fn add(&mut self, stream: Stream, at_ms: u64, bytes: &[u8]) {
        let prefix = &mut self.streams[slot(stream)];
        prefix.len += bytes.len() as u64;
        prefix.hash.update(bytes);
        self.last_ms = self.last_ms.max(at_ms);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.streams.iter().all(|prefix| prefix.len == 0)
    }

    /// What a node may send once more.
    pub(super) fn replay(&self) -> Replay {
        Replay([0, 1, 2].map(|slot: usize| self.streams[slot].len))
    }

    /// Whether every stream of a stored log begins with what was seen of it.
    fn is_prefix_of(&self, log: &[u8]) -> Result<bool, Error> {
        let mut begin: [Prefix; 3] = Default::default();
        let mut input = Reader::new(log);
        while input.remaining() > 0 {
            let Record { stream, bytes, .. } = Record::decode(&mut input)?;
            let (found, wanted) = (&mut begin[slot(stream)], &self.streams[slot(stream)]);
            let room = usize::try_from(wanted.len - found.len).unwrap_or(usize::MAX);
            let part = bytes.get(..room).unwrap_or(&bytes);
            found.len += part.len() as u64;
            found.hash.update(part);
        }
        let same = |(found, wanted): (Prefix, &Prefix)| {
            found.len == wanted.len && found.hash.finalize() == wanted.hash.clone().finalize()
        };
        Ok(begin.into_iter().zip(&self.streams).all(same))
    }
}

/// How many bytes of each stream come once more when a node begins again.
#[derive(Debug)]
pub(super) struct Replay([u64; 3]);

impl Replay {
    /// What is new of a piece.
    pub(super) fn rest<'a>(&mut self, stream: Stream, bytes: &'a [u8]) -> &'a [u8] {
        let known = &mut self.0[slot(stream)];
        let again = usize::try_from(*known).unwrap_or(usize::MAX).min(bytes.len());
        *known -= again as u64;
        &bytes[again..]
    }
}

/// The last lines of a log, as a terminal shows its streams: together, and each call to log on a line of its own.
#[derive(Debug)]
pub(super) struct Tail {
    /// Lines that are left out; none once the first of the others has begun.
    skip: Option<usize>,
    at_start: bool,
}

impl Tail {
    /// Counts the lines of the log that it is given first.
    pub(super) const fn counter() -> Self {
        Self { skip: Some(usize::MAX), at_start: true }
    }

    /// After counting, for the same log from its beginning: all of it, or the last lines.
    pub(super) fn last(self, wanted: Option<usize>) -> Self {
        let lines = usize::MAX - self.skip.unwrap_or(0);
        Self { skip: wanted.map(|wanted| lines.saturating_sub(wanted)), at_start: true }
    }

    /// The part of a record that belongs to the last lines.
    pub(super) fn rest<'a>(&mut self, stream: Stream, bytes: &'a [u8]) -> &'a [u8] {
        let (one, several) = match stream {
            Stream::Log(_) => (Some(bytes).filter(|bytes| !bytes.is_empty()), None),
            Stream::Stdout | Stream::Stderr => (None, Some(bytes.split_inclusive(|byte| *byte == b'\n'))),
        };
        self.at_start |= one.is_some();
        let mut left_out = 0;
        for line in one.into_iter().chain(several.into_iter().flatten()) {
            if self.at_start {
                self.skip = self.skip.and_then(|skip| skip.checked_sub(1));
            }
            if self.skip.is_none() {
                break;
            }
            left_out += line.len();
            self.at_start = one.is_some() || line.ends_with(b"\n");
        }
        &bytes[left_out..]
    }
}

/// A stored log on its way to a client.
#[derive(Debug)]
pub(super) struct Stored<'a> {
    input: Reader<'a>,
    filter: Filter,
    /// What is left out because only the last lines are asked for.
    tail: Tail,
    /// Bytes of each stream that were sent live.
    sent: [u64; 3],
    /// Records up to this time were sent live; used when some of what was sent is missing.
    sent_until_ms: Option<u64>,
    /// Bytes of all records so far.
    bytes: u64,
    last_ms: u64,
    done: bool,
}

impl<'a> Stored<'a> {
    pub(super) fn new(log: &'a [u8], filter: Filter, tail: Option<usize>, seen: &Seen) -> Result<Self, Error> {
        let lossless = seen.is_prefix_of(log)?;
        let mut counter = Tail::counter();
        let mut input = Reader::new(log);
        while tail.is_some() && input.remaining() > 0 {
            let Record { stream, bytes, .. } = Record::decode(&mut input)?;
            if filter.wants(stream) {
                counter.rest(stream, &bytes);
            }
        }
        Ok(Self {
            input: Reader::new(log),
            filter,
            tail: counter.last(tail),
            sent: if lossless { [0, 1, 2].map(|slot: usize| seen.streams[slot].len) } else { [0; 3] },
            sent_until_ms: (!lossless).then_some(seen.last_ms),
            bytes: 0,
            last_ms: 0,
            done: false,
        })
    }

    /// The next lines; `offered` is how many bytes the attempt wrote, kept or not.
    pub(super) fn next_chunk(&mut self, offered: u64) -> Option<Vec<u8>> {
        let mut lines = Vec::new();
        while !self.done && lines.len() < CHUNK_BYTES_TARGET {
            if self.input.remaining() == 0 {
                self.done = true;
                self.finish(offered, &mut lines);
                break;
            }
            // It was decoded once already when this was made.
            let Ok(record) = Record::decode(&mut self.input) else { break };
            self.write(&record, &mut lines);
        }
        (!lines.is_empty()).then_some(lines)
    }

    fn write(&mut self, record: &Record, lines: &mut Vec<u8>) {
        self.bytes += record.bytes.len() as u64;
        self.last_ms = record.at_ms;
        let sent = &mut self.sent[slot(record.stream)];
        let known = usize::try_from(*sent).unwrap_or(usize::MAX).min(record.bytes.len());
        *sent -= known as u64;
        if !self.filter.wants(record.stream) || self.sent_until_ms.is_some_and(|until| record.at_ms <= until) {
            return;
        }
        let rest = self.tail.rest(record.stream, &record.bytes[known..]);
        write(record.stream, record.at_ms, rest, lines);
    }

    /// Says at the end what is missing.
    fn finish(&self, offered: u64, lines: &mut Vec<u8>) {
        if self.sent_until_ms.is_some() {
            let text = "weir: some of the output was not shown as it came; read the log again for all of it\n";
            line(&notice(self.last_ms, text), lines);
        }
        let dropped = offered.saturating_sub(self.bytes);
        if dropped > 0 {
            let text = format!("weir: {dropped} bytes of output were dropped: the output budget is used up\n");
            let mut record = notice(self.last_ms, &text);
            record.dropped = Some(dropped);
            line(&record, lines);
        }
    }
}

fn notice(at_ms: u64, text: &str) -> LogRecord {
    LogRecord::new(at_ms, LogStream::Log, Some(LogLevel::Warn), text.as_bytes())
}

/// Writes a record as one line or, if it is long, as several.
pub(super) fn write(stream: Stream, at_ms: u64, mut bytes: &[u8], lines: &mut Vec<u8>) {
    let (kind, level) = match stream {
        Stream::Stdout => (LogStream::Stdout, None),
        Stream::Stderr => (LogStream::Stderr, None),
        Stream::Log(level) => (LogStream::Log, Some(show_level(level))),
    };
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at(cut(bytes));
        line(&LogRecord::new(at_ms, kind, level, head), lines);
        bytes = rest;
    }
}

/// Where to cut: not inside a character, where that is possible.
fn cut(bytes: &[u8]) -> usize {
    if bytes.len() <= LINE_BYTES_MAX {
        return bytes.len();
    }
    let is_start = |at: &usize| bytes[*at] & 0xc0 != 0x80;
    (LINE_BYTES_MAX - 3..=LINE_BYTES_MAX).rev().find(is_start).unwrap_or(LINE_BYTES_MAX)
}

fn line(record: &LogRecord, lines: &mut Vec<u8>) {
    let before = lines.len();
    // Strings and numbers always encode.
    if serde_json::to_writer(&mut *lines, record).is_ok() {
        lines.push(b'\n');
    } else {
        lines.truncate(before);
    }
}

const fn show_level(level: Level) -> LogLevel {
    match level {
        Level::Trace => LogLevel::Trace,
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warn => LogLevel::Warn,
        Level::Error => LogLevel::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(records: &[(Stream, u64, &str)]) -> Vec<u8> {
        let mut log = Vec::new();
        for (stream, at_ms, text) in records {
            let bytes = text.as_bytes().into();
            Record { stream: *stream, at_ms: *at_ms, bytes }.append_to(&mut log);
        }
        log
    }

    /// The text of all lines, and the bytes that they say were dropped.
    fn read(log: &[u8], query: &LogsQuery, seen: &Seen, offered: u64) -> (String, u64) {
        let tail = query.tail.map(|tail| usize::try_from(tail).unwrap());
        let mut stored = Stored::new(log, Filter::new(query), tail, seen).unwrap();
        let (mut text, mut dropped) = (String::new(), 0);
        while let Some(chunk) = stored.next_chunk(offered) {
            for line in String::from_utf8(chunk).unwrap().lines() {
                let record: LogRecord = serde_json::from_str(line).unwrap();
                text += record.text.as_deref().unwrap();
                dropped += record.dropped.unwrap_or(0);
            }
        }
        (text, dropped)
    }

    #[test]
    fn streams_and_tails_are_chosen() {
        let log = log(&[
            (Stream::Stdout, 0, "a"),
            (Stream::Stderr, 1, "b"),
            (Stream::Log(Level::Info), 2, "c"),
            (Stream::Stdout, 3, "d"),
        ]);
        let query = |stdout, stderr, tail| LogsQuery { stdout, stderr, tail, follow: false };
        for (query, expected) in [
            (query(false, false, None), "abcd"),
            (query(true, true, None), "abcd"),
            (query(true, false, None), "ad"),
            (query(false, true, None), "bc"),
            (query(false, false, Some(2)), "cd"),
            (query(false, true, Some(1)), "c"),
            (query(false, false, Some(0)), ""),
            (query(false, false, Some(9)), "abcd"),
        ] {
            assert_eq!(read(&log, &query, &Seen::default(), 4).0, expected, "{query:?}");
        }
    }

    #[test]
    fn a_tail_counts_lines() {
        let log = log(&[
            (Stream::Stdout, 0, "1\n2\n3\n"),
            (Stream::Stderr, 1, "4\n5"),
            (Stream::Stderr, 2, "5\n\n"),
            (Stream::Log(Level::Info), 3, "a\nb"),
            (Stream::Stdout, 4, "8"),
        ]);
        for (tail, expected) in [
            (0, ""),
            (1, "8"),
            (2, "a\nb8"),
            (3, "\na\nb8"),
            (4, "55\n\na\nb8"),
            (5, "4\n55\n\na\nb8"),
            (6, "3\n4\n55\n\na\nb8"),
            (8, "1\n2\n3\n4\n55\n\na\nb8"),
            (99, "1\n2\n3\n4\n55\n\na\nb8"),
        ] {
            let query = LogsQuery { tail: Some(tail), ..LogsQuery::default() };
            assert_eq!(read(&log, &query, &Seen::default(), 0).0, expected, "{tail}");
        }
        let query = LogsQuery { tail: Some(2), stdout: true, ..LogsQuery::default() };
        assert_eq!(read(&log, &query, &Seen::default(), 0).0, "3\n8");
    }

    #[test]
    fn what_a_node_sends_again_is_left_out() {
        let mut seen = Seen::default();
        seen.add(Stream::Stdout, 0, b"hello ");
        seen.add(Stream::Stderr, 0, b"oops");
        let mut replay = seen.replay();
        let pieces: [(Stream, &[u8], &[u8]); 5] = [
            (Stream::Stdout, b"hel", b""),
            (Stream::Stderr, b"oops!", b"!"),
            (Stream::Stdout, b"lo wor", b"wor"),
            (Stream::Stdout, b"ld", b"ld"),
            (Stream::Log(Level::Info), b"new", b"new"),
        ];
        for (stream, bytes, expected) in pieces {
            assert_eq!(replay.rest(stream, bytes), expected);
        }
    }

    #[test]
    fn dropped_bytes_are_told() {
        let (text, dropped) = read(&log(&[(Stream::Stdout, 0, "ab")]), &LogsQuery::default(), &Seen::default(), 9);
        assert!(text.starts_with("ab") && text.contains("7 bytes"), "{text}");
        assert_eq!(dropped, 7);
    }

    #[test]
    fn a_followed_log_goes_on_where_it_ended() {
        let log = log(&[(Stream::Stdout, 0, "hello "), (Stream::Stderr, 1, "oops"), (Stream::Stdout, 5, "world")]);
        let seen = |pieces: &[(Stream, u64, &str)]| {
            let mut seen = Seen::default();
            for (stream, at_ms, text) in pieces {
                seen.add(*stream, *at_ms, text.as_bytes());
            }
            seen
        };
        for (pieces, expected) in [
            (vec![], "hello oopsworld"),
            (vec![(Stream::Stdout, 0, "hel")], "lo oopsworld"),
            (vec![(Stream::Stdout, 0, "hello "), (Stream::Stderr, 1, "oops")], "world"),
            (vec![(Stream::Stdout, 0, "hello world"), (Stream::Stderr, 1, "oops")], ""),
        ] {
            assert_eq!(read(&log, &LogsQuery::default(), &seen(&pieces), 15).0, expected, "{pieces:?}");
        }
        let (text, _) = read(&log, &LogsQuery::default(), &seen(&[(Stream::Stderr, 1, "ps")]), 15);
        assert!(text.starts_with("world") && text.contains("read the log again"), "{text}");
    }

    #[test]
    fn long_records_are_cut_between_characters() {
        let text = "é".repeat(LINE_BYTES_MAX);
        let log = log(&[(Stream::Stdout, 0, &text)]);
        assert_eq!(read(&log, &LogsQuery::default(), &Seen::default(), 0).0, text);
        let mut lines = Vec::new();
        write(Stream::Stdout, 0, &vec![0xbf; LINE_BYTES_MAX + 9], &mut lines);
        assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 2);
    }
}
