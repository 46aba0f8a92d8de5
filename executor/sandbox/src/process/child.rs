//! The worker process itself: threads that run guests, and the socket to the daemon as its stdin.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::ExitCode,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};
use weir_wire::{
    attempt::{AttemptEvent, Command},
    codec::{Reader, Wire},
    id::Digest,
    worker::{FRAME_LEN_AIM, FromWorker, LoadedModule, PublishedName, ToWorker, WorkerSetup, WorkerStart, WorkerUsage},
};

use super::frame::{Incoming, Outgoing};
use crate::{
    cache::Artefact,
    confine,
    grants::Published,
    prepare::Target,
    resolver::{Questions, Resolver},
    scratch::Root,
    threads::{self, Threads},
    walls,
    worker::Message,
};

/// The longest silence of a worker process that is well: then it says how much its guests use.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(100);
/// Most batches of events in one frame.
const BATCHES_MAX: usize = 64;

/// What the loading thread is told.
enum Load {
    Add(Digest, File),
    Remove(Digest),
    Sync,
}

/// Runs guests until the daemon closes the socket.
pub(crate) fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the daemon's log is where this leads; the process has none")]
            {
                eprintln!("weir worker process: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn work() -> io::Result<()> {
    confine::give_up_privileges()?;
    // Before the daemon, a worker should go when memory is short; without /proc the kernel's own choice stands.
    let _stands = fs::write("/proc/self/oom_score_adj", "500");
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut incoming = Incoming::with_descriptors(socket.try_clone()?);
    let (setup, cache, published, scratch) = set_up(&mut incoming)?;
    // Before there is a second thread: the others get it from this one.
    let missing = walls::confine(&walls::around_worker(&cache, published.iter(), scratch.as_ref(), setup.network))?;
    let (events, reported) = unbounded_channel();
    let (answers, answered) = unbounded_channel();
    let questions = setup.network.then(|| Arc::new(Questions::new(answers.clone())));
    let setup = threads::Setup {
        threads: setup.threads as usize,
        lanes: setup.lanes,
        memory_max: usize::try_from(setup.memory_max.0).map_err(io::Error::other)?,
        published,
        scratch,
        resolver: questions.clone().map_or(Resolver::None, Resolver::Daemon),
        events,
    };
    let mut out = Outgoing::new(socket);
    let (threads, targets) = match Threads::start(setup) {
        Ok(started) => started,
        Err(error) => {
            out.push(&WorkerUsage::default());
            out.push(&FromWorker::Started(WorkerStart { error: Some(error.to_string()), missing }));
            return out.send(&[]);
        }
    };
    let threads = Arc::new(threads);
    let (loads, loading) = mpsc::channel();
    let answer = answers.clone();
    thread::Builder::new().name("weir-load".to_owned()).spawn(move || load(&targets, &loading, &answer))?;
    let counted = Arc::clone(&threads);
    thread::Builder::new().name("weir-report".to_owned()).spawn(move || {
        // A socket that is closed ends the process from its other side.
        let _closed = report(out, &counted, reported, answered);
    })?;
    // Nobody receives it only when the process is about to end.
    let _ending = answers.send(FromWorker::Started(WorkerStart { error: None, missing }));
    obey(&mut incoming, &threads, &loads, questions.as_deref())
}

/// Reads the first message and the directories that come with it.
fn set_up(incoming: &mut Incoming) -> io::Result<(WorkerSetup, OwnedFd, Published, Option<Root>)> {
    let frame = incoming.next()?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let first = ToWorker::decode(&mut Reader::new(incoming.bytes(frame))).map_err(io::Error::other)?;
    let ToWorker::Setup(setup) = first else { return Err(io::Error::other("the first message is no set-up")) };
    let cache = incoming.descriptor()?;
    let dirs = setup.published.iter().map(|name| Ok((name.clone(), incoming.descriptor()?)));
    let dirs = dirs.collect::<io::Result<Vec<(PublishedName, OwnedFd)>>>()?;
    let scratch = setup.scratch.then(|| incoming.descriptor()).transpose()?.map(Root::received);
    Ok((setup, cache, Published::received(dirs), scratch))
}

/// Follows what the daemon says until it closes the socket.
fn obey(
    incoming: &mut Incoming,
    threads: &Threads,
    loads: &mpsc::Sender<Load>,
    questions: Option<&Questions>,
) -> io::Result<()> {
    let gone = |_| io::Error::other("the loading thread is gone");
    while let Some(frame) = incoming.next()? {
        let mut commands = Vec::<Command>::new();
        let mut others = Vec::new();
        let mut reader = Reader::new(incoming.bytes(frame));
        while reader.remaining() > 0 {
            match ToWorker::decode(&mut reader).map_err(io::Error::other)? {
                ToWorker::Command(command) => commands.push(command),
                ToWorker::Resolved(resolved) => {
                    if let Some(questions) = questions {
                        questions.answered(resolved);
                    }
                }
                other @ (ToWorker::Load(_) | ToWorker::Unload(_) | ToWorker::Sync) => others.push(other),
                ToWorker::Setup(_) => return Err(io::Error::other("a second set-up")),
            }
        }
        threads.send_many(commands);
        for other in others {
            let load = match other {
                ToWorker::Load(digest) => Load::Add(digest, incoming.descriptor()?.into()),
                ToWorker::Unload(digest) => Load::Remove(digest),
                ToWorker::Sync | ToWorker::Setup(_) | ToWorker::Command(_) | ToWorker::Resolved(_) => Load::Sync,
            };
            loads.send(load).map_err(gone)?;
        }
    }
    Ok(())
}

/// Loads artefacts for all threads, one after the other.
fn load(targets: &[Target], loads: &mpsc::Receiver<Load>, answers: &UnboundedSender<FromWorker>) {
    for load in loads {
        let answer = match load {
            Load::Add(digest, file) => {
                let artefact = Artefact::received(file);
                let programs: Result<Vec<_>, _> = targets.iter().map(|target| target.loader.load(&artefact)).collect();
                let refused = match programs {
                    Ok(programs) => {
                        for (target, program) in targets.iter().zip(programs) {
                            // A worker whose mailbox is closed has ended with the process.
                            let _ending = target.mailbox.send(Message::Load(digest, Box::new(program)));
                        }
                        None
                    }
                    Err(error) => Some(format!("{error:#}")),
                };
                FromWorker::Loaded(LoadedModule { digest, refused })
            }
            Load::Remove(digest) => {
                for target in targets {
                    let _ending = target.mailbox.send(Message::Unload(digest));
                }
                continue;
            }
            Load::Sync => FromWorker::Synced,
        };
        if answers.send(answer).is_err() {
            return;
        }
    }
}

/// Sends what there is to say, and a sign of life when there is nothing.
fn report(
    mut out: Outgoing,
    threads: &Threads,
    mut events: UnboundedReceiver<Vec<AttemptEvent>>,
    mut answers: UnboundedReceiver<FromWorker>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut batches = Vec::new();
    loop {
        let answer = runtime.block_on(async {
            let next = async {
                tokio::select! {
                    answer = answers.recv() => answer,
                    _ = events.recv_many(&mut batches, BATCHES_MAX) => None,
                }
            };
            timeout(HEARTBEAT, next).await.unwrap_or(None)
        });
        begin(&mut out, threads);
        if let Some(answer) = answer {
            out.push(&answer);
        }
        for event in batches.drain(..).flatten() {
            if out.push(&FromWorker::Event(event)) >= FRAME_LEN_AIM {
                out.send(&[])?;
                begin(&mut out, threads);
            }
        }
        out.send(&[])?;
    }
}

fn begin(out: &mut Outgoing, threads: &Threads) {
    let used = threads.used();
    let cpu_ns = u64::try_from(used.cpu.as_nanos()).unwrap_or(u64::MAX);
    out.push(&WorkerUsage { memory: used.memory, cpu_ns });
}
