//! Limits and timings of the link.

use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, TransportConfig, VarInt};
use weir_wire::limits::{LINK_IDLE_TIMEOUT, LINK_KEEP_ALIVE};

/// What the QUIC stack may assume of a round trip before it has measured one. The default of 333 ms makes the first
/// lost packet cost a second in a data centre.
const INITIAL_RTT: Duration = Duration::from_millis(10);

/// The most streams of one kind that may be asked for. The stack takes memory for each stream it *allows*: 57 KiB a
/// connection at 4, 2.2 MiB at 10,000.
const STREAMS_MAX: u32 = 64;

/// The longest frame by default: what the two sides' messages are made for.
const FRAME_LEN_MAX: u32 = 1 << 20;
const _: () = assert!(FRAME_LEN_MAX as usize == weir_wire::limits::FRAME_LEN_MAX);

/// Limits and timings of the link; both ends should use the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The longest frame sent or accepted on the control and log streams, in bytes. Default 1 MiB.
    pub frame_len_max: u32,
    /// The most bytes of frames that wait in one sender, with 4 bytes for each prefix. Default 4 MiB; at least
    /// [`frame_len_max`](Self::frame_len_max) and its prefix.
    pub queue_bytes_max: u32,
    /// The most requests that the peer may have in flight on one connection. Default 8, at most 64.
    pub requests_max: u32,
    /// The most one-way log streams that the peer may have open on one connection. Default 4, at most 64.
    pub log_streams_max: u32,
    /// The most bytes the peer may send on one stream before this side reads them. Default 512 KiB.
    ///
    /// One connection takes at most this × (2 × (requests + 1) + log streams) of unread data.
    pub stream_window: u32,
    /// How long a silent peer counts as connected. Default 5.5 s; with the longest wait between two attempts to connect it
    /// must stay below the time after which a silent node is given up, see [`weir_wire::limits::NODE_TIMEOUT`].
    pub idle_timeout: Duration,
    /// After how long without a packet the side that connects sends one to be answered. Default 4.25 s, which is longer
    /// than executors take between two renewals: from both sides and three times within the idle timeout, keep-alives
    /// cost a control plane of ten thousand executors more than twice as much as everything else it says to them.
    pub keep_alive: Duration,
    /// How long a connection may take to be ready, handshake and first exchange included. Default 5 s.
    pub connect_timeout: Duration,
    /// The most handshakes a listener works on at once; above half of it a new peer must first prove its address, at
    /// the limit it is refused. Default 256.
    pub handshakes_max: u32,
    /// The most connections that wait to be accepted by the caller of a listener. Default 64.
    pub accept_queue_max: u32,
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use the link setting {field}: {problem}")]
pub struct ConfigError {
    /// The field's name.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            frame_len_max: FRAME_LEN_MAX,
            queue_bytes_max: 4 << 20,
            requests_max: 8,
            log_streams_max: 4,
            stream_window: 512 << 10,
            idle_timeout: LINK_IDLE_TIMEOUT,
            keep_alive: LINK_KEEP_ALIVE,
            connect_timeout: Duration::from_secs(5),
            handshakes_max: 256,
            accept_queue_max: 64,
        }
    }
}

impl Config {
    /// Checks that the settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let queue_min = u64::from(self.frame_len_max) + 4;
        let checks = [
            (self.frame_len_max > 0, "frame_len_max", "must be more than 0"),
            (u64::from(self.queue_bytes_max) >= queue_min, "queue_bytes_max", "must hold the longest frame"),
            ((1..=STREAMS_MAX).contains(&self.requests_max), "requests_max", "must be between 1 and 64"),
            ((1..=STREAMS_MAX).contains(&self.log_streams_max), "log_streams_max", "must be between 1 and 64"),
            (self.stream_window >= 16 << 10, "stream_window", "must be at least 16 KiB"),
            (self.stream_window <= 64 << 20, "stream_window", "must be at most 64 MiB"),
            (self.idle_timeout >= Duration::from_millis(300), "idle_timeout", "must be at least 300ms"),
            (self.idle_timeout <= Duration::from_secs(600), "idle_timeout", "must be at most 10m"),
            (self.keep_alive < self.idle_timeout, "keep_alive", "must be shorter than the idle timeout"),
            (!self.keep_alive.is_zero(), "keep_alive", "must be more than 0"),
            (!self.connect_timeout.is_zero(), "connect_timeout", "must be more than 0"),
            (self.handshakes_max > 0, "handshakes_max", "must be more than 0"),
            (self.accept_queue_max > 0, "accept_queue_max", "must be more than 0"),
        ];
        match checks.into_iter().find(|(holds, _, _)| !holds) {
            Some((_, field, problem)) => Err(ConfigError { field, problem }),
            None => Ok(()),
        }
    }

    /// Returns the settings of the QUIC stack for the side that connects.
    pub(crate) fn connecting(&self) -> Result<Arc<TransportConfig>, ConfigError> {
        let mut transport = self.transport()?;
        transport.keep_alive_interval(Some(self.keep_alive));
        Ok(Arc::new(transport))
    }

    /// Returns the settings of the QUIC stack for the side that listens.
    pub(crate) fn listening(&self) -> Result<Arc<TransportConfig>, ConfigError> {
        self.transport().map(Arc::new)
    }

    fn transport(&self) -> Result<TransportConfig, ConfigError> {
        self.validate()?;
        let idle = IdleTimeout::try_from(self.idle_timeout)
            .map_err(|_| ConfigError { field: "idle_timeout", problem: "is too long" })?;
        // The control stream is one of the two-way streams.
        let two_way = self.requests_max + 1;
        // Each stream's unread data fits into the window of the connection, in both directions, so that a stalled
        // blob cannot hold up the control stream.
        let window = u64::from(self.stream_window) * u64::from(2 * two_way + self.log_streams_max);
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(two_way.into())
            .max_concurrent_uni_streams(self.log_streams_max.into())
            .stream_receive_window(self.stream_window.into())
            .receive_window(VarInt::from_u64(window).unwrap_or(VarInt::MAX))
            .send_window(window)
            .max_idle_timeout(Some(idle))
            .initial_rtt(INITIAL_RTT)
            .datagram_receive_buffer_size(None);
        Ok(transport)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
        assert!(Config::default().connecting().is_ok());
        assert!(Config::default().listening().is_ok());
    }

    #[test]
    fn impossible_settings_are_named() {
        type Change = fn(&mut Config);
        let cases: [(Change, &str); 8] = [
            (|c| c.frame_len_max = 0, "frame_len_max"),
            (|c| c.queue_bytes_max = c.frame_len_max, "queue_bytes_max"),
            (|c| c.requests_max = 65, "requests_max"),
            (|c| c.log_streams_max = 0, "log_streams_max"),
            (|c| c.idle_timeout = Duration::from_secs(3600), "idle_timeout"),
            (|c| c.handshakes_max = 0, "handshakes_max"),
            (|c| c.keep_alive = c.idle_timeout, "keep_alive"),
            (|c| c.keep_alive = Duration::ZERO, "keep_alive"),
        ];
        for (change, field) in cases {
            let mut config = Config::default();
            change(&mut config);
            assert_eq!(config.validate().unwrap_err().field, field);
        }
    }
}
