//! The boundary of the sandbox: plain data in both directions, fit to cross a process boundary unchanged.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::time::Duration;

use crate::{
    codec::{Document, Error, Reader, Wire, put_bytes},
    id::{AttemptId, Digest, RunId},
    inspect::{AttemptSeen, InspectSpec},
    limits::BLOB_LEN_MAX,
    log::Stream,
    outcome::Outcome,
    wire_enum, wire_struct,
    work::WorkSpec,
};

/// What the executor tells the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A run whose attempts may follow.
    Define(Box<WorkSpec>),
    /// No more attempts of this run will follow.
    Forget(RunId),
    /// The module is in a local file, checked against its digest; compile it. Answered by a [`AttemptEvent::Module`].
    Prepare(ModuleFile),
    /// Start one attempt. Its run was defined and its module prepared.
    Start(AttemptSpec),
    /// End one attempt.
    Cancel(CancelSpec),
    /// Report the output of a running attempt as it comes, from its beginning, or stop doing so.
    Follow(FollowSpec),
    /// Let an attempt run only while nothing else wants the CPU, or as before.
    Throttle(ThrottleSpec),
    /// Fenced attempts may run until then; without any such command they always may.
    Lease(LeaseSpec),
    /// Say what a running attempt does. Answered by an [`AttemptEvent::Seen`], unless it ends first.
    Inspect(InspectSpec),
    /// Start nothing behind this attempt without being told. Answered by an [`AttemptEvent::Settled`] if it has yet to begin;
    /// otherwise its end, or a `Settled` that was sent already, says what followed.
    Settle(AttemptId),
}
wire_enum!(Command {
    1 => Define(work), 2 => Forget(run), 3 => Prepare(module), 4 => Start(attempt), 5 => Cancel(cancel), 6 => Follow(follow),
    7 => Throttle(throttle), 8 => Lease(lease), 9 => Inspect(inspect), 10 => Settle(id),
});
impl Document for Command {
    const NAME: &'static str = "sandbox command";
    const FORMAT: u8 = 3;
}

/// A module in a local file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleFile {
    /// Its digest.
    pub digest: Digest,
    /// The path of the file.
    pub path: String,
}
wire_struct!(ModuleFile { digest, path });

/// One attempt to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptSpec {
    /// Its identity; the run in it was defined before.
    pub id: AttemptId,
    /// The number people see: recorded failed attempts + 1.
    pub ordinal: u32,
    /// How many of the tasks behind it in its range may be started one after the other as it ends, without being told. The
    /// sandbox does so as long as each succeeds at once.
    pub ahead: u32,
    /// The payload, also of the tasks behind it.
    pub payload: Box<[u8]>,
}
impl Wire for AttemptSpec {
    fn encode(&self, out: &mut Vec<u8>) {
        self.id.encode(out);
        self.ordinal.encode(out);
        self.ahead.encode(out);
        put_bytes(out, &self.payload);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        let (id, ordinal, ahead) = (Wire::decode(input)?, Wire::decode(input)?, Wire::decode(input)?);
        Ok(Self { id, ordinal, ahead, payload: large(input, "a payload")? })
    }
}

impl AttemptSpec {
    /// The attempt of the next task of the range, if that may be started without being told.
    #[must_use]
    pub fn next(&self) -> Option<Self> {
        let (ahead, id) = (self.ahead.checked_sub(1)?, self.id.next()?);
        Some(Self { id, ordinal: self.ordinal, ahead, payload: self.payload.clone() })
    }
}

/// Why an attempt is to be ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelSpec {
    /// The attempt.
    pub id: AttemptId,
    /// The reason to report.
    pub reason: crate::task::Reason,
}
wire_struct!(CancelSpec { id, reason });

/// Turns live output on or off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowSpec {
    /// The attempt.
    pub id: AttemptId,
    /// On or off.
    pub on: bool,
}
wire_struct!(FollowSpec { id, on });

/// Throttles an attempt, or lets it go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThrottleSpec {
    /// The attempt.
    pub id: AttemptId,
    /// On or off.
    pub on: bool,
}
wire_struct!(ThrottleSpec { id, on });

