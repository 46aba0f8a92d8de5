//! One worker: a thread with its own engine and runtime that polls many attempts.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    future::poll_fn,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Instant,
};

use tokio::{runtime, sync::mpsc};
use wasmtime::Engine;
use weir_wire::{
    attempt::{AttemptEvent, AttemptSpec, CancelSpec, EndedAttempt, FollowSpec, LeaseSpec, ThrottleSpec},
    id::{AttemptId, Digest, RunId},
    inspect::InspectSpec,
    outcome::Failure,
    task::{Reason, Source, Status},
    work::WorkSpec,
};

use crate::{
    attempt::{self, Attempt, Control, Shared, not_run},
    file_time::FileThreads,
    grants::Published,
    limits::{BLOCKING_THREADS_MAX, TURN_ATTEMPTS_MAX, TURN_TIME_MAX},
    program::Program,
    queue::{CLASSES, FIRST_CLASS, LAST_CLASS, Place, Queue, Rank},
    resolver::Resolver,
    sandbox::Events,
    scratch::Root,
    state::Work,
    usage::Counters,
    verdict,
};

/// What a worker is told.
pub(crate) enum Message {
    Define(Arc<WorkSpec>),
    Forget(RunId),
    Load(Digest, Box<Program>),
    Unload(Digest),
    Start(Vec<Placed>),
    Cancel(CancelSpec),
    Settle(AttemptId),
    Follow(FollowSpec),
    Throttle(ThrottleSpec),
    Inspect(InspectSpec),
    /// Fenced attempts may run until then.
    Lease(LeaseSpec),
    Stop,
}

/// An attempt that was given to a worker.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) spec: AttemptSpec,
    /// What it counts in the worker's load: its CPU rate, in thousandths of a core.
    pub(crate) weight: u32,
}

/// What a worker needs from the start.
pub(crate) struct Setup {
    pub(crate) engine: Engine,
    pub(crate) lanes: usize,
    pub(crate) memory_max: u64,
    pub(crate) published: Arc<Published>,
    /// Where scratch directories are made.
    pub(crate) scratch: Option<Arc<Root>>,
    pub(crate) resolver: Resolver,
    pub(crate) events: Events,
    /// The weights of the attempts that this worker was given and that have not ended.
    pub(crate) load: Arc<AtomicU64>,
    pub(crate) counters: Arc<Counters>,
}

/// Starts a worker's thread. It runs until it is told to stop or nobody can tell it anything.
pub(crate) fn spawn(
    name: String,
    setup: Setup,
    mailbox: mpsc::UnboundedReceiver<Message>,
) -> std::io::Result<thread::JoinHandle<()>> {
    let mut builder = runtime::Builder::new_current_thread();
    // Sockets are watched only where there can be some: it takes calls that other processes are refused.
    if !matches!(setup.resolver, Resolver::None) {
        builder.enable_io();
    }
    let files = Arc::new(FileThreads::default());
    let (begins, ends) = (Arc::clone(&files), Arc::clone(&files));
    // The thread of the runtime itself is none of its own making, so that these are those for file operations.
    builder.on_thread_start(move || begins.begins()).on_thread_stop(move || ends.ends());
    let runtime = builder.enable_time().max_blocking_threads(BLOCKING_THREADS_MAX).build()?;
    thread::Builder::new().name(name).spawn(move || {
        let mut worker = Worker::new(setup, mailbox, files);
        runtime.block_on(poll_fn(|cx| worker.turn(cx)));
        drop(worker);
        // A file operation that hangs must not keep the thread.
        runtime.shutdown_background();
    })
}

struct Worker {
    setup: Setup,
    mailbox: mpsc::UnboundedReceiver<Message>,
    shared: Rc<Shared>,
    works: HashMap<RunId, Rc<Work>>,
    programs: HashMap<Digest, Rc<Program>>,
    /// Attempts that wait to be started, by class.
    waiting: [VecDeque<Waiting>; CLASSES],
    /// Those in `waiting` whose output is wanted live.
    followed: HashSet<AttemptId>,
    /// Those in `waiting` that may run only while nobody else wants to.
    throttled: HashSet<AttemptId>,
    /// Those in `waiting` that are to be looked into.
    inspected: Vec<InspectSpec>,
    /// Which of `running` comes next.
    queue: Queue,
    /// By their places in the queue.
    running: Vec<Option<Running>>,
    /// The attempts in `running`.
    places: HashMap<AttemptId, Place>,
    /// When they have to be over.
    deadlines: BTreeSet<(Instant, Place)>,
    stopped: bool,
}

