//! The daemon's books of its worker processes: which attempt is where, and what a new process has to be told.

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io,
    net::Shutdown,
    ops::Range,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Sender, SyncSender},
    },
    thread,
    time::Duration,
};

use weir_wire::{
    attempt::{AttemptEvent, Command, LeaseSpec},
    id::{AttemptId, Digest, RunId},
    task::Status,
    work::WorkSpec,
    worker::{Pinned, Resolved, ToWorker, WorkerSetup, WorkerUsage},
};

use super::held::Held;
use crate::{
    attempt::not_run, cache::Artefact, grants::Published, network, network_policy::NetworkPolicy, prepare::Order,
    sandbox::Events, scratch::Root, usage::Counters, verdict, verdict::Unresolved,
};

/// Messages for a process, and descriptors for the first of them.
pub(super) type Packet = (Vec<ToWorker>, Vec<OwnedFd>);

/// The places of all worker processes.
#[derive(Debug)]
pub(crate) struct Seats {
    books: Mutex<Books>,
    /// Wakes supervisors that wait before they start a process again.
    stop: Condvar,
    /// What each process uses.
    counters: Vec<Counters>,
    setups: Vec<WorkerSetup>,
    given: Given,
    events: Events,
    orders: Sender<Order>,
}

/// The open directories that processes are given, and the policy by which they are answered.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) cache: File,
    pub(super) published: Published,
    /// By process.
    pub(super) scratch: Vec<Option<Root>>,
    /// Where guests may connect.
    pub(super) network: NetworkPolicy,
}

#[derive(Debug, Default)]
struct Books {
    seats: Vec<Seat>,
    /// The runs that are defined.
    runs: HashMap<RunId, Arc<WorkSpec>>,
    lease: Option<LeaseSpec>,
    stopping: bool,
}

/// The place of one process.
#[derive(Debug, Default)]
struct Seat {
    link: Option<Link>,
    /// Everything that a new process is told is loaded there.
    ready: bool,
    attempts: HashMap<AttemptId, Held>,
    /// Those whose addresses are being found out.
    resolving: BTreeSet<AttemptId>,
    /// The weights of `attempts`.
    load: u64,
    /// What the process is told once it is ready.
    pending: Vec<Command>,
    /// CPU time of the processes that were here before, nanoseconds.
    cpu_before_ns: u64,
    cpu_ns: u64,
}

/// The way to one process.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) packets: SyncSender<Packet>,
    /// Closed to end the process.
    pub(super) socket: UnixStream,
    pub(super) pid: u32,
}

impl Seats {
    pub(super) fn new(setups: Vec<WorkerSetup>, given: Given, events: Events, orders: Sender<Order>) -> Self {
        let seats = setups.iter().map(|_| Seat::default()).collect();
        let counters = setups.iter().map(|_| Counters::default()).collect();
        let books = Mutex::new(Books { seats, ..Books::default() });
        Self { books, stop: Condvar::new(), counters, setups, given, events, orders }
    }

    /// The seats of processes for guests with network access.
    pub(super) fn networked(&self) -> Range<usize> {
        let first = self.setups.iter().position(|setup| setup.network).unwrap_or(self.setups.len());
        first..self.setups.len()
    }

    /// The seats among which an attempt may go. Where there is no network, any process will say so.
    fn group(&self, networked: bool) -> Range<usize> {
        let network = self.networked();
        if networked && !network.is_empty() { network } else { 0..network.start }
    }

    /// Finds out what an attempt may connect to, on a thread of its own, and tells its process. Of one that has ended
    /// meanwhile, nobody waits for the answer.
    ///
    /// # Errors
    /// The process asks twice at a time.
    pub(super) fn resolve(this: &Arc<Self>, index: usize, id: AttemptId) -> Result<(), String> {
        let mut books = this.books();
        let known = books.seats[index].attempts.contains_key(&id);
        let nets = books.runs.get(&id.task.run).filter(|_| known).map(|work| work.capabilities.nets.clone());
        let Some(nets) = nets else { return Ok(()) };
        if !books.seats[index].resolving.insert(id) {
            return Err("it asked twice".to_owned());
        }
        drop(books);
        let seats = Arc::clone(this);
        let work = move || seats.resolved(index, id, network::resolve(&nets, &seats.given.network));
        if let Err(error) = thread::Builder::new().name("weir-resolve".to_owned()).spawn(work) {
            let why = format!("no thread to look names up: {error}");
            this.resolved(index, id, Err(Unresolved { why, denied: false }));
        }
        Ok(())
    }

