//! One attempt: one `Store`, polled in slices until the guest, a limit or a command ends it.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Sleep;
use wasmtime::{Engine, Store};
use weir_wire::{
    attempt::{AttemptEvent, AttemptSpec, EndedAttempt, LeaseSpec},
    id::AttemptId,
    inspect::AttemptSeen,
    kind::Tier,
    limits::INLINE_CAPTURE_MAX,
    outcome::{Captured, Failure, Outcome, Usage},
    task::{Reason, Source, Status},
    units::{Fuel, MemBytes},
};

use crate::{
    capture::Capture,
    fairness::{self, YieldInHostCalls},
    file_time::{Begun, FileThreads, FileTime},
    limits::{COMPONENT_HANDLES_MAX, FUEL_SLICE, HOSTCALL_BYTES_MAX, Limiter, SHORT_POLL, TIMEOUT_MAX},
    probe::{Polled, Probe},
    program::{Program, Returned},
    queue::FIRST_CLASS,
    rate::Bucket,
    resolver::Resolver,
    scratch::{Root, Scratch},
    state::{self, State, Work},
    usage::{Counters, thread_cpu},
    verdict::{self, Circumstances, End, Verdict},
    virtual_time::VirtualClock,
};

/// A running attempt.
pub(crate) struct Attempt {
    id: AttemptId,
    started: Instant,
    deadline: Instant,
    control: Rc<Control>,
    capture: Arc<Capture>,
    probe: Arc<Probe>,
    /// When the last poll ended.
    polled: Instant,
    cpu: Duration,
    /// Where its use is counted, if others count on it.
    counters: Option<Arc<Counters>>,
    /// It may run under a lease only.
    fenced: bool,
    tier: Tier,
    /// Its share of a core among others: its CPU rate.
    weight: u32,
    /// It has directories.
    has_files: bool,
    /// Since when it waits for a file operation.
    in_file: Option<Begun>,
    guest: Pin<Box<dyn Future<Output = Finished>>>,
}

/// How the worker reaches a running attempt.
#[derive(Debug, Default)]
pub(crate) struct Control {
    cancelled: Cell<Option<Reason>>,
    followed: Cell<bool>,
    /// Live output was turned on since it was last reported, so it starts from the beginning.
    replay: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// What it may use of a core; nothing when that is all of it.
    bucket: Cell<Option<Bucket>>,
}

/// What one thread shares among its attempts.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Events on their way to the daemon.
    pub(crate) events: RefCell<Vec<AttemptEvent>>,
    meter: Cell<Meter>,
    counters: Arc<Counters>,
    files: FileTime,
    /// When fenced attempts have to end; those of an owner that knows no leases never.
    lease: Cell<LeaseSpec>,
}

/// Where the thread's clocks stood when an attempt was last charged.
#[derive(Debug, Clone, Copy)]
struct Meter {
    wall: Instant,
    cpu: Duration,
    /// Charged by the wall clock since `cpu` was read.
    estimated: Duration,
}

/// The worker on which an attempt runs.
pub(crate) struct Place<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) memory_max: u64,
    pub(crate) scratch: Option<Arc<Root>>,
    pub(crate) resolver: Resolver,
    pub(crate) shared: &'a Shared,
}

/// Everything about an ended attempt but its times.
struct Finished {
    verdict: Verdict,
    fuel: u64,
    peak_memory: u64,
}

impl Control {
    /// Ends the attempt at its next slice; the first reason stays.
    pub(crate) fn cancel(&self, reason: Reason) {
        if self.cancelled.get().is_none() {
            self.cancelled.set(Some(reason));
        }
        self.wake();
    }

    /// Turns live output on, from the beginning, or off.
    pub(crate) fn follow(&self, on: bool) {
        self.replay.set(on && !self.followed.replace(on));
        self.wake();
    }

    /// Counts CPU time that was used until `now` against the rate.
    fn charge(&self, used: Duration, now: Instant) {
        if let Some(mut bucket) = self.bucket.get() {
            bucket.charge(used, now);
            self.bucket.set(Some(bucket));
        }
    }

