//! The log of an attempt: records in the order they were written.

use alloc::{boxed::Box, vec::Vec};

use crate::{
    codec::{Error, Reader, Wire},
    wire_enum, wire_struct,
};

/// Where a record came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The SDK's log, at a level.
    Log(Level),
}
wire_enum!(Stream { 1 => Stdout, 2 => Stderr, 3 => Log(level) });

/// The level of an SDK log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Finest detail.
    Trace,
    /// Detail for developers.
    Debug,
    /// Ordinary events.
    Info,
    /// Something unexpected that the task coped with.
    Warn,
    /// Something that made the task fail.
    Error,
}
wire_enum!(Level { 1 => Trace, 2 => Debug, 3 => Info, 4 => Warn, 5 => Error });

impl Level {
    /// The word for it in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One write of the guest, or several to the same stream in close succession.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The stream.
    pub stream: Stream,
    /// Milliseconds since the attempt began.
    pub at_ms: u64,
    /// What was written.
    pub bytes: Box<[u8]>,
}
wire_struct!(Record { stream, at_ms, bytes });

impl Record {
    /// Appends the record to an encoded log.
    pub fn append_to(&self, log: &mut Vec<u8>) {
        self.encode(log);
    }
}

/// Decodes a whole log.
///
/// # Errors
/// A log that was not written by [`Record::append_to`].
pub fn records(log: &[u8]) -> Result<Vec<Record>, Error> {
    let mut input = Reader::new(log);
    let mut records = Vec::new();
    while input.remaining() > 0 {
        records.push(Record::decode(&mut input)?);
    }
    Ok(records)
}
