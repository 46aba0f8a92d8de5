//! The end that an executor opens: it connects to control.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::{ClientConfig, ConnectError, ConnectionError, Endpoint, EndpointConfig, TokioRuntime};
use socket2::SockRef;
use tokio::time::timeout;

use crate::config::Config;
use crate::error::Error;
use crate::session::{self, Link};
use crate::tls::{self, Identity};

/// How large the buffers of a socket should be, bytes: some milliseconds at a gigabyte a second.
const BUFFER_LEN: usize = 4 << 20;

/// Connects to control with one identity.
///
/// Each connection has a socket of its own, which lives as long as it. Waiting between attempts is the caller's, with
/// [`Backoff`](crate::Backoff).
#[derive(Debug, Clone)]
pub struct Connector {
    client: ClientConfig,
    config: Arc<Config>,
}

impl Connector {
    /// Prepares to connect.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Identity`].
    pub fn new(identity: &Identity, config: Config) -> Result<Self, Error> {
        let mut client = ClientConfig::new(Arc::new(tls::client(identity)?));
        client.transport_config(config.connecting()?);
        Ok(Self { client, config: Arc::new(config) })
    }

    /// Connects to the first of `addrs` that answers as `server_name`, usually
    /// [`CONTROL_SERVER_NAME`](crate::CONTROL_SERVER_NAME). Needs a tokio runtime, on which the connection then lives.
    ///
    /// Success means that both certificates were accepted. Each address gets
    /// [`connect_timeout`](Config::connect_timeout).
    ///
    /// # Errors
    /// A refusal if there was one, since that needs a person; otherwise the last address's error.
    pub async fn connect(&self, addrs: &[SocketAddr], server_name: &str) -> Result<Link, Error> {
        let mut worst = Error::NoAddress;
        for addr in addrs {
            match self.connect_one(*addr, server_name).await {
                Ok(link) => return Ok(link),
                Err(error) => {
                    tracing::debug!(control.addr = %addr, %error, "no connection");
                    if !matches!(worst, Error::Refused { .. }) {
                        worst = error;
                    }
                }
            }
        }
        Err(worst)
    }

    async fn connect_one(&self, addr: SocketAddr, server_name: &str) -> Result<Link, Error> {
        let endpoint = endpoint_for(addr)?;
        let unreachable = |detail: String| Error::Unreachable { addr, detail };
        let attempt = async {
            let connecting = endpoint
                .connect_with(self.client.clone(), addr, server_name)
                .map_err(|e: ConnectError| unreachable(e.to_string()))?;
            let connection = connecting.await.map_err(|e| {
                if e == ConnectionError::TimedOut {
                    unreachable("no answer".to_owned())
                } else {
                    Error::from_connection(addr, &e)
                }
            })?;
            session::begin(connection, Arc::clone(&self.config)).await
        };
        match timeout(self.config.connect_timeout, attempt).await {
            Ok(outcome) => outcome,
            Err(_) => Err(unreachable(format!("no answer within {:?}", self.config.connect_timeout))),
        }
    }
}

fn endpoint_for(remote: SocketAddr) -> Result<Endpoint, Error> {
    let local: SocketAddr = match remote {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let failed = |e: std::io::Error| Error::Bind { addr: local, detail: e.to_string() };
    let socket = UdpSocket::bind(local).map_err(failed)?;
    widen(&socket);
    Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime)).map_err(failed)
}

/// Asks for larger socket buffers: the usual 208 KiB lose datagrams in a burst. The system may give less.
pub(crate) fn widen(socket: &UdpSocket) {
    let socket = SockRef::from(socket);
    for outcome in [socket.set_recv_buffer_size(BUFFER_LEN), socket.set_send_buffer_size(BUFFER_LEN)] {
        if let Err(error) = outcome {
            tracing::debug!(%error, "socket buffers stay as they are");
        }
    }
}
