//! What can go wrong on a link, told apart by what the caller can do about it.

use std::fmt;
use std::net::SocketAddr;

use quinn::ConnectionError;

use crate::config::ConfigError;
use crate::tls::IdentityError;

/// How much of a peer's text is kept, in bytes.
pub(crate) const REASON_LEN_MAX: usize = 256;

/// Why an operation on a link failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody answered at the address in time; worth trying again.
    #[error("reach {addr}: {detail}")]
    Unreachable {
        /// The address tried.
        addr: SocketAddr,
        /// What was seen.
        detail: String,
    },
    /// There was no address to try.
    #[error("reach control: no address is known")]
    NoAddress,
    /// The listener is working on as many handshakes as it may; worth trying again after a wait.
    #[error("connect: the listener is busy with other handshakes")]
    Busy,
    /// One side refused the other's certificate; trying again will not help until a certificate changes.
    #[error("agree on a secure connection: {by} refused the certificate of {}: {cause} ({detail})", by.other())]
    Refused {
        /// Who refused.
        by: RefusedBy,
        /// Why, as far as the protocol says.
        cause: RefusalCause,
        /// The refusing side's own words, shortened.
        detail: String,
    },
    /// The peer closed the connection with a code of its own.
    #[error("use the connection: the peer closed it with code {code}: {reason}")]
    ClosedByPeer {
        /// The peer's code; see [`CODE_RESERVED_FIRST`](crate::CODE_RESERVED_FIRST).
        code: u64,
        /// The peer's reason, shortened to 256 bytes.
        reason: String,
    },
    /// This side closed the connection.
    #[error("use the connection: it was closed on this side")]
    Closed,
    /// The peer fell silent, restarted, or broke the transport protocol.
    #[error("use the connection: {0}")]
    Lost(String),
    /// A frame is longer than the limit of the link.
    #[error("pass a frame of {len} bytes: the limit is {max}")]
    FrameTooLong {
        /// The length of the frame or its prefix, bytes.
        len: u64,
        /// The limit, bytes.
        max: u32,
    },
    /// A body is longer than its receiver allowed.
    #[error("receive a body: it is longer than {max} bytes")]
    BodyTooLong {
        /// The limit, bytes.
        max: u64,
    },
    /// The other side of a stream gave it up with a code of its own.
    #[error("use the stream: the peer gave it up with code {code}")]
    StreamAborted {
        /// The peer's code.
        code: u64,
    },
    /// A stream ended in the middle of a frame or header.
    #[error("read the stream: it ends inside a frame")]
    Truncated,
    /// The peer sent something that the link's protocol does not have.
    #[error("understand the peer: {0}")]
    Protocol(&'static str),
    /// The sending half was finished or its stream is gone.
    #[error("send: the sending half was finished")]
    Finished,
    /// The settings contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The identity cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The socket could not be opened.
    #[error("open a UDP socket on {addr}: {detail}")]
    Bind {
        /// The local address.
        addr: SocketAddr,
        /// What the system said.
        detail: String,
    },
}

/// The side that refused the other's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedBy {
    /// This side refused the peer's certificate.
    Us,
    /// The peer refused this side's certificate.
    Peer,
}

/// Why a certificate was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCause {
    /// Another authority signed it.
    UnknownAuthority,
    /// It is expired or not yet valid.
    OutsideValidity,
    /// It names another role or cluster, or none.
    WrongRole,
    /// It is for the other purpose: an executor's used to listen, or control's used to connect.
    WrongPurpose,
    /// There was none.
    Missing,
    /// It cannot be read, its signature is wrong, or it names another host.
    Bad,
    /// The two ends share no version of the link's protocol.
    NoCommonProtocol,
    /// Another TLS alert, by its number.
    Other(u8),
}

impl RefusedBy {
    fn other(self) -> Self {
        match self {
            Self::Us => Self::Peer,
            Self::Peer => Self::Us,
        }
    }
}

impl fmt::Display for RefusedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Us => "this side",
            Self::Peer => "the peer",
        })
    }
}

impl fmt::Display for RefusalCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownAuthority => "it was signed by another authority; is it of this cluster?",
            Self::OutsideValidity => "it is expired or not yet valid; check both clocks",
            Self::WrongRole => "it names another role or cluster",
            Self::WrongPurpose => "it was issued for the other end of the link",
            Self::Missing => "there is none",
            Self::Bad => "it is damaged or names another host",
            Self::NoCommonProtocol => "the two ends speak different versions of the link",
            Self::Other(alert) => return write!(f, "TLS alert {alert}"),
        })
    }
}

impl Error {
    /// Tells whether trying again later may work without a person changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Busy
            | Self::ClosedByPeer { .. }
            | Self::Closed
            | Self::Lost(_)
            | Self::StreamAborted { .. }
            | Self::Truncated
            | Self::Finished => true,
            Self::NoAddress
            | Self::Refused { .. }
            | Self::FrameTooLong { .. }
            | Self::BodyTooLong { .. }
            | Self::Protocol(_)
            | Self::Config(_)
            | Self::Identity(_)
            | Self::Bind { .. } => false,
        }
    }

    /// Reads the end of a connection to `addr`.
    pub(crate) fn from_connection(addr: SocketAddr, error: &ConnectionError) -> Self {
        match error {
            ConnectionError::TransportError(ours) => from_code(RefusedBy::Us, ours.code.into(), &ours.reason)
                .unwrap_or_else(|| Self::Lost(shorten(&error.to_string()))),
            ConnectionError::ConnectionClosed(theirs) => {
                let detail = String::from_utf8_lossy(&theirs.reason);
                from_code(RefusedBy::Peer, theirs.error_code.into(), &detail)
                    .unwrap_or_else(|| Self::Lost(shorten(&error.to_string())))
            }
            ConnectionError::ApplicationClosed(close) => Self::ClosedByPeer {
                code: close.error_code.into_inner(),
                reason: shorten(&String::from_utf8_lossy(&close.reason)),
            },
            ConnectionError::LocallyClosed => Self::Closed,
            ConnectionError::TimedOut => Self::Lost(format!("{addr} fell silent")),
            ConnectionError::Reset => Self::Lost(format!("{addr} restarted")),
            ConnectionError::VersionMismatch | ConnectionError::CidsExhausted => {
                Self::Lost(shorten(&error.to_string()))
            }
        }
    }
}

/// Returns `text` up to the longest reason kept, without control characters.
pub(crate) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    short.truncate(short.floor_char_boundary(REASON_LEN_MAX));
    short
}

/// Reads a transport error code: `None` if it is neither a TLS alert nor a refusal of new connections.
fn from_code(by: RefusedBy, code: u64, detail: &str) -> Option<Error> {
    const CONNECTION_REFUSED: u64 = 0x2;
    const ALERT_FIRST: u64 = 0x100;
    if code == CONNECTION_REFUSED {
        return Some(Error::Busy);
    }
    let alert = u8::try_from(code.checked_sub(ALERT_FIRST)?).ok()?;
    // Numbers of RFC 8446 §6; the role check reports itself as certificate_unknown.
    let cause = match alert {
        40 | 42 | 50 | 51 => RefusalCause::Bad,
        43 => RefusalCause::WrongPurpose,
        45 => RefusalCause::OutsideValidity,
        46 => RefusalCause::WrongRole,
        48 => RefusalCause::UnknownAuthority,
        116 => RefusalCause::Missing,
        120 => RefusalCause::NoCommonProtocol,
        other => RefusalCause::Other(other),
    };
    Some(Error::Refused { by, cause, detail: shorten(detail) })
}