    fn resolved(&self, index: usize, id: AttemptId, found: Result<Vec<Pinned>, Unresolved>) {
        let (pins, error, denied) = match found {
            Ok(pins) => (pins, None, false),
            Err(Unresolved { why, denied }) => (Vec::new(), Some(why), denied),
        };
        let resolved = Resolved { id, pins, error, denied };
        let seat = &mut self.books().seats[index];
        seat.resolving.remove(&id);
        seat.send(vec![ToWorker::Resolved(resolved)], Vec::new());
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counters(&self) -> impl Iterator<Item = &Counters> {
        self.counters.iter()
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.books().seats.iter().filter_map(|seat| seat.link.as_ref()).map(|link| link.pid).collect()
    }

    /// Passes on commands in order, each to the process that it concerns.
    pub(super) fn send_many(&self, commands: Vec<Command>) {
        let mut books = self.books();
        let mut out: Vec<Vec<ToWorker>> = books.seats.iter().map(|_| Vec::new()).collect();
        for command in commands {
            match command {
                Command::Start(ref spec) => {
                    let run = books.runs.get(&spec.id.task.run);
                    let weight = run.map_or(1, |work| work.budgets.resources.cpu.0);
                    let output = run.map_or(0, |work| work.budgets.output);
                    let networked = run.is_some_and(|work| !work.capabilities.nets.is_empty());
                    let index = books.choose(self.group(networked));
                    let seat = &mut books.seats[index];
                    seat.load = seat.load.saturating_add(u64::from(weight));
                    seat.attempts.insert(spec.id, Held::new(weight, output, seat.ready));
                    seat.pass_on(command, &mut out[index]);
                }
                Command::Cancel(ref cancel) => books.pass_on(cancel.id, command, &mut out),
                Command::Follow(ref follow) => {
                    if let Some(held) = books.held(follow.id).filter(|_| follow.on) {
                        held.is_followed();
                    }
                    books.pass_on(follow.id, command, &mut out);
                }
                Command::Throttle(ref throttle) => books.pass_on(throttle.id, command, &mut out),
                Command::Inspect(ref inspect) => books.inspect(inspect.id, command, &mut out),
                Command::Define(work) => {
                    let work = Arc::<WorkSpec>::from(work);
                    books.tell_all(&mut out, || Command::Define(Box::new((*work).clone())));
                    books.runs.insert(work.run, work);
                }
                Command::Forget(run) => {
                    books.runs.remove(&run);
                    books.tell_all(&mut out, || Command::Forget(run));
                }
                Command::Lease(lease) => {
                    books.lease = Some(lease);
                    books.tell_all(&mut out, || Command::Lease(lease));
                }
                // The preparing thread's.
                Command::Prepare(_) => {}
            }
        }
        for (seat, messages) in books.seats.iter().zip(out) {
            seat.send(messages, Vec::new());
        }
    }

    /// Takes in a process that was started: it is set up and told of all runs; the modules come from the preparing thread.
    pub(super) fn joined(&self, index: usize, link: Link) -> io::Result<()> {
        let Given { cache, published, scratch, .. } = &self.given;
        let scratch = scratch.get(index).and_then(Option::as_ref);
        let dirs = [cache.as_fd()].into_iter().chain(published.iter().map(|(dir, _)| dir));
        let dirs = dirs.chain(scratch.map(AsFd::as_fd));
        let dirs = dirs.map(|dir| dir.try_clone_to_owned()).collect::<io::Result<Vec<_>>>()?;
        let mut books = self.books();
        let runs = books.runs.values().map(|work| Command::Define(Box::new((**work).clone())));
        let told: Vec<_> = runs.chain(books.lease.map(Command::Lease)).map(ToWorker::Command).collect();
        let stopping = books.stopping;
        let seat = &mut books.seats[index];
        seat.link = Some(link);
        seat.send(vec![ToWorker::Setup(self.setups[index].clone())], dirs);
        seat.send(told, Vec::new());
        if stopping {
            seat.close();
        }
        drop(books);
        self.order(Order::Joined(index));
        Ok(())
    }

    /// Sends what waited until the process has loaded everything.
    pub(super) fn ready(&self, index: usize) {
        let mut books = self.books();
        let seat = &mut books.seats[index];
        seat.ready = true;
        seat.attempts.values_mut().for_each(|held| held.sent = true);
        let pending = std::mem::take(&mut seat.pending);
        seat.send(pending.into_iter().map(ToWorker::Command).collect(), Vec::new());
    }

    /// Says nothing more to a process; its writing thread ends.
    pub(super) fn unlink(&self, index: usize) {
        let seat = &mut self.books().seats[index];
        (seat.link, seat.ready) = (None, false);
    }

    /// Gives up a process that is gone: the attempts that it was told of end, once each. With `all`, so do those that wait
    /// for the next process.
    pub(super) fn left(&self, index: usize, why: &str, all: bool) {
        let mut books = self.books();
        let stopping = books.stopping;
        if let Some(Some(scratch)) = self.given.scratch.get(index) {
            scratch.clear();
        }
        let seat = &mut books.seats[index];
        (seat.link, seat.ready) = (None, false);
        seat.cpu_before_ns = seat.cpu_before_ns.saturating_add(std::mem::take(&mut seat.cpu_ns));
        let mut ended = Vec::new();
        seat.attempts.retain(|id, held| {
            let keep = !held.sent && !all;
            if !keep {
                seat.load = seat.load.saturating_sub(u64::from(held.weight));
                ended.push(*id);
            }
            keep
        });
        if all {
            seat.pending.clear();
        }
        self.counters[index].set(0, seat.cpu_before_ns);
        drop(books);
        self.order(Order::Left(index));
        let ends =
            ended.into_iter().map(|id| AttemptEvent::Ended(not_run(id, Status::Failed, verdict::host_error(why))));
        if !stopping && ends.len() > 0 {
            // A receiver that is gone has no use for events.
            let _nobody_listens = self.events.send(ends.collect());
        }
    }

    /// Takes in what a process reported, and passes it on.
    ///
    /// # Errors
    /// It is about something that the process does not have.
    pub(super) fn reported(
        &self,
        index: usize,
        usage: WorkerUsage,
        mut events: Vec<AttemptEvent>,
    ) -> Result<(), String> {
        let mut books = self.books();
        let seat = &mut books.seats[index];
        seat.cpu_ns = usage.cpu_ns;
        self.counters[index].set(usage.memory.0, seat.cpu_before_ns.saturating_add(usage.cpu_ns));
        let mut refused = None;
        let good = events.iter().position(|event| {
            refused = seat.take_in(event).err();
            refused.is_some()
        });
        // An attempt whose end was taken in does not end again with the process.
        events.truncate(good.unwrap_or(events.len()));
        drop(books);
        if !events.is_empty() {
            // A receiver that is gone has no use for events.
            let _nobody_listens = self.events.send(events);
        }
        refused.map_or(Ok(()), Err)
    }

    /// Has a module loaded by the processes that run; which ones.
    pub(crate) fn load(&self, digest: Digest, artefact: &Artefact) -> BTreeSet<usize> {
        (0..self.setups.len()).filter(|index| self.load_at(*index, digest, artefact)).collect()
    }

    /// Has a module loaded by one process, if it runs.
    pub(crate) fn load_at(&self, index: usize, digest: Digest, artefact: &Artefact) -> bool {
        match artefact.file().try_clone() {
            Ok(file) => self.books().seats[index].send(vec![ToWorker::Load(digest)], vec![file.into()]),
            Err(error) => {
                tracing::warn!(module.digest = %digest, %error, "an artefact cannot be passed to a worker process");
                false
            }
        }
    }

    /// Has a module forgotten by all processes.
    pub(crate) fn unload(&self, digest: Digest) {
        for seat in &self.books().seats {
            seat.send(vec![ToWorker::Unload(digest)], Vec::new());
        }
    }

    /// Asks a process to say when it has loaded all that it was told to.
    pub(crate) fn sync(&self, index: usize) {
        self.books().seats[index].send(vec![ToWorker::Sync], Vec::new());
    }

    /// Tells the preparing thread, unless that has stopped.
    pub(super) fn order(&self, order: Order) {
        let _stopping = self.orders.send(order);
    }

    /// Ends all processes, and starts none again.
    pub(super) fn stop(&self) {
        let mut books = self.books();
        books.stopping = true;
        books.seats.iter().for_each(Seat::close);
        drop(books);
        self.stop.notify_all();
    }

    /// Waits, unless the sandbox stops, which the answer says.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let books = self.books();
        let waited = self.stop.wait_timeout_while(books, time, |books| !books.stopping);
        waited.map_or_else(|poisoned| poisoned.into_inner().0.stopping, |(books, _)| books.stopping)
    }
}

