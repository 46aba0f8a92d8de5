//! Readiness, as service managers ask for it.

use std::os::{
    linux::net::SocketAddrExt,
    unix::net::{SocketAddr, UnixDatagram},
};

/// Tells the service manager, if one asked for it with `NOTIFY_SOCKET`.
pub(crate) fn notify(state: &str) {
    let Some(target) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&target, state) {
        tracing::warn!(%error, state, "service manager not notified");
    }
}

fn send(target: &std::ffi::OsStr, state: &str) -> std::io::Result<()> {
    // A leading @ stands for the abstract namespace.
    let addr = match target.as_encoded_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(target)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &addr)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_arrives_at_a_path_and_in_the_abstract_namespace() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let name = format!("weir-readiness-{}", std::process::id());
        let abstract_addr = SocketAddr::from_abstract_name(&name).expect("an address");
        let cases = [
            (UnixDatagram::bind(&path).expect("bound"), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&abstract_addr).expect("bound"), format!("@{name}").into()),
        ];
        for (socket, target) in cases {
            send(&target, "READY=1").expect("sent");
            let mut buffer = [0; 16];
            let len = socket.recv(&mut buffer).expect("received");
            assert_eq!(&buffer[..len], b"READY=1");
        }
        assert!(send(dir.path().join("nobody").as_os_str(), "READY=1").is_err());
    }
}
