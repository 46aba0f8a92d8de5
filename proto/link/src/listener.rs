//! The end that control opens: it waits for executors.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use quinn::{Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout};

use crate::config::Config;
use crate::connector;
use crate::error::Error;
use crate::session::{self, CODE_NORMAL, Link};
use crate::tls::{self, Identity};

/// How many datagrams of a connection that has not been looked at are kept, in bytes: a first flight.
const INCOMING_BUFFER_LEN: u64 = 16 << 10;

/// How often at most a refused peer is worth a warning: anyone can make a listener refuse.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Waits for executors on one UDP port.
///
/// Handshakes run beside each other, each in a task of its own with a timeout; only finished ones are handed out.
/// Dropping it closes every connection it accepted.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    config: Arc<Config>,
    counters: Arc<Counters>,
    links: Mutex<mpsc::Receiver<Link>>,
}

/// What a listener has seen since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListenerStats {
    /// Connections that were handed out.
    pub accepted: u64,
    /// Handshakes that failed or took too long, refused certificates included.
    pub failed: u64,
    /// Connections turned away because too many handshakes were under way.
    pub turned_away: u64,
    /// Connections that exist at the moment.
    pub open: usize,
}

impl Listener {
    /// Opens `addr`; port 0 picks a free one. Needs a tokio runtime, on which the connections then live.
    ///
    /// # Errors
    /// [`Error::Bind`], [`Error::Config`] or [`Error::Identity`].
    pub fn bind(addr: SocketAddr, identity: &Identity, config: Config) -> Result<Self, Error> {
        let server = server_config(identity, &config)?;
        let failed = |e: std::io::Error| Error::Bind { addr, detail: e.to_string() };
        let socket = UdpSocket::bind(addr).map_err(failed)?;
        connector::widen(&socket);
        let endpoint =
            Endpoint::new(endpoint_config(identity), Some(server), socket, Arc::new(TokioRuntime)).map_err(failed)?;
        let (tx, rx) = mpsc::channel(config.accept_queue_max as usize);
        let config = Arc::new(config);
        let counters = Arc::new(Counters::default());
        let door = Door {
            endpoint: endpoint.clone(),
            config: Arc::clone(&config),
            counters: Arc::clone(&counters),
            handshakes: Arc::new(Semaphore::new(config.handshakes_max as usize)),
            links: tx,
        };
        tokio::spawn(door.run());
        Ok(Self { endpoint, config, counters, links: Mutex::new(rx) })
    }

    /// Waits for the next executor; `None` after [`close`](Self::close). Cancelling the wait loses nothing.
    pub async fn accept(&self) -> Option<Link> {
        let link = self.links.lock().await.recv().await?;
        self.counters.accepted.fetch_add(1, Ordering::Relaxed);
        Some(link)
    }

    /// Returns the address that was opened.
    ///
    /// # Errors
    /// [`Error::Lost`] if the socket is gone.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        self.endpoint.local_addr().map_err(|e| Error::Lost(e.to_string()))
    }

    /// Uses another certificate for the connections to come.
    ///
    /// # Errors
    /// [`Error::Identity`], and the certificate in use stays.
    pub fn replace_identity(&self, identity: &Identity) -> Result<(), Error> {
        self.endpoint.set_server_config(Some(server_config(identity, &self.config)?));
        Ok(())
    }

    /// Returns what it has seen.
    #[must_use]
    pub fn stats(&self) -> ListenerStats {
        ListenerStats {
            accepted: self.counters.accepted.load(Ordering::Relaxed),
            failed: self.counters.failed.load(Ordering::Relaxed),
            turned_away: self.counters.turned_away.load(Ordering::Relaxed),
            open: self.endpoint.open_connections(),
        }
    }

    /// Closes every connection with `code` and `reason`, takes no more, and waits until the peers were told.
    pub async fn close(&self, code: u32, reason: &str) {
        self.endpoint.close(code.into(), crate::error::shorten(reason).as_bytes());
        self.endpoint.wait_idle().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.endpoint.close(CODE_NORMAL.into(), b"the listener is gone");
    }
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    failed: AtomicU64,
    turned_away: AtomicU64,
    warned_at: std::sync::Mutex<Option<Instant>>,
}

