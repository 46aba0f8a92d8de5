//! Keeps one worker process running: starts it, reads what it says, and starts it again when it is gone.

use std::{
    ffi::OsString,
    io,
    net::Shutdown,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net::UnixStream, process::ExitStatusExt},
    },
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use weir_wire::{
    codec::{Reader, Wire},
    worker::{FRAME_LEN_AIM, FromWorker, WorkerStart, WorkerUsage},
};

use super::{
    frame::{Incoming, Outgoing},
    seat::{Link, Packet},
    seats::Seats,
};
use crate::{
    helper::{Process, Role, Streams, signal_text},
    prepare::Order,
    walls,
};

/// A process that neither speaks nor reads for so long is killed: a hundred times its longest silence.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Packets that wait until a process reads: a packet is what the daemon has to say in one turn.
const PACKETS_MAX: usize = 4096;
/// Most events in one frame: several times what fits into what an honest process sends at once.
const EVENTS_MAX: usize = 1 << 16;
/// First and longest wait before a process is started again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// A process that lived so long is started again as if it was the first.
const LIVED: Duration = Duration::from_secs(60);

/// Why a process is given up.
enum Gone {
    /// It closed the socket, or ended.
    Ended,
    /// It did not read or speak for [`SILENCE_MAX`].
    Silent,
    /// What it said makes no sense.
    Broken(String),
}

/// Starts a supervisor; `started` gets to know how the first process started.
pub(super) fn spawn(
    seats: Arc<Seats>,
    index: usize,
    program: (PathBuf, Vec<OsString>),
    started: Option<Sender<Result<(), String>>>,
) -> io::Result<JoinHandle<()>> {
    let supervisor = Supervisor { seats, index, program };
    thread::Builder::new().name(format!("weir-process-{index}")).spawn(move || {
        supervisor.keep(started);
        supervisor.seats.depart(index);
    })
}

struct Supervisor {
    seats: Arc<Seats>,
    index: usize,
    program: (PathBuf, Vec<OsString>),
}

impl Supervisor {
    /// Has a process run until the sandbox stops or the seat is to end.
    fn keep(&self, started: Option<Sender<Result<(), String>>>) {
        let mut first = started;
        let mut backoff = BACKOFF.0;
        while !self.seats.wait(self.index, Duration::ZERO) {
            let (began, mut up) = (Instant::now(), false);
            let result = self.host(|| {
                up = true;
                // Whoever waits for the first process only.
                first.take().map(|first| first.send(Ok(())));
            });
            let why = result.unwrap_or_else(|error| format!("a worker process cannot be started: {error}"));
            self.seats.left(self.index, &why, !up);
            if let Some(first) = first.take() {
                let _gone = first.send(Err(why));
                return;
            }
            if began.elapsed() >= LIVED {
                backoff = BACKOFF.0;
            }
            if self.seats.wait(self.index, Duration::ZERO) {
                return;
            }
            tracing::warn!(worker.index = self.index, why, "a worker process is started again");
            if self.seats.wait(self.index, backoff) {
                return;
            }
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    /// Runs one process to its end; what ended it, for people. `up` is called once it is set up.
    fn host(&self, up: impl FnMut()) -> io::Result<String> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(SILENCE_MAX))?;
        ours.set_write_timeout(Some(SILENCE_MAX))?;
        let streams = Streams { stdin: OwnedFd::from(theirs).into(), stdout: Stdio::null(), stderr: Stdio::inherit() };
        let mut process = Process::spawn((&self.program.0, &self.program.1), Role::Work, &[], streams)?;
        let (packets, queue) = sync_channel(PACKETS_MAX);
        let mut outgoing = Outgoing::new(ours.try_clone()?);
        let closing = ours.try_clone()?;
        let writer = thread::Builder::new().name(format!("weir-tell-{}", self.index)).spawn(move || {
            let written = write(&queue, &mut outgoing);
            // The reader is to notice at once; a socket that is closed already has the same effect.
            let _closed = closing.shutdown(Shutdown::Both);
            written
        })?;
        let link = Link { packets, socket: ours.try_clone()?, pid: process.0.id() };
        let gone = match self.seats.joined(self.index, link) {
            Ok(()) => self.listen(Incoming::new(ours.try_clone()?), up),
            Err(error) => Gone::Broken(error.to_string()),
        };
        // Its own end comes first, if it has ended: a second signal changes nothing then.
        let _ended = process.0.kill();
        let status = process.0.wait()?;
        let _closed = ours.shutdown(Shutdown::Both);
        self.seats.unlink(self.index);
        let silent = |written: io::Result<()>| written.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        let unread = writer.join().is_ok_and(silent);
        Ok(match gone {
            Gone::Ended if !unread => ended(status),
            Gone::Ended | Gone::Silent => {
                format!("the worker process did not answer for {} s and was killed", SILENCE_MAX.as_secs())
            }
            Gone::Broken(why) => format!("the worker process was killed: {why}"),
        })
    }

    fn listen(&self, mut incoming: Incoming, mut up: impl FnMut()) -> Gone {
        loop {
            let frame = match incoming.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Gone::Ended,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Gone::Silent,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Gone::Broken(error.to_string()),
                Err(_) => return Gone::Ended,
            };
            if let Err(why) = self.take(incoming.bytes(frame), &mut up) {
                return Gone::Broken(why);
            }
        }
    }

    /// Follows one frame.
    fn take(&self, frame: &[u8], up: &mut impl FnMut()) -> Result<(), String> {
        let mut reader = Reader::new(frame);
        let undecodable = |error: weir_wire::codec::Error| format!("what it said cannot be read: {error}");
        let usage = WorkerUsage::decode(&mut reader).map_err(undecodable)?;
        let mut events = Vec::new();
        while reader.remaining() > 0 {
            match FromWorker::decode(&mut reader).map_err(undecodable)? {
                FromWorker::Event(_) if events.len() >= EVENTS_MAX => return Err("it said too much at once".to_owned()),
                FromWorker::Event(event) => events.push(event),
                FromWorker::Started(WorkerStart { error: Some(why), .. }) => return Err(why),
                FromWorker::Started(WorkerStart { error: None, missing }) => {
                    walls::warn_once(&missing);
                    up();
                }
                FromWorker::Loaded(module) => self.seats.order(Order::Loaded(self.index, module)),
                FromWorker::Synced => self.seats.ready(self.index),
                FromWorker::Resolve(id) => Seats::resolve(&self.seats, self.index, id)?,
            }
        }
        self.seats.reported(self.index, usage, events)
    }
}

/// Sends packets as they come, as many in one frame as there are.
fn write(packets: &Receiver<Packet>, out: &mut Outgoing) -> io::Result<()> {
    while let Ok(packet) = packets.recv() {
        let mut next = Some(packet);
        let mut len = 0;
        while let Some((messages, descriptors)) = next {
            if !descriptors.is_empty() {
                out.send(&[])?;
            }
            for message in &messages {
                len = out.push(message);
                if len >= FRAME_LEN_AIM && descriptors.is_empty() {
                    out.send(&[])?;
                    len = 0;
                }
            }
            if !descriptors.is_empty() {
                out.send(&descriptors.iter().map(AsFd::as_fd).collect::<Vec<_>>())?;
            }
            next = if len < FRAME_LEN_AIM { packets.try_recv().ok() } else { None };
        }
        out.send(&[])?;
    }
    Ok(())
}

/// The end of a process, for people.
fn ended(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(number), _) => format!("the worker process was ended by {}", signal_text(number)),
        (None, Some(code)) => format!("the worker process ended with exit code {code}"),
        (None, None) => "the worker process ended".to_owned(),
    }
}
