//! The store boundary: fenced transactions and their results.

use alloc::{string::String, vec::Vec};

use crate::id::{Seq, Term};

/// One log transaction.
///
/// The store carries it out only if the leader key was created at `term` and [`crate::key::HEAD`] holds `seq − 1`
/// (absent counts as 0); it then also sets the head to `seq`. Submitting the identical transaction again is how an
/// unknown result is resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Txn {
    /// The leadership that writes.
    pub term: Term,
    /// The number of this transaction.
    pub seq: Seq,
    /// Keys (relative to the cluster's prefix) and values to write.
    pub puts: Vec<(String, Vec<u8>)>,
    /// Ranges of keys to delete, after the puts.
    pub deletes: Vec<KeyRange>,
}

impl Txn {
    /// The bytes of keys and values.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.puts.iter().map(|(key, value)| key.len() + value.len()).sum()
    }
}

/// Keys from `start` up to but not including `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// First key.
    pub start: String,
    /// First key after the range.
    pub end: String,
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitResult {
    /// It is durable, whether by this try or by an earlier one. The store's revision after it.
    Committed {
        /// The revision.
        revision: u64,
    },
    /// The leader key belongs to another term: all soft state is to be dropped.
    Deposed,
    /// The head is below `seq − 1`: a transaction of a predecessor is still open and is resolved first.
    Gap {
        /// The head that was read.
        head: Seq,
    },
    /// Nobody knows: time-out or connection loss. To be submitted again, identically.
    Unknown,
}
