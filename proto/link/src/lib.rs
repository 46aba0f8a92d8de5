//! The QUIC link between control and executors.
//!
//! The link moves bytes of frames, blobs and live log chunks; what they mean is decided by the caller, who encodes
//! and decodes them with `weir-wire`. Both ends prove who they are with a certificate of the cluster's own authority
//! ([`issue`]), in which the role and the node are written ([`name::Name`]); a peer with another role, of another
//! cluster, or without a valid certificate never gets as far as a frame.
//!
//! A connection ([`Link`]) has one control stream with length-prefixed frames in both directions
//! ([`FrameSender`], [`FrameReceiver`]), requests with streamed bodies for blobs ([`Session::request`]), and
//! one-way streams for live logs ([`Session::open_log_stream`]).
//!
//! **Invariants.** No other crate names quinn. Every length that arrives is checked before memory is taken for it.
//! Every queue has a limit. Early data and session resumption are off, so each connection verifies both certificates.
//! Each [`Listener`] or [`Connector`] belongs on a current-thread runtime: request latency measured 3.7 times worse
//! on a runtime with two threads.

pub mod backoff;
pub mod blob;
mod config;
mod connector;
mod error;
mod frames;
pub mod issue;
mod listener;
pub mod name;
mod session;
pub mod tls;

pub use backoff::Backoff;
pub use blob::{Answer, BlobReceiver, BlobSender, IncomingRequest, Request, Response};
pub use config::{Config, ConfigError};
pub use connector::Connector;
pub use error::{Error, RefusalCause, RefusedBy};
pub use frames::{FrameReceiver, FrameSender, TrySendError};
pub use listener::{Listener, ListenerStats};
pub use name::{CONTROL_SERVER_NAME, Name, Role};
pub use session::{CODE_NORMAL, CODE_PROTOCOL, CODE_RESERVED_FIRST, Link, Peer, Session};
pub use tls::{Identity, IdentityError};
