//! The worker processes as the daemon's threads see them: they pass on, take in and wait under one lock.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::fd::AsFd,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc::Sender},
    thread,
    time::Duration,
};

use weir_wire::{
    attempt::{AttemptEvent, Command},
    id::{AttemptId, Digest},
    task::Status,
    units::{Instant, MemBytes},
    worker::{Pinned, Resolved, ToWorker, WorkerUsage},
};

use super::{
    books::{Books, Turn, is_busy},
    plan::Plan,
    seat::{Link, Seat},
};
use crate::{
    apart::Apart, attempt::not_run, cache::Artefact, grants::Published, limits::APART_GROUPS_MAX, network,
    network_policy::NetworkPolicy, prepare::Order, sandbox::Events, scratch::Root, usage::Used, verdict,
    verdict::Unresolved,
};

/// The places of all worker processes.
#[derive(Debug)]
pub(crate) struct Seats {
    books: Mutex<Books>,
    /// Wakes supervisors that wait before they start a process again.
    stop: Condvar,
    given: Given,
    events: Events,
    orders: Sender<Order>,
}

/// The directories that processes are given, and the policy by which they are answered.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) cache: File,
    pub(super) published: Published,
    /// Below it, each seat has a directory for scratch directories.
    pub(super) scratch: Option<PathBuf>,
    /// Where guests may connect.
    pub(super) network: NetworkPolicy,
}

impl Seats {
    pub(super) fn new(
        plan: Plan,
        (apart, network): (Apart, bool),
        given: Given,
        events: Events,
        orders: Sender<Order>,
    ) -> Self {
        let books = Books::new(plan, apart, network);
        Self { books: Mutex::new(books), stop: Condvar::new(), given, events, orders }
    }