/// An attempt that is to be started.
struct Waiting {
    rank: Rank,
    placed: Placed,
    /// Its run, unless that is not defined here.
    work: Option<Rc<Work>>,
}

/// How far a turn is.
struct Turn {
    began: Instant,
    attempts: usize,
}

impl Turn {
    /// Whether there is room for another attempt.
    fn goes_on(&self, now: Instant) -> bool {
        self.attempts + 1 < TURN_ATTEMPTS_MAX && !self.is_over(now)
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= TURN_TIME_MAX
    }
}

impl Waiting {
    /// It does not run: another one of its run goes on from where it was.
    fn leave(&self) {
        if let Some(work) = &self.work {
            work.left.add(self.rank);
        }
    }
}

struct Running {
    attempt: Attempt,
    control: Rc<Control>,
    waker: Waker,
    work: Rc<Work>,
}

impl Worker {
    fn new(setup: Setup, mailbox: mpsc::UnboundedReceiver<Message>, files: Arc<FileThreads>) -> Self {
        let shared = Rc::new(Shared::new(Arc::clone(&setup.counters), files));
        Self {
            setup,
            mailbox,
            shared,
            works: HashMap::new(),
            programs: HashMap::new(),
            waiting: Default::default(),
            followed: HashSet::new(),
            throttled: HashSet::new(),
            inspected: Vec::new(),
            queue: Queue::default(),
            running: Vec::new(),
            places: HashMap::new(),
            deadlines: BTreeSet::new(),
            stopped: false,
        }
    }

    /// Reads the mailbox, starts and polls attempts for a bounded time, and sends what there is to tell.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.read_mailbox(cx);
        if self.stopped {
            return Poll::Ready(());
        }
        self.queue.register(cx);
        self.shared.begin_turn();
        self.hurry_overdue();
        self.run_ready(cx);
        self.flush();
        if self.can_start() || self.queue.first().is_some() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn read_mailbox(&mut self, cx: &mut Context<'_>) {
        while !self.stopped
            && let Poll::Ready(message) = self.mailbox.poll_recv(cx)
        {
            self.handle(message.unwrap_or(Message::Stop));
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Define(spec) => {
                let mounts = self.setup.published.resolve(&spec.dirs);
                self.works.insert(spec.run, Rc::new(Work::new(spec, mounts)));
            }
            Message::Forget(run) => drop(self.works.remove(&run)),
            Message::Load(digest, program) => drop(self.programs.insert(digest, Rc::from(program))),
            Message::Unload(digest) => drop(self.programs.remove(&digest)),
            Message::Start(specs) => specs.into_iter().for_each(|placed| self.arrive(placed)),
            Message::Cancel(CancelSpec { id, reason }) => self.cancel(id, reason),
            Message::Settle(id) => self.settle(id),
            Message::Follow(FollowSpec { id, on }) => self.follow(id, on),
            Message::Throttle(ThrottleSpec { id, on }) => self.throttle(id, on),
            Message::Inspect(inspect) => self.inspect(inspect),
            Message::Lease(lease) => self.shared.lease(lease),
            Message::Stop => self.stopped = true,
        }
    }

    fn cancel(&mut self, id: AttemptId, reason: Reason) {
        if let Some(place) = self.places.get(&id).copied() {
            // What is to end does not wait for its turn among those that go on.
            self.queue.reclass(place, FIRST_CLASS);
            if let Some(Some(running)) = self.running.get(place) {
                running.control.cancel(reason);
            }
        } else if let Some(waiting) = self.take_waiting(id) {
            waiting.leave();
            let weight = waiting.placed.weight;
            self.followed.remove(&id);
            self.throttled.remove(&id);
            self.inspected.retain(|inspect| inspect.id != id);
            let failure = Failure::new(reason, Source::Executor, "ended before it was started");
            self.end(not_run(id, Status::Killed, failure), weight);
        }
    }

    fn take_waiting(&mut self, id: AttemptId) -> Option<Waiting> {
        self.waiting.iter_mut().find_map(|class| {
            let at = class.iter().position(|waiting| waiting.placed.spec.id == id)?;
            class.remove(at)
        })
    }

    fn follow(&mut self, id: AttemptId, on: bool) {
        if let Some(running) = self.running(id) {
            running.control.follow(on);
        } else if on && self.waits(id) {
            self.followed.insert(id);
        } else {
            self.followed.remove(&id);
        }
    }

    /// Has an attempt looked into, at once or when it starts. One that has ended has said so already.
    fn inspect(&mut self, inspect: InspectSpec) {
        if let Some(running) = self.running(inspect.id) {
            running.attempt.inspect(inspect.sample_for);
        } else if self.waits(inspect.id) {
            self.inspected.push(inspect);
        }
    }

