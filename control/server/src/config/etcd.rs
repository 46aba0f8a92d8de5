//! The settings of etcd: where it is, how it is reached, and as which user.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{ConfigError, layers::Layer, value};

/// Where etcd is, how it is reached, and as which user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdConfig {
    /// URLs of its members.
    pub endpoints: Vec<String>,
    /// Whether `http://` is accepted for other machines.
    pub allow_plaintext: bool,
    /// How `https://` is spoken. Default: not at all.
    pub tls: Option<EtcdTls>,
    /// The user, where etcd's authentication is enabled. Default: none.
    pub login: Option<EtcdLogin>,
}

/// The certificates of the connections to etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdTls {
    /// PEM file with the authorities that may have signed etcd's certificates.
    pub ca: PathBuf,
    /// What is shown to an etcd that asks for a client certificate.
    pub client: Option<EtcdCertificate>,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdCertificate {
    /// PEM file with the certificate, followed by intermediate ones if there are any.
    pub cert: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
}

/// A user of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdLogin {
    /// The name.
    pub user: String,
    /// The file with the password. The password itself is no setting, so that it is in no list of processes.
    pub password_file: PathBuf,
}

/// The settings as keys of the file.
#[derive(Serialize)]
pub(super) struct Keys<'a> {
    etcd: &'a [String],
    etcd_allow_plaintext: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    etcd_ca: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etcd_cert: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etcd_key: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etcd_user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etcd_password_file: Option<&'a Path>,
}

impl EtcdConfig {
    /// An etcd that is reached without TLS and asks for no user.
    #[must_use]
    pub fn plain(endpoints: Vec<String>) -> Self {
        Self { endpoints, allow_plaintext: false, tls: None, login: None }
    }

    pub(super) fn keys(&self) -> Keys<'_> {
        let client = self.tls.as_ref().and_then(|tls| tls.client.as_ref());
        Keys {
            etcd: &self.endpoints,
            etcd_allow_plaintext: self.allow_plaintext,
            etcd_ca: self.tls.as_ref().map(|tls| tls.ca.as_path()),
            etcd_cert: client.map(|client| client.cert.as_path()),
            etcd_key: client.map(|client| client.key.as_path()),
            etcd_user: self.login.as_ref().map(|login| login.user.as_str()),
            etcd_password_file: self.login.as_ref().map(|login| login.password_file.as_path()),
        }
    }
}

/// Takes what a layer says of an etcd at these endpoints.
pub(super) fn check(endpoints: Vec<String>, layer: &Layer) -> Result<EtcdConfig, ConfigError> {
    let allow_plaintext = layer.etcd_allow_plaintext.unwrap_or(false);
    let tls = check_tls(&endpoints, layer)?;
    let login = check_login(layer)?;
    Ok(EtcdConfig { endpoints, allow_plaintext, tls, login })
}

/// Refuses what is said of an etcd where there is none.
pub(super) fn check_absent(layer: &Layer) -> Result<(), ConfigError> {
    match tls_key(layer).or_else(|| login_key(layer)) {
        Some(key) => Err(value(key, "the state is kept in the directory of --embedded, where no etcd is asked")),
        None => Ok(()),
    }
}

fn check_tls(endpoints: &[String], layer: &Layer) -> Result<Option<EtcdTls>, ConfigError> {
    let client = match (layer.etcd_cert.clone(), layer.etcd_key.clone()) {
        (Some(cert), Some(key)) => Some(EtcdCertificate { cert, key }),
        (None, None) => None,
        (Some(_), None) => {
            return Err(value("etcd_cert", "its key is missing: name its PEM file with --etcd-key FILE"));
        }
        (None, Some(_)) => {
            return Err(value("etcd_key", "its certificate is missing: name its PEM file with --etcd-cert FILE"));
        }
    };
    let secure = |url: &&String| url.starts_with("https://");
    if let (Some(key), Some(url)) = (tls_key(layer), endpoints.iter().find(|url| !secure(url))) {
        let problem = format!("the endpoint {url:?} would be reached without TLS; begin all endpoints with https://");
        return Err(value(key, problem));
    }
    match (layer.etcd_ca.clone(), endpoints.iter().find(secure)) {
        (Some(ca), _) => Ok(Some(EtcdTls { ca, client })),
        (None, None) => Ok(None),
        (None, Some(url)) => Err(value(
            "etcd_ca",
            format!(
                "the endpoint {url:?} needs TLS: name the PEM file of the authority that signed etcd's certificate with \
                 --etcd-ca FILE; for a public authority that is the list of the system, such as \
                 /etc/ssl/certs/ca-certificates.crt"
            ),
        )),
    }
}

fn check_login(layer: &Layer) -> Result<Option<EtcdLogin>, ConfigError> {
    match (layer.etcd_user.clone(), layer.etcd_password_file.clone()) {
        (Some(user), _) if user.trim().is_empty() => {
            Err(value("etcd_user", "the name is empty; leave the setting out where etcd asks for no user"))
        }
        (Some(user), Some(password_file)) => Ok(Some(EtcdLogin { user, password_file })),
        (None, None) => Ok(None),
        (Some(user), None) => {
            let problem = format!("the password of {user:?} is missing: name its file with --etcd-password-file FILE");
            Err(value("etcd_user", problem))
        }
        (None, Some(_)) => {
            Err(value("etcd_password_file", "say whose password this is: --etcd-user NAME, as etcd knows it"))
        }
    }
}

