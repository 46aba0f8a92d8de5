//! What opens an etcd: the certificates of the connections, and the user. Read from their files once, at the start.

use std::{fmt, path::Path, sync::Arc};

use etcd_client::{Certificate, Identity, TlsOptions};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::{CONNECT_MAX, StoreError};
use crate::config::{EtcdCertificate, EtcdLogin, EtcdTls};

/// The longest file read, bytes: a system's list of public authorities has some hundred KiB.
const PEM_LEN_MAX: u64 = 4 << 20;
/// The longest password file, bytes; etcd's passwords are hashed by bcrypt, which reads 72.
const PASSWORD_LEN_MAX: u64 = 4096;

/// A user and the password. `Debug` does not show the password.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) user: String,
    password: String,
}

impl Credentials {
    /// Reads the password from its file; one line end after it is not part of it.
    pub(super) fn load(login: &EtcdLogin) -> Result<Self, StoreError> {
        const KEY: &str = "etcd_password_file";
        let path = &login.password_file;
        let refuse = |why: &str| setting(KEY, format!("{} {why}", path.display()));
        let bytes = read(KEY, path, PASSWORD_LEN_MAX, "write the password of etcd_user to it")?;
        warn_if_shared(path);
        let text = String::from_utf8(bytes).map_err(|_| refuse("is not UTF-8; write the password to it as text"))?;
        let password = text.strip_suffix('\n').unwrap_or(&text);
        let password = password.strip_suffix('\r').unwrap_or(password);
        if password.is_empty() {
            return Err(refuse("is empty; write the password of etcd_user to it"));
        }
        Ok(Self { user: login.user.clone(), password: password.to_owned() })
    }

    /// User and password as the client wants them.
    pub(super) fn pair(&self) -> (String, String) {
        (self.user.clone(), self.password.clone())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Reads the certificates, and makes sure that they can be used: the client would say only that they cannot.
pub(super) fn load_tls(tls: &EtcdTls) -> Result<TlsOptions, StoreError> {
    let ca =
        read("etcd_ca", &tls.ca, PEM_LEN_MAX, "name the PEM file of the authority that signed etcd's certificate")?;
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(certificates("etcd_ca", &tls.ca, &ca)?);
    if usable == 0 {
        return Err(setting("etcd_ca", format!("{} has no certificate of an authority", tls.ca.display())));
    }
    // Without a limit, a handshake that a vanished peer never ends would occupy the connection.
    let options = TlsOptions::new().ca_certificate(Certificate::from_pem(&ca)).timeout(CONNECT_MAX);
    match &tls.client {
        Some(client) => Ok(options.identity(load_client(client, roots)?)),
        None => Ok(options),
    }
}

fn load_client(client: &EtcdCertificate, roots: RootCertStore) -> Result<Identity, StoreError> {
    let EtcdCertificate { cert, key } = client;
    let chain_pem = read("etcd_cert", cert, PEM_LEN_MAX, "name the PEM file of a certificate that etcd trusts")?;
    let key_pem = read("etcd_key", key, PEM_LEN_MAX, "name the PEM file of the private key of etcd_cert")?;
    warn_if_shared(key);
    let chain = certificates("etcd_cert", cert, &chain_pem)?;
    let refuse = |why: String| setting("etcd_key", format!("{} {why}", key.display()));
    let key_der = PrivateKeyDer::from_pem_slice(&key_pem)
        .map_err(|error| refuse(format!("has no private key in PEM: {error}; name the key of etcd_cert")))?;
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots))
        .and_then(|builder| builder.with_client_auth_cert(chain, key_der))
        .map_err(|error| refuse(format!("cannot be used with the certificate in {}: {error}", cert.display())))?;
    Ok(Identity::from_pem(chain_pem, key_pem))
}

fn certificates(key: &'static str, path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let refuse = |why: &str| setting(key, format!("{} {why}", path.display()));
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| refuse(&format!("is not a PEM file of certificates: {error}")))?;
    if found.is_empty() {
        return Err(refuse("has no certificate; it must be a PEM file with BEGIN CERTIFICATE"));
    }
    Ok(found)
}