impl Books {
    /// The seat of a group with the least CPU promised to its attempts, among those that can begin at once if there are any.
    fn choose(&self, group: Range<usize>) -> usize {
        let ranked = group.map(|index| ((!self.seats[index].ready, self.seats[index].load), index));
        ranked.min().map_or(0, |(_, index)| index)
    }

    fn pass_on(&mut self, id: AttemptId, command: Command, out: &mut [Vec<ToWorker>]) {
        if let Some(index) = self.seats.iter().position(|seat| seat.attempts.contains_key(&id)) {
            self.seats[index].pass_on(command, &mut out[index]);
        }
    }

    fn held(&mut self, id: AttemptId) -> Option<&mut Held> {
        self.seats.iter_mut().find_map(|seat| seat.attempts.get_mut(&id))
    }

    /// Has an attempt looked into that the process has already: what it is told later, nobody waits for.
    fn inspect(&mut self, id: AttemptId, command: Command, out: &mut [Vec<ToWorker>]) {
        if let Some(held) = self.held(id).filter(|held| held.sent) {
            held.is_inspected();
            self.pass_on(id, command, out);
        }
    }

    fn tell_all(&self, out: &mut [Vec<ToWorker>], command: impl Fn() -> Command) {
        for (seat, out) in self.seats.iter().zip(out) {
            if seat.link.is_some() {
                out.push(ToWorker::Command(command()));
            }
        }
    }
}

