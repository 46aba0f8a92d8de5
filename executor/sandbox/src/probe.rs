//! Looks into a running guest from within: at the points where it comes to the host anyway, which are its host calls and
//! the end of each slice of fuel. A guest that is not looked at pays for one load in each of them.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use wasmtime::{AsContext, StoreContext, WasmBacktrace};
use weir_wire::{
    inspect::{HostCall, Moment, Seen},
    units::{Fuel, MemBytes},
};

use crate::{
    background::UnderWay,
    backtrace,
    lines::Lines,
    sampler::Sampler,
    state::{self, State},
};

/// What is asked about one attempt, shared between its store and its worker.
#[derive(Debug)]
pub(crate) struct Probe {
    /// Something is asked.
    armed: AtomicBool,
    /// Where the guest is: one of the constants below.
    at: AtomicU8,
    /// What its streams do.
    pub(crate) under_way: Arc<UnderWay>,
    asked: Mutex<Asked>,
    lines: Option<Arc<Lines>>,
    fuel_max: u64,
}

/// The guest computes.
const COMPUTES: u8 = 0;
/// It is in a host call.
const IN_CALL: u8 = 1;
/// It is in one that waits for events.
const WAITS: u8 = 2;

/// Small while nothing is asked: each attempt has one.
#[derive(Debug, Default)]
struct Asked {
    look: Option<Box<Look>>,
    sampler: Option<Box<Sampler>>,
    /// The host call that the guest waits in, if it is one of those that wait for long.
    waits: Option<Box<Waits>>,
}

/// One look into the guest.
#[derive(Debug)]
enum Look {
    Wanted,
    Taken(Glance),
}

/// What is seen of a guest from within.
#[derive(Debug)]
struct Glance {
    fuel: u64,
    memory: u64,
    trace: WasmBacktrace,
}

#[derive(Debug)]
struct Waits {
    name: &'static str,
    since: Instant,
    glance: Glance,
}

/// What the worker knows of an attempt that it has just polled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Polled {
    /// The guest ran; it does not where it has used up its CPU rate.
    pub(crate) ran: bool,
    /// The poll before this one ended.
    pub(crate) last: Instant,
    /// It is over.
    pub(crate) over: bool,
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
}

impl Probe {
    pub(crate) fn new(lines: Option<Arc<Lines>>, fuel_max: u64) -> Self {
        let (armed, at) = (AtomicBool::new(false), AtomicU8::new(COMPUTES));
        Self { armed, at, under_way: Arc::default(), asked: Mutex::default(), lines, fuel_max }
    }

    /// The guest is in a host call from now on, or no more.
    pub(crate) fn calls(&self, on: bool) {
        self.at.store(if on { IN_CALL } else { COMPUTES }, Ordering::Relaxed);
    }

    /// Whether files may be worked on for the guest: by a host call that does something, rather than wait for events, or by
    /// its streams.
    pub(crate) fn may_use_files(&self) -> bool {
        self.at.load(Ordering::Relaxed) == IN_CALL || self.under_way.any()
    }

    /// Whether something is asked.
    pub(crate) fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed)
    }

    /// Asks for one look, or for a profile over some time. What is asked for already is not asked twice.
    pub(crate) fn ask(&self, sample_for: Option<Duration>) {
        let mut asked = self.asked();
        match sample_for {
            None if asked.look.is_none() => asked.look = Some(Box::new(Look::Wanted)),
            Some(time) if asked.sampler.is_none() => asked.sampler = Some(Box::new(Sampler::new(time))),
            None | Some(_) => {}
        }
        self.armed.store(true, Ordering::Relaxed);
    }

    /// Until when the guest is sampled, unless that has passed.
    pub(crate) fn sampling_until(&self) -> Option<Instant> {
        if !self.is_armed() {
            return None;
        }
        self.asked().sampler.as_ref().map(|sampler| sampler.until()).filter(|until| *until > Instant::now())
    }

    /// The guest is about to be polled.
    pub(crate) fn poll_begins(&self) {
        if let Some(sampler) = &mut self.asked().sampler {
            sampler.poll_begins();
        }
    }

    /// What can be answered after a poll: at most one look and one profile.
    pub(crate) fn answers(&self, polled: Polled) -> Vec<Seen> {
        let mut asked = self.asked();
        let mut answers = Vec::new();
        if let Some(moment) = asked.moment(polled, self.lines.as_deref()) {
            asked.look = None;
            answers.push(Seen::Moment(Box::new(moment)));
        }
        if let Some(sampler) = &mut asked.sampler {
            sampler.poll_ended();
        }
        if let Some(sampler) = asked.sampler.take_if(|sampler| polled.over || sampler.until() <= Instant::now()) {
            answers.push(Seen::Profile(Box::new(sampler.finish())));
        }
        self.armed.store(asked.look.is_some() || asked.sampler.is_some(), Ordering::Relaxed);
        answers
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        // Nothing in this module panics half-way through a change.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn glance(&self, store: &StoreContext<'_, State>) -> Glance {
        let fuel = self.fuel_max.saturating_sub(state::fuel_left(store));
        Glance { fuel, memory: store.data().limiter.bytes(), trace: WasmBacktrace::force_capture(store) }
    }
}

impl Asked {
    /// The answer to a look, once there can be one.
    fn moment(&mut self, polled: Polled, lines: Option<&Lines>) -> Option<Moment> {
        let times = Moment { cpu_us: micros(polled.cpu), wall_us: micros(polled.wall), ..Moment::default() };
        let seen = |glance: &Glance| Moment {
            fuel: Some(Fuel(glance.fuel)),
            memory: Some(MemBytes(glance.memory)),
            backtrace: backtrace::described(&glance.trace, lines),
            ..times.clone()
        };
        match (&**self.look.as_ref()?, &self.waits) {
            (Look::Wanted | Look::Taken(_), Some(waits)) => {
                let name = Some(waits.name.to_owned());
                Some(Moment {
                    host_call: Some(HostCall { name, for_us: micros(waits.since.elapsed()) }),
                    ..seen(&waits.glance)
                })
            }
            (Look::Taken(glance), None) => Some(seen(glance)),
            // It ran and met no point where it could be looked into: it is where it was at the end of the poll before.
            (Look::Wanted, None) if polled.ran && !polled.over => {
                let host_call = Some(HostCall { name: None, for_us: micros(polled.last.elapsed()) });
                Some(Moment { host_call, ..times })
            }
            (Look::Wanted, None) => None,
        }
    }
}

/// Does what is asked, from a point where the guest has come to the host.
pub(crate) fn visit(store: &impl AsContext<Data = State>) {
    let store = store.as_context();
    let probe = &*store.data().probe;
    let mut asked = probe.asked();
    if let Some(look @ Look::Wanted) = asked.look.as_deref_mut() {
        *look = Look::Taken(probe.glance(&store));
    }
    if let Some(sampler) = &mut asked.sampler
        && sampler.is_due()
    {
        sampler.sample(&WasmBacktrace::force_capture(&store), probe.lines.as_deref());
    }
}

/// Notes that the guest is about to wait in a host call, from which it cannot be looked into.
pub(crate) fn waits(store: &impl AsContext<Data = State>, name: &'static str) {
    let store = store.as_context();
    let probe = &*store.data().probe;
    let glance = probe.glance(&store);
    probe.asked().waits = Some(Box::new(Waits { name, since: Instant::now(), glance }));
    probe.at.store(WAITS, Ordering::Relaxed);
}

/// Notes that it waits no more.
pub(crate) fn goes_on(store: &impl AsContext<Data = State>) {
    store.as_context().data().probe.asked().waits = None;
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