impl Counters {
    fn fail(&self, addr: SocketAddr, error: &Error) {
        let failed = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
        let refused = matches!(error, Error::Refused { .. });
        if refused && self.may_warn() {
            tracing::warn!(peer.addr = %addr, %error, failed, "refused a peer");
        } else {
            tracing::debug!(peer.addr = %addr, %error, failed, "handshake failed");
        }
    }

    fn may_warn(&self) -> bool {
        let mut warned_at = self.warned_at.lock().unwrap_or_else(PoisonError::into_inner);
        let due = warned_at.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL);
        if due {
            *warned_at = Some(Instant::now());
        }
        due
    }
}

/// The task that looks at what knocks.
struct Door {
    endpoint: Endpoint,
    config: Arc<Config>,
    counters: Arc<Counters>,
    handshakes: Arc<Semaphore>,
    links: mpsc::Sender<Link>,
}

impl Door {
    async fn run(self) {
        while let Some(incoming) = self.endpoint.accept().await {
            self.admit(incoming);
        }
    }

    fn admit(&self, incoming: Incoming) {
        let busy = self.handshakes.available_permits() <= self.config.handshakes_max as usize / 2;
        if busy && incoming.may_retry() && !incoming.remote_address_validated() {
            // Fails only if the address is validated already.
            drop(incoming.retry());
            return;
        }
        let Ok(permit) = Arc::clone(&self.handshakes).try_acquire_owned() else {
            self.counters.turned_away.fetch_add(1, Ordering::Relaxed);
            incoming.refuse();
            return;
        };
        let (config, counters, links) = (Arc::clone(&self.config), Arc::clone(&self.counters), self.links.clone());
        tokio::spawn(async move {
            let addr = incoming.remote_address();
            match timeout(config.connect_timeout, shake_hands(incoming, Arc::clone(&config))).await {
                Ok(Ok(link)) => hand_over(links, link, permit).await,
                Ok(Err(error)) => counters.fail(addr, &error),
                Err(_) => {
                    let detail = format!("no end of the handshake within {:?}", config.connect_timeout);
                    counters.fail(addr, &Error::Unreachable { addr, detail });
                }
            }
        });
    }
}

/// Gives a link to the caller. The permit is kept until then, so that a caller that stops accepting stops handshakes.
async fn hand_over(links: mpsc::Sender<Link>, link: Link, permit: OwnedSemaphorePermit) {
    if let Err(mpsc::error::SendError(link)) = links.send(link).await {
        link.session.close(CODE_NORMAL, "the listener is gone");
    }
    drop(permit);
}

async fn shake_hands(incoming: Incoming, config: Arc<Config>) -> Result<Link, Error> {
    let addr = incoming.remote_address();
    let connecting = incoming.accept().map_err(|e| Error::from_connection(addr, &e))?;
    let connection = connecting.await.map_err(|e| Error::from_connection(addr, &e))?;
    session::answer(connection, config).await
}

/// Returns the keys with which a listener knows its connections.
///
/// They come from the private key, so that a listener that was killed and is opened again knows the connections of the
/// time before: it answers them with a reset that the executor accepts, which would otherwise talk into the void until
/// its idle timeout. With a new private key only the idle timeout is left.
fn endpoint_config(identity: &Identity) -> EndpointConfig {
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, identity.secret("weir link: stateless reset").as_ref());
    let id_key = identity.secret("weir link: connection ids");
    let id_key = id_key.as_ref().iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte));
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    config
}

fn server_config(identity: &Identity, config: &Config) -> Result<ServerConfig, Error> {
    let mut server = ServerConfig::with_crypto(Arc::new(tls::server(identity)?));
    server
        .transport_config(config.listening()?)
        // Nodes do not roam; a moved address is a new connection.
        .migration(false)
        .max_incoming(config.handshakes_max as usize)
        .incoming_buffer_size(INCOMING_BUFFER_LEN)
        .incoming_buffer_size_total(INCOMING_BUFFER_LEN * u64::from(config.handshakes_max));
    Ok(server)
}
