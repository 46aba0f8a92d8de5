//! Worker processes: the same threads as in this process, behind a socket, so that a guest that breaks out of the engine
//! or brings it down is not in the daemon.
//!
//! A `supervisor` keeps one process running and reads what it says; the `seats` are the daemon's books of all of them;
//! the `child` is the process itself.

mod child;
mod frame;
mod held;
mod seats;
mod supervisor;

use std::{
    ffi::OsString,
    fs::File,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use weir_wire::{attempt::Command, units::MemBytes, worker::WorkerSetup};

use crate::{
    grants::Published,
    network_policy::NetworkPolicy,
    prepare::Order,
    sandbox::{Error, Events},
    scratch::Root,
    usage::{Counters, Used},
};

pub(crate) use child::main as child;
use seats::Given;
pub(crate) use seats::Seats;

/// What worker processes need from the start.
pub(crate) struct Setup {
    pub(crate) program: (PathBuf, Vec<OsString>),
    pub(crate) processes: usize,
    /// Threads of all processes together; each gets as many as the others or one less.
    pub(crate) threads: usize,
    pub(crate) lanes: u32,
    pub(crate) memory_max: u64,
    pub(crate) cache_dir: PathBuf,
    pub(crate) published: Published,
    /// Where the scratch directories of each process are made.
    pub(crate) scratch: Vec<Option<Root>>,
    /// Where guests may connect. If anywhere, there are processes for those that do: as many again, started when one is
    /// needed.
    pub(crate) network: NetworkPolicy,
    pub(crate) events: Events,
    pub(crate) orders: mpsc::Sender<Order>,
}

/// Running worker processes.
#[derive(Debug)]
pub(crate) struct Processes {
    seats: Arc<Seats>,
    supervisors: Mutex<Vec<JoinHandle<()>>>,
    program: (PathBuf, Vec<OsString>),
    /// Those for guests with network access are started.
    started: AtomicBool,
}

impl Processes {
    /// Starts the processes and waits until each is set up.
    pub(crate) fn start(setup: Setup) -> Result<Self, Error> {
        let cache =
            File::open(&setup.cache_dir).map_err(|source| Error::Cache { path: setup.cache_dir.clone(), source })?;
        let names = setup.published.names();
        let threads = |index: usize| (setup.threads + setup.processes - 1 - index) / setup.processes;
        let seats = setup.processes * (1 + usize::from(!setup.network.is_nowhere()));
        let setups = (0..seats).map(|index| WorkerSetup {
            threads: u32::try_from(threads(index % setup.processes)).unwrap_or(u32::MAX),
            lanes: setup.lanes,
            memory_max: MemBytes(setup.memory_max),
            published: names.clone(),
            scratch: setup.scratch.get(index).is_some_and(Option::is_some),
            network: index >= setup.processes,
        });
        let setups = setups.collect();
        let given = Given { cache, published: setup.published, scratch: setup.scratch, network: setup.network };
        let seats = Arc::new(Seats::new(setups, given, setup.events, setup.orders));
        let mut supervisors = Vec::new();
        let mut starting = Vec::new();
        for index in 0..setup.processes {
            let (started, answer) = mpsc::channel();
            let (seats, program) = (Arc::clone(&seats), setup.program.clone());
            let thread = supervisor::spawn(seats, index, program, Some(started)).map_err(Error::Thread)?;
            supervisors.push(thread);
            starting.push(answer);
        }
        let program = setup.program;
        let this = Self { seats, supervisors: Mutex::new(supervisors), program, started: AtomicBool::new(false) };
        for answer in starting {
            // Its end without an answer has been reported as the end of the process.
            if let Err(why) = answer.recv().unwrap_or_else(|_| Err("its supervisor is gone".to_owned())) {
                this.shutdown();
                return Err(Error::Worker(why));
            }
        }
        Ok(this)
    }

    pub(crate) fn seats(&self) -> Arc<Seats> {
        Arc::clone(&self.seats)
    }

    pub(crate) fn send_many(&self, commands: Vec<Command>) {
        let needed = |command: &Command| matches!(command, Command::Define(work) if !work.capabilities.nets.is_empty());
        if commands.iter().any(needed) && !self.started.swap(true, Ordering::Relaxed) {
            self.start_networked();
        }
        self.seats.send_many(commands);
    }

    /// Starts the processes for guests with network access, if there are to be any.
    fn start_networked(&self) {
        let mut supervisors = self.supervisors.lock().unwrap_or_else(PoisonError::into_inner);
        for index in self.seats.networked() {
            match supervisor::spawn(Arc::clone(&self.seats), index, self.program.clone(), None) {
                Ok(thread) => supervisors.push(thread),
                Err(error) => tracing::error!(%error, "a worker process for guests with network access has no thread"),
            }
        }
    }

    pub(crate) fn used(&self) -> Used {
        Counters::sum(self.seats.counters())
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.seats.pids()
    }

    /// Kills the processes and waits for their supervisors.
    pub(crate) fn shutdown(self) {
        self.seats.stop();
        for supervisor in self.supervisors.into_inner().unwrap_or_else(PoisonError::into_inner) {
            if supervisor.join().is_err() {
                tracing::error!("a thread of the sandbox panicked");
            }
        }
    }
}
