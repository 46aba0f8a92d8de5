//! Sleeping in virtual time: what replaces `poll_oneoff` of preview 1 and the monotonic clock of preview 2.
//!
//! The ones that come with wasmtime-wasi measure their sleeps on the machine's clock, whatever clock the guest reads.

use std::{future::pending, sync::Arc, time::Duration};

use wasmtime::{
    Caller, Linker,
    component::{self, HasData, Resource},
};
use wasmtime_wasi::{
    WasiView,
    clocks::WasiClocksView,
    p2::{DynPollable, bindings::clocks::monotonic_clock, subscribe},
};

use crate::{
    state::State,
    virtual_time::{EPOCH, Sleep, VirtualClock},
};

/// Most subscriptions in one call.
const SUBSCRIPTIONS_MAX: u32 = 4096;
/// Bytes of a subscription and of an event in a guest's memory, by the witx of preview 1.
const SUBSCRIPTION_LEN: usize = 48;
const EVENT_LEN: usize = 32;
/// Error numbers of preview 1.
const SUCCESS: i32 = 0;
const FAULT: i32 = 21;
const INVALID: i32 = 28;

/// Replaces `poll_oneoff` in a linker for deterministic guests.
pub(crate) fn add_to_modules(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Params = (u32, u32, u32, u32);
    linker.func_wrap_async(
        "wasi_snapshot_preview1",
        "poll_oneoff",
        |mut caller: Caller<'_, State>, params: Params| {
            let (subs, events, count, found) = params;
            // As where time is real.
            let aligned = subs.is_multiple_of(8) && events.is_multiple_of(8) && found.is_multiple_of(4);
            let polled = aligned.then(|| poll_once(&mut caller, subs as usize, events as usize, count, found as usize));
            Box::new(async move {
                match polled {
                    Some(Ok(Some(()))) => Ok(SUCCESS),
                    // It has timed out, and is ended while it waits.
                    Some(Ok(None)) => pending().await,
                    Some(Err(number)) => Ok(number),
                    None => Err(wasmtime::Error::msg("a pointer of `poll_oneoff` is not aligned")),
                }
            })
        },
    )?;
    Ok(())
}

/// What a guest waits for.
#[derive(Debug, Clone, Copy)]
struct Subscription {
    userdata: [u8; 8],
    /// 0 a clock, 1 and 2 a descriptor.
    tag: u8,
    /// When it is there; descriptors are files, input and output, which never make one wait.
    at_ns: u64,
}

/// Answers one call; nothing if the guest waits for ever.
fn poll_once(
    caller: &mut Caller<'_, State>,
    subs: usize,
    events: usize,
    count: u32,
    found: usize,
) -> Result<Option<()>, i32> {
    if count == 0 || count > SUBSCRIPTIONS_MAX {
        return Err(INVALID);
    }
    let clock = caller.data().clock.clone().ok_or(INVALID)?;
    let memory = caller.get_export("memory").and_then(wasmtime::Extern::into_memory).ok_or(FAULT)?;
    let bytes = memory.data_mut(caller);
    let subs = part(bytes, subs, count as usize * SUBSCRIPTION_LEN)?;
    let subs: Vec<Subscription> =
        subs.chunks_exact(SUBSCRIPTION_LEN).map(|sub| read(sub, &clock)).collect::<Result<_, _>>()?;
    let first = subs.iter().map(|sub| sub.at_ns).min().unwrap_or(0);
    part(bytes, events, subs.len() * EVENT_LEN)?;
    part(bytes, found, 4)?;
    if !clock.skip_to(first) {
        return Ok(None);
    }
    let ready: Vec<_> = subs.iter().filter(|sub| sub.at_ns <= clock.peek()).collect();
    for (at, sub) in ready.iter().enumerate() {
        let mut event = [0; EVENT_LEN];
        event[..8].copy_from_slice(&sub.userdata);
        event[10] = sub.tag;
        // Of a descriptor, that there is something.
        event[16] = u8::from(sub.tag != 0);
        part(bytes, events + at * EVENT_LEN, EVENT_LEN)?.copy_from_slice(&event);
    }
    let number = u32::try_from(ready.len()).unwrap_or(count);
    part(bytes, found, 4)?.copy_from_slice(&number.to_le_bytes());
    Ok(Some(()))
}

fn part(bytes: &mut [u8], at: usize, len: usize) -> Result<&mut [u8], i32> {
    let end = at.checked_add(len).ok_or(FAULT)?;
    bytes.get_mut(at..end).ok_or(FAULT)
}

/// Reads one subscription of [`SUBSCRIPTION_LEN`] bytes.
fn read(sub: &[u8], clock: &VirtualClock) -> Result<Subscription, i32> {
    let number = |at: usize| sub[at..at + 8].try_into().map(u64::from_le_bytes).map_err(|_| FAULT);
    let userdata = sub[..8].try_into().map_err(|_| FAULT)?;
    let tag = sub[8];
    let at_ns = match tag {
        0 => {
            let (timeout, absolute) = (number(24)?, sub[40] & 1 == 1);
            match (u32::from_le_bytes([sub[16], sub[17], sub[18], sub[19]]), absolute) {
                (0 | 1, false) => clock.peek().saturating_add(timeout),
                (0, true) => nanos(Duration::from_nanos(timeout).saturating_sub(EPOCH)),
                (1, true) => timeout,
                _ => return Err(INVALID),
            }
        }
        1 | 2 => 0,
        _ => return Err(INVALID),
    };
    Ok(Subscription { userdata, tag, at_ns })
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Replaces the monotonic clock in the linker of components; guests that are not deterministic notice nothing.
pub(crate) fn add_to_components(linker: &mut component::Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<State, Clocks>(linker, |state| View(state))?;
    linker.allow_shadowing(false);
    Ok(())
}

struct Clocks;

impl HasData for Clocks {
    type Data<'a> = View<'a>;
}

struct View<'a>(&'a mut State);

impl View<'_> {
    fn sleep(&mut self, clock: Arc<VirtualClock>, until_ns: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let table = self.0.ctx().table;
        let sleep = table.push(Sleep { clock, until_ns })?;
        subscribe(table, sleep)
    }
}

impl monotonic_clock::Host for View<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.0.clocks().now()
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        self.0.clocks().resolution()
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        match self.0.clock.clone() {
            Some(clock) => self.sleep(clock, when),
            None => self.0.clocks().subscribe_instant(when),
        }
    }

    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        match self.0.clock.clone() {
            Some(clock) => {
                let until = clock.peek().saturating_add(duration);
                self.sleep(clock, until)
            }
            None => self.0.clocks().subscribe_duration(duration),
        }
    }
}
