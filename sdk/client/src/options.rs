use std::{sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::Error;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may stay silent; longer than the longest blocking read, and followed logs send empty lines.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// How a cluster is reached.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Addresses of its control plane, such as `https://control-1:4640`; tried in turn. At least one.
    pub addresses: Vec<String>,
    /// The bearer token; none by default.
    pub token: Option<String>,
    /// The cluster's certificate authority in PEM; required for `https` addresses, and nothing else is trusted.
    pub ca_pem: Option<Vec<u8>>,
}

impl Options {
    /// The addresses without a trailing slash.
    pub(crate) fn checked_addresses(&self) -> Result<Vec<String>, Error> {
        let mut addresses = Vec::with_capacity(self.addresses.len());
        for address in &self.addresses {
            let url = reqwest::Url::parse(address)
                .map_err(|error| Error::Options(format!("the address `{address}` is not a URL: {error}")))?;
            if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
                return Err(Error::Options(format!(
                    "the address `{address}` is neither http://HOST:PORT nor https://HOST:PORT"
                )));
            }
            if url.scheme() == "https" && self.ca_pem.is_none() {
                return Err(Error::Options(format!(
                    "the address `{address}` needs the cluster's CA certificate; `wctl cluster init` wrote it as ca.pem"
                )));
            }
            addresses.push(address.trim_end_matches('/').to_owned());
        }
        if addresses.is_empty() {
            return Err(Error::Options("no address is given".to_owned()));
        }
        Ok(addresses)
    }

    pub(crate) fn http(&self) -> Result<reqwest::Client, Error> {
        reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls()?)
            .user_agent(concat!("weir-client/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Error::Options(format!("the HTTP client cannot be built: {error}")))
    }

    fn tls(&self) -> Result<ClientConfig, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.ca_pem.as_deref().unwrap_or_default()) {
            let certificate =
                certificate.map_err(|error| Error::Options(format!("the CA certificate cannot be read: {error}")))?;
            roots
                .add(certificate)
                .map_err(|error| Error::Options(format!("the CA certificate cannot be used: {error}")))?;
        }
        if self.ca_pem.is_some() && roots.is_empty() {
            return Err(Error::Options("the CA file holds no certificate in PEM".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| Error::Options(format!("TLS 1.3 cannot be used: {error}")))?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}
