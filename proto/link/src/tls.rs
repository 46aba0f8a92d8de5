//! Certificates and TLS: who this side is, and whom it talks to.

mod identity;
mod verify;

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls_pki_types::CertificateDer;

use crate::name::Name;
pub use identity::{Identity, IdentityError};

/// The application protocol of the link. Another value is another, incompatible link.
pub const ALPN: &[u8] = b"weir/1";

/// Returns the TLS settings of a listener: TLS 1.3, a client certificate of this cluster's executors required.
pub(crate) fn server(identity: &Identity) -> Result<QuicServerConfig, IdentityError> {
    let provider = provider();
    let verifier = verify::Executors::new(identity, &provider)?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| IdentityError::unusable(&e))?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would not verify the certificate again, and early data can be replayed.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    QuicServerConfig::try_from(config).map_err(|e| IdentityError::unusable(&e))
}

/// Returns the TLS settings of a connector: TLS 1.3, only control of this cluster accepted.
pub(crate) fn client(identity: &Identity) -> Result<QuicClientConfig, IdentityError> {
    let provider = provider();
    let verifier = verify::Control::new(identity, &provider)?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| IdentityError::unusable(&e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    QuicClientConfig::try_from(config).map_err(|e| IdentityError::unusable(&e))
}

/// Returns the name that a verified peer showed.
pub(crate) fn peer_name(connection: &quinn::Connection) -> Option<Name> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    verify::name_in(chain.first()?).ok()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
