//! The place of one worker process: its attempts, and what it has yet to be told.

use std::{
    collections::{BTreeSet, HashMap},
    net::Shutdown,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::mpsc::SyncSender,
};

use weir_wire::{
    attempt::{AttemptEvent, Command, EndedAttempt},
    id::AttemptId,
    limits::INLINE_CAPTURE_MAX,
    outcome::Captured,
    worker::{ToWorker, WorkerSetup, WorkerUsage},
};

use super::{groups::Group, held::Held};
use crate::scratch::Root;

/// Messages for a process, and descriptors for the first of them.
pub(super) type Packet = (Vec<ToWorker>, Vec<OwnedFd>);

/// The place of one process.
#[derive(Debug)]
pub(super) struct Seat {
    /// Whose guests run there.
    pub(super) group: Group,
    pub(super) setup: WorkerSetup,
    pub(super) link: Option<Link>,
    /// Everything that a new process is told is loaded there.
    pub(super) ready: bool,
    /// Its process ends, and none begins again.
    pub(super) ending: bool,
    pub(super) attempts: HashMap<AttemptId, Held>,
    /// Those whose addresses are being found out.
    pub(super) resolving: BTreeSet<AttemptId>,
    /// The weights of `attempts`.
    pub(super) load: u64,
    /// What the process is told once it is ready.
    pub(super) pending: Vec<Command>,
    /// Where its scratch directories are made.
    pub(super) scratch: Option<Root>,
    /// CPU time of the processes that were here before, nanoseconds.
    cpu_before_ns: u64,
    usage: WorkerUsage,
}

/// The way to one process.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) packets: SyncSender<Packet>,
    /// Closed to end the process.
    pub(super) socket: UnixStream,
    pub(super) pid: u32,
}

impl Seat {
    pub(super) fn new(group: Group, setup: WorkerSetup) -> Self {
        Self {
            group,
            setup,
            link: None,
            ready: false,
            ending: false,
            attempts: HashMap::new(),
            resolving: BTreeSet::new(),
            load: 0,
            pending: Vec::new(),
            scratch: None,
            cpu_before_ns: 0,
            usage: WorkerUsage::default(),
        }
    }

    /// Takes in what its process uses.
    pub(super) const fn uses(&mut self, usage: WorkerUsage) {
        self.usage = usage;
    }

    /// Memory that its attempts use.
    pub(super) const fn memory(&self) -> u64 {
        self.usage.memory.0
    }

    /// CPU time of all processes that were here, nanoseconds.
    pub(super) const fn cpu_ns(&self) -> u64 {
        self.cpu_before_ns.saturating_add(self.usage.cpu_ns)
    }

    /// Gives up a process that is gone; the attempts that end with it. With `all`, so do those that wait for the next one.
    pub(super) fn is_left(&mut self, all: bool) -> Vec<AttemptId> {
        if let Some(scratch) = &self.scratch {
            scratch.clear();
        }
        (self.link, self.ready) = (None, false);
        self.cpu_before_ns = self.cpu_ns();
        self.usage = WorkerUsage::default();
        let mut ended = Vec::new();
        self.attempts.retain(|id, held| {
            let keep = !held.sent && !all;
            if !keep {
                self.load = self.load.saturating_sub(u64::from(held.weight));
                ended.push(*id);
            }
            keep
        });
        if all {
            self.pending.clear();
        }
        ended
    }

    /// Takes in what the process reports about an attempt.
    ///
    /// # Errors
    /// The process does not have it, or says more about it than it may.
    pub(super) fn take_in(&mut self, event: &AttemptEvent) -> Result<(), String> {
        let unknown = || "it reported about what it does not have".to_owned();
        let allowed = match event {
            AttemptEvent::Ended(ended) => return self.ended(ended),
            AttemptEvent::Settled(id) => self.attempts.get_mut(id).ok_or_else(unknown)?.settled(),
            AttemptEvent::Output(chunk) => self.attempts.get_mut(&chunk.id).ok_or_else(unknown)?.wrote(chunk),
            AttemptEvent::Progress(progress) => self.attempts.get_mut(&progress.id).ok_or_else(unknown)?.progressed(),
            AttemptEvent::Seen(seen) => self.attempts.get_mut(&seen.id).ok_or_else(unknown)?.seen(&seen.seen),
            AttemptEvent::Module(_) => return Err(unknown()),
        };
        if allowed { Ok(()) } else { Err("it reported more about an attempt than it may".to_owned()) }
    }

    /// Takes in the end of an attempt, and with it the start of the next one where the process may start that by itself.
    fn ended(&mut self, ended: &EndedAttempt) -> Result<(), String> {
        let held = self.attempts.get(&ended.id).ok_or("it reported about what it does not have")?;
        let weight = held.weight;
        if !is_inline(&ended.outcome.result) || !is_inline(&ended.outcome.log) {
            return Err("it reported a result or a log in the wrong place".to_owned());
        }
        if ended.next_started {
            let large = !ended.large_result.is_empty() || !ended.large_log.is_empty();
            let new = |next: &AttemptId| !large && !self.attempts.contains_key(next);
            let next = held.next().zip(ended.id.next().filter(new));
            let (held, next) = next.ok_or("it started an attempt that it may not")?;
            self.attempts.insert(next, held);
        } else {
            self.load = self.load.saturating_sub(u64::from(weight));
        }
        self.attempts.remove(&ended.id);
        Ok(())
    }

