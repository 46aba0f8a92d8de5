//! The check of a peer's certificate: the usual one, then the role and cluster in its name.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, PeerMisbehaved, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use weir_wire::id::ClusterName;
use x509_parser::extensions::GeneralName;

use super::identity::{Identity, IdentityError};
use crate::name::{Name, Role};

/// Accepts control of one cluster: what a connector wants to find.
#[derive(Debug)]
pub(super) struct Control {
    inner: Arc<WebPkiServerVerifier>,
    cluster: ClusterName,
}

/// Accepts executors of one cluster: what a listener wants to find.
#[derive(Debug)]
pub(super) struct Executors {
    inner: Arc<dyn ClientCertVerifier>,
    cluster: ClusterName,
}

impl Control {
    pub(super) fn new(identity: &Identity, provider: &Arc<CryptoProvider>) -> Result<Self, IdentityError> {
        let roots = roots(identity)?;
        let inner = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
            .build()
            .map_err(|e| IdentityError::unusable(&e))?;
        Ok(Self { inner, cluster: identity.name().cluster.clone() })
    }
}

impl Executors {
    pub(super) fn new(identity: &Identity, provider: &Arc<CryptoProvider>) -> Result<Self, IdentityError> {
        let roots = roots(identity)?;
        let inner = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
            .build()
            .map_err(|e| IdentityError::unusable(&e))?;
        Ok(Self { inner, cluster: identity.name().cluster.clone() })
    }
}

impl ServerCertVerifier for Control {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        let name = name_in(end_entity).map_err(wrong_role)?;
        match name.role {
            Role::Control if name.cluster == self.cluster => Ok(verified),
            Role::Control | Role::Executor(_) => {
                Err(wrong_role(format!("names {name}, expected the control of {}", self.cluster)))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl ClientCertVerifier for Executors {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        let name = name_in(end_entity).map_err(wrong_role)?;
        match name.role {
            Role::Executor(_) if name.cluster == self.cluster => Ok(verified),
            Role::Control | Role::Executor(_) => {
                Err(wrong_role(format!("names {name}, expected an executor of {}", self.cluster)))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Reads the one cluster name in a certificate; the error continues "the certificate …".
///
/// Two names are refused: a peer must not be able to choose which of them counts.
pub(super) fn name_in(certificate: &CertificateDer<'_>) -> Result<Name, String> {
    let (rest, parsed) =
        x509_parser::parse_x509_certificate(certificate).map_err(|_| "cannot be read as X.509".to_owned())?;
    if !rest.is_empty() {
        return Err("has bytes after its end".to_owned());
    }
    let alternatives = parsed.subject_alternative_name().map_err(|_| "has damaged alternative names".to_owned())?;
    let mut names = alternatives.iter().flat_map(|extension| &extension.value.general_names).filter_map(as_uri);
    match (names.next(), names.next()) {
        (Some(uri), None) => uri.parse::<Name>().map_err(|_| "names no role of a weir cluster".to_owned()),
        (None, _) => Err("names no role of a weir cluster".to_owned()),
        (Some(_), Some(_)) => Err("has more than one name".to_owned()),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is another crate's; only one kind of name matters")]
fn as_uri<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    }
}

fn roots(identity: &Identity) -> Result<Arc<RootCertStore>, IdentityError> {
    let mut roots = RootCertStore::empty();
    for authority in identity.authorities() {
        roots.add(authority.clone()).map_err(|e| IdentityError::unusable(&e))?;
    }
    Ok(Arc::new(roots))
}

fn only_tls13() -> rustls::Error {
    rustls::Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)
}

/// Makes the refusal reach the peer in words: rustls prints the `Debug` form of such an error.
fn wrong_role(detail: String) -> rustls::Error {
    struct WrongRole(String);
    impl fmt::Debug for WrongRole {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "the certificate {}", self.0)
        }
    }
    impl fmt::Display for WrongRole {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Debug::fmt(self, f)
        }
    }
    impl std::error::Error for WrongRole {}
    tracing::debug!(detail, "refused a certificate");
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(WrongRole(detail)))))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::issue::{ClusterCa, Validity};
    use crate::tls::provider;

    fn today() -> Validity {
        Validity::starting(SystemTime::now(), Duration::from_secs(3600))
    }

    fn ca(cluster: &str) -> ClusterCa {
        ClusterCa::generate(cluster.parse().unwrap(), today()).unwrap().0
    }

    #[test]
    fn a_listener_takes_executors_of_its_own_cluster_only() {
        let (ours, theirs) = (ca("ours"), ca("theirs"));
        let both = format!("{}{}", ours.certificate_pem(), theirs.certificate_pem());
        let node = "n1".parse().unwrap();
        let identity = |issued: &crate::issue::Issued| {
            Identity::from_pem(&issued.certificate_pem, &issued.key_pem, &both, SystemTime::now()).unwrap()
        };
        let listener = Executors::new(&identity(&ours.issue_control(&[], today()).unwrap()), &provider()).unwrap();
        let verdict = |issued: &crate::issue::Issued| {
            let certified = identity(issued).certified();
            listener.verify_client_cert(&certified.cert[0], &[], UnixTime::now())
        };
        assert!(verdict(&ours.issue_executor(&node, today()).unwrap()).is_ok());
        let error = verdict(&theirs.issue_executor(&node, today()).unwrap()).unwrap_err().to_string();
        assert!(error.contains("weir://theirs/executor/n1"), "{error}");
        assert!(verdict(&ours.issue_control(&[], today()).unwrap()).is_err());
    }

    #[test]
    fn a_certificate_without_a_role_names_nobody() {
        let issued = ca("c").issue_https(&["localhost".to_owned()], today()).unwrap();
        let identity =
            Identity::from_pem(&issued.certificate_pem, &issued.key_pem, &issued.certificate_pem, SystemTime::now());
        assert!(matches!(identity, Err(IdentityError::NoName(_))), "{identity:?}");
        assert!(name_in(&CertificateDer::from(vec![0x30, 0x80, 1, 2])).is_err());
        assert!(name_in(&CertificateDer::from(Vec::new())).is_err());
    }
}
