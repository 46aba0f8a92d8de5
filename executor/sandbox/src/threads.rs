//! The worker threads of one process, and which of them an attempt goes to.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use weir_wire::{attempt::Command, id::RunId, work::WorkSpec};

use crate::{
    engine,
    grants::Published,
    huge_pages,
    limits::MEMORIES_PER_ATTEMPT_MAX,
    prepare::Target,
    program::Loader,
    resolver::Resolver,
    sandbox::{Error, Events},
    scratch::Root,
    usage::{Counters, Used},
    worker::{self, Message, Placed},
};

/// What the threads need from the start.
pub(crate) struct Setup {
    pub(crate) threads: usize,
    pub(crate) lanes: u32,
    pub(crate) memory_max: usize,
    pub(crate) published: Published,
    pub(crate) scratch: Option<Root>,
    pub(crate) resolver: Resolver,
    pub(crate) events: Events,
}

/// Running worker threads.
#[derive(Debug)]
pub(crate) struct Threads {
    workers: Vec<Worker>,
    /// The CPU rates of the runs that are defined, in thousandths of a core.
    weights: Mutex<HashMap<RunId, u32>>,
}

#[derive(Debug)]
struct Worker {
    mailbox: UnboundedSender<Message>,
    load: Arc<AtomicU64>,
    counters: Arc<Counters>,
    thread: JoinHandle<()>,
}

impl Threads {
    /// Starts the threads; the targets are where modules are loaded.
    pub(crate) fn start(setup: Setup) -> Result<(Self, Vec<Target>), Error> {
        let engine = |error: wasmtime::Error| Error::Engine(format!("{error:#}"));
        let published = Arc::new(setup.published);
        let scratch = setup.scratch.map(Arc::new);
        let slots = setup.lanes * MEMORIES_PER_ATTEMPT_MAX;
        let huge_pages = huge_pages::affordable(u64::from(slots) * setup.threads as u64);
        let (mut workers, mut targets) = (Vec::new(), Vec::new());
        for index in 0..setup.threads {
            let running = engine::running(setup.lanes, setup.memory_max).map_err(engine)?;
            if huge_pages {
                huge_pages::allow(&running, slots, setup.memory_max).map_err(engine)?;
            }
            let loader = Loader::new(running.clone(), setup.memory_max).map_err(engine)?;
            let (mailbox, inbox) = unbounded_channel();
            let (load, counters) = (Arc::<AtomicU64>::default(), Arc::<Counters>::default());
            let worker = worker::Setup {
                engine: running,
                lanes: setup.lanes as usize,
                memory_max: setup.memory_max as u64,
                published: Arc::clone(&published),
                scratch: scratch.clone(),
                resolver: setup.resolver.clone(),
                events: setup.events.clone(),
                load: Arc::clone(&load),
                counters: Arc::clone(&counters),
            };
            let thread = worker::spawn(format!("weir-guest-{index}"), worker, inbox).map_err(Error::Thread)?;
            targets.push(Target { loader, mailbox: mailbox.clone() });
            workers.push(Worker { mailbox, load, counters, thread });
        }
        Ok((Self { workers, weights: Mutex::default() }, targets))
    }

    /// Passes on commands in order; attempts that are started together reach their workers together.
    pub(crate) fn send_many(&self, commands: Vec<Command>) {
        let mut starting: Vec<Vec<Placed>> = vec![Vec::new(); self.workers.len()];
        let mut weights = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
        for command in commands {
            match command {
                Command::Start(spec) => {
                    // A run that is not known is said so by the worker.
                    let weight = weights.get(&spec.id.task.run).copied().unwrap_or(1);
                    self.choose(&mut starting, weight).push(Placed { spec, weight });
                }
                Command::Define(work) => {
                    let work = Arc::<WorkSpec>::from(work);
                    weights.insert(work.run, work.budgets.resources.cpu.0);
                    self.tell_all(&mut starting, || Message::Define(Arc::clone(&work)));
                }
                Command::Forget(run) => {
                    weights.remove(&run);
                    self.tell_all(&mut starting, || Message::Forget(run));
                }
                // The preparing thread's.
                Command::Prepare(_) => {}
                Command::Settle(id) => self.tell_all(&mut starting, || Message::Settle(id)),
                Command::Cancel(cancel) => self.tell_all(&mut starting, || Message::Cancel(cancel.clone())),
                Command::Throttle(throttle) => self.tell_all(&mut starting, || Message::Throttle(throttle.clone())),
                Command::Lease(lease) => self.tell_all(&mut starting, || Message::Lease(lease)),
                Command::Inspect(inspect) => self.tell_all(&mut starting, || Message::Inspect(inspect.clone())),
                Command::Follow(follow) => self.tell_all(&mut starting, || Message::Follow(follow.clone())),
            }
        }
        self.start_all(&mut starting);
    }

    /// The sums of the counters of all threads.
    pub(crate) fn used(&self) -> Used {
        Counters::sum(self.workers.iter().map(|worker| &*worker.counters))
    }

    /// Ends everything that runs, without reporting it, and waits for the threads.
    pub(crate) fn shutdown(self) {
        for worker in &self.workers {
            tell(worker, Message::Stop);
        }
        for worker in self.workers {
            if worker.thread.join().is_err() {
                tracing::error!("a thread of the sandbox panicked");
            }
        }
    }

    /// The list of the worker with the least CPU promised to its attempts: a running one cannot move.
    fn choose<'a>(&self, starting: &'a mut [Vec<Placed>], weight: u32) -> &'a mut Vec<Placed> {
        let loads = self.workers.iter().map(|worker| worker.load.load(Ordering::Relaxed));
        let index = loads.enumerate().min_by_key(|(_, load)| *load).map_or(0, |(index, _)| index);
        self.workers[index].load.fetch_add(u64::from(weight), Ordering::Relaxed);
        &mut starting[index]
    }

    fn tell_all(&self, starting: &mut [Vec<Placed>], message: impl Fn() -> Message) {
        self.start_all(starting);
        for worker in &self.workers {
            tell(worker, message());
        }
    }

    fn start_all(&self, starting: &mut [Vec<Placed>]) {
        for (worker, attempts) in self.workers.iter().zip(starting) {
            if !attempts.is_empty() {
                tell(worker, Message::Start(std::mem::take(attempts)));
            }
        }
    }
}

fn tell(worker: &Worker, message: Message) {
    if worker.mailbox.send(message).is_err() {
        tracing::error!(thread.name = worker.thread.thread().name(), "a worker of the sandbox is gone");
    }
}