    /// Until when the guest has to wait because it used more than its rate.
    fn paused_until(&self) -> Option<Instant> {
        let until = self.bucket.get()?.empty_until()?;
        (until > Instant::now()).then_some(until)
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn park(&self, waker: &Waker) {
        let mut parked = self.waker.borrow_mut();
        if !parked.as_ref().is_some_and(|parked| parked.will_wake(waker)) {
            *parked = Some(waker.clone());
        }
    }
}

impl Shared {
    pub(crate) fn new(counters: Arc<Counters>, files: Arc<FileThreads>) -> Self {
        let meter = Meter { wall: Instant::now(), cpu: thread_cpu(), estimated: Duration::ZERO };
        let lease = Cell::new(LeaseSpec { until_ns: u64::MAX });
        let files = FileTime::new(files);
        Self { events: RefCell::default(), meter: Cell::new(meter), counters, files, lease }
    }

    /// Reads the thread's clocks, so that what follows is charged to the attempt polled next.
    pub(crate) fn begin_turn(&self) {
        self.meter.set(Meter { wall: Instant::now(), cpu: thread_cpu(), estimated: Duration::ZERO });
    }

    /// Lets fenced attempts run until then.
    pub(crate) fn lease(&self, lease: LeaseSpec) {
        self.lease.set(lease);
    }

    /// When the last poll ended or the turn began.
    pub(crate) fn mark(&self) -> Instant {
        self.meter.get().wall
    }

    /// CPU time since the mark.
    ///
    /// Reading a thread's CPU clock takes a system call of half a microsecond, a seventh of a null attempt. A short
    /// poll is charged its wall time: a thread that is preempted stays away for longer than such a poll.
    fn lap(&self) -> Duration {
        let meter = self.meter.get();
        let now = Instant::now();
        let wall = now.saturating_duration_since(meter.wall);
        if wall < SHORT_POLL {
            self.meter.set(Meter { wall: now, estimated: meter.estimated + wall, ..meter });
            return wall;
        }
        let cpu = thread_cpu();
        self.meter.set(Meter { wall: now, cpu, estimated: Duration::ZERO });
        cpu.saturating_sub(meter.cpu).saturating_sub(meter.estimated).min(wall)
    }
}

impl Attempt {
    /// Prepares an attempt; nothing runs before it is polled.
    pub(crate) fn new(
        place: Place<'_>,
        program: Rc<Program>,
        work: Rc<Work>,
        spec: AttemptSpec,
        control: Rc<Control>,
    ) -> Self {
        let Place { engine, memory_max, scratch, resolver, shared } = place;
        // What was done since then was done for it.
        let started = shared.mark();
        let id = spec.id;
        let capture = Arc::new(Capture::new(started, work.spec.budgets.output));
        let deadline = started + work.spec.budgets.timeout.map_or(TIMEOUT_MAX, |timeout| timeout.min(TIMEOUT_MAX));
        let counters = Counters::of(&shared.counters, &work.spec);
        let fenced = work.spec.execution.is_fenced();
        let (tier, rate) = (work.spec.tier, work.spec.budgets.resources.cpu);
        control.bucket.set(Bucket::new(rate, started));
        let has_files = !work.spec.dirs.is_empty() || work.spec.capabilities.scratch > 0;
        let probe = Arc::new(Probe::new(program.lines.clone(), work.spec.budgets.fuel.0));
        let shown = (Arc::clone(&capture), Arc::clone(&probe));
        let job = Job { program, work, spec, memory_max, scratch, resolver, deadline, counters: counters.clone() };
        let guest = run(engine.clone(), job, shown, Rc::clone(&control));
        Self {
            id,
            started,
            deadline,
            control,
            capture,
            probe,
            polled: started,
            cpu: Duration::ZERO,
            counters,
            fenced,
            tier,
            weight: rate.0,
            has_files,
            in_file: None,
            guest: Box::pin(guest),
        }
    }

