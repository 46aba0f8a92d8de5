//! Result segments: one object per log transaction with the results, logs and usage of the tasks that it ended.

use alloc::{format, string::String, vec::Vec};

use crate::{
    codec::{Error, Reader, Wire},
    id::{RunId, Seq, Term},
    outcome::{Captured, Usage},
    wire_struct,
};

const FORMAT: u8 = 1;

/// The directory of all segment objects.
pub const DIRECTORY: &str = "segments";

/// The name of the segment object of a transaction.
///
/// It carries the term, so that a transaction of a deposed leader never overwrites the object of its successor.
#[must_use]
pub fn object_name(seq: Seq, term: Term) -> String {
    format!("{DIRECTORY}/{:016x}-{:016x}", seq.0, term.0)
}

/// The transaction and the term that [`object_name`] named an object by.
#[must_use]
pub fn parse_object_name(name: &str) -> Option<(Seq, Term)> {
    let (seq, term) = name.strip_prefix(DIRECTORY)?.strip_prefix('/')?.split_once('-')?;
    let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let parsed = (Seq(number(seq)?), Term(number(term)?));
    (object_name(parsed.0, parsed.1) == name).then_some(parsed)
}

/// What is kept of one ended task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The task's index.
    pub index: u32,
    /// What its last attempt used.
    pub usage: Usage,
    /// Its result.
    pub result: Captured,
    /// Its log.
    pub log: Captured,
}
wire_struct!(Entry { index, usage, result, log });

/// Appends entries of any runs to a segment.
#[derive(Debug, Default)]
pub struct Builder {
    bytes: Vec<u8>,
    entries: usize,
}

impl Builder {
    /// Appends one entry.
    pub fn push(&mut self, run: RunId, entry: &Entry) {
        if self.bytes.is_empty() {
            self.bytes.push(FORMAT);
        }
        run.encode(&mut self.bytes);
        entry.encode(&mut self.bytes);
        self.entries += 1;
    }

    /// The bytes so far.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was appended.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The finished object.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads a segment entry by entry.
#[derive(Debug)]
pub struct Entries<'a> {
    input: Reader<'a>,
}

impl<'a> Entries<'a> {
    /// Starts reading a segment object.
    ///
    /// # Errors
    /// An unknown format.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut input = Reader::new(bytes);
        if input.remaining() > 0 {
            let found = input.u8()?;
            if found != FORMAT {
                return Err(Error::UnknownFormat { what: "result segment", found, known: FORMAT });
            }
        }
        Ok(Self { input })
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<(RunId, Entry), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.input.remaining() == 0 {
            return None;
        }
        let entry = RunId::decode(&mut self.input).and_then(|run| Ok((run, Entry::decode(&mut self.input)?)));
        if entry.is_err() {
            self.input = Reader::new(&[]);
        }
        Some(entry)
    }
}