impl Seat {
    /// Takes in what the process reports about an attempt.
    ///
    /// # Errors
    /// The process does not have it, or says more about it than it may.
    fn take_in(&mut self, event: &AttemptEvent) -> Result<(), String> {
        let unknown = || "it reported about what it does not have".to_owned();
        let allowed = match event {
            AttemptEvent::Ended(ended) => {
                let held = self.attempts.remove(&ended.id).ok_or_else(unknown)?;
                self.load = self.load.saturating_sub(u64::from(held.weight));
                true
            }
            AttemptEvent::Output(chunk) => self.attempts.get_mut(&chunk.id).ok_or_else(unknown)?.wrote(chunk),
            AttemptEvent::Progress(progress) => self.attempts.get_mut(&progress.id).ok_or_else(unknown)?.progressed(),
            AttemptEvent::Seen(seen) => self.attempts.get_mut(&seen.id).ok_or_else(unknown)?.seen(&seen.seen),
            AttemptEvent::Module(_) => return Err(unknown()),
        };
        if allowed { Ok(()) } else { Err("it reported more about an attempt than it may".to_owned()) }
    }

    /// Passes on a command about an attempt, at once or when the process is ready.
    fn pass_on(&mut self, command: Command, out: &mut Vec<ToWorker>) {
        if self.ready {
            out.push(ToWorker::Command(command));
        } else {
            self.pending.push(command);
        }
    }

    /// Sends messages; whether there is a process to get them. One that has left thousands of packets unread is ended.
    fn send(&self, messages: Vec<ToWorker>, descriptors: Vec<OwnedFd>) -> bool {
        let Some(link) = &self.link else { return false };
        if !messages.is_empty() && link.packets.try_send((messages, descriptors)).is_err() {
            self.close();
        }
        true
    }

    fn close(&self) {
        if let Some(link) = &self.link {
            // A socket that is closed already has the same effect.
            let _closed = link.socket.shutdown(Shutdown::Both);
        }
    }
}