    /// When it has to be over.
    pub(crate) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The CPU time used so far.
    pub(crate) const fn cpu(&self) -> Duration {
        self.cpu
    }

    /// Its share among others of its tier.
    pub(crate) const fn weight(&self) -> u32 {
        self.weight
    }

    /// Where it stands among others.
    pub(crate) const fn class(&self) -> usize {
        class(self.tier)
    }

    /// Polls the guest for one slice. A panic of the host ends this attempt alone.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Poll<Box<EndedAttempt>> {
        // A machine that was frozen looks at the clock before the guest does anything.
        if self.fenced && boot_clock_ns() >= shared.lease.get().until_ns {
            self.control.cancel(Reason::NodeLost);
        }
        let in_file = self.in_file.take().map_or(Duration::ZERO, |begun| shared.files.end(begun));
        self.control.charge(in_file, shared.mark());
        let watched = self.probe.is_armed();
        let ran = watched && self.control.paused_until().is_none();
        if watched {
            self.probe.poll_begins();
        }
        let begun = shared.mark();
        fairness::poll_started(begun);
        let guest = &mut self.guest;
        let polled = catch_unwind(AssertUnwindSafe(|| guest.as_mut().poll(cx)));
        let time = shared.lap();
        self.cpu += time + in_file;
        if let Some(counters) = &self.counters {
            counters.ran(time + in_file);
        }
        if watched {
            self.report_seen(shared, ran, !matches!(polled, Ok(Poll::Pending)));
        }
        let finished = match polled {
            Ok(Poll::Ready(finished)) => finished,
            Ok(Poll::Pending) => {
                self.polled = shared.mark();
                self.control.charge(time, shared.mark());
                if self.has_files && self.probe.may_use_files() {
                    self.in_file = Some(shared.files.begin(shared.mark().saturating_duration_since(begun)));
                }
                self.report_live(shared, false);
                self.control.park(cx.waker());
                return Poll::Pending;
            }
            Err(panic) => self.after_panic(&*panic),
        };
        self.report_live(shared, true);
        let mut ended = self.conclude(finished, shared.mark());
        if !ended.large_result.is_empty() || !ended.large_log.is_empty() {
            // To copy what it wrote takes its time, and not that of whoever comes next.
            let time = shared.lap();
            self.cpu += time;
            if let Some(counters) = &self.counters {
                counters.ran(time);
            }
            ended.outcome.usage.cpu_us = micros(self.cpu);
        }
        Poll::Ready(ended)
    }

    /// Asks for a look into the guest, or for a profile over some time.
    pub(crate) fn inspect(&self, sample_for: Option<Duration>) {
        self.probe.ask(sample_for);
        self.control.wake();
    }

    fn report_seen(&self, shared: &Shared, ran: bool, over: bool) {
        let wall = shared.mark().saturating_duration_since(self.started);
        let answers = self.probe.answers(Polled { ran, last: self.polled, over, cpu: self.cpu, wall });
        let seen = answers.into_iter().map(|seen| AttemptEvent::Seen(AttemptSeen { id: self.id, seen }));
        shared.events.borrow_mut().extend(seen);
    }

    fn report_live(&self, shared: &Shared, last: bool) {
        let mut events = shared.events.borrow_mut();
        self.capture.report_progress(self.id, last, &mut events);
        if self.control.followed.get() {
            self.capture.report_output(self.id, self.control.replay.take(), &mut events);
        }
    }

    fn after_panic(&mut self, panic: &(dyn Any + Send)) -> Finished {
        let message = panic
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        tracing::error!(attempt.id = %self.id, message, "the sandbox panicked while it ran an attempt");
        // What is left of the guest goes at once; that it may panic again must not matter.
        let guest = std::mem::replace(&mut self.guest, Box::pin(std::future::pending()));
        let _dropped_or_panicked = catch_unwind(AssertUnwindSafe(|| drop(guest)));
        Finished::failed(verdict::host_error(format!("the sandbox panicked: {message}")))
    }