    /// Finds out what an attempt may connect to, on a thread of its own, and tells its process. Of one that has ended
    /// meanwhile, nobody waits for the answer.
    ///
    /// # Errors
    /// The process asks twice at a time.
    pub(super) fn resolve(this: &Arc<Self>, index: usize, id: AttemptId) -> Result<(), String> {
        let mut books = this.books();
        let Books { seats, runs, .. } = &mut *books;
        let Some(seat) = seats.get_mut(&index).filter(|seat| seat.attempts.contains_key(&id)) else { return Ok(()) };
        let Some(nets) = runs.get(&id.task.run).map(|(_, work)| work.capabilities.nets.clone()) else { return Ok(()) };
        if !seat.resolving.insert(id) {
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
        if let Some(seat) = self.books().seats.get_mut(&index) {
            seat.resolving.remove(&id);
            seat.send(vec![ToWorker::Resolved(resolved)], Vec::new());
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn used(&self) -> Used {
        let books = self.books();
        let memory = books.seats.values().fold(0u64, |sum, seat| sum.saturating_add(seat.memory()));
        let cpu_ns = books.seats.values().fold(books.cpu_gone_ns, |sum, seat| sum.saturating_add(seat.cpu_ns()));
        Used { memory: MemBytes(memory), cpu: Duration::from_nanos(cpu_ns) }
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.books().seats.values().filter_map(|seat| seat.link.as_ref()).map(|link| link.pid).collect()
    }

    /// Passes on commands in order, each to the processes that it concerns; the seats that have begun with it.
    pub(super) fn send_many(&self, commands: Vec<Command>) -> Vec<usize> {
        let mut turn = Turn::default();
        let mut books = self.books();
        commands.into_iter().for_each(|command| books.take_in(command, &mut turn));
        for (index, messages) in turn.out {
            if let Some(seat) = books.seats.get(&index) {
                seat.send(messages, Vec::new());
            }
        }
        drop(books);
        if turn.ending {
            self.stop.notify_all();
        }
        let why = || {
            format!(
                "{APART_GROUPS_MAX} namespaces have worker processes of their own on this node, and attempts in them; \
             it can have no more at a time"
            )
        };
        self.report_ended(turn.refused, why);
        turn.begun
    }

    /// Takes in the time: processes of which nobody has needed any for long end.
    pub(super) fn tick(&self, now: Instant) {
        let mut books = self.books();
        let Books { groups, seats, .. } = &mut *books;
        let over = groups.tick(now, |range| is_busy(seats, range));
        let any = !over.is_empty();
        over.into_iter().for_each(|range| books.end(range));
        drop(books);
        if any {
            self.stop.notify_all();
        }
    }

    /// Takes in a process that was started: it is set up and told of its runs; the modules come from the preparing thread.
    pub(super) fn joined(&self, index: usize, link: Link) -> io::Result<()> {
        let Given { cache, published, .. } = &self.given;
        let scratch = self.scratch_of(index).map(|path| Root::open(&path)).transpose()?;
        let dirs = [cache.as_fd()].into_iter().chain(published.iter().map(|(dir, _)| dir));
        let dirs = dirs.chain(scratch.as_ref().map(AsFd::as_fd));
        let dirs = dirs.map(|dir| dir.try_clone_to_owned()).collect::<io::Result<Vec<_>>>()?;
        let mut books = self.books();
        let Books { seats, runs, lease, stopping, .. } = &mut *books;
        let Some(seat) = seats.get_mut(&index) else { return Err(io::Error::other("there is no place for it")) };
        let runs = runs.values().filter(|(group, _)| *group == seat.group);
        let runs = runs.map(|(_, work)| Command::Define(Box::new((**work).clone())));
        let told: Vec<_> = runs.chain(lease.map(Command::Lease)).map(ToWorker::Command).collect();
        seat.scratch = scratch;
        seat.link = Some(link);
        seat.send(vec![ToWorker::Setup(seat.setup.clone())], dirs);
        seat.send(told, Vec::new());
        if *stopping || seat.ending {
            seat.close();
        }
        drop(books);
        self.order(Order::Joined(index));
        Ok(())
    }

    fn scratch_of(&self, index: usize) -> Option<PathBuf> {
        self.given.scratch.as_ref().map(|path| path.join(index.to_string()))
    }

    /// Sends what waited until the process has loaded everything.
    pub(super) fn ready(&self, index: usize) {
        let mut books = self.books();
        let Some(seat) = books.seats.get_mut(&index) else { return };
        seat.ready = true;
        seat.attempts.values_mut().for_each(|held| held.sent = true);
        let pending = std::mem::take(&mut seat.pending);
        seat.send(pending.into_iter().map(ToWorker::Command).collect(), Vec::new());
    }

    /// Says nothing more to a process; its writing thread ends.
    pub(super) fn unlink(&self, index: usize) {
        if let Some(seat) = self.books().seats.get_mut(&index) {
            (seat.link, seat.ready) = (None, false);
        }
    }

    /// Gives up a process that is gone: the attempts that it was told of end, once each. With `all`, so do those that wait
    /// for the next process.
    pub(super) fn left(&self, index: usize, why: &str, all: bool) {
        let mut books = self.books();
        let stopping = books.stopping;
        let ended = books.seats.get_mut(&index).map(|seat| seat.is_left(all)).unwrap_or_default();
        if !stopping {
            self.report_ended(ended, || why.to_owned());
        }
        drop(books);
        self.order(Order::Left(index));
    }

    /// Gives up a seat whose process does not begin again.
    pub(super) fn depart(&self, index: usize) {
        let mut books = self.books();
        if let Some(seat) = books.seats.remove(&index) {
            books.cpu_gone_ns = books.cpu_gone_ns.saturating_add(seat.cpu_ns());
        }
        books.groups.ended(index);
        drop(books);
        if let Some(Err(error)) = self.scratch_of(index).map(fs::remove_dir)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a scratch directory of worker processes that are gone cannot be removed");
        }
    }

    /// Gives up all seats of a group of which one cannot have a process.
    pub(super) fn cannot_begin(&self, index: usize, why: &str) {
        let mut books = self.books();
        let seats = books.groups.close_that_of(index).unwrap_or(index..index + 1);
        books.end(seats.clone());
        drop(books);
        seats.for_each(|seat| self.left(seat, why, true));
        self.depart(index);
        self.stop.notify_all();
    }

    fn report_ended(&self, ended: Vec<AttemptId>, why: impl Fn() -> String) {
        let end = |id| AttemptEvent::Ended(not_run(id, Status::Failed, verdict::host_error(why())));
        let ends: Vec<_> = ended.into_iter().map(end).collect();
        if !ends.is_empty() {
            // A receiver that is gone has no use for events.
            let _nobody_listens = self.events.send(ends);
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
        let Some(seat) = books.seats.get_mut(&index) else { return Err("there is no place for it".to_owned()) };
        seat.uses(usage);
        let mut refused = None;
        let good = events.iter().position(|event| {
            refused = seat.take_in(event).err();
            refused.is_some()
        });
        // An attempt whose end was taken in does not end again with the process.
        events.truncate(good.unwrap_or(events.len()));
        if !events.is_empty() {
            // Under the lock, so that what the next one takes in follows. A receiver that is gone has no use for events.
            let _nobody_listens = self.events.send(events);
        }
        drop(books);
        refused.map_or(Ok(()), Err)
    }

    /// Has a module loaded by the processes that run; which ones.
    pub(crate) fn load(&self, digest: Digest, artefact: &Artefact) -> BTreeSet<usize> {
        let seats: Vec<usize> = self.books().seats.keys().copied().collect();
        seats.into_iter().filter(|index| self.load_at(*index, digest, artefact)).collect()
    }

    /// Has a module loaded by one process, if it runs.
    pub(crate) fn load_at(&self, index: usize, digest: Digest, artefact: &Artefact) -> bool {
        match artefact.file().try_clone() {
            Ok(file) => {
                let load = |seat: &Seat| seat.send(vec![ToWorker::Load(digest)], vec![file.into()]);
                self.books().seats.get(&index).is_some_and(load)
            }
            Err(error) => {
                tracing::warn!(module.digest = %digest, %error, "an artefact cannot be passed to a worker process");
                false
            }
        }
    }

    /// Has a module forgotten by all processes.
    pub(crate) fn unload(&self, digest: Digest) {
        for seat in self.books().seats.values() {
            seat.send(vec![ToWorker::Unload(digest)], Vec::new());
        }
    }

    /// Asks a process to say when it has loaded all that it was told to.
    pub(crate) fn sync(&self, index: usize) {
        if let Some(seat) = self.books().seats.get(&index) {
            seat.send(vec![ToWorker::Sync], Vec::new());
        }
    }

    /// Tells the preparing thread, unless that has stopped.
    pub(super) fn order(&self, order: Order) {
        let _stopping = self.orders.send(order);
    }

    /// Ends all processes, and starts none again.
    pub(super) fn stop(&self) {
        let mut books = self.books();
        books.stopping = true;
        books.seats.values().for_each(Seat::close);
        drop(books);
        self.stop.notify_all();
    }

    /// Waits, unless the sandbox stops or the seat is to end, which the answer says.
    pub(super) fn wait(&self, index: usize, time: Duration) -> bool {
        let goes_on = |books: &mut Books| !books.is_over(index);
        let waited = self.stop.wait_timeout_while(self.books(), time, goes_on);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_over(index)
    }
}
