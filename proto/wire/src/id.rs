//! Typed identities.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, str::FromStr};

use crate::{
    codec::{Error, Reader, Wire},
    limits, wire_struct,
};

/// Why a text is not an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what}: {rule}")]
pub struct ParseError {
    what: &'static str,
    text: String,
    rule: &'static str,
}

impl ParseError {
    fn new(what: &'static str, text: &str, rule: &'static str) -> Self {
        let text = text.chars().take(80).collect();
        Self { what, text, rule }
    }
}

const NAME_RULE: &str = "1 to 63 characters of a-z, 0-9, '-', '.' and '_', beginning with none of '-' and '.'";

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-' || *b == b'.' || *b == b'_';
    !bytes.is_empty()
        && bytes.len() <= limits::NAME_LEN_MAX
        && bytes[0] != b'-'
        && bytes[0] != b'.'
        && bytes.iter().all(inner)
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text of the name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseError;
            fn from_str(text: &str) -> Result<Self, ParseError> {
                if is_name(text) { Ok(Self(text.into())) } else { Err(ParseError::new($what, text, NAME_RULE)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Wire for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                crate::codec::put_bytes(out, self.0.as_bytes());
            }
            fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
                String::decode(input)?.parse().map_err(|_| Error::Invalid($what))
            }
        }
    };
}

name!(
    /// The name of a cluster: prefix of every key and part of every certificate.
    ClusterName, "cluster name");
name!(
    /// The name of a namespace.
    Namespace, "namespace");
name!(
    /// The name of a job inside a namespace.
    JobName, "job name");
name!(
    /// The name of a node: one machine with an executor, as its certificate says.
    NodeId, "node name");

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl Wire for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }
            fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
                u64::decode(input).map(Self)
            }
        }
    };
}

number!(
    /// One leadership: the create-revision of the leader key, or the embedded store's open counter.
    Term);
number!(
    /// The sequence number of a log transaction, from 1.
    Seq);
number!(
    /// The sequence number of a grant inside a term, from 1.
    GrantSeq);
number!(
    /// One start of an executor: a counter in its data directory.
    Incarnation);
number!(
    /// The version of a job's spec, from 1.
    JobVersion);

/// One execution of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// Crockford's base32 in lower case: no i, l, o, u.
const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const RUN_ID_LEN: usize = 13;

impl RunId {
    /// The id of item `item` of submission segment `seq`.
    ///
    /// Unique by construction: the mix is a bijection (the finaliser of `SplitMix64`), and it spreads neighbouring
    /// ids over the whole range so that a short prefix tells them apart.
    #[must_use]
    pub const fn from_segment(seq: Seq, item: u16) -> Self {
        let mut z = (seq.0 << 16) | item as u64;
        z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(z ^ (z >> 31))
    }

    /// The submission segment that it is an item of: [`Self::from_segment`] undone.
    #[must_use]
    pub const fn segment(self) -> Seq {
        // Each step of the mix is undone: a shift by applying it twice, a product by the inverse modulo 2^64.
        let mut z = self.0 ^ (self.0 >> 31) ^ (self.0 >> 62);
        z = z.wrapping_mul(0x3196_42b2_d24d_8ec3);
        z = (z ^ (z >> 27) ^ (z >> 54)).wrapping_mul(0x96de_1b17_3f11_9089);
        z = (z ^ (z >> 30) ^ (z >> 60)).wrapping_sub(0x9e37_79b9_7f4a_7c15);
        Seq(z >> 16)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'0'; RUN_ID_LEN];
        let mut rest = self.0;
        for slot in text.iter_mut().rev() {
            *slot = BASE32[(rest & 31) as usize];
            rest >>= 5;
        }
        f.pad(core::str::from_utf8(&text).unwrap_or_default())
    }
}

