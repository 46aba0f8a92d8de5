//! One worker: a thread with its own engine and runtime that polls many attempts.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Instant,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{runtime, sync::mpsc};
use wasmtime::Engine;
use weir_wire::{
    attempt::{AttemptEvent, AttemptSpec, CancelSpec, EndedAttempt, FollowSpec, LeaseSpec},
    id::{AttemptId, Digest, RunId},
    outcome::Failure,
    task::{Reason, Source, Status},
    work::WorkSpec,
};

use crate::{
    attempt::{Attempt, Control, Shared, not_run},
    grants::Published,
    limits::{BLOCKING_THREADS_MAX, TURN_ATTEMPTS_MAX, TURN_TIME_MAX},
    program::Program,
    sandbox::Events,
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
    Start(Vec<AttemptSpec>),
    Cancel(CancelSpec),
    Follow(FollowSpec),
    /// Fenced attempts may run until then.
    Lease(LeaseSpec),
    Stop,
}

/// What a worker needs from the start.
pub(crate) struct Setup {
    pub(crate) engine: Engine,
    pub(crate) lanes: usize,
    pub(crate) memory_max: u64,
    pub(crate) published: Arc<Published>,
    pub(crate) events: Events,
    /// Attempts that this worker was given and that have not ended.
    pub(crate) load: Arc<AtomicUsize>,
    pub(crate) counters: Arc<Counters>,
}

/// Starts a worker's thread. It runs until it is told to stop or nobody can tell it anything.
pub(crate) fn spawn(
    name: String,
    setup: Setup,
    mailbox: mpsc::UnboundedReceiver<Message>,
) -> std::io::Result<thread::JoinHandle<()>> {
    let runtime =
        runtime::Builder::new_current_thread().enable_time().max_blocking_threads(BLOCKING_THREADS_MAX).build()?;
    thread::Builder::new().name(name).spawn(move || {
        let mut worker = Worker::new(setup, mailbox);
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
    /// Attempts that wait for a slot.
    waiting: VecDeque<AttemptSpec>,
    /// Those in `waiting` whose output is wanted live.
    followed: HashSet<AttemptId>,
    running: FuturesUnordered<Running>,
    /// The attempts in `running`.
    controls: HashMap<AttemptId, Rc<Control>>,
    stopped: bool,
}

struct Running {
    attempt: Attempt,
    shared: Rc<Shared>,
}

impl Future for Running {
    type Output = Box<EndedAttempt>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { attempt, shared } = &mut *self;
        attempt.poll(cx, shared)
    }
}

impl Worker {
    fn new(setup: Setup, mailbox: mpsc::UnboundedReceiver<Message>) -> Self {
        let shared = Rc::new(Shared::new(Arc::clone(&setup.counters)));
        Self {
            setup,
            mailbox,
            shared,
            works: HashMap::new(),
            programs: HashMap::new(),
            waiting: VecDeque::new(),
            followed: HashSet::new(),
            running: FuturesUnordered::new(),
            controls: HashMap::new(),
            stopped: false,
        }
    }

    /// Reads the mailbox, starts and polls attempts for a bounded time, and sends what there is to tell.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.read_mailbox(cx);
        if self.stopped {
            return Poll::Ready(());
        }
        self.shared.begin_turn();
        self.start_waiting(cx);
        self.poll_running(cx);
        self.flush();
        if !self.waiting.is_empty() && self.running.len() < self.setup.lanes {
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
            Message::Start(specs) => self.waiting.extend(specs),
            Message::Cancel(CancelSpec { id, reason }) => self.cancel(id, reason),
            Message::Follow(FollowSpec { id, on }) => self.follow(id, on),
            Message::Lease(lease) => self.shared.lease(lease),
            Message::Stop => self.stopped = true,
        }
    }

    fn cancel(&mut self, id: AttemptId, reason: Reason) {
        if let Some(control) = self.controls.get(&id) {
            control.cancel(reason);
        } else if let Some(at) = self.waiting.iter().position(|spec| spec.id == id) {
            self.waiting.remove(at);
            self.followed.remove(&id);
            let failure = Failure::new(reason, Source::Executor, "ended before it was started");
            self.end(not_run(id, Status::Killed, failure));
        }
    }

    fn follow(&mut self, id: AttemptId, on: bool) {
        if let Some(control) = self.controls.get(&id) {
            control.follow(on);
        } else if on && self.waiting.iter().any(|spec| spec.id == id) {
            self.followed.insert(id);
        } else {
            self.followed.remove(&id);
        }
    }

    fn start_waiting(&mut self, cx: &mut Context<'_>) {
        let began = Instant::now();
        for _ in 0..TURN_ATTEMPTS_MAX {
            if self.running.len() >= self.setup.lanes || began.elapsed() >= TURN_TIME_MAX {
                break;
            }
            let Some(spec) = self.waiting.pop_front() else { break };
            self.start(spec, cx);
        }
    }

    fn start(&mut self, spec: AttemptSpec, cx: &mut Context<'_>) {
        let id = spec.id;
        let followed = !self.followed.is_empty() && self.followed.remove(&id);
        let Some(work) = self.works.get(&id.task.run) else {
            return self.end(not_run(id, Status::Failed, verdict::host_error("its run is not defined here")));
        };
        let Some(program) = self.programs.get(&work.spec.module) else {
            return self.end(not_run(id, Status::Failed, verdict::host_error("its module is not prepared here")));
        };
        let control = Rc::<Control>::default();
        control.follow(followed);
        let (program, work) = (Rc::clone(program), Rc::clone(work));
        let (engine, memory_max) = (&self.setup.engine, self.setup.memory_max);
        let mut attempt = Attempt::new(engine, program, work, spec, memory_max, Rc::clone(&control), &self.shared);
        // A short attempt ends here, without a place among the running ones.
        match attempt.poll(cx, &self.shared) {
            Poll::Ready(ended) => self.end(ended),
            Poll::Pending => {
                self.controls.insert(attempt.id(), control);
                self.running.push(Running { attempt, shared: Rc::clone(&self.shared) });
            }
        }
    }

    fn poll_running(&mut self, cx: &mut Context<'_>) {
        if self.running.is_empty() {
            return;
        }
        self.shared.begin_turn();
        let began = Instant::now();
        for _ in 0..TURN_ATTEMPTS_MAX {
            match self.running.poll_next_unpin(cx) {
                Poll::Ready(Some(ended)) => {
                    self.controls.remove(&ended.id);
                    self.end(ended);
                }
                Poll::Ready(None) | Poll::Pending => return,
            }
            if began.elapsed() >= TURN_TIME_MAX {
                break;
            }
        }
        cx.waker().wake_by_ref();
    }

    fn end(&self, ended: Box<EndedAttempt>) {
        self.setup.load.fetch_sub(1, Ordering::Relaxed);
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
