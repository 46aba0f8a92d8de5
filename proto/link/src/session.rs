//! One connection: its peer, its control stream, requests and log streams.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};

use crate::blob::{self, IncomingRequest, Request};
use crate::config::Config;
use crate::error::{Error, shorten};
use crate::frames::{self, FrameReceiver, FrameSender};
use crate::name::Role;
use crate::tls;

/// The close code of a peer that is done.
pub const CODE_NORMAL: u32 = 0;
/// The first code that the link itself uses; callers use smaller ones.
pub const CODE_RESERVED_FIRST: u32 = 0x1_0000;
/// The close code for a peer that broke the link's protocol.
pub const CODE_PROTOCOL: u32 = CODE_RESERVED_FIRST;

/// The first bytes each side sends on the control stream. The answer tells a connector that its certificate was
/// accepted: TLS 1.3 lets a client finish before the server has looked.
const PREAMBLE: [u8; 8] = *b"weir/1\r\n";

/// What a one-way stream begins with.
const TAG_LOG: u8 = b'L';

/// Control frames are small and everything waits for them; blobs and logs share the rest fairly.
const CONTROL_PRIORITY: i32 = 1;

/// A connection that is ready for use.
#[derive(Debug)]
pub struct Link {
    /// The connection; clone it for as many tasks as need it.
    pub session: Session,
    /// Frames to the peer.
    pub sender: FrameSender,
    /// Frames from the peer.
    pub receiver: FrameReceiver,
}

/// A handle on a connection.
///
/// The connection lasts until it is closed, or every handle and stream is dropped and what they queued is written.
#[derive(Debug, Clone)]
pub struct Session {
    core: Arc<Core>,
}

/// Who is at the other end, as its verified certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its role, with the node of an executor.
    pub role: Role,
    /// Its address at the start of the connection.
    pub addr: SocketAddr,
}

impl Session {
    /// Returns who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.core.peer
    }

    /// Returns a number that no other connection of this process has.
    #[must_use]
    pub fn id(&self) -> usize {
        self.core.connection.stable_id()
    }

    /// Returns the measured round trip.
    #[must_use]
    pub fn rtt(&self) -> std::time::Duration {
        self.core.connection.rtt()
    }

    /// Begins a request of at most [`HEADER_LEN_MAX`](crate::blob::HEADER_LEN_MAX) bytes; a body may follow.
    ///
    /// Waits while the peer allows no further request. The answer's body may have `answer_len_max` bytes.
    ///
    /// # Errors
    /// [`Error::FrameTooLong`] for the header, or the end of the connection.
    pub async fn request(&self, header: &[u8], answer_len_max: u64) -> Result<Request, Error> {
        blob::request(&self.core, header, answer_len_max).await
    }

    /// Waits for the peer's next request. Cancelling the wait loses nothing.
    ///
    /// Read the request in a task of its own: the peer decides how fast its bytes come.
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn accept_request(&self) -> Result<IncomingRequest, Error> {
        let (tx, rx) = self.core.connection.accept_bi().await.map_err(|e| self.core.end(&e))?;
        Ok(IncomingRequest::new(Arc::clone(&self.core), tx, rx))
    }

    /// Opens a one-way stream for live log chunks; they are frames, whose meaning is the caller's.
    ///
    /// Waits while the peer allows no further log stream. Use [`FrameSender::try_send`] and count what was dropped:
    /// a live log must not hold up a task.
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn open_log_stream(&self) -> Result<FrameSender, Error> {
        let mut stream = self.core.connection.open_uni().await.map_err(|e| self.core.end(&e))?;
        stream.write_all(&[TAG_LOG]).await.map_err(|e| self.core.write_error(&e))?;
        Ok(frames::sender(stream, Arc::clone(&self.core)))
    }

    /// Waits for the peer's next log stream. Cancelling the wait loses nothing.
    ///
    /// # Errors
    /// The end of the connection. A stream of another kind shows as [`Error::Protocol`] at its first frame.
    pub async fn accept_log_stream(&self) -> Result<FrameReceiver, Error> {
        let stream = self.core.connection.accept_uni().await.map_err(|e| self.core.end(&e))?;
        Ok(FrameReceiver::new(stream, Some(TAG_LOG), Arc::clone(&self.core)))
    }

    /// Closes the connection at once; what was not yet delivered is lost.
    ///
    /// `code` is below [`CODE_RESERVED_FIRST`]; `reason` is shortened to 256 bytes.
    pub fn close(&self, code: u32, reason: &str) {
        self.core.close(code, reason);
    }

    /// Waits for the end of the connection and returns why it ended.
    pub async fn closed(&self) -> Error {
        let error = self.core.connection.closed().await;
        self.core.end(&error)
    }

    /// Returns why the connection ended, if it did.
    #[must_use]
    pub fn close_reason(&self) -> Option<Error> {
        self.core.connection.close_reason().map(|error| self.core.end(&error))
    }
}

