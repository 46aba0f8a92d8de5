//! The calls of preview 1 that can take space, as they are, with the charge before them.

use std::future::Future;

use wasmtime::{AsContextMut, Caller, Extern, Linker, Memory};
use wasmtime_wasi::p1::{
    types::{Filetype, Lookupflags},
    wasi_snapshot_preview1::{self as original, WasiSnapshotPreview1},
};
use wiggle::{GuestMemory, GuestPtr};

use super::{Scratch, note_open_files};
use crate::state::State;

const MODULE: &str = "wasi_snapshot_preview1";
/// Error numbers of preview 1.
const SUCCESS: i32 = 0;
const FAULT: i32 = 21;
const INVALID: i32 = 28;
const NO_SPACE: i32 = 51;
const NOT_SUPPORTED: i32 = 58;
const OTHER_DEVICE: i32 = 75;
/// `oflags` of `path_open`.
const CREATE: i32 = 1;
/// Most buffers of one write.
const BUFFERS_MAX: u32 = 1024;

type Answer<'a> = Box<dyn Future<Output = wasmtime::Result<i32>> + Send + 'a>;

/// Calls the function that comes with wasmtime-wasi.
macro_rules! call {
    ($caller:ident, $name:ident, $($arg:expr),*) => {{
        let memory = memory(&mut $caller)?;
        let fuel = $caller.as_context_mut().hostcall_fuel();
        let (bytes, state) = memory.data_and_store_mut(&mut $caller);
        WasiSnapshotPreview1::set_hostcall_fuel(&mut state.wasi, fuel);
        original::$name(&mut state.wasi, &mut GuestMemory::Unshared(bytes), $($arg),*).await
    }};
}

/// Puts the charge before the calls of a linker; guests without a scratch directory notice nothing.
pub(crate) fn add_to_modules(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    add_writes(linker)?;
    add_descriptors(linker)?;
    add_paths(linker)
}

fn add_writes(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Write = (i32, i32, i32, i32);
    linker.func_wrap_async(MODULE, "fd_write", |mut caller: Caller<'_, State>, args: Write| -> Answer<'_> {
        Box::new(async move {
            let (fd, buffers, count, written) = args;
            if let Err(number) = charge_buffers(&mut caller, fd, buffers, count)? {
                return Ok(number);
            }
            call!(caller, fd_write, fd, buffers, count, written)
        })
    })?;
    type WriteAt = (i32, i32, i32, i64, i32);
    linker.func_wrap_async(MODULE, "fd_pwrite", |mut caller: Caller<'_, State>, args: WriteAt| -> Answer<'_> {
        Box::new(async move {
            let (fd, buffers, count, offset, written) = args;
            if let Err(number) = charge_buffers(&mut caller, fd, buffers, count)? {
                return Ok(number);
            }
            call!(caller, fd_pwrite, fd, buffers, count, offset, written)
        })
    })?;
    linker.func_wrap_async(
        MODULE,
        "fd_filestat_set_size",
        |mut caller: Caller<'_, State>, (fd, size): (i32, i64)| -> Answer<'_> {
            Box::new(async move {
                let size_max = size.cast_unsigned();
                // To make a file shorter takes nothing.
                let free = inside(&caller, fd).is_none() || len_of(&mut caller, fd).await? >= size_max;
                let refused = !free && inside(&caller, fd).is_some_and(|scratch| !scratch.ledger.write(size_max));
                if refused { Ok(NO_SPACE) } else { call!(caller, fd_filestat_set_size, fd, size) }
            })
        },
    )?;
    Ok(())
}

