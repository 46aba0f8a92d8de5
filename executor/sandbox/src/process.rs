//! Worker processes: the same threads as in this process, behind a socket, so that a guest that breaks out of the engine
//! or brings it down is not in the daemon.
//!
//! A `supervisor` keeps one process running and reads what it says; the `seats` are all of them, with the daemon's `books`
//! of what is where; the `groups` say which guests may share one; the `child` is the process itself.

mod books;
mod child;
mod frame;
mod groups;
mod held;
mod plan;
mod seat;
mod seats;
mod supervisor;

use std::{
    ffi::OsString,
    fs::File,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
};

use weir_wire::{attempt::Command, units::Instant};

use crate::{
    apart::Apart,
    grants::Published,
    network_policy::NetworkPolicy,
    prepare::Order,
    sandbox::{Error, Events},
    usage::Used,
};

pub(crate) use child::main as child;
pub(crate) use plan::Plan;
use seats::Given;
pub(crate) use seats::Seats;

/// What worker processes need from the start.
pub(crate) struct Setup {
    pub(crate) program: (PathBuf, Vec<OsString>),
    pub(crate) plan: Plan,
    pub(crate) cache_dir: PathBuf,
    pub(crate) published: Published,
    /// Where the scratch directories of each process are made.
    pub(crate) scratch: Option<PathBuf>,
    /// Where guests may connect; those that may anywhere are in processes of their own.
    pub(crate) network: NetworkPolicy,
    /// The namespaces whose guests are.
    pub(crate) apart: Apart,
    pub(crate) events: Events,
    pub(crate) orders: mpsc::Sender<Order>,
}

/// Running worker processes.
#[derive(Debug)]
pub(crate) struct Processes {
    seats: Arc<Seats>,
    supervisors: Mutex<Vec<JoinHandle<()>>>,
    program: (PathBuf, Vec<OsString>),
}

impl Processes {
    /// Starts the processes that all share, and waits until each is set up; the others start when they are needed.
    pub(crate) fn start(setup: Setup) -> Result<Self, Error> {
        let cache =
            File::open(&setup.cache_dir).map_err(|source| Error::Cache { path: setup.cache_dir.clone(), source })?;
        let processes = setup.plan.processes;
        let kept = (setup.apart, !setup.network.is_nowhere());
        let given = Given { cache, published: setup.published, scratch: setup.scratch, network: setup.network };
        let seats = Arc::new(Seats::new(setup.plan, kept, given, setup.events, setup.orders));
        let mut supervisors = Vec::new();
        let mut starting = Vec::new();
        for index in 0..processes {
            let (started, answer) = mpsc::channel();
            let (seats, program) = (Arc::clone(&seats), setup.program.clone());
            let thread = supervisor::spawn(seats, index, program, Some(started)).map_err(Error::Thread)?;
            supervisors.push(thread);
            starting.push(answer);
        }
        let this = Self { seats, supervisors: Mutex::new(supervisors), program: setup.program };
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
        let begun = self.seats.send_many(commands);
        if begun.is_empty() {
            return;
        }
        let mut supervisors = self.supervisors.lock().unwrap_or_else(PoisonError::into_inner);
        supervisors.retain(|supervisor| !supervisor.is_finished());
        for index in begun {
            match supervisor::spawn(Arc::clone(&self.seats), index, self.program.clone(), None) {
                Ok(thread) => supervisors.push(thread),
                Err(error) => {
                    let why = format!("a worker process cannot be started: it has no thread: {error}");
                    self.seats.cannot_begin(index, &why);
                }
            }
        }
    }

    /// Takes in the time, by which idle processes end.
    pub(crate) fn tick(&self, now: Instant) {
        self.seats.tick(now);
    }

    pub(crate) fn used(&self) -> Used {
        self.seats.used()
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