/// What every part of a connection shares.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) connection: Connection,
    pub(crate) config: Arc<Config>,
    peer: Peer,
}

impl Core {
    pub(crate) fn close(&self, code: u32, reason: &str) {
        self.connection.close(code.into(), shorten(reason).as_bytes());
    }

    /// Closes the connection to a peer that broke the protocol.
    pub(crate) fn broken(&self, what: &'static str) -> Error {
        self.close(CODE_PROTOCOL, what);
        Error::Protocol(what)
    }

    pub(crate) fn end(&self, error: &ConnectionError) -> Error {
        Error::from_connection(self.peer.addr, error)
    }

    pub(crate) fn read_error(&self, error: &ReadError) -> Error {
        match error {
            ReadError::Reset(code) => Error::StreamAborted { code: code.into_inner() },
            ReadError::ConnectionLost(end) => self.end(end),
            ReadError::ClosedStream => Error::Finished,
            ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => Error::Lost(error.to_string()),
        }
    }

    pub(crate) fn write_error(&self, error: &WriteError) -> Error {
        match error {
            WriteError::Stopped(code) => Error::StreamAborted { code: code.into_inner() },
            WriteError::ConnectionLost(end) => self.end(end),
            WriteError::ClosedStream => Error::Finished,
            WriteError::ZeroRttRejected => Error::Lost(error.to_string()),
        }
    }
}

/// Makes a link of a connection that this side began.
pub(crate) async fn begin(connection: Connection, config: Arc<Config>) -> Result<Link, Error> {
    let core = core(connection, config)?;
    let (mut tx, mut rx) = core.connection.open_bi().await.map_err(|e| core.end(&e))?;
    prepare(&core, &mut tx).await?;
    expect_preamble(&core, &mut rx).await?;
    Ok(link(core, tx, rx))
}

/// Makes a link of a connection that the peer began.
pub(crate) async fn answer(connection: Connection, config: Arc<Config>) -> Result<Link, Error> {
    let core = core(connection, config)?;
    let (mut tx, mut rx) = core.connection.accept_bi().await.map_err(|e| core.end(&e))?;
    expect_preamble(&core, &mut rx).await?;
    prepare(&core, &mut tx).await?;
    Ok(link(core, tx, rx))
}

/// Fills `buffer` from `stream`.
pub(crate) async fn read_exact(core: &Core, stream: &mut RecvStream, buffer: &mut [u8]) -> Result<(), Error> {
    stream.read_exact(buffer).await.map_err(|error| match error {
        quinn::ReadExactError::FinishedEarly(_) => Error::Truncated,
        quinn::ReadExactError::ReadError(error) => core.read_error(&error),
    })
}

fn core(connection: Connection, config: Arc<Config>) -> Result<Arc<Core>, Error> {
    let addr = shown(connection.remote_address());
    let name = tls::peer_name(&connection).ok_or(Error::Protocol("the peer has no certificate"))?;
    Ok(Arc::new(Core { connection, config, peer: Peer { role: name.role, addr } }))
}

/// A socket for both families shows IPv4 peers in a form that nobody would look for in a log.
fn shown(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

async fn prepare(core: &Core, tx: &mut SendStream) -> Result<(), Error> {
    // Fails only on a closed stream, which the write reports.
    drop(tx.set_priority(CONTROL_PRIORITY));
    tx.write_all(&PREAMBLE).await.map_err(|e| core.write_error(&e))
}

async fn expect_preamble(core: &Core, rx: &mut RecvStream) -> Result<(), Error> {
    let mut preamble = [0; PREAMBLE.len()];
    read_exact(core, rx, &mut preamble).await?;
    if preamble == PREAMBLE { Ok(()) } else { Err(core.broken("another preamble on the control stream")) }
}

fn link(core: Arc<Core>, tx: SendStream, rx: RecvStream) -> Link {
    let sender = frames::sender(tx, Arc::clone(&core));
    let receiver = FrameReceiver::new(rx, None, Arc::clone(&core));
    Link { session: Session { core }, sender, receiver }
}

/// Returns the stream code of `code`.
pub(crate) fn stream_code(code: u32) -> VarInt {
    code.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_in_its_own_family() {
        for (seen, expected) in [
            ("[::ffff:10.0.0.1]:4641", "10.0.0.1:4641"),
            ("10.0.0.1:4641", "10.0.0.1:4641"),
            ("[2001:db8::1]:4641", "[2001:db8::1]:4641"),
        ] {
            assert_eq!(shown(seen.parse().unwrap()), expected.parse().unwrap());
        }
    }
}