impl FromStr for RunId {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad = || ParseError::new("run id", text, "13 characters of 0-9 and a-z without i, l, o and u");
        if text.len() != RUN_ID_LEN {
            return Err(bad());
        }
        let mut value = 0u128;
        for byte in text.bytes() {
            let digit = BASE32.iter().position(|b| *b == byte.to_ascii_lowercase()).ok_or_else(bad)?;
            value = (value << 5) | digit as u128;
        }
        u64::try_from(value).map(Self).map_err(|_| bad())
    }
}

impl Wire for RunId {
    fn encode(&self, out: &mut Vec<u8>) {
        // Ids are spread over 64 bits, so a fixed width is shorter than LEB128.
        out.extend_from_slice(&self.0.to_le_bytes());
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(input.raw(8)?);
        Ok(Self(u64::from_le_bytes(bytes)))
    }
}

/// One index of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The run.
    pub run: RunId,
    /// The index inside the run, from 0.
    pub index: u32,
}
wire_struct!(TaskId { run, index });

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.run, self.index))
    }
}

impl FromStr for TaskId {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad = || ParseError::new("task id", text, "a run id, a dot and an index");
        let (run, index) = text.split_once('.').ok_or_else(bad)?;
        Ok(Self { run: run.parse()?, index: index.parse().map_err(|_| bad())? })
    }
}

/// One try of a task on one node. Two leaders never issue the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The task.
    pub task: TaskId,
    /// The term of the leader that granted it.
    pub term: Term,
    /// The grant, unique in the term.
    pub grant: GrantSeq,
}
wire_struct!(AttemptId { task, term, grant });

impl AttemptId {
    /// The attempt of the next task under the same grant.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        let TaskId { run, index } = self.task;
        Some(Self { task: TaskId { run, index: index.checked_add(1)? }, ..self })
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{}", self.task, self.term, self.grant)
    }
}

/// A SHA-256 digest: the name of a module or another blob.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The 64 hexadecimal digits without the `sha256:` in front.
    #[must_use]
    pub fn to_hex(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            text.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
            text.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
        }
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad = || ParseError::new("digest", text, "sha256: and 64 hexadecimal digits");
        let hex = text.strip_prefix("sha256:").ok_or_else(bad)?.as_bytes();
        if hex.len() != 64 {
            return Err(bad());
        }
        let mut digest = [0; 32];
        for (slot, pair) in digest.iter_mut().zip(hex.chunks(2)) {
            let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
            let (high, low) = (digit(pair[0]).ok_or_else(bad)?, digit(pair[1]).ok_or_else(bad)?);
            *slot = high << 4 | low;
        }
        Ok(Self(digest))
    }
}

impl Wire for Digest {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        let mut digest = [0; 32];
        digest.copy_from_slice(input.raw(32)?);
        Ok(Self(digest))
    }
}

/// The full display name of a job, `namespace/job`.
#[must_use]
pub fn job_path(namespace: &Namespace, job: &JobName) -> String {
    let mut path = namespace.to_string();
    path.push('/');
    path.push_str(job.as_str());
    path
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    #[test]
    fn run_ids_are_unique_and_round_trip_as_text() {
        let mut seen = BTreeSet::new();
        for seq in 1..200 {
            for item in [0, 1, 4095, u16::MAX] {
                let id = RunId::from_segment(Seq(seq), item);
                assert!(seen.insert(id));
                assert_eq!(id.to_string().parse(), Ok(id));
            }
        }
        assert!("zzzzzzzzzzzzz".parse::<RunId>().is_err(), "more than 64 bits");
        assert!("0".parse::<RunId>().is_err());
    }

    #[test]
    fn names_follow_their_rule() {
        for good in ["a", "word-count", "n1", "eu.west-1", "a_b"] {
            assert!(good.parse::<JobName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "Word", "a b", "a/b", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<JobName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn task_ids_and_digests_round_trip_as_text() {
        let task = TaskId { run: RunId(7), index: 12 };
        assert_eq!(task.to_string().parse(), Ok(task));
        let digest = Digest([0xa7; 32]);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!("sha256:00".parse::<Digest>().is_err());
    }
}
