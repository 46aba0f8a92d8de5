//! How an attempt ended and what it used.

use alloc::{boxed::Box, string::String, vec::Vec};

use crate::{
    id::Digest,
    task::{Reason, Source, Status},
    units::{Fuel, MemBytes},
    wire_enum, wire_struct,
};

/// What an attempt consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Fuel burned.
    pub fuel: Fuel,
    /// CPU time, microseconds.
    pub cpu_us: u64,
    /// Wall-clock time, microseconds.
    pub wall_us: u64,
    /// Highest sum of linear memories and tables.
    pub peak_memory: MemBytes,
    /// Bytes written to stdout, stderr and log, dropped ones included.
    pub output_bytes: u64,
}
wire_struct!(Usage { fuel, cpu_us, wall_us, peak_memory, output_bytes });

/// Bytes that came out of an attempt: small ones travel with the report, large ones are uploaded first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Captured {
    /// Nothing was written.
    #[default]
    Empty,
    /// At most [`crate::limits::INLINE_CAPTURE_MAX`] bytes.
    Inline(Box<[u8]>),
    /// A blob, already in the blob store.
    Blob(BlobRef),
}
wire_enum!(Captured { 0 => Empty, 1 => Inline(bytes), 2 => Blob(blob) });

impl Captured {
    /// Wraps bytes that are small enough to travel inline.
    #[must_use]
    pub fn inline(bytes: &[u8]) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Inline(bytes.into()) }
    }

    /// The number of bytes captured.
    #[must_use]
    pub const fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Blob(blob) => blob.len,
        }
    }

    /// Whether nothing was captured.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A blob by name, with its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlobRef {
    /// The digest of the content.
    pub digest: Digest,
    /// Its length in bytes.
    pub len: u64,
}
wire_struct!(BlobRef { digest, len });

/// What is known about an end that was not a success.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// Who decided it.
    pub source: Source,
    /// The guest's exit code, where it has one.
    pub exit_code: Option<i32>,
    /// The guest said itself that another attempt would end the same way.
    pub permanent: bool,
    /// One sentence for people; at most [`crate::limits::MESSAGE_LEN_MAX`] bytes.
    pub message: String,
    /// Wasm frames by name, innermost first; at most [`crate::limits::BACKTRACE_FRAMES_MAX`].
    pub backtrace: Vec<String>,
}
wire_struct!(Failure { reason, source, exit_code, permanent, message, backtrace });

impl Failure {
    /// A failure without exit code and backtrace.
    #[must_use]
    pub fn new(reason: Reason, source: Source, message: impl Into<String>) -> Self {
        Self { reason, source, exit_code: None, permanent: false, message: message.into(), backtrace: Vec::new() }
    }
}

/// The end of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// Why, unless it succeeded.
    pub failure: Option<Box<Failure>>,
    /// What it used.
    pub usage: Usage,
    /// Its result: the bytes a task returned, or a command's stdout.
    pub result: Captured,
    /// Its log: encoded [`crate::log::Record`]s.
    pub log: Captured,
}

impl Outcome {
    /// A success with a result.
    #[must_use]
    pub const fn succeeded(usage: Usage, result: Captured, log: Captured) -> Self {
        Self { status: Status::Succeeded, failure: None, usage, result, log }
    }

    /// An end before anything ran.
    #[must_use]
    pub fn not_run(status: Status, failure: Failure) -> Self {
        Self {
            status,
            failure: Some(Box::new(failure)),
            usage: Usage::default(),
            result: Captured::Empty,
            log: Captured::Empty,
        }
    }
}

impl crate::codec::Wire for Box<Failure> {
    fn encode(&self, out: &mut Vec<u8>) {
        (**self).encode(out);
    }
    fn decode(input: &mut crate::codec::Reader<'_>) -> Result<Self, crate::codec::Error> {
        Failure::decode(input).map(Self::new)
    }
}
wire_struct!(Outcome { status, failure, usage, result, log });
