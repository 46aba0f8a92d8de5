//! What the kernel holds for the sockets of an attempt, which no budget of the attempt counts: so few sockets, and so much
//! for each. A buffer whose size is set is not made larger by the kernel later on.

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    WasiView as _,
    p2::{
        SocketResult, TcpSocket,
        bindings::sockets::{
            network::{ErrorCode, IpAddressFamily},
            tcp::HostTcpSocket as _,
            tcp_create_socket::Host as _,
        },
    },
    sockets::WasiSocketsView as _,
};

use crate::{
    limits::{HANDLES_MAX, SOCKET_BUFFER_BYTES_MAX, SOCKETS_MAX},
    state::State,
};

/// The interfaces, in the version that this build provides.
const CREATE: &str = "wasi:sockets/tcp-create-socket@0.2.12";
const TCP: &str = "wasi:sockets/tcp@0.2.12";

/// What a guest is answered.
type Answer<T> = wasmtime::Result<(Result<T, ErrorCode>,)>;

/// Replaces what makes a socket and what sets its buffers.
pub(crate) fn add_to_components(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Store<'a> = StoreContextMut<'a, State>;
    linker.allow_shadowing(true);
    linker
        .instance(CREATE)?
        .func_wrap("create-tcp-socket", |mut store: Store<'_>, (family,): (IpAddressFamily,)| {
            answer(create(store.data_mut(), family))
        })?;
    let mut tcp = linker.instance(TCP)?;
    tcp.func_wrap(
        "[method]tcp-socket.set-receive-buffer-size",
        |mut store: Store<'_>, (this, bytes): (Resource<TcpSocket>, u64)| {
            answer(store.data_mut().sockets().set_receive_buffer_size(this, bytes.min(SOCKET_BUFFER_BYTES_MAX)))
        },
    )?;
    tcp.func_wrap(
        "[method]tcp-socket.set-send-buffer-size",
        |mut store: Store<'_>, (this, bytes): (Resource<TcpSocket>, u64)| {
            answer(store.data_mut().sockets().set_send_buffer_size(this, bytes.min(SOCKET_BUFFER_BYTES_MAX)))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn create(state: &mut State, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
    if count(state) >= SOCKETS_MAX {
        return Err(ErrorCode::NewSocketLimit.into());
    }
    let mut sockets = state.sockets();
    let socket = sockets.create_tcp_socket(family)?;
    let this = || Resource::new_borrow(socket.rep());
    sockets.set_receive_buffer_size(this(), SOCKET_BUFFER_BYTES_MAX)?;
    sockets.set_send_buffer_size(this(), SOCKET_BUFFER_BYTES_MAX)?;
    Ok(socket)
}

/// The sockets of an attempt. There are no others: guests do not listen, and UDP is off.
fn count(state: &mut State) -> usize {
    let table = state.ctx().table;
    let handles = 0..u32::try_from(HANDLES_MAX).unwrap_or(u32::MAX);
    handles.filter(|rep| table.get_any_mut(*rep).is_ok_and(|entry| entry.is::<TcpSocket>())).count()
}

fn answer<T>(result: SocketResult<T>) -> Answer<T> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}