    fn running(&self, id: AttemptId) -> Option<&Running> {
        self.places.get(&id).and_then(|place| self.running.get(*place)).and_then(Option::as_ref)
    }

    /// Lets an attempt run only while nobody else wants to, or as before.
    fn throttle(&mut self, id: AttemptId, on: bool) {
        let Some(place) = self.places.get(&id).copied() else {
            if on && self.waits(id) {
                self.throttled.insert(id);
            } else {
                self.throttled.remove(&id);
            }
            return;
        };
        let own = self.running(id).map_or(LAST_CLASS, |running| running.attempt.class());
        self.queue.reclass(place, if on { LAST_CLASS } else { own });
    }

    fn waits(&self, id: AttemptId) -> bool {
        self.waiting.iter().flatten().any(|waiting| waiting.placed.spec.id == id)
    }

    fn arrive(&mut self, placed: Placed) {
        let work = self.works.get(&placed.spec.id.task.run).cloned();
        let arrived = work.as_ref().map(|work| self.queue.arrive(attempt::class(work.spec.tier), &work.left));
        // Without a run it only ends.
        let rank = arrived.unwrap_or(Rank { class: FIRST_CLASS, pass: 0 });
        self.waiting[rank.class].push_back(Waiting { rank, placed, work });
    }

    /// Whether an attempt waits to be started and there is room.
    fn can_start(&self) -> bool {
        self.places.len() < self.setup.lanes && self.waiting.iter().any(|class| !class.is_empty())
    }

    /// The attempt that is to be started next, if there is room.
    fn next_waiting(&mut self) -> Option<Waiting> {
        if self.can_start() { self.waiting.iter_mut().find_map(VecDeque::pop_front) } else { None }
    }

    /// Whether an attempt of a better class than this waits to be started.
    fn better_waits(&self, rank: Rank) -> bool {
        self.waiting[..rank.class].iter().any(|class| !class.is_empty())
    }

    /// Starts and polls attempts in the order of their ranks for a bounded time.
    fn run_ready(&mut self, cx: &mut Context<'_>) {
        let mut turn = Turn { began: self.shared.mark(), attempts: 0 };
        while turn.attempts < TURN_ATTEMPTS_MAX {
            if let Some(waiting) = self.next_waiting() {
                self.start(waiting, &mut turn, cx);
            } else if let Some(place) = self.queue.next() {
                self.poll_one(place);
            } else {
                return;
            }
            turn.attempts += 1;
            if turn.is_over(self.shared.mark()) {
                return;
            }
        }
    }

    /// Starts an attempt, and the ones behind it that may be started without being told, as long as each ends well at once.
    fn start(&mut self, mut waiting: Waiting, turn: &mut Turn, cx: &mut Context<'_>) {
        while let Some((next, mut ended, weight)) = self.start_one(waiting, cx) {
            // Whoever it would keep waiting comes first, and is asked for in the next turn at the latest.
            let goes_on = turn.goes_on(self.shared.mark())
                && !self.better_waits(next.rank)
                && self.queue.first().is_none_or(|first| next.rank <= first);
            if !goes_on {
                next.leave();
                return self.end(ended, weight);
            }
            turn.attempts += 1;
            ended.next_started = true;
            self.shared.events.borrow_mut().push(AttemptEvent::Ended(ended));
            waiting = next;
        }
    }

    /// Starts one attempt. If it has ended at once and well, and the next one may follow it: that one, its end and its weight.
    fn start_one(&mut self, waiting: Waiting, cx: &mut Context<'_>) -> Option<(Waiting, Box<EndedAttempt>, u32)> {
        let Waiting { mut rank, placed: Placed { spec, weight }, work } = waiting;
        let (id, next) = (spec.id, spec.next());
        let (mut attempt, work, control) = self.attempt(spec, work, weight)?;
        let throttled = !self.throttled.is_empty() && self.throttled.remove(&id);
        for inspect in self.inspected.extract_if(.., |inspect| inspect.id == id) {
            attempt.inspect(inspect.sample_for);
        }
        if self.queue.first().is_none_or(|first| rank <= first) {
            self.queue.begins(rank);
            let polled = attempt.poll(cx, &self.shared);
            rank = rank.after(attempt.cpu(), attempt.weight());
            // A short attempt ends here, without a place among the running ones.
            if let Poll::Ready(ended) = polled {
                let small = ended.large_result.is_empty() && ended.large_log.is_empty();
                if let Some(spec) = next.filter(|_| small && ended.outcome.status == Status::Succeeded) {
                    return Some((Waiting { rank, placed: Placed { spec, weight }, work: Some(work) }, ended, weight));
                }
                work.left.add(rank);
                self.end(ended, weight);
                return None;
            }
        }
        if next.is_some() {
            self.shared.events.borrow_mut().push(AttemptEvent::Settled(id));
        }
        let (place, waker) = self.queue.enter(rank, attempt.weight());
        if throttled {
            self.queue.reclass(place, LAST_CLASS);
        }
        // It has yet to be polled; or what it waits for wakes the worker so far, and it is polled once more with a waker
        // of its own.
        waker.wake_by_ref();
        self.places.insert(id, place);
        self.deadlines.insert((attempt.deadline(), place));
        if self.running.len() <= place {
            self.running.resize_with(place + 1, || None);
        }
        self.running[place] = Some(Running { attempt, control, waker, work });
        None
    }