/// How long fenced attempts may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseSpec {
    /// On this machine's `CLOCK_BOOTTIME`, nanoseconds: the sandbox is on the same machine in any case.
    pub until_ns: u64,
}
wire_struct!(LeaseSpec { until_ns });

/// What the sandbox tells the executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptEvent {
    /// A module was compiled and linked, or refused with a message.
    Module(ModuleReady),
    /// Output of a followed attempt.
    Output(OutputChunk),
    /// The guest reported progress.
    Progress(Progress),
    /// The attempt is over. Large captures are still in memory here: see [`EndedAttempt`].
    Ended(Box<EndedAttempt>),
    /// What was seen of a running attempt that was asked for.
    Seen(AttemptSeen),
    /// Nothing is started behind this attempt without being told.
    Settled(AttemptId),
}
wire_enum!(AttemptEvent {
    1 => Module(ready), 2 => Output(chunk), 3 => Progress(progress), 4 => Ended(ended), 5 => Seen(seen), 6 => Settled(id),
});
impl Document for AttemptEvent {
    const NAME: &'static str = "attempt event";
    const FORMAT: u8 = 2;
}

/// The answer to [`Command::Prepare`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleReady {
    /// The module.
    pub digest: Digest,
    /// Why it cannot be run, if it cannot.
    pub refused: Option<String>,
    /// Whether it was the machine's fault: another try may go better, and the module is not to blame.
    pub machine_fault: bool,
    /// How long compiling took; zero when it came from the cache.
    pub compile_time: Duration,
}
wire_struct!(ModuleReady { digest, refused, machine_fault, compile_time });

/// A piece of live output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChunk {
    /// The attempt.
    pub id: AttemptId,
    /// Which stream.
    pub stream: Stream,
    /// Milliseconds since the attempt began.
    pub at_ms: u64,
    /// The bytes.
    pub bytes: Box<[u8]>,
}
wire_struct!(OutputChunk { id, stream, at_ms, bytes });

/// How far a guest says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The attempt.
    pub id: AttemptId,
    /// Units done.
    pub done: u64,
    /// Units in all; 0 when unknown.
    pub total: u64,
}
wire_struct!(Progress { id, done, total });

/// The end of an attempt as the sandbox reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedAttempt {
    /// The attempt.
    pub id: AttemptId,
    /// The outcome; its captures are inline up to [`crate::limits::INLINE_CAPTURE_MAX`] and otherwise empty.
    pub outcome: Outcome,
    /// The result, where it is too large to travel inline.
    pub large_result: Box<[u8]>,
    /// The log, where it is too large to travel inline.
    pub large_log: Box<[u8]>,
    /// The attempt of the next task of its range has begun, as [`AttemptSpec::ahead`] allowed.
    pub next_started: bool,
}
impl Wire for EndedAttempt {
    fn encode(&self, out: &mut Vec<u8>) {
        self.id.encode(out);
        self.outcome.encode(out);
        put_bytes(out, &self.large_result);
        put_bytes(out, &self.large_log);
        self.next_started.encode(out);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            id: Wire::decode(input)?,
            outcome: Wire::decode(input)?,
            large_result: large(input, "a result")?,
            large_log: large(input, "a log")?,
            next_started: Wire::decode(input)?,
        })
    }
}

/// Most bytes of one payload, result or log here, where the network would carry it as a blob. A result and a log are at
/// most [`crate::limits::OUTPUT_MAX`] and its framing.
pub const LARGE_LEN_MAX: usize = 256 << 20;

const _: () = assert!(LARGE_LEN_MAX as u64 >= BLOB_LEN_MAX);

fn large(input: &mut Reader<'_>, what: &'static str) -> Result<Box<[u8]>, Error> {
    let len = input.length(what, LARGE_LEN_MAX)?;
    Ok(input.raw(len)?.into())
}

macro_rules! boxed {
    ($($name:ident),*) => { $(
        impl crate::codec::Wire for Box<$name> {
            fn encode(&self, out: &mut alloc::vec::Vec<u8>) {
                (**self).encode(out);
            }
            fn decode(input: &mut crate::codec::Reader<'_>) -> Result<Self, crate::codec::Error> {
                $name::decode(input).map(Self::new)
            }
        }
    )* };
}
boxed!(WorkSpec, EndedAttempt);
