//! What opens an etcd that is protected: certificates, users, and the settings of `weir-control` for both.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, Permission, TlsOptions};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// The user that `weir-control` is to etcd; it may use the keys of the cluster and nothing else.
pub const USER: &str = "weir";
/// Its password.
pub const PASSWORD: &str = "correct horse";
const ROOT: &str = "root";
const ROOT_PASSWORD: &str = "of the tests only";
/// The keys of the clusters that tests start.
const KEYS: &str = "/weir/e2e/";

/// How `weir-control` reaches etcd. A test changes it to see what is refused.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// URLs, in the order in which they are tried.
    pub endpoints: Vec<String>,
    /// The authority.
    pub ca: Option<PathBuf>,
    /// Client certificate and key.
    pub client: Option<[PathBuf; 2]>,
    /// User, and file with the password.
    pub login: Option<(String, PathBuf)>,
}

impl Access {
    /// Adds the flags of `weir-control`.
    pub fn add_to(&self, command: &mut Command) {
        for url in &self.endpoints {
            command.arg("--etcd").arg(url);
        }
        if let Some(ca) = &self.ca {
            command.arg("--etcd-ca").arg(ca);
        }
        if let Some([cert, key]) = &self.client {
            command.arg("--etcd-cert").arg(cert).arg("--etcd-key").arg(key);
        }
        if let Some((user, password_file)) = &self.login {
            command.arg("--etcd-user").arg(user).arg("--etcd-password-file").arg(password_file);
        }
    }
}

/// The files that protect one etcd.
#[derive(Debug, Clone)]
pub(super) struct Protection {
    dir: PathBuf,
    /// How tokens are made, as etcd's `--auth-token` wants it.
    token: String,
}

impl Protection {
    /// Makes an authority, a certificate for etcd and one for its client, and the file with the password.
    pub(super) fn make(dir: &Path, token: &str) -> Result<Self> {
        let protection = Self { dir: dir.to_owned(), token: String::new() };
        std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        let (ca_key, mut ca) = (KeyPair::generate()?, CertificateParams::default());
        ca.distinguished_name.push(DnType::CommonName, "etcd tests");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        protection.write("ca.pem", &ca.self_signed(&ca_key)?.pem())?;
        let issuer = Issuer::new(ca, ca_key);
        for name in ["server", "client"] {
            let (key, mut params) = (KeyPair::generate()?, CertificateParams::default());
            // No user of etcd has this name, so that the certificate alone gives no right to any key.
            params.distinguished_name.push(DnType::CommonName, format!("{name} of the tests"));
            params.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
            // etcd's own gateway is a client of it, with the certificate of the server.
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            protection.write(&format!("{name}.pem"), &params.signed_by(&key, &issuer)?.pem())?;
            protection.write(&format!("{name}.key"), &key.serialize_pem())?;
        }
        protection.write("password", &format!("{PASSWORD}\n"))?;
        protection.write("wrong-password", "battery staple\n")?;
        protection.write("token.key", "signs the tokens of a test\n")?;
        let token = token.replace("DIR", &dir.display().to_string());
        Ok(Self { token, ..protection })
    }

    /// Adds the flags of etcd.
    pub(super) fn add_to(&self, command: &mut Command) {
        let flag = |name: &str, file: &str| format!("--{name}={}", self.file(file).display());
        command.arg(flag("trusted-ca-file", "ca.pem")).arg("--client-cert-auth");
        command.arg(flag("cert-file", "server.pem")).arg(flag("key-file", "server.key"));
        command.arg(format!("--auth-token={}", self.token));
    }

    pub(super) fn access(&self, url: String) -> Access {
        Access {
            endpoints: vec![url],
            ca: Some(self.file("ca.pem")),
            client: Some([self.file("client.pem"), self.file("client.key")]),
            login: Some((USER.to_owned(), self.file("password"))),
        }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Makes root and the user of `weir-control`, and has etcd ask who everybody is from then on.
    pub(super) fn enable_users(&self, url: &str) -> Result<()> {
        self.ask(url, None, async |mut client| {
            client.role_add(USER).await?;
            client.role_grant_permission(USER, Permission::read_write(KEYS).with_prefix()).await?;
            for (user, password) in [(ROOT, ROOT_PASSWORD), (USER, PASSWORD)] {
                client.user_add(user, password, None).await?;
                client.user_grant_role(user, user).await?;
            }
            client.auth_enable().await?;
            Ok(())
        })
    }

    pub(super) fn set_password(&self, url: &str, password: &str) -> Result<()> {
        self.ask(url, Some((ROOT, ROOT_PASSWORD)), async |mut client| {
            client.user_change_password(USER, password).await.map(drop)
        })
    }

    /// Asks something of etcd with the client certificate.
    fn ask<T>(
        &self,
        url: &str,
        user: Option<(&str, &str)>,
        question: impl AsyncFnOnce(Client) -> Result<T, Error>,
    ) -> Result<T> {
        let read = |name: &str| std::fs::read(self.file(name)).with_context(|| format!("read {name}"));
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(read("ca.pem")?))
            .identity(Identity::from_pem(read("client.pem")?, read("client.key")?));
        let mut options = ConnectOptions::new().with_tls(tls);
        if let Some((name, password)) = user {
            options = options.with_user(name, password);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
        let answer = runtime.block_on(async { question(Client::connect([url], Some(options)).await?).await });
        answer.with_context(|| format!("ask {url}"))
    }

    /// Writes a file that only its owner can read.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let mut file = std::fs::OpenOptions::new();
        let file = file.create_new(true).write(true).mode(0o600).open(self.file(name));
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.with_context(|| format!("write {name}"))
    }
}
