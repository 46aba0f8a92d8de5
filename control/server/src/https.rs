//! The HTTP server: with TLS and a token, or open on a loopback address.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use axum::Router;
use axum_server::{Handle, tls_rustls::RustlsConfig};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::task::JoinHandle;
use weir_wire::id::Digest;

use crate::{
    api::{Auth, Forwarder},
    config::{ApiConfig, Config},
};

/// How the API is served.
pub(crate) enum Tls {
    /// In plain text.
    Off,
    /// With the certificate of this replica.
    On(RustlsConfig),
}

/// A server that is bound, or runs.
pub(crate) struct Web {
    listener: Option<TcpListener>,
    address: SocketAddr,
    handle: Handle<SocketAddr>,
    task: Option<JoinHandle<std::io::Result<()>>>,
}

impl Tls {
    /// Reads the certificate for HTTPS, unless the API is open.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub(crate) fn load(config: &Config) -> Result<Self> {
        match config.api {
            ApiConfig::InsecureLoopback => Ok(Self::Off),
            ApiConfig::Token { .. } => {
                let chain = config.identity.join("https.pem");
                let key = config.identity.join("https.key");
                let settings =
                    settings(&chain, &key).with_context(|| format!("failed to use {} for HTTPS", chain.display()))?;
                Ok(Self::On(RustlsConfig::from_config(Arc::new(settings))))
            }
        }
    }
}

impl Web {
    /// Opens the address; port 0 picks one.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("failed to listen on {address} for HTTP"))?;
        let address = listener.local_addr()?;
        Ok(Self { listener: Some(listener.into_std()?), address, handle: Handle::new(), task: None })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to answer.
    pub(crate) fn serve(mut self, router: Router, tls: Tls) -> Result<Self> {
        let listener = self.listener.take().ok_or_else(|| anyhow!("already serving"))?;
        let service = router.into_make_service();
        let handle = self.handle.clone();
        self.task = Some(match tls {
            Tls::Off => tokio::spawn(axum_server::from_tcp(listener)?.handle(handle).serve(service)),
            Tls::On(tls) => tokio::spawn(axum_server::from_tcp_rustls(listener, tls)?.handle(handle).serve(service)),
        });
        Ok(self)
    }

    /// Takes no more requests and gives those that run some time.
    pub(crate) fn stop(&self, grace: Duration) {
        self.handle.graceful_shutdown(Some(grace));
    }

    /// Waits for the end of those that run; may be given up and asked again.
    pub(crate) async fn ended(&mut self) {
        let Some(task) = &mut self.task else { return };
        match task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the HTTP server ended badly"),
            Err(error) => tracing::error!(%error, "the HTTP server ended badly"),
        }
        self.task = None;
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

/// Says who may use the API.
///
/// # Errors
/// Names the token file that cannot be used.
pub(crate) fn auth(api: &ApiConfig) -> Result<Auth> {
    let file = match api {
        ApiConfig::InsecureLoopback => return Ok(Auth::Open),
        ApiConfig::Token { file } => file,
    };
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("failed to read the hash of the admin token in {}", file.display()))?;
    let Digest(sha256) = text
        .trim()
        .parse()
        .with_context(|| format!("failed to read the hash of the admin token in {}", file.display()))?;
    Ok(Auth::Token { sha256 })
}

/// Prepares the way to other replicas, whose certificates come from the cluster's authority.
///
/// # Errors
/// Names the file that cannot be used.
pub(crate) fn forwarder(config: &Config) -> Result<Forwarder> {
    let ca_pem = match config.api {
        ApiConfig::InsecureLoopback => None,
        ApiConfig::Token { .. } => {
            let file = config.identity.join("ca.pem");
            Some(std::fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?)
        }
    };
    Forwarder::new(ca_pem.as_deref()).context("failed to use ca.pem for connections to other replicas")
}

fn settings(chain: &Path, key: &Path) -> Result<rustls::ServerConfig> {
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| anyhow!("{}: {error}", chain.display()))?;
    ensure!(!certificates.is_empty(), "there is no certificate in {}", chain.display());
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| anyhow!("{}: {error}", key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut settings = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, key_der)
        .with_context(|| format!("failed to use {} with {}", chain.display(), key.display()))?;
    settings.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(settings)
}
