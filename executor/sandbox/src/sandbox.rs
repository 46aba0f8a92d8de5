//! The sandbox as its owner sees it: start, send commands, receive events, shut down.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use weir_wire::{
    attempt::{AttemptEvent, Command},
    id::RunId,
    work::WorkSpec,
};

use crate::{
    cache::Cache,
    compile::Compiler,
    config::SandboxConfig,
    engine,
    grants::Published,
    limits::{ADDRESS_SPACE_MAX, MEMORIES_PER_ATTEMPT_MAX, MEMORY_RESERVATION_BYTES},
    prepare::{self, Order, Target},
    program::Loader,
    usage::{Counters, Used},
    worker::{self, Message, Placed},
};

/// Where events go, in batches.
///
/// It cannot grow without bound: every attempt that was sent ends once, and what it reports before is bounded by its
/// output budget.
pub type Events = UnboundedSender<Vec<AttemptEvent>>;

/// Why a sandbox cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration makes no sense.
    #[error("the configuration is not usable: {0}")]
    Config(&'static str),
    /// The cache of compiled modules cannot be used.
    #[error("cannot use the cache directory {}", path.display())]
    Cache {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A published directory cannot be opened.
    #[error("cannot open the published directory {}", path.display())]
    Published {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The engine cannot be set up, for one because address space is short.
    #[error("cannot set up the engine: {0}")]
    Engine(String),
}

/// A running sandbox.
#[derive(Debug)]
pub struct Sandbox {
    workers: Vec<Worker>,
    orders: std::sync::mpsc::Sender<Order>,
    preparer: JoinHandle<()>,
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

impl Sandbox {
    /// Starts the workers; events go to `events`.
    ///
    /// # Errors
    /// A configuration, directory or machine that does not allow it.
    pub fn start(config: SandboxConfig, events: Events) -> Result<Self, Error> {
        let memory_max = check(&config)?;
        let engine = |error: wasmtime::Error| Error::Engine(format!("{error:#}"));
        let compiling = engine::compiling().map_err(engine)?;
        let SandboxConfig { cache_dir, cache_key, cache_bytes_max, .. } = config;
        let cache = Cache::open(cache_dir.clone(), cache_key, cache_bytes_max, &compiling)
            .map_err(|source| Error::Cache { path: cache_dir, source })?;
        let published =
            Published::open(&config.published).map_err(|(path, source)| Error::Published { path, source })?;
        let published = Arc::new(published);
        let (mut workers, mut targets) = (Vec::new(), Vec::new());
        for index in 0..config.workers {
            let running = engine::running(config.lanes_per_worker, memory_max).map_err(engine)?;
            let loader = Loader::new(running.clone()).map_err(engine)?;
            let (mailbox, inbox) = unbounded_channel();
            let (load, counters) = (Arc::<AtomicU64>::default(), Arc::<Counters>::default());
            let setup = worker::Setup {
                engine: running,
                lanes: config.lanes_per_worker as usize,
                memory_max: memory_max as u64,
                published: Arc::clone(&published),
                events: events.clone(),
                load: Arc::clone(&load),
                counters: Arc::clone(&counters),
            };
            let thread = worker::spawn(format!("weir-guest-{index}"), setup, inbox).map_err(Error::Thread)?;
            targets.push(Target { loader, mailbox: mailbox.clone() });
            workers.push(Worker { mailbox, load, counters, thread });
        }
        let (orders, inbox) = std::sync::mpsc::channel();
        let (stopped, stop_compiling) = io::pipe().map_err(Error::Thread)?;
        let compiler = Compiler {
            engine: compiling,
            cache: cache.clone(),
            helper: config.helper,
            limits: config.compile,
            stopped,
        };
        let setup = prepare::Setup { compiler, stop_compiling, cache, targets, events, answers: orders.clone() };
        let preparer = prepare::spawn(setup, inbox).map_err(Error::Thread)?;
        Ok(Self { workers, orders, preparer, weights: Mutex::default() })
    }

    /// Passes on one command; never waits.
    pub fn send(&self, command: Command) {
        self.send_many(vec![command]);
    }

    /// Passes on commands in order; attempts that are started together reach their workers together.
    pub fn send_many(&self, commands: Vec<Command>) {
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
                    self.order(Order::Define(work.run, work.module));
                    self.tell_all(&mut starting, || Message::Define(Arc::clone(&work)));
                }
                Command::Forget(run) => {
                    weights.remove(&run);
                    self.tell_all(&mut starting, || Message::Forget(run));
                    self.order(Order::Forget(run));
                }
                Command::Prepare(module) => self.order(Order::Prepare(module)),
                Command::Cancel(cancel) => self.tell_all(&mut starting, || Message::Cancel(cancel.clone())),
                Command::Throttle(throttle) => self.tell_all(&mut starting, || Message::Throttle(throttle.clone())),
                Command::Lease(lease) => self.tell_all(&mut starting, || Message::Lease(lease)),
                Command::Follow(follow) => self.tell_all(&mut starting, || Message::Follow(follow.clone())),
            }
        }
        self.start_all(&mut starting);
    }

    /// What attempts that are not revocable use. Costs one look at two counters of each worker.
    #[must_use]
    pub fn used(&self) -> Used {
        Counters::sum(self.workers.iter().map(|worker| &*worker.counters))
    }

    /// Ends everything that runs, without reporting it, and waits for the workers.
    pub fn shutdown(self) {
        self.order(Order::Stop);
        for worker in &self.workers {
            tell(worker, Message::Stop);
        }
        let threads = self.workers.into_iter().map(|worker| worker.thread);
        for thread in threads.chain([self.preparer]) {
            if thread.join().is_err() {
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

    fn order(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::error!("the preparing thread of the sandbox is gone");
        }
    }
}

fn tell(worker: &Worker, message: Message) {
    if worker.mailbox.send(message).is_err() {
        tracing::error!(thread.name = worker.thread.thread().name(), "a worker of the sandbox is gone");
    }
}

/// Checks a configuration, and gives the largest memory as a size of this machine.
fn check(config: &SandboxConfig) -> Result<usize, Error> {
    if config.workers == 0 || config.lanes_per_worker == 0 {
        return Err(Error::Config("it needs at least one worker and one lane"));
    }
    if config.cache_dir.as_os_str().is_empty() || config.cache_key == [0; 32] {
        return Err(Error::Config("a cache directory and a cache key must be given"));
    }
    let slots = (config.workers as u64)
        .saturating_mul(u64::from(config.lanes_per_worker))
        .saturating_mul(u64::from(MEMORIES_PER_ATTEMPT_MAX));
    if slots.saturating_mul(MEMORY_RESERVATION_BYTES) > ADDRESS_SPACE_MAX {
        return Err(Error::Config("so many lanes do not fit into the address space"));
    }
    usize::try_from(config.memory_max.0.min(4 << 30)).map_err(|_| Error::Config("memory_max is too large"))
}