fn add_descriptors(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Open = (i32, i32, i32, i32, i32, i64, i64, i32, i32);
    linker.func_wrap_async(MODULE, "path_open", |mut caller: Caller<'_, State>, args: Open| -> Answer<'_> {
        Box::new(async move {
            let (dir, lookup, path, len, flags, rights, inheriting, modes, opened) = args;
            let known = inside(&caller, dir).is_some();
            let creates = known && flags & CREATE != 0 && !exists(&mut caller, dir, path, len).await?;
            if creates && !has_room(&caller, dir) {
                return Ok(NO_SPACE);
            }
            if !known && !opens_at_once(&mut caller, dir, lookup, path, len).await? {
                return Ok(NOT_SUPPORTED);
            }
            let number = call!(caller, path_open, dir, lookup, path, len, flags, rights, inheriting, modes, opened)?;
            if known && number == SUCCESS {
                let memory = memory(&mut caller)?;
                let mut fd = [0; 4];
                memory.read(&caller, opened.cast_unsigned() as usize, &mut fd)?;
                if let Some(scratch) = &mut caller.data_mut().scratch {
                    scratch.enter(u32::from_le_bytes(fd));
                }
                note_open_files(caller.data_mut());
            }
            Ok(number)
        })
    })?;
    linker.func_wrap_async(MODULE, "fd_close", |mut caller: Caller<'_, State>, (fd,): (i32,)| -> Answer<'_> {
        Box::new(async move {
            let number = call!(caller, fd_close, fd)?;
            if let (SUCCESS, Some(scratch)) = (number, &mut caller.data_mut().scratch) {
                scratch.leave(fd.cast_unsigned());
            }
            Ok(number)
        })
    })?;
    type Renumber = (i32, i32);
    linker.func_wrap_async(MODULE, "fd_renumber", |mut caller: Caller<'_, State>, args: Renumber| -> Answer<'_> {
        Box::new(async move {
            let (from, to) = args;
            let number = call!(caller, fd_renumber, from, to)?;
            if let (SUCCESS, Some(scratch)) = (number, &mut caller.data_mut().scratch)
                && from != to
            {
                let known = scratch.is_inside(from.cast_unsigned());
                scratch.leave(from.cast_unsigned());
                scratch.leave(to.cast_unsigned());
                if known {
                    scratch.enter(to.cast_unsigned());
                }
            }
            Ok(number)
        })
    })?;
    Ok(())
}

fn add_paths(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Make = (i32, i32, i32);
    linker.func_wrap_async(
        MODULE,
        "path_create_directory",
        |mut caller: Caller<'_, State>, args: Make| -> Answer<'_> {
            Box::new(async move {
                let (dir, path, len) = args;
                if has_room(&caller, dir) { call!(caller, path_create_directory, dir, path, len) } else { Ok(NO_SPACE) }
            })
        },
    )?;
    type Symlink = (i32, i32, i32, i32, i32);
    linker.func_wrap_async(MODULE, "path_symlink", |mut caller: Caller<'_, State>, args: Symlink| -> Answer<'_> {
        Box::new(async move {
            let (old, old_len, dir, new, new_len) = args;
            if !has_room(&caller, dir) {
                return Ok(NO_SPACE);
            }
            call!(caller, path_symlink, old, old_len, dir, new, new_len)
        })
    })?;
    type Link = (i32, i32, i32, i32, i32, i32, i32);
    linker.func_wrap_async(MODULE, "path_link", |mut caller: Caller<'_, State>, args: Link| -> Answer<'_> {
        Box::new(async move {
            let (from, flags, old, old_len, to, new, new_len) = args;
            if let Err(number) = between(&caller, from, to) {
                return Ok(number);
            }
            call!(caller, path_link, from, flags, old, old_len, to, new, new_len)
        })
    })?;
    type Rename = (i32, i32, i32, i32, i32, i32);
    linker.func_wrap_async(MODULE, "path_rename", |mut caller: Caller<'_, State>, args: Rename| -> Answer<'_> {
        Box::new(async move {
            let (from, old, old_len, to, new, new_len) = args;
            let both = inside(&caller, from).is_some() && inside(&caller, to).is_some();
            // What takes the place of something needs no place of its own.
            let replaces = both && exists(&mut caller, to, new, new_len).await?;
            if !replaces && let Err(number) = between(&caller, from, to) {
                return Ok(number);
            }
            call!(caller, path_rename, from, old, old_len, to, new, new_len)
        })
    })?;
    Ok(())
}

fn memory(caller: &mut Caller<'_, State>) -> wasmtime::Result<Memory> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory),
        _ => wasmtime::bail!("missing required memory export"),
    }
}