    fn conclude(&self, finished: Finished, ended: Instant) -> Box<EndedAttempt> {
        let Finished { mut verdict, fuel, peak_memory } = finished;
        let captured = self.capture.take();
        let usage = Usage {
            fuel: Fuel(fuel),
            cpu_us: micros(self.cpu),
            wall_us: micros(ended.saturating_duration_since(self.started)),
            peak_memory: MemBytes(peak_memory),
            output_bytes: captured.offered,
        };
        let result = verdict.returned.take().map_or_else(|| captured.stdout(), Ok).unwrap_or_else(|error| {
            tracing::error!(attempt.id = %self.id, %error, "the sandbox cannot read a log that it wrote itself");
            verdict = verdict::output_lost(&error);
            Vec::new()
        });
        let (result, large_result) = placed(result);
        let (log, large_log) = placed(captured.log);
        let outcome = Outcome { status: verdict.status, failure: verdict.failure, usage, result, log };
        Box::new(EndedAttempt { id: self.id, outcome, large_result, large_log, next_started: false })
    }
}

/// Where attempts of a tier stand among others: production first.
pub(crate) const fn class(tier: Tier) -> usize {
    match tier {
        Tier::Production => FIRST_CLASS,
        Tier::Preemptible => 1,
        Tier::Revocable => 2,
    }
}

/// The end of an attempt that never ran.
pub(crate) fn not_run(id: AttemptId, status: Status, failure: Failure) -> Box<EndedAttempt> {
    let outcome = Outcome::not_run(status, failure);
    let (large_result, large_log) = (Box::default(), Box::default());
    Box::new(EndedAttempt { id, outcome, large_result, large_log, next_started: false })
}

impl Finished {
    fn failed(failure: Failure) -> Self {
        let verdict =
            Verdict { status: Status::Failed, failure: Some(Box::new(failure)), returned: None, fuel_exact: true };
        Self { verdict, fuel: 0, peak_memory: 0 }
    }
}

/// What one attempt is made of.
struct Job {
    program: Rc<Program>,
    work: Rc<Work>,
    spec: AttemptSpec,
    memory_max: u64,
    scratch: Option<Arc<Root>>,
    resolver: Resolver,
    deadline: Instant,
    counters: Option<Arc<Counters>>,
}

impl Job {
    /// Makes the scratch directory, if the job has one.
    fn scratch(&self) -> Result<Option<Scratch>, Failure> {
        let max = self.work.spec.capabilities.scratch;
        if max == 0 {
            return Ok(None);
        }
        let Some(root) = &self.scratch else {
            let message = "this node has no scratch directories";
            return Err(Failure::new(Reason::CapabilityDenied, Source::Executor, message));
        };
        let made = Scratch::new(root, self.spec.id, max, self.counters.clone());
        made.map(Some).map_err(|error| verdict::host_error(format!("cannot make a scratch directory: {error}")))
    }
}

