//! Makes modules ready to run: one compile per module, then one load per worker. Runs on two threads of its own.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::UnboundedSender;
use weir_wire::{
    attempt::{AttemptEvent, ModuleFile, ModuleReady},
    id::{Digest, RunId},
    worker::LoadedModule,
};

use crate::{
    cache::{Artefact, Cache},
    compile::{Compiler, Refusal},
    limits::{IDLE_MODULES_MAX, REFUSALS_MAX},
    process::Seats,
    program::Loader,
    sandbox::Events,
    worker::Message,
};

/// What the preparing thread is told.
pub(crate) enum Order {
    Prepare(ModuleFile),
    Define(RunId, Digest),
    Forget(RunId),
    Compiled(Compiled),
    /// A worker process has been started that has no modules yet.
    Joined(usize),
    /// A worker process is gone.
    Left(usize),
    /// A worker process has loaded a module, or cannot.
    Loaded(usize, LoadedModule),
    Stop,
}

/// The end of one compile.
pub(crate) struct Compiled {
    digest: Digest,
    took: Duration,
    /// Why there is no artefact in the cache, if there is none.
    result: Result<(), Refusal>,
}

/// One worker as the preparing thread sees it.
pub(crate) struct Target {
    pub(crate) loader: Loader,
    pub(crate) mailbox: UnboundedSender<Message>,
}

/// Where modules are loaded.
pub(crate) enum Targets {
    /// By the threads of this process.
    Threads(Vec<Target>),
    /// By worker processes.
    Processes(Arc<Seats>),
}

/// A module that worker processes are loading.
struct Loading {
    artefact: Artefact,
    /// How long compiling took.
    took: Duration,
    /// The processes that have not answered.
    waiting: BTreeSet<usize>,
    /// One of them has it.
    loaded: bool,
    /// Why one of them cannot load it.
    refused: Option<String>,
}

/// What the preparing thread needs from the start.
pub(crate) struct Setup {
    pub(crate) compiler: Compiler,
    /// Closed when the thread ends, which ends a compile that runs in a process of its own.
    pub(crate) stop_compiling: io::PipeWriter,
    pub(crate) cache: Cache,
    pub(crate) targets: Targets,
    pub(crate) events: Events,
    /// The thread's own mailbox, for the compiler's answers.
    pub(crate) answers: mpsc::Sender<Order>,
}

/// Starts the preparing thread and the compiling thread behind it. A compile in this process that runs when the sandbox
/// stops is left to itself.
pub(crate) fn spawn(setup: Setup, orders: mpsc::Receiver<Order>) -> std::io::Result<thread::JoinHandle<()>> {
    let Setup { compiler, stop_compiling, cache, targets, events, answers } = setup;
    let (jobs, queue) = mpsc::channel::<ModuleFile>();
    thread::Builder::new().name("weir-compile".to_owned()).spawn(move || {
        for module in queue {
            let began = Instant::now();
            let result = compiler.compile(&module);
            let compiled = Compiled { digest: module.digest, took: began.elapsed(), result };
            if answers.send(Order::Compiled(compiled)).is_err() {
                break;
            }
        }
    })?;
    let mut preparer = Preparer {
        cache,
        targets,
        events,
        jobs,
        loaded: BTreeMap::new(),
        loading: BTreeMap::new(),
        compiling: BTreeSet::new(),
        refused: BTreeMap::new(),
        runs: HashMap::new(),
    };
    thread::Builder::new().name("weir-prepare".to_owned()).spawn(move || {
        for order in orders {
            match order {
                Order::Prepare(module) => preparer.prepare(module),
                Order::Define(run, digest) => drop(preparer.runs.insert(run, digest)),
                Order::Forget(run) => preparer.forget(run),
                Order::Compiled(compiled) => preparer.compiled(compiled),
                Order::Joined(seat) => preparer.joined(seat),
                Order::Left(seat) => preparer.left(seat),
                Order::Loaded(seat, module) => preparer.loaded(seat, module),
                Order::Stop => break,
            }
        }
        drop(stop_compiling);
    })
}

/// The answer to a request to prepare a module.
enum Answer {
    Ready,
    /// The module is to blame.
    Refused(String),
    /// The machine is to blame: the next request tries again.
    MachineFault(String),
}

struct Preparer {
    cache: Cache,
    targets: Targets,
    events: Events,
    jobs: mpsc::Sender<ModuleFile>,
    /// Modules that every worker has; with the artefact, where a worker process may be started that needs it.
    loaded: BTreeMap<Digest, Option<Artefact>>,
    /// Modules that worker processes are loading.
    loading: BTreeMap<Digest, Loading>,
    /// Modules that the compiler has.
    compiling: BTreeSet<Digest>,
    /// Modules that cannot be run, and why.
    refused: BTreeMap<Digest, String>,
    /// The modules of the defined runs.
    runs: HashMap<RunId, Digest>,
}

impl Preparer {
    fn prepare(&mut self, module: ModuleFile) {
        let digest = module.digest;
        if self.loaded.contains_key(&digest) {
            return self.report(digest, Answer::Ready, Duration::ZERO);
        }
        if let Some(message) = self.refused.get(&digest) {
            return self.report(digest, Answer::Refused(message.clone()), Duration::ZERO);
        }
        if self.compiling.contains(&digest) || self.loading.contains_key(&digest) {
            return;
        }
        match self.cache.find(&digest) {
            Ok(Some(artefact)) => self.load(digest, artefact, Duration::ZERO),
            Ok(None) => self.send_to_compiler(module),
            Err(error) => {
                tracing::warn!(module.digest = %digest, %error, "the cache cannot be read; the module is compiled anew");
                self.send_to_compiler(module);
            }
        }
    }