/// How long a file is; 0 where that cannot be found out.
async fn len_of(caller: &mut Caller<'_, State>, fd: i32) -> wasmtime::Result<u64> {
    let memory = memory(caller)?;
    let (bytes, state) = memory.data_and_store_mut(caller);
    let stat = state.wasi.fd_filestat_get(&mut GuestMemory::Unshared(bytes), fd.cast_unsigned().into()).await;
    Ok(stat.map_or(0, |stat| stat.size))
}

/// Whether a directory has an entry of that name.
async fn exists(caller: &mut Caller<'_, State>, dir: i32, path: i32, len: i32) -> wasmtime::Result<bool> {
    Ok(stat(caller, dir, Lookupflags::empty(), path, len).await?.is_some())
}

/// Whether an entry is a file or a directory, or what opening it will say. Anything else, a named pipe above all, could
/// keep the thread that opens it for ever.
async fn opens_at_once(
    caller: &mut Caller<'_, State>,
    dir: i32,
    lookup: i32,
    path: i32,
    len: i32,
) -> wasmtime::Result<bool> {
    let follow = Lookupflags::SYMLINK_FOLLOW;
    let flags = if lookup.cast_unsigned() & follow.bits() == 0 { Lookupflags::empty() } else { follow };
    let usual = [Filetype::RegularFile, Filetype::Directory, Filetype::SymbolicLink];
    Ok(stat(caller, dir, flags, path, len).await?.is_none_or(|filetype| usual.contains(&filetype)))
}

/// What an entry of a directory is; nothing where that cannot be found out.
async fn stat(
    caller: &mut Caller<'_, State>,
    dir: i32,
    flags: Lookupflags,
    path: i32,
    len: i32,
) -> wasmtime::Result<Option<Filetype>> {
    let memory = memory(caller)?;
    let fuel = caller.as_context_mut().hostcall_fuel();
    let (bytes, state) = memory.data_and_store_mut(caller);
    WasiSnapshotPreview1::set_hostcall_fuel(&mut state.wasi, fuel);
    let path = GuestPtr::new((path.cast_unsigned(), len.cast_unsigned()));
    let mut memory = GuestMemory::Unshared(bytes);
    let found = state.wasi.path_filestat_get(&mut memory, dir.cast_unsigned().into(), flags, path).await;
    Ok(found.ok().map(|stat| stat.filetype))
}

/// The scratch directory, if the descriptor is in it.
fn inside<'a>(caller: &'a Caller<'_, State>, fd: i32) -> Option<&'a Scratch> {
    caller.data().scratch.as_ref().filter(|scratch| scratch.is_inside(fd.cast_unsigned()))
}

/// Charges a new entry of a directory, if that is in the scratch directory.
fn has_room(caller: &Caller<'_, State>, dir: i32) -> bool {
    inside(caller, dir).is_none_or(|scratch| scratch.ledger.create())
}

/// Nothing gets into the scratch directory, or out of it, without being written.
fn between(caller: &Caller<'_, State>, from: i32, to: i32) -> Result<(), i32> {
    if inside(caller, from).is_some() != inside(caller, to).is_some() {
        return Err(OTHER_DEVICE);
    }
    if has_room(caller, to) { Ok(()) } else { Err(NO_SPACE) }
}

/// Charges what a write is about to take; the inner error is the answer to the guest.
fn charge_buffers(
    caller: &mut Caller<'_, State>,
    fd: i32,
    buffers: i32,
    count: i32,
) -> wasmtime::Result<Result<(), i32>> {
    if inside(caller, fd).is_none() {
        return Ok(Ok(()));
    }
    let count = count.cast_unsigned();
    if count > BUFFERS_MAX {
        return Ok(Err(INVALID));
    }
    let at = buffers.cast_unsigned() as usize;
    let memory = memory(caller)?;
    let Some(pairs) = memory.data(&caller).get(at..).and_then(|rest| rest.get(..count as usize * 8)) else {
        return Ok(Err(FAULT));
    };
    let lens = pairs.chunks_exact(8).map(|pair| u64::from(u32::from_le_bytes([pair[4], pair[5], pair[6], pair[7]])));
    let len = lens.fold(0, u64::saturating_add);
    let refused = inside(caller, fd).is_some_and(|scratch| !scratch.ledger.write(len));
    Ok(if refused { Err(NO_SPACE) } else { Ok(()) })
}
