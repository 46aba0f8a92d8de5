//! The host calls that wait for long, with what the probe is told around them: a guest that waits cannot be walked from
//! outside, so where it stands is noted when it begins to wait.

use wasmtime::{
    AsContextMut as _, Caller, Extern, Linker, StoreContextMut,
    component::{self, Resource, ResourceType},
};
use wasmtime_wasi::{
    WasiView as _,
    p1::wasi_snapshot_preview1::{self as p1, WasiSnapshotPreview1 as _},
    p2::{
        DynPollable,
        bindings::io::poll::{Host as _, HostPollable as _},
    },
};
use wiggle::GuestMemory;

use crate::{probe, state::State};

const PREVIEW1: &str = "wasi_snapshot_preview1";
/// The interface, in the version that this build provides.
const POLL: &str = "wasi:io/poll@0.2.12";

/// Replaces the function of preview 1 that waits.
pub(crate) fn replace_in_modules(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap_async(PREVIEW1, "poll_oneoff", |mut caller: Caller<'_, State>, args: (i32, i32, i32, i32)| {
        Box::new(async move {
            probe::waits(&caller, "wasi_snapshot_preview1.poll_oneoff");
            let result = poll_oneoff(&mut caller, args).await;
            probe::goes_on(&caller);
            result
        })
    })?;
    Ok(())
}

async fn poll_oneoff(caller: &mut Caller<'_, State>, args: (i32, i32, i32, i32)) -> wasmtime::Result<i32> {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        wasmtime::bail!("missing required memory export");
    };
    let fuel = caller.as_context_mut().hostcall_fuel();
    let (memory, state) = memory.data_and_store_mut(caller);
    state.wasi.set_hostcall_fuel(fuel);
    let mut memory = GuestMemory::Unshared(memory);
    p1::poll_oneoff(&mut state.wasi, &mut memory, args.0, args.1, args.2, args.3).await
}

/// Replaces the interface of preview 2 that waits.
pub(crate) fn replace_in_components(linker: &mut component::Linker<State>) -> wasmtime::Result<()> {
    type Store<'a> = StoreContextMut<'a, State>;
    let mut interface = linker.instance(POLL)?;
    interface.resource("pollable", ResourceType::host::<DynPollable>(), |mut store: Store<'_>, rep| {
        store.data_mut().wasi.ctx().table.drop(Resource::new_own(rep))
    })?;
    interface.func_wrap_async(
        "[method]pollable.ready",
        |mut store: Store<'_>, (this,): (Resource<DynPollable>,)| {
            Box::new(async move { Ok((store.data_mut().wasi.ctx().table.ready(this).await?,)) })
        },
    )?;
    interface.func_wrap_async(
        "[method]pollable.block",
        |mut store: Store<'_>, (this,): (Resource<DynPollable>,)| {
            Box::new(async move {
                probe::waits(&store, "wasi:io/poll.pollable.block");
                let result = store.data_mut().wasi.ctx().table.block(this).await;
                probe::goes_on(&store);
                result
            })
        },
    )?;
    interface.func_wrap_async("poll", |mut store: Store<'_>, (all,): (Vec<Resource<DynPollable>>,)| {
        Box::new(async move {
            probe::waits(&store, "wasi:io/poll.poll");
            let result = store.data_mut().wasi.ctx().table.poll(all).await;
            probe::goes_on(&store);
            Ok((result?,))
        })
    })?;
    Ok(())
}
