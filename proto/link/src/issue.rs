//! The cluster's own certificate authority.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use weir_wire::id::{ClusterName, NodeId};

use crate::error::shorten;
use crate::name::{CONTROL_SERVER_NAME, Name};

/// How far before now a certificate's validity begins, so that a peer with a slow clock accepts it.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// The organisation in the authority's subject; the cluster's name is its common name.
const ORGANIZATION: &str = "weir";

/// The authority that signs every certificate of one cluster.
///
/// Its key decides who belongs to the cluster: keep it away from the daemons where possible. Its `Debug` form shows the
/// cluster only.
pub struct ClusterCa {
    cluster: ClusterName,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key, both PEM. Its `Debug` form does not show the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate chain, leaf first.
    pub certificate_pem: String,
    /// The private key, PKCS #8.
    pub key_pem: String,
}

/// From when until when a certificate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: SystemTime,
    /// The last moment.
    pub not_after: SystemTime,
}

/// Why a certificate could not be issued, or an authority not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A host is neither a DNS name nor an IP address.
    #[error("issue a certificate for '{0}': it is neither a DNS name nor an IP address")]
    Host(String),
    /// There are no hosts to name.
    #[error("issue a certificate without a host name or address")]
    NoHost,
    /// The authority's certificate or key cannot be used.
    #[error("use the certificate authority: {0}")]
    Authority(String),
    /// The last moment lies before the first, or outside what a certificate can say.
    #[error("issue a certificate with this validity: the end must follow the start, before the year 9999")]
    Validity,
    /// The cryptographic library failed.
    #[error("issue a certificate: {0}")]
    Crypto(String),
}

impl Validity {
    /// Starts five minutes before `now`, so that slow clocks accept it, and ends `lifetime` after `now`.
    #[must_use]
    pub fn starting(now: SystemTime, lifetime: Duration) -> Self {
        let not_before = now.checked_sub(CLOCK_SKEW).unwrap_or(UNIX_EPOCH);
        Self { not_before, not_after: now.checked_add(lifetime).unwrap_or(now) }
    }
}

impl ClusterCa {
    /// Makes a new authority for `cluster`.
    ///
    /// # Errors
    /// [`Error::Validity`] or [`Error::Crypto`].
    pub fn generate(cluster: ClusterName, validity: Validity) -> Result<(Self, Issued), Error> {
        let key = KeyPair::generate().map_err(crypto)?;
        let mut params = params(&validity, ORGANIZATION)?;
        params.distinguished_name.push(DnType::CommonName, cluster.as_str());
        // Two clusters of one name must not take each other's certificates for damaged ones of their own.
        let unit: String = random()?.iter().map(|byte| format!("{byte:02x}")).collect();
        params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = params.self_signed(&key).map_err(crypto)?.pem();
        let issued = Issued { certificate_pem: certificate_pem.clone(), key_pem: key.serialize_pem() };
        Ok((Self { cluster, certificate_pem, issuer: Issuer::new(params, key) }, issued))
    }

