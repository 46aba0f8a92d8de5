//! The sandbox as its owner sees it: start, send commands, receive events, shut down.

use std::{io, path::PathBuf, thread::JoinHandle};

use tokio::sync::mpsc::UnboundedSender;
use weir_wire::{
    attempt::{AttemptEvent, Command},
    units::Instant,
};

use crate::{
    cache::Cache,
    compile::Compiler,
    config::{Isolation, SandboxConfig},
    engine,
    grants::Published,
    helper::Helper,
    limits::{ADDRESS_SPACE_MAX, LANE_ADDRESS_BYTES},
    prepare::{self, Order, Targets},
    process::{self, Plan, Processes},
    resolver::Resolver,
    scratch::Root,
    threads::{self, Threads},
    usage::Used,
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
    /// The directory for scratch directories cannot be used.
    #[error("cannot use the scratch directory {}", path.display())]
    Scratch {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// A worker process cannot be started.
    #[error("cannot start a worker process: {0}")]
    Worker(String),
    /// The engine cannot be set up, for one because address space is short.
    #[error("cannot set up the engine: {0}")]
    Engine(String),
}

/// A running sandbox.
#[derive(Debug)]
pub struct Sandbox {
    workers: Workers,
    orders: std::sync::mpsc::Sender<Order>,
    preparer: JoinHandle<()>,
}

/// Where attempts run.
#[derive(Debug)]
enum Workers {
    Threads(Threads),
    Processes(Processes),
}

impl Sandbox {
    /// Starts the workers; events go to `events`.
    ///
    /// # Errors
    /// A configuration, directory or machine that does not allow it.
    pub fn start(config: SandboxConfig, events: Events) -> Result<Self, Error> {
        let memory_max = check(&config)?;
        let published = Published::open(&config).map_err(|(path, source)| Error::Published { path, source })?;
        let compiling = engine::compiling().map_err(|error| Error::Engine(format!("{error:#}")))?;
        let open = |path: PathBuf| Root::open(&path).map_err(|source| Error::Scratch { path, source });
        // What other processes have left is removed with the first.
        config.scratch.clone().map(open).transpose()?;
        let SandboxConfig { cache_dir, cache_key, cache_bytes_max, .. } = config;
        let cache = Cache::open(cache_dir.clone(), cache_key, cache_bytes_max, &compiling)
            .map_err(|source| Error::Cache { path: cache_dir.clone(), source })?;
        let (orders, inbox) = std::sync::mpsc::channel();
        let (workers, targets) = match (config.isolation, &config.helper) {
            (Isolation::Processes { number }, Helper::Program { path, args }) => {
                let setup = process::Setup {
                    program: (path.clone(), args.clone()),
                    plan: Plan {
                        threads: config.workers,
                        processes: number,
                        lanes: config.lanes_per_worker,
                        memory_max: memory_max as u64,
                        published: published.names(),
                        scratch: config.scratch.is_some(),
                    },
                    cache_dir,
                    published,
                    scratch: config.scratch,
                    network: config.network,
                    apart: config.apart,
                    events: events.clone(),
                    orders: orders.clone(),
                };
                let processes = Processes::start(setup)?;
                let targets = Targets::Processes(processes.seats());
                (Workers::Processes(processes), targets)
            }
            (Isolation::InProcess | Isolation::Processes { .. }, _) => {
                let (threads, lanes) = (config.workers, config.lanes_per_worker);
                let scratch = config.scratch.map(|path| open(path.join("0"))).transpose()?;
                let resolver = match config.network {
                    policy if policy.is_nowhere() => Resolver::None,
                    policy => Resolver::Here(policy),
                };
                let events = events.clone();
                let setup = threads::Setup { threads, lanes, memory_max, published, scratch, resolver, events };
                let (threads, targets) = Threads::start(setup)?;
                (Workers::Threads(threads), Targets::Threads(targets))
            }
        };
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
        Ok(Self { workers, orders, preparer })
    }

    /// Passes on one command; never waits.
    pub fn send(&self, command: Command) {
        self.send_many(vec![command]);
    }

    /// Passes on commands in order; attempts that are started together reach their workers together.
    pub fn send_many(&self, mut commands: Vec<Command>) {
        let mut forgotten = Vec::new();
        for command in &commands {
            match command {
                Command::Prepare(module) => self.order(Order::Prepare(module.clone())),
                Command::Define(work) => self.order(Order::Define(work.run, work.module)),
                Command::Forget(run) => forgotten.push(*run),
                Command::Start(_)
                | Command::Cancel(_)
                | Command::Settle(_)
                | Command::Follow(_)
                | Command::Throttle(_)
                | Command::Inspect(_)
                | Command::Lease(_) => {}
            }
        }
        commands.retain(|command| !matches!(command, Command::Prepare(_)));
        match &self.workers {
            Workers::Threads(threads) => threads.send_many(commands),
            Workers::Processes(processes) => processes.send_many(commands),
        }
        forgotten.into_iter().for_each(|run| self.order(Order::Forget(run)));
    }

    /// Takes in the time of a clock that goes on while the machine sleeps: worker processes of a namespace or for network
    /// access end when they have had no attempt for a minute. To be called at least every few seconds.
    pub fn tick(&self, now: Instant) {
        match &self.workers {
            Workers::Threads(_) => {}
            Workers::Processes(processes) => processes.tick(now),
        }
    }

    /// What attempts that are not revocable use. Costs one look at two counters of each worker; those of a worker process
    /// are at most a tenth of a second old.
    #[must_use]
    pub fn used(&self) -> Used {
        match &self.workers {
            Workers::Threads(threads) => threads.used(),
            Workers::Processes(processes) => processes.used(),
        }
    }

    /// The ids of the worker processes that run at this moment; none where guests run in this process.
    #[must_use]
    pub fn worker_pids(&self) -> Vec<u32> {
        match &self.workers {
            Workers::Threads(_) => Vec::new(),
            Workers::Processes(processes) => processes.pids(),
        }
    }

    /// Ends everything that runs, without reporting it, and waits for the workers.
    pub fn shutdown(self) {
        self.order(Order::Stop);
        match self.workers {
            Workers::Threads(threads) => threads.shutdown(),
            Workers::Processes(processes) => processes.shutdown(),
        }
        if self.preparer.join().is_err() {
            tracing::error!("a thread of the sandbox panicked");
        }
    }

    fn order(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::error!("the preparing thread of the sandbox is gone");
        }
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
    let processes = match config.isolation {
        Isolation::InProcess => 1,
        Isolation::Processes { number } => number,
    };
    if !(1..=config.workers).contains(&processes) {
        return Err(Error::Config("it needs at least one worker for each process"));
    }
    if matches!((config.isolation, &config.helper), (Isolation::Processes { .. }, Helper::InProcess)) {
        return Err(Error::Config("worker processes need a program to be started"));
    }
    if config.isolation == Isolation::InProcess && !config.apart.is_empty() {
        return Err(Error::Config("namespaces can be kept apart only in worker processes"));
    }
    let lanes = (config.workers.div_ceil(processes) as u64).saturating_mul(u64::from(config.lanes_per_worker));
    if lanes.saturating_mul(LANE_ADDRESS_BYTES) > ADDRESS_SPACE_MAX {
        return Err(Error::Config("so many lanes do not fit into the address space"));
    }
    usize::try_from(config.memory_max.0.min(4 << 30)).map_err(|_| Error::Config("memory_max is too large"))
}
