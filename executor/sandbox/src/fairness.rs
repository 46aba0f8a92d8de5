//! Keeps a guest from holding its worker by host calls alone, which burn little fuel; and has it looked into on the way.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use wasmtime::{CallHook, CallHookHandler, StoreContextMut};

use crate::{limits::TURN_TIME_MAX, probe, state::State};

/// Host calls between two looks at the clock: a look costs as much as a short host call.
const CALLS_PER_LOOK: u32 = 16;

thread_local! {
    /// When this thread last began to poll an attempt.
    static POLL_STARTED: Cell<Option<Instant>> = const { Cell::new(None) };
    /// Host calls until the next look at the clock.
    static CALLS_LEFT: Cell<u32> = const { Cell::new(CALLS_PER_LOOK) };
}

/// Notes that an attempt is about to be polled on this thread.
pub(crate) fn poll_started(now: Instant) {
    POLL_STARTED.set(Some(now));
    CALLS_LEFT.set(CALLS_PER_LOOK);
}

/// Makes a guest yield at its next host call once its poll has lasted a turn.
#[derive(Debug)]
pub(crate) struct YieldInHostCalls;

type Step<'a> = Pin<Box<dyn Future<Output = wasmtime::Result<()>> + Send + 'a>>;

impl CallHookHandler<State> for YieldInHostCalls {
    fn handle_call_event<'hook, 'store, 'step>(
        &'hook self,
        store: StoreContextMut<'store, State>,
        event: CallHook,
    ) -> Step<'step>
    where
        'hook: 'step,
        'store: 'step,
    {
        let calling = matches!(event, CallHook::CallingHost);
        store.data().probe.calls(calling);
        if calling && store.data().probe.is_armed() {
            probe::visit(&store);
        }
        let long = calling && is_long();
        // Neither future has a size worth an allocation.
        if long { Box::pin(YieldOnce(false)) } else { Box::pin(Proceed) }
    }
}

/// Whether the poll has lasted a turn, as far as it is looked at.
fn is_long() -> bool {
    let left = CALLS_LEFT.get();
    if left > 0 {
        CALLS_LEFT.set(left - 1);
        return false;
    }
    CALLS_LEFT.set(CALLS_PER_LOOK);
    POLL_STARTED.get().is_some_and(|started| started.elapsed() >= TURN_TIME_MAX)
}

struct Proceed;

impl Future for Proceed {
    type Output = wasmtime::Result<()>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(()))
    }
}

struct YieldOnce(bool);

impl Future for YieldOnce {
    type Output = wasmtime::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.0 {
            return Poll::Ready(Ok(()));
        }
        self.0 = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