    /// Reads an authority that [`generate`](Self::generate) made.
    ///
    /// # Errors
    /// [`Error::Authority`] says what is wrong with the certificate or the key.
    pub fn load(certificate_pem: &str, key_pem: &str) -> Result<Self, Error> {
        let key = KeyPair::from_pem(key_pem).map_err(|e| authority(&format!("its key: {e}")))?;
        let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|e| authority(&e.to_string()))?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&der).map_err(|_| authority("its certificate cannot be read"))?;
        if !parsed.is_ca() {
            return Err(authority("its certificate may not sign others"));
        }
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(authority("its key belongs to another certificate"));
        }
        let common_name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let cluster = common_name
            .and_then(|name| name.parse().ok())
            .ok_or_else(|| authority("its certificate does not name a cluster"))?;
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|e| authority(&e.to_string()))?;
        Ok(Self { cluster, certificate_pem: certificate_pem.to_owned(), issuer })
    }

    /// Returns the cluster it speaks for.
    #[must_use]
    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// Returns its certificate, which every node and client needs.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Issues the certificate with which a control replica listens for executors.
    ///
    /// It is valid for [`CONTROL_SERVER_NAME`] and for `hosts` (DNS names or IP addresses, may be empty).
    ///
    /// # Errors
    /// [`Error::Host`], [`Error::Validity`] or [`Error::Crypto`].
    pub fn issue_control(&self, hosts: &[String], validity: Validity) -> Result<Issued, Error> {
        let mut names = vec![uri(&Name::control(self.cluster.clone()))?, host(CONTROL_SERVER_NAME)?];
        for name in hosts {
            names.push(host(name)?);
        }
        self.issue("control", names, ExtendedKeyUsagePurpose::ServerAuth, &validity)
    }

    /// Issues the certificate of the executor on `node`.
    ///
    /// # Errors
    /// [`Error::Validity`] or [`Error::Crypto`].
    pub fn issue_executor(&self, node: &NodeId, validity: Validity) -> Result<Issued, Error> {
        let names = vec![uri(&Name::executor(self.cluster.clone(), node.clone()))?];
        self.issue(node.as_str(), names, ExtendedKeyUsagePurpose::ClientAuth, &validity)
    }

    /// Issues a certificate for the HTTP API on `hosts`; it has no role, so it opens no link.
    ///
    /// # Errors
    /// [`Error::NoHost`], [`Error::Host`], [`Error::Validity`] or [`Error::Crypto`].
    pub fn issue_https(&self, hosts: &[String], validity: Validity) -> Result<Issued, Error> {
        let first = hosts.first().ok_or(Error::NoHost)?;
        let names = hosts.iter().map(|name| host(name)).collect::<Result<_, _>>()?;
        self.issue(first, names, ExtendedKeyUsagePurpose::ServerAuth, &validity)
    }

    fn issue(
        &self,
        subject: &str,
        names: Vec<SanType>,
        purpose: ExtendedKeyUsagePurpose,
        validity: &Validity,
    ) -> Result<Issued, Error> {
        let key = KeyPair::generate().map_err(crypto)?;
        let mut params = params(validity, ORGANIZATION)?;
        params.distinguished_name.push(DnType::CommonName, subject);
        params.subject_alt_names = names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(crypto)?;
        Ok(Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

impl fmt::Debug for ClusterCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterCa").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

/// Returns parameters with a validity and a subject that has only an organisation.
fn params(validity: &Validity, organization: &str) -> Result<CertificateParams, Error> {
    /// The year 9999, the last that X.509 can say.
    const SECONDS_MAX: u64 = 253_402_300_799;
    let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs());
    let (Some(first), Some(last)) = (seconds(validity.not_before), seconds(validity.not_after)) else {
        return Err(Error::Validity);
    };
    if first >= last || last > SECONDS_MAX {
        return Err(Error::Validity);
    }
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + Duration::from_secs(first);
    params.not_after = epoch + Duration::from_secs(last);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.serial_number = Some(serial_number()?);
    Ok(params)
}

/// Draws a positive serial number of 120 random bits.
fn serial_number() -> Result<SerialNumber, Error> {
    let mut bytes = random()?;
    bytes[0] = 1;
    Ok(SerialNumber::from_slice(&bytes))
}

fn random() -> Result<[u8; 16], Error> {
    let mut bytes = [0; 16];
    let source = rustls::crypto::ring::default_provider().secure_random;
    source.fill(&mut bytes).map_err(|_| Error::Crypto("no random numbers".to_owned()))?;
    Ok(bytes)
}

fn uri(name: &Name) -> Result<SanType, Error> {
    Ok(SanType::URI(name.to_string().try_into().map_err(crypto)?))
}

fn host(name: &str) -> Result<SanType, Error> {
    let refused = || Error::Host(shorten(name));
    if let Ok(ip) = name.parse() {
        return Ok(SanType::IpAddress(ip));
    }
    // The verifying side reads DNS names strictly; a certificate that it would reject must not be issued.
    rustls_pki_types::DnsName::try_from(name).map_err(|_| refused())?;
    Ok(SanType::DnsName(name.to_owned().try_into().map_err(|_| refused())?))
}

fn crypto(error: rcgen::Error) -> Error {
    Error::Crypto(shorten(&error.to_string()))
}

fn authority(detail: &str) -> Error {
    Error::Authority(shorten(detail))
}