    /// Passes on a command about an attempt, at once or when the process is ready.
    pub(super) fn pass_on(&mut self, command: Command, out: &mut Vec<ToWorker>) {
        if self.ready {
            out.push(ToWorker::Command(command));
        } else {
            self.pending.push(command);
        }
    }

    /// Sends messages; whether there is a process to get them. One that has left thousands of packets unread is ended.
    pub(super) fn send(&self, messages: Vec<ToWorker>, descriptors: Vec<OwnedFd>) -> bool {
        let Some(link) = &self.link else { return false };
        if !messages.is_empty() && link.packets.try_send((messages, descriptors)).is_err() {
            self.close();
        }
        true
    }

    pub(super) fn close(&self) {
        if let Some(link) = &self.link {
            // A socket that is closed already has the same effect.
            let _closed = link.socket.shutdown(Shutdown::Both);
        }
    }
}

/// Whether a capture is one that a process may report: small, or beside the outcome. It has no blob store.
const fn is_inline(captured: &Captured) -> bool {
    match captured {
        Captured::Empty => true,
        Captured::Inline(bytes) => bytes.len() <= INLINE_CAPTURE_MAX,
        Captured::Blob(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use weir_wire::{
        id::{Digest, GrantSeq, RunId, TaskId, Term},
        outcome::{BlobRef, Outcome},
        task::Status,
        units::MemBytes,
    };

    use super::*;
    use crate::verdict;

    fn id(index: u32) -> AttemptId {
        AttemptId { task: TaskId { run: RunId(1), index }, term: Term(2), grant: GrantSeq(3) }
    }

    fn ended(index: u32, next_started: bool, large: usize) -> AttemptEvent {
        let outcome = Outcome::not_run(Status::Failed, verdict::host_error("gone"));
        let (large_result, large_log) = (vec![0; large].into(), Box::default());
        AttemptEvent::Ended(Box::new(EndedAttempt { id: id(index), outcome, large_result, large_log, next_started }))
    }

    /// A seat with an attempt behind which so many may be started.
    fn seat(ahead: u32) -> Seat {
        let setup = WorkerSetup {
            threads: 1,
            lanes: 1,
            memory_max: MemBytes(1),
            published: Vec::new(),
            scratch: false,
            network: false,
        };
        let mut seat = Seat::new(Group::SHARED, setup);
        seat.attempts.insert(id(0), Held::new(7, 1, ahead, true));
        seat.load = 7;
        seat
    }

    #[test]
    fn a_process_starts_as_many_attempts_by_itself_as_it_may() {
        let mut seat = seat(2);
        for index in 0..2 {
            assert_eq!(seat.take_in(&ended(index, true, 0)), Ok(()));
            assert!(seat.attempts.len() == 1 && seat.attempts.contains_key(&id(index + 1)) && seat.load == 7);
        }
        assert!(seat.take_in(&ended(2, true, 0)).is_err(), "one too many");
        assert!(seat.attempts.contains_key(&id(2)), "it ends with the process, once");
        assert_eq!(seat.take_in(&ended(2, false, 0)), Ok(()));
        assert_eq!((seat.attempts.len(), seat.load), (0, 0));
    }

    #[test]
    fn a_process_has_no_blob_store_and_reports_nothing_large_inline() {
        let blob = Captured::Blob(BlobRef { digest: Digest([1; 32]), len: 1 });
        let inline = |len: usize| Captured::Inline(vec![0; len].into());
        let cases = [(inline(INLINE_CAPTURE_MAX), true), (inline(INLINE_CAPTURE_MAX + 1), false), (blob, false)];
        for (captured, good) in cases {
            for of_log in [false, true] {
                let AttemptEvent::Ended(mut ended) = ended(0, false, 0) else { panic!("an end") };
                let place = if of_log { &mut ended.outcome.log } else { &mut ended.outcome.result };
                *place = captured.clone();
                assert_eq!(seat(0).take_in(&AttemptEvent::Ended(ended)).is_ok(), good, "{of_log} {captured:?}");
            }
        }
    }

    #[test]
    fn a_process_starts_nothing_behind_what_has_settled_or_is_large_or_twice() {
        let mut settled = seat(2);
        assert_eq!(settled.take_in(&AttemptEvent::Settled(id(0))), Ok(()));
        assert!(settled.take_in(&AttemptEvent::Settled(id(0))).is_err(), "it says so once");
        assert!(settled.take_in(&ended(0, true, 0)).is_err());
        assert!(settled.take_in(&AttemptEvent::Settled(id(1))).is_err(), "it does not have that");
        assert!(seat(2).take_in(&ended(0, true, 1)).is_err());
        let mut twice = seat(2);
        twice.attempts.insert(id(1), Held::new(7, 1, 0, true));
        assert!(twice.take_in(&ended(0, true, 0)).is_err());
        assert_eq!(twice.attempts.len(), 2);
    }
}