    fn send_to_compiler(&mut self, module: ModuleFile) {
        let digest = module.digest;
        if self.jobs.send(module).is_ok() {
            self.compiling.insert(digest);
        } else {
            self.report(digest, Answer::MachineFault("the compiler is gone".to_owned()), Duration::ZERO);
        }
    }

    fn compiled(&mut self, Compiled { digest, took, result }: Compiled) {
        self.compiling.remove(&digest);
        match result {
            Ok(()) => match self.cache.find(&digest) {
                Ok(Some(artefact)) => self.load(digest, artefact, took),
                Ok(None) => {
                    let message = "the compiled module is gone from the cache".to_owned();
                    self.report(digest, Answer::MachineFault(message), took);
                }
                Err(error) => {
                    let message = format!("failed to read the cache: {error}");
                    self.report(digest, Answer::MachineFault(message), took);
                }
            },
            Err(Refusal::Module(message)) => self.refuse(digest, message, took),
            Err(Refusal::Machine(message)) => self.report(digest, Answer::MachineFault(message), took),
        }
    }

    fn load(&mut self, digest: Digest, artefact: Artefact, took: Duration) {
        let targets = match &self.targets {
            Targets::Threads(targets) => targets,
            Targets::Processes(seats) => {
                let waiting = seats.load(digest, &artefact);
                self.loading.insert(digest, Loading { artefact, took, waiting, loaded: false, refused: None });
                return self.settle(digest);
            }
        };
        let programs: Result<Vec<_>, _> = targets.iter().map(|target| target.loader.load(&artefact)).collect();
        match programs {
            Ok(programs) => {
                for (target, program) in targets.iter().zip(programs) {
                    // A worker whose mailbox is closed is stopping.
                    let _stopping = target.mailbox.send(Message::Load(digest, Box::new(program)));
                }
                self.loaded.insert(digest, None);
                self.report(digest, Answer::Ready, took);
            }
            Err(error) => self.refuse(digest, format!("{error:#}"), took),
        }
    }

    /// Has a new process load what the others have or are about to have.
    fn joined(&mut self, seat: usize) {
        let Targets::Processes(seats) = &self.targets else { return };
        for (digest, artefact) in &self.loaded {
            if let Some(artefact) = artefact {
                seats.load_at(seat, *digest, artefact);
            }
        }
        for (digest, loading) in &mut self.loading {
            if seats.load_at(seat, *digest, &loading.artefact) {
                loading.waiting.insert(seat);
            }
        }
        seats.sync(seat);
    }

    /// Waits no more for a process that is gone.
    fn left(&mut self, seat: usize) {
        let digests: Vec<Digest> = self.loading.keys().copied().collect();
        for digest in digests {
            if let Some(loading) = self.loading.get_mut(&digest) {
                loading.waiting.remove(&seat);
            }
            self.settle(digest);
        }
    }

    fn loaded(&mut self, seat: usize, LoadedModule { digest, refused }: LoadedModule) {
        // A process that was started again loads also what is not waited for.
        let Some(loading) = self.loading.get_mut(&digest) else { return };
        loading.waiting.remove(&seat);
        loading.loaded |= refused.is_none();
        loading.refused = loading.refused.take().or(refused);
        self.settle(digest);
    }

    /// Reports on a module that no process is loading any more.
    fn settle(&mut self, digest: Digest) {
        let Some(loading) = self.loading.remove(&digest) else { return };
        if !loading.waiting.is_empty() {
            self.loading.insert(digest, loading);
            return;
        }
        match loading.refused {
            Some(message) => self.refuse(digest, message, loading.took),
            None if loading.loaded => {
                self.loaded.insert(digest, Some(loading.artefact));
                self.report(digest, Answer::Ready, loading.took);
            }
            None => {
                let message = "no worker process has loaded the module".to_owned();
                self.report(digest, Answer::MachineFault(message), loading.took);
            }
        }
    }

    fn refuse(&mut self, digest: Digest, message: String, took: Duration) {
        if self.refused.len() >= REFUSALS_MAX {
            self.refused.pop_first();
        }
        self.refused.insert(digest, message.clone());
        self.report(digest, Answer::Refused(message), took);
    }

    fn forget(&mut self, run: RunId) {
        self.runs.remove(&run);
        if self.loaded.len() <= IDLE_MODULES_MAX {
            return;
        }
        let used: BTreeSet<Digest> = self.runs.values().copied().collect();
        let idle: Vec<Digest> = self.loaded.keys().filter(|digest| !used.contains(digest)).copied().collect();
        for digest in idle.into_iter().skip(IDLE_MODULES_MAX) {
            self.loaded.remove(&digest);
            match &self.targets {
                Targets::Threads(targets) => {
                    for target in targets {
                        // A worker whose mailbox is closed is stopping.
                        let _stopping = target.mailbox.send(Message::Unload(digest));
                    }
                }
                Targets::Processes(seats) => seats.unload(digest),
            }
        }
    }

    fn report(&self, digest: Digest, answer: Answer, compile_time: Duration) {
        let (refused, machine_fault) = match answer {
            Answer::Ready => (None, false),
            Answer::Refused(message) => (Some(message), false),
            Answer::MachineFault(message) => (Some(message), true),
        };
        let ready = AttemptEvent::Module(ModuleReady { digest, refused, machine_fault, compile_time });
        // A receiver that is gone has no use for events.
        let _nobody_listens = self.events.send(vec![ready]);
    }
}