async fn run(engine: Engine, mut job: Job, shown: (Arc<Capture>, Arc<Probe>), control: Rc<Control>) -> Finished {
    let (capture, probe) = &shown;
    if let Err(message) = &job.work.mounts {
        return Finished::failed(Failure::new(Reason::CapabilityDenied, Source::Executor, message));
    }
    let scratch = match job.scratch() {
        Ok(scratch) => scratch,
        Err(failure) => return Finished::failed(failure),
    };
    let budgets = job.work.spec.budgets;
    let mut store = match store(&engine, &mut job, shown.clone(), scratch) {
        Ok(store) => store,
        Err(error) => return Finished::failed(verdict::host_error(format!("{error:#}"))),
    };
    let end = {
        let clock = store.data().clock.clone();
        let guest = pin!(async {
            if let Some(pins) = store.data().pins.clone() {
                let found = job.resolver.resolve(job.spec.id, &job.work.spec.capabilities.nets).await;
                pins.set(found.map_err(wasmtime::Error::new)?);
            }
            job.program.run(&mut store, &job.spec.payload).await
        });
        until_end(guest, &control, (capture, probe, clock.as_deref()), job.deadline).await
    };
    let limiter = &store.data().limiter;
    let peak_memory = limiter.peak();
    let known = Circumstances {
        denied: limiter.denied,
        output_full: capture.is_full(),
        output_max: budgets.output,
        lines: job.program.lines.as_deref(),
    };
    let verdict = verdict::judge(end, known);
    let fuel = verdict::charged_fuel(budgets.fuel.0, state::fuel_left(&store), verdict.fuel_exact);
    if let Some(removal) = store.data_mut().scratch.as_mut().map(Scratch::removal) {
        // Other guests go on while the file system gives up what this one has written, which it is charged for. A panic
        // of it was logged.
        probe.calls(true);
        let _gone = tokio::task::spawn_blocking(removal).await;
    }
    Finished { verdict, fuel, peak_memory }
}

/// A fresh store with every limit in place.
fn store(
    engine: &Engine,
    job: &mut Job,
    shown: (Arc<Capture>, Arc<Probe>),
    scratch: Option<Scratch>,
) -> wasmtime::Result<Store<State>> {
    let budgets = job.work.spec.budgets;
    // The scratch directory is reserved as memory, and is none.
    let memory = budgets.resources.memory.0.saturating_sub(job.work.spec.capabilities.scratch);
    let limiter = Limiter::new(memory.min(job.memory_max), job.counters.clone());
    let state = State::new(&job.work, &mut job.spec, job.program.needs, shown, limiter, job.deadline, scratch)?;
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
    store.set_max_component_handles(COMPONENT_HANDLES_MAX);
    store.set_fuel(state::fuel_of_engine(budgets.fuel.0))?;
    store.fuel_async_yield_interval(Some(FUEL_SLICE))?;
    store.call_hook_async(YieldInHostCalls);
    Ok(store)
}

/// Polls the guest until it ends or is ended. The future is dropped then, wherever the guest is.
async fn until_end<G>(
    mut guest: Pin<&mut G>,
    control: &Control,
    (capture, probe, clock): (&Capture, &Probe, Option<&VirtualClock>),
    deadline: Instant,
) -> End
where
    G: Future<Output = wasmtime::Result<Returned>>,
{
    // Most attempts end in their first poll and never need a timer.
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        loop {
            if let Some(reason) = control.cancelled.get() {
                return Poll::Ready(End::Cancelled(reason));
            }
            let paused_until = control.paused_until();
            if paused_until.is_none()
                && let Poll::Ready(result) = guest.as_mut().poll(cx)
            {
                return Poll::Ready(End::Guest(result));
            }
            if capture.is_full() {
                return Poll::Ready(End::OutputFull);
            }
            if clock.is_some_and(VirtualClock::is_over) {
                return Poll::Ready(End::TimedOut);
            }
            // A profile ends in time although the guest waits.
            let early = [paused_until, probe.sampling_until()].into_iter().flatten().min();
            let until = early.map_or(deadline, |until| until.min(deadline)).into();
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
            if timer.deadline() != until {
                timer.as_mut().reset(until);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= deadline {
                return Poll::Ready(End::TimedOut);
            }
        }
    })
    .await
}

/// Puts a capture where it travels: inline if small.
fn placed(bytes: Vec<u8>) -> (Captured, Box<[u8]>) {
    if bytes.len() <= INLINE_CAPTURE_MAX {
        let inline = if bytes.is_empty() { Captured::Empty } else { Captured::Inline(bytes.into_boxed_slice()) };
        (inline, Box::default())
    } else {
        (Captured::Empty, bytes.into_boxed_slice())
    }
}

/// The clock on which leases are measured: it counts while the machine is suspended.
fn boot_clock_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.unsigned_abs().saturating_mul(1_000_000_000).saturating_add(now.tv_nsec.unsigned_abs())
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
