//! Telling the service manager how far the daemon is, as systemd's `Type=notify` expects it.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// Where the service manager listens, if there is one.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// The daemon serves.
pub(crate) const READY: &str = "READY=1";
/// The daemon stops.
pub(crate) const STOPPING: &str = "STOPPING=1";

/// Tells the service manager; without one, nobody.
pub(crate) fn notify(state: &str) {
    if let Some(socket) = std::env::var_os(VARIABLE)
        && let Err(error) = send(&socket, state)
    {
        tracing::warn!(%error, "the service manager cannot be told that {state}");
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_hears_on_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), READY).unwrap();
        let mut heard = [0; 32];
        let len = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..len], READY.as_bytes());
        assert!(send(OsStr::new("/does/not/exist"), READY).is_err());
    }
}
