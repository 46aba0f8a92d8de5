//! What an executor and its worker processes say to each other. Both sides come from one build.

use alloc::{string::String, vec::Vec};

use crate::{
    attempt::{AttemptEvent, Command, LARGE_LEN_MAX},
    id::{AttemptId, Digest},
    units::MemBytes,
    wire_enum, wire_struct,
};

/// Most bytes of one frame: a result and a log of their largest size, and what is around them.
pub const FRAME_LEN_MAX: usize = 2 * LARGE_LEN_MAX + (1 << 20);
/// Bytes after which a frame takes in no more messages.
pub const FRAME_LEN_AIM: usize = 256 << 10;

/// What a worker process is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToWorker {
    /// How to set itself up; the first message, and only that. With it come open directories: that of the artefacts,
    /// then the published ones.
    Setup(WorkerSetup),
    /// A command as the sandbox itself takes it, but none to prepare a module.
    Command(Command),
    /// Load the artefact of a module, whose open file comes with it. Answered by [`FromWorker::Loaded`].
    Load(Digest),
    /// Forget the artefact of a module.
    Unload(Digest),
    /// Say so once all artefacts so far are loaded.
    Sync,
    /// The answer to [`FromWorker::Resolve`].
    Resolved(Resolved),
}
wire_enum!(ToWorker { 1 => Setup(setup), 2 => Command(command), 3 => Load(digest), 4 => Unload(digest), 5 => Sync, 6 => Resolved(resolved) });

/// How a worker process sets itself up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSetup {
    /// Threads that run guests.
    pub threads: u32,
    /// Attempts that one of them holds at a time.
    pub lanes: u32,
    /// Largest linear memory of any attempt.
    pub memory_max: MemBytes,
    /// The published directories, in the order of their descriptors.
    pub published: Vec<PublishedName>,
    /// A directory for scratch directories comes behind those.
    pub scratch: bool,
    /// Its guests may have network access.
    pub network: bool,
}
wire_struct!(WorkerSetup { threads, lanes, memory_max, published, scratch, network });

/// A published directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedName {
    /// Its name.
    pub name: String,
    /// Whether guests may be allowed to change it.
    pub writable: bool,
}
wire_struct!(PublishedName { name, writable });

/// What a worker process says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromWorker {
    /// It is set up, or cannot be.
    Started(WorkerStart),
    /// What the sandbox reports, but nothing about modules.
    Event(AttemptEvent),
    /// An artefact is loaded, or why it cannot be.
    Loaded(LoadedModule),
    /// The answer to [`ToWorker::Sync`].
    Synced,
    /// Find out the addresses of what an attempt may connect to. Answered by [`ToWorker::Resolved`].
    Resolve(AttemptId),
}

/// The addresses of what an attempt may connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The attempt.
    pub id: AttemptId,
    /// One for each grant.
    pub pins: Vec<Pinned>,
    /// Why they cannot be found out, if they cannot.
    pub error: Option<String>,
    /// They are not allowed, so that asking again does not help.
    pub denied: bool,
}
wire_struct!(Resolved { id, pins, error, denied });

/// What a name means for as long as an attempt lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// As it was granted.
    pub host: String,
    /// The port.
    pub port: u32,
    /// IP addresses.
    pub addresses: Vec<String>,
}
wire_struct!(Pinned { host, port, addresses });

wire_enum!(FromWorker { 1 => Started(start), 2 => Event(event), 3 => Loaded(module), 4 => Synced, 5 => Resolve(id) });

/// How a worker process has started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkerStart {
    /// Why it cannot work, if it cannot.
    pub error: Option<String>,
    /// The walls that the kernel cannot put around it, for people.
    pub missing: Vec<String>,
}
wire_struct!(WorkerStart { error, missing });

/// The answer to [`ToWorker::Load`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedModule {
    /// The module.
    pub digest: Digest,
    /// Why it cannot be run, if it cannot.
    pub refused: Option<String>,
}
wire_struct!(LoadedModule { digest, refused });

/// What precedes the messages in each frame of a worker process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkerUsage {
    /// Memory that attempts which are not revocable use.
    pub memory: MemBytes,
    /// CPU time that they have used since the process began, nanoseconds.
    pub cpu_ns: u64,
}
wire_struct!(WorkerUsage { memory, cpu_ns });

#[cfg(test)]
mod tests {
    use alloc::{boxed::Box, vec};

    use super::*;
    use crate::{
        attempt::{AttemptSpec, EndedAttempt},
        codec::{Reader, Wire},
        id::{GrantSeq, RunId, TaskId, Term},
        limits,
        outcome::{Failure, Outcome},
        task::{Reason, Source, Status},
    };

    fn again<T: Wire>(value: &T) -> T {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        let mut reader = Reader::new(&bytes);
        let decoded = T::decode(&mut reader).expect("what was encoded decodes");
        reader.finish().expect("and nothing is left");
        decoded
    }

    #[test]
    fn payloads_and_results_may_be_larger_than_a_frame_of_the_network() {
        let large: Box<[u8]> = vec![7; limits::FRAME_LEN_MAX + 1].into();
        let id = AttemptId { task: TaskId { run: RunId(1), index: 2 }, term: Term(3), grant: GrantSeq(4) };
        let start = ToWorker::Command(Command::Start(AttemptSpec { id, ordinal: 1, ahead: 0, payload: large.clone() }));
        assert!(again(&start) == start);
        let outcome = Outcome::not_run(Status::Failed, Failure::new(Reason::HostError, Source::Executor, "gone"));
        let ended = EndedAttempt { id, outcome, large_result: large.clone(), large_log: large, next_started: false };
        let ended = FromWorker::Event(AttemptEvent::Ended(Box::new(ended)));
        assert!(again(&ended) == ended);
    }

    #[test]
    fn every_other_message_comes_back() {
        let setup = WorkerSetup {
            threads: 2,
            lanes: 64,
            memory_max: MemBytes(1 << 30),
            published: vec![PublishedName { name: "x".into(), writable: true }],
            scratch: true,
            network: true,
        };
        let digest = Digest([3; 32]);
        let id = AttemptId { task: TaskId { run: RunId(1), index: 2 }, term: Term(3), grant: GrantSeq(4) };
        let pins = vec![Pinned { host: "a.b".into(), port: 80, addresses: vec!["1.2.3.4".into()] }];
        let resolved = ToWorker::Resolved(Resolved { id, pins, error: Some("no".into()), denied: true });
        let told = [ToWorker::Setup(setup), ToWorker::Load(digest), ToWorker::Unload(digest), ToWorker::Sync, resolved];
        assert!(told.iter().all(|message| again(message) == *message));
        let start = WorkerStart { error: Some("no".into()), missing: vec!["Landlock".into()] };
        let loaded = LoadedModule { digest, refused: Some("no".into()) };
        let said =
            [FromWorker::Started(start), FromWorker::Loaded(loaded), FromWorker::Synced, FromWorker::Resolve(id)];
        assert!(said.iter().all(|message| again(message) == *message));
        let usage = WorkerUsage { memory: MemBytes(5), cpu_ns: 6 };
        assert_eq!(again(&usage), usage);
    }
}
