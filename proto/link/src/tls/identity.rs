//! This side's certificate, key and authority.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ring::hmac;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::time::ASN1Time;

use super::provider;
use super::verify::name_in;
use crate::error::shorten;
use crate::name::Name;

/// The largest PEM file read, bytes.
const PEM_LEN_MAX: u64 = 256 << 10;

/// A certificate chain with its key, and the authority that the peer's certificate must come from.
///
/// Its `Debug` form shows the name only.
#[derive(Clone)]
pub struct Identity {
    name: Name,
    certified: Arc<CertifiedKey>,
    authorities: Vec<CertificateDer<'static>>,
    not_after: SystemTime,
    /// Keyed with the private key.
    secrets: hmac::Key,
}

/// Why an identity cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("read {}: {detail}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// A file or text does not hold what it should.
    #[error("find a {what} in {source_name}: {detail}")]
    NotPem {
        /// The file, or what the text is.
        source_name: String,
        /// What was looked for.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// The certificate's last day has passed.
    #[error("use the certificate of {name}: it expired on {not_after}")]
    Expired {
        /// Whom it names.
        name: Name,
        /// Its last moment, UTC.
        not_after: String,
    },
    /// The certificate's first day has not come, or the clock is behind.
    #[error("use the certificate of {name}: it is valid from {not_before}; check the clock")]
    NotYetValid {
        /// Whom it names.
        name: Name,
        /// Its first moment, UTC.
        not_before: String,
    },
    /// The key belongs to another certificate.
    #[error("use the certificate of {name}: the private key belongs to another certificate")]
    KeyMismatch {
        /// Whom it names.
        name: Name,
    },
    /// The certificate does not name a role in a cluster.
    #[error("use the certificate: it {0}")]
    NoName(String),
    /// The TLS library refuses it.
    #[error("use the identity: {0}")]
    Unusable(String),
}

impl Identity {
    /// Reads certificate chain, private key and authority from PEM files.
    ///
    /// # Errors
    /// [`IdentityError`] names the file, or the dates of a certificate that is not valid today.
    pub fn load(chain: &Path, key: &Path, authority: &Path) -> Result<Self, IdentityError> {
        let texts = [read(chain)?, read(key)?, read(authority)?];
        warn_if_shared(key);
        let names = [chain, key, authority].map(|path| path.display().to_string());
        Self::parse([&texts[0], &texts[1], &texts[2]], names, SystemTime::now())
    }

    /// Takes certificate chain, private key and authority from PEM texts and checks them against the clock `now`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_pem(chain: &str, key: &str, authority: &str, now: SystemTime) -> Result<Self, IdentityError> {
        let names = ["the certificate chain", "the private key", "the authority"].map(str::to_owned);
        Self::parse([chain.as_bytes(), key.as_bytes(), authority.as_bytes()], names, now)
    }

    /// Returns whom the certificate names.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Returns when the certificate expires; a daemon warns well before.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    pub(crate) fn certified(&self) -> CertifiedKey {
        CertifiedKey::clone(&self.certified)
    }

    pub(crate) fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    /// Returns a secret of this identity's private key, another one for each label and the same at each start.
    pub(crate) fn secret(&self, label: &str) -> hmac::Tag {
        hmac::sign(&self.secrets, label.as_bytes())
    }

    fn parse(pems: [&[u8]; 3], sources: [String; 3], now: SystemTime) -> Result<Self, IdentityError> {
        let [chain_pem, key_pem, authority_pem] = pems;
        let [chain_source, key_source, authority_source] = sources;
        let chain = certificates(chain_pem, chain_source)?;
        let authorities = certificates(authority_pem, authority_source)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|e| not_pem(key_source, "private key", &e))?;
        let name = name_in(&chain[0]).map_err(IdentityError::NoName)?;
        let not_after = valid_until(&chain[0], &name, now)?;
        let secrets = hmac::Key::new(hmac::HMAC_SHA256, key.secret_der());
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
            if matches!(error, rustls::Error::InconsistentKeys(_)) {
                IdentityError::KeyMismatch { name: name.clone() }
            } else {
                IdentityError::unusable(&error)
            }
        })?;
        Ok(Self { name, certified: Arc::new(certified), authorities, not_after, secrets })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("name", &self.name.to_string()).finish_non_exhaustive()
    }
}

impl IdentityError {
    pub(crate) fn unusable(error: &dyn fmt::Display) -> Self {
        Self::Unusable(shorten(&error.to_string()))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let unreadable = |detail: String| IdentityError::Unreadable { path: path.to_owned(), detail };
    let len = std::fs::metadata(path).map_err(|e| unreadable(e.to_string()))?.len();
    if len > PEM_LEN_MAX {
        return Err(unreadable(format!("it has {len} bytes, more than {PEM_LEN_MAX}; is it a certificate?")));
    }
    std::fs::read(path).map_err(|e| unreadable(e.to_string()))
}

/// Complains about a private key that other users of the machine can read.
#[cfg(unix)]
fn warn_if_shared(key: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(key).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!(path = %key.display(), mode = format!("{:o}", mode & 0o777), "others can read the private key");
    }
}

#[cfg(not(unix))]
fn warn_if_shared(_key: &Path) {}

/// Returns at least one certificate.
fn certificates(pem: &[u8], source: String) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(list) if list.is_empty() => Err(not_pem(source, "certificate", &"there is no PEM block of that kind")),
        Ok(list) => Ok(list),
        Err(error) => Err(not_pem(source, "certificate", &error)),
    }
}

fn not_pem(source_name: String, what: &'static str, detail: &dyn fmt::Display) -> IdentityError {
    IdentityError::NotPem { source_name, what, detail: shorten(&detail.to_string()) }
}

fn valid_until(certificate: &CertificateDer<'_>, name: &Name, now: SystemTime) -> Result<SystemTime, IdentityError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|e| IdentityError::unusable(&e))?;
    let validity = parsed.validity();
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| ASN1Time::from_timestamp(seconds).ok())
        .ok_or_else(|| IdentityError::unusable(&"the clock is beyond any certificate"))?;
    if now < validity.not_before {
        return Err(IdentityError::NotYetValid { name: name.clone(), not_before: validity.not_before.to_string() });
    }
    if now > validity.not_after {
        return Err(IdentityError::Expired { name: name.clone(), not_after: validity.not_after.to_string() });
    }
    let until = u64::try_from(validity.not_after.timestamp()).unwrap_or(0);
    Ok(UNIX_EPOCH + std::time::Duration::from_secs(until))
}