fn read(key: &'static str, path: &Path, len_max: u64, advice: &str) -> Result<Vec<u8>, StoreError> {
    let unreadable = |detail: String| setting(key, format!("{} cannot be read: {detail}; {advice}", path.display()));
    let len = std::fs::metadata(path).map_err(|e| unreadable(e.to_string()))?.len();
    if len > len_max {
        return Err(unreadable(format!("it has {len} bytes, more than {len_max}")));
    }
    std::fs::read(path).map_err(|e| unreadable(e.to_string()))
}

/// Complains about a secret that other users of the machine can read.
fn warn_if_shared(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "others can read this secret");
    }
}

fn setting(key: &'static str, problem: String) -> StoreError {
    StoreError::Setting { key, problem }
}

#[cfg(test)]
mod tests {
    use std::{
        path::PathBuf,
        time::{Duration, SystemTime},
    };

    use weir_link::issue::{ClusterCa, Validity};

    use super::*;
    use crate::testing::cluster;

    /// A directory with `ca.pem`, and two certificates with their keys.
    fn files() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let validity = Validity::starting(SystemTime::now(), Duration::from_secs(3600));
        let (authority, ca) = ClusterCa::generate(cluster(), validity).unwrap();
        write("ca.pem", &ca.certificate_pem);
        for name in ["one", "two"] {
            let issued = authority.issue_executor(&name.parse().unwrap(), validity).unwrap();
            write(&format!("{name}.pem"), &issued.certificate_pem);
            write(&format!("{name}.key"), &issued.key_pem);
        }
        write("text", "neither certificate nor key\n");
        write("damaged", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        folder
    }

    #[test]
    fn certificates_that_cannot_work_are_named_with_what_to_do() {
        let folder = files();
        let path = |name: &str| folder.path().join(name);
        let load = |ca: &str, client: Option<(&str, &str)>| {
            let client = client.map(|(cert, key)| EtcdCertificate { cert: path(cert), key: path(key) });
            load_tls(&EtcdTls { ca: path(ca), client }).map(drop).map_err(|error| error.to_string())
        };
        load("ca.pem", None).unwrap();
        load("ca.pem", Some(("one.pem", "one.key"))).unwrap();
        for (ca, client, parts) in [
            ("missing", None, ["setting etcd_ca", "name the PEM file"]),
            ("text", None, ["setting etcd_ca", "has no certificate"]),
            ("damaged", None, ["setting etcd_ca", "no certificate of an authority"]),
            ("ca.pem", Some(("missing", "one.key")), ["setting etcd_cert", "name the PEM file"]),
            ("ca.pem", Some(("text", "one.key")), ["setting etcd_cert", "has no certificate"]),
            ("ca.pem", Some(("one.pem", "missing")), ["setting etcd_key", "name the PEM file"]),
            ("ca.pem", Some(("one.pem", "one.pem")), ["setting etcd_key", "no private key"]),
            ("ca.pem", Some(("one.pem", "two.key")), ["setting etcd_key", "one.pem"]),
        ] {
            let error = load(ca, client).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{ca} {client:?}: {error:?} does not say {part:?}");
            }
        }
    }

    #[test]
    fn a_password_is_read_from_its_file_and_shown_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let load = |password_file: PathBuf| Credentials::load(&EtcdLogin { user: "weir".to_owned(), password_file });
        for (content, password) in
            [("secret", "secret"), ("secret\n", "secret"), (" a b \r\n", " a b "), ("a\n\n", "a\n")]
        {
            std::fs::write(&path, content).unwrap();
            let credentials = load(path.clone()).unwrap();
            assert_eq!(credentials.pair(), ("weir".to_owned(), password.to_owned()));
            assert!(!format!("{credentials:?}").contains(password), "{credentials:?}");
        }
        let too_long = vec![b'a'; usize::try_from(PASSWORD_LEN_MAX).unwrap() + 1];
        for content in [&b""[..], b"\n", b"\r\n", b"\xff", &too_long] {
            std::fs::write(&path, content).unwrap();
            let error = load(path.clone()).unwrap_err().to_string();
            assert!(error.contains("setting etcd_password_file") && error.contains("write the password"), "{error}");
        }
        let error = load(folder.path().join("missing")).unwrap_err().to_string();
        assert!(error.contains("setting etcd_password_file") && error.contains("missing"), "{error}");
    }
}