/// The first setting of TLS that a layer has.
fn tls_key(layer: &Layer) -> Option<&'static str> {
    let given = [("etcd_ca", &layer.etcd_ca), ("etcd_cert", &layer.etcd_cert), ("etcd_key", &layer.etcd_key)];
    given.into_iter().find(|(_, path)| path.is_some()).map(|(key, _)| key)
}

/// The first setting of the user that a layer has.
fn login_key(layer: &Layer) -> Option<&'static str> {
    let user = layer.etcd_user.is_some().then_some("etcd_user");
    user.or_else(|| layer.etcd_password_file.is_some().then_some("etcd_password_file"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::load;
    use super::*;
    use crate::config::StoreConfig;

    const BASE: [&str; 4] = ["--identity", "/i", "--data-dir", "/d"];
    const SECURE: [&str; 4] = ["--etcd", "https://a:1", "--etcd-ca", "/ca"];

    fn etcd(flags: &[&str], variables: &[(&str, &str)]) -> Result<EtcdConfig, ConfigError> {
        let flags = [&BASE[..], flags].concat();
        load(&flags, variables).map(|config| match config.store {
            StoreConfig::Etcd(etcd) => etcd,
            StoreConfig::Embedded(_) => panic!("the state is in etcd"),
        })
    }

    #[test]
    fn certificates_and_user_come_from_flags_and_variables() {
        let flags = ["--etcd-cert", "/cert", "--etcd-key", "/key", "--etcd", "https://b:2"];
        let variables = [("WEIR_CONTROL_ETCD_USER", "weir"), ("WEIR_CONTROL_ETCD_PASSWORD_FILE", "/password")];
        let found = etcd(&[&SECURE[..], &flags].concat(), &variables).unwrap();
        let expected = EtcdConfig {
            endpoints: vec!["https://a:1".to_owned(), "https://b:2".to_owned()],
            allow_plaintext: false,
            tls: Some(EtcdTls {
                ca: "/ca".into(),
                client: Some(EtcdCertificate { cert: "/cert".into(), key: "/key".into() }),
            }),
            login: Some(EtcdLogin { user: "weir".to_owned(), password_file: "/password".into() }),
        };
        assert_eq!(found, expected);
        let variables = [
            ("WEIR_CONTROL_ETCD", "https://a:1, https://b:2"),
            ("WEIR_CONTROL_ETCD_CA", "/ca"),
            ("WEIR_CONTROL_ETCD_CERT", "/cert"),
            ("WEIR_CONTROL_ETCD_KEY", "/key"),
        ];
        let flags = ["--etcd-user", "weir", "--etcd-password-file", "/password"];
        assert_eq!(etcd(&flags, &variables).unwrap(), expected);
    }

    #[test]
    fn settings_of_etcd_that_cannot_work_say_what_to_do() {
        let plain = ["--etcd", "http://127.0.0.1:1"];
        let mixed = ["--etcd", "https://a:1", "--etcd", "http://127.0.0.1:1", "--etcd-ca", "/ca"];
        let embedded = ["--embedded", "/e"];
        let cases: [(&[&str], &[&str], [&str; 2]); 13] = [
            (&SECURE, &["--etcd-cert", "/c"], ["setting etcd_cert", "--etcd-key"]),
            (&SECURE, &["--etcd-key", "/k"], ["setting etcd_key", "--etcd-cert"]),
            (&plain, &["--etcd-cert", "/c"], ["setting etcd_cert", "--etcd-key"]),
            (&plain, &["--etcd-cert", "/c", "--etcd-key", "/k"], ["setting etcd_cert", "https://"]),
            (&plain, &["--etcd-ca", "/ca"], ["setting etcd_ca", "http://127.0.0.1:1"]),
            (&mixed, &[], ["setting etcd_ca", "http://127.0.0.1:1"]),
            (&["--etcd", "https://a:1"], &[], ["setting etcd_ca", "--etcd-ca"]),
            (&["--etcd", "https://a:1"], &["--etcd-cert", "/c", "--etcd-key", "/k"], ["setting etcd_ca", "--etcd-ca"]),
            (&plain, &["--etcd-user", "weir"], ["setting etcd_user", "--etcd-password-file"]),
            (&plain, &["--etcd-user", "", "--etcd-password-file", "/p"], ["setting etcd_user", "empty"]),
            (&plain, &["--etcd-password-file", "/p"], ["setting etcd_password_file", "--etcd-user"]),
            (&embedded, &["--etcd-ca", "/ca"], ["setting etcd_ca", "--embedded"]),
            (&embedded, &["--etcd-user", "weir"], ["setting etcd_user", "--embedded"]),
        ];
        for (place, access, parts) in cases {
            let error = load(&[&BASE[..], place, access].concat(), &[]).unwrap_err().to_string();
            for part in parts {
                assert!(error.contains(part), "{error:?} does not say {part:?}");
            }
        }
    }

    #[test]
    fn the_example_for_operators_can_be_used() {
        let text = include_str!("../../../../docs/OPERATIONS.md");
        let example = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.toml");
        std::fs::write(&path, example).unwrap();
        let config = load(&["--config", path.to_str().unwrap()], &[]).unwrap();
        let StoreConfig::Etcd(etcd) = config.store else { panic!("the state is in etcd") };
        assert!(etcd.endpoints.len() == 3 && etcd.tls.is_some_and(|tls| tls.client.is_some()) && etcd.login.is_some());
    }

    #[test]
    fn a_password_is_no_setting() {
        let error = etcd(&SECURE, &[("WEIR_CONTROL_ETCD_PASSWORD", "hunter2")]).unwrap_err().to_string();
        assert!(error.contains("WEIR_CONTROL_ETCD_PASSWORD") && !error.contains("hunter2"), "{error}");
    }
}
