//! Peers that do not use this crate: a bare QUIC client that breaks one rule at a time.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use weir_link::issue::Issued;
use weir_link::{CODE_PROTOCOL, CONTROL_SERVER_NAME, Config, Error, Link, Listener};

use crate::fixture::{Cluster, loopback, soon, today};

const PREAMBLE: &[u8] = b"weir/1\r\n";

struct Client {
    endpoint: Endpoint,
    listener: Listener,
    cluster: Cluster,
}

impl Client {
    fn new(config: Config) -> Self {
        let cluster = Cluster::new("c");
        let listener = Listener::bind(loopback(), &cluster.control(), config).expect("a listener");
        Self { endpoint: Endpoint::client(loopback()).expect("an endpoint"), listener, cluster }
    }

    async fn connect(&self, certificate: Option<&Issued>, alpn: &[u8]) -> Result<Connection, ConnectionError> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.cluster.ca.certificate_pem().as_bytes());
        roots.add(authority.expect("a certificate")).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots);
        let mut tls = match certificate {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let leaf = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).expect("a certificate");
                let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![leaf], key).expect("a pair")
            }
        };
        tls.alpn_protocols = vec![alpn.to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("QUIC")));
        let addr = self.listener.local_addr().expect("an address");
        let connecting = self.endpoint.connect_with(config, addr, CONTROL_SERVER_NAME).expect("a start");
        soon(connecting).await
    }

    async fn executor(&self) -> Connection {
        let issued = self.cluster.ca.issue_executor(&"n1".parse().expect("a name"), today()).expect("a certificate");
        self.connect(Some(&issued), b"weir/1").await.expect("a connection")
    }

    /// Behaves well up to the open control stream.
    async fn link(&self) -> (Connection, quinn::SendStream, Link) {
        let connection = self.executor().await;
        let (mut tx, rx) = connection.open_bi().await.expect("a stream");
        tx.write_all(PREAMBLE).await.expect("a write");
        let link = soon(self.listener.accept()).await.expect("a link");
        drop(rx);
        (connection, tx, link)
    }
}

/// Waits until the listener's side closes, and returns its alert or code.
async fn end(connection: &Connection) -> u64 {
    let error = soon(connection.closed()).await;
    if let ConnectionError::ConnectionClosed(close) = &error {
        return close.error_code.into();
    }
    let ConnectionError::ApplicationClosed(close) = &error else { panic!("{error}") };
    close.error_code.into()
}

#[tokio::test]
async fn a_certificate_is_required() {
    let client = Client::new(Config::default());
    let connection = client.connect(None, b"weir/1").await.unwrap();
    assert_eq!(end(&connection).await, 0x100 + 116);
    assert_eq!(client.listener.stats().accepted, 0);
}

#[tokio::test]
async fn another_protocol_is_refused() {
    let client = Client::new(Config::default());
    let issued = client.cluster.ca.issue_executor(&"n1".parse().unwrap(), today()).unwrap();
    for alpn in [&b"h3"[..], b"weir/2"] {
        let error = client.connect(Some(&issued), alpn).await.unwrap_err();
        let ConnectionError::ConnectionClosed(close) = error else { panic!("{error}") };
        assert_eq!(u64::from(close.error_code), 0x100 + 120);
    }
}

#[tokio::test]
async fn another_preamble_closes_the_connection() {
    let client = Client::new(Config::default());
    let connection = client.executor().await;
    let (mut tx, _rx) = connection.open_bi().await.unwrap();
    tx.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(end(&connection).await, u64::from(CODE_PROTOCOL));
    assert_eq!(client.listener.stats().accepted, 0);
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_dropped() {
    let client = Client::new(Config { connect_timeout: Duration::from_millis(300), ..Config::default() });
    let connection = client.executor().await;
    assert_eq!(end(&connection).await, 0);
    assert_eq!(client.listener.stats().failed, 1);
}

#[tokio::test]
async fn a_length_is_checked_before_memory_is_taken_for_it() {
    let client = Client::new(Config::default());
    let (connection, mut tx, mut link) = client.link().await;
    tx.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    let error = soon(link.receiver.recv()).await.unwrap_err();
    assert_eq!(error, Error::FrameTooLong { len: u32::MAX.into(), max: Config::default().frame_len_max });
    assert_eq!(end(&connection).await, u64::from(CODE_PROTOCOL));

    let (connection, _tx, link) = client.link().await;
    let (mut request, _rx) = connection.open_bi().await.unwrap();
    request.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    let incoming = soon(link.session.accept_request()).await.unwrap();
    assert!(matches!(soon(incoming.read(0)).await, Err(Error::FrameTooLong { .. })));
    assert_eq!(end(&connection).await, u64::from(CODE_PROTOCOL));
}

#[tokio::test]
async fn streams_that_end_early_are_seen_as_cut() {
    let client = Client::new(Config::default());
    let (connection, mut tx, mut link) = client.link().await;
    tx.write_all(&[5, 0, 0, 0, b'x']).await.unwrap();
    tx.finish().unwrap();
    assert_eq!(soon(link.receiver.recv()).await, Err(Error::Truncated));

    let (mut request, _rx) = connection.open_bi().await.unwrap();
    request.write_all(&[9, 0, 0, 0, b'x']).await.unwrap();
    request.finish().unwrap();
    let incoming = soon(link.session.accept_request()).await.unwrap();
    assert_eq!(soon(incoming.read(0)).await.unwrap_err(), Error::Truncated);
}

#[tokio::test]
async fn an_unknown_kind_of_stream_closes_the_connection() {
    let client = Client::new(Config::default());
    let (connection, _tx, link) = client.link().await;
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(b"?").await.unwrap();
    let mut log = soon(link.session.accept_log_stream()).await.unwrap();
    assert!(matches!(soon(log.recv()).await, Err(Error::Protocol(_))));
    assert_eq!(end(&connection).await, u64::from(CODE_PROTOCOL));
}

#[tokio::test]
async fn a_body_that_floods_stops_at_the_window() {
    let client = Client::new(Config { stream_window: 16 << 10, ..Config::default() });
    let (connection, mut tx, mut link) = client.link().await;
    let (mut request, _rx) = connection.open_bi().await.unwrap();
    let mut written = request.write(&[0; 4096]).await.unwrap();
    let unread = soon(link.session.accept_request()).await.unwrap();
    let flood = async {
        loop {
            written += request.write(&[0; 4096]).await.unwrap();
        }
    };
    // Each round trip on the control stream gives the flood time to go on, if it can.
    let pings = soon(async {
        for _ in 0..100 {
            tx.write_all(&[1, 0, 0, 0, b'x']).await.unwrap();
            link.receiver.recv().await.unwrap().unwrap();
        }
    });
    tokio::select! {
        () = flood => {}
        () = pings => {}
    }
    assert_eq!(written, 16 << 10);
    drop(unread);
}