    /// Prepares an attempt, unless something that it needs is missing.
    fn attempt(
        &mut self,
        spec: AttemptSpec,
        work: Option<Rc<Work>>,
        weight: u32,
    ) -> Option<(Attempt, Rc<Work>, Rc<Control>)> {
        let id = spec.id;
        let followed = !self.followed.is_empty() && self.followed.remove(&id);
        let program = work.map(|work| (self.programs.get(&work.spec.module).cloned(), work));
        let missing = match program {
            Some((Some(program), work)) => {
                let control = Rc::<Control>::default();
                control.follow(followed);
                let (engine, memory_max) = (&self.setup.engine, self.setup.memory_max);
                let (scratch, resolver) = (self.setup.scratch.clone(), self.setup.resolver.clone());
                let place = attempt::Place { engine, memory_max, scratch, resolver, shared: &self.shared };
                let attempt = Attempt::new(place, program, Rc::clone(&work), spec, Rc::clone(&control));
                return Some((attempt, work, control));
            }
            Some((None, _)) => "its module is not prepared here",
            None => "its run is not defined here",
        };
        self.throttled.remove(&id);
        self.inspected.retain(|inspect| inspect.id != id);
        self.end(not_run(id, Status::Failed, verdict::host_error(missing)), weight);
        None
    }

    /// Has a waiting attempt start alone. Of one that has begun, what follows was said already.
    fn settle(&mut self, id: AttemptId) {
        let waiting = self.waiting.iter_mut().flatten().find(|waiting| waiting.placed.spec.id == id);
        if let Some(waiting) = waiting.filter(|waiting| waiting.placed.spec.ahead > 0) {
            waiting.placed.spec.ahead = 0;
            self.shared.events.borrow_mut().push(AttemptEvent::Settled(id));
        }
    }

    /// Has attempts whose time is over polled although others come first.
    fn hurry_overdue(&mut self) {
        let now = self.shared.mark();
        while let Some((deadline, place)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.deadlines.pop_first();
            self.queue.reclass(place, FIRST_CLASS);
        }
    }

    fn poll_one(&mut self, place: Place) {
        let Some(Some(Running { attempt, waker, work, .. })) = self.running.get_mut(place) else { return };
        let before = attempt.cpu();
        let polled = attempt.poll(&mut Context::from_waker(waker), &self.shared);
        let used = attempt.cpu().saturating_sub(before);
        let (weight, deadline, class) = (attempt.weight(), attempt.deadline(), attempt.class());
        match polled {
            Poll::Pending => self.queue.ran(place, used),
            Poll::Ready(ended) => {
                self.queue.ran(place, used);
                // One that was moved to another class, to be ended or throttled, leaves nothing that could be compared.
                if let Some(rank) = self.queue.leave(place).filter(|rank| rank.class == class) {
                    work.left.add(rank);
                }
                self.places.remove(&ended.id);
                self.running[place] = None;
                self.deadlines.remove(&(deadline, place));
                self.end(ended, weight);
            }
        }
    }

    fn end(&self, ended: Box<EndedAttempt>, weight: u32) {
        self.setup.load.fetch_sub(u64::from(weight), Ordering::Relaxed);
        self.shared.events.borrow_mut().push(AttemptEvent::Ended(ended));
    }

    fn flush(&self) {
        let mut events = self.shared.events.borrow_mut();
        if !events.is_empty() {
            let batch = std::mem::replace(&mut *events, Vec::with_capacity(TURN_ATTEMPTS_MAX));
            // A receiver that is gone has no use for events; the worker is stopped by its mailbox.
            let _nobody_listens = self.setup.events.send(batch);
        }
    }
}
