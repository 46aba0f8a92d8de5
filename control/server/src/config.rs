//! The daemon's settings: a TOML file, then `WEIR_CONTROL_…` variables, then flags; later ones win.

mod args;
mod etcd;
mod layers;
mod placing;

use std::{
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use weir_api::{
    routes::{HTTP_PORT, LINK_PORT},
    units,
};
use weir_scheduler::limits;
use weir_wire::{
    id::ClusterName,
    message::{WIRE_MAX, WIRE_MIN},
};

pub use args::Args;
pub use etcd::{EtcdCertificate, EtcdConfig, EtcdLogin, EtcdTls};
use layers::Layer;
pub use placing::Placing;

/// The cluster when none is named.
const CLUSTER_DEFAULT: &str = "weir";
/// Most ended runs that can be kept: half of all runs that are known.
const KEEP_ENDED_RUNS_MAX: u32 = 1_000_000;
const _: () = assert!(KEEP_ENDED_RUNS_MAX as usize * 2 <= limits::RUNS_MAX);
/// How long ended runs can be kept.
const KEEP_ENDED_FOR: RangeInclusive<Duration> = limits::KEEP_ENDED_MIN..=Duration::from_secs(3650 * 24 * 3600);

/// The settings of one control plane, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The cluster. Default `weir`.
    pub cluster: ClusterName,
    /// Where the cluster's state is kept.
    pub store: StoreConfig,
    /// The directory of the blob store. Default: `blobs` in the data directory.
    pub blobs: PathBuf,
    /// Where the HTTP API listens. Default `0.0.0.0:4640`, or `127.0.0.1:4640` when it is open; port 0 picks one.
    pub listen_http: SocketAddr,
    /// Where the link to executors listens. Default `0.0.0.0:4641`, or `127.0.0.1:4641` when the API is open; port 0
    /// picks one.
    pub listen_quic: SocketAddr,
    /// The URL under which clients and other replicas reach the HTTP API. Default: made of the host name.
    pub advertise_http: Option<String>,
    /// The host and port under which executors reach the link. Default: made of the host name.
    pub advertise_quic: Option<String>,
    /// The directory with this replica's certificates.
    pub identity: PathBuf,
    /// Who may use the HTTP API.
    pub api: ApiConfig,
    /// Which ended runs are kept.
    pub keep_ended: KeepEnded,
    /// How nodes are filled, who makes room, and when nothing is replaced.
    pub placing: Placing,
    /// The newest wire version of sessions with executors. Default: the newest one.
    pub wire_max: u32,
}

/// Which ended runs are kept; those that others need in any case, and the newest of each job while no more than a million
/// runs are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepEnded {
    /// How many, at most 1,000,000. Default 100,000.
    pub runs: u32,
    /// How long, 5 min to 10 years. Default 7 days.
    pub time: Duration,
}

impl Default for KeepEnded {
    fn default() -> Self {
        let runs = u32::try_from(limits::KEEP_ENDED_MAX).unwrap_or(u32::MAX);
        Self { runs, time: limits::KEEP_ENDED_FOR }
    }
}

/// Where the cluster's state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreConfig {
    /// In etcd.
    Etcd(EtcdConfig),
    /// In a file in this directory, used by this process alone.
    Embedded(PathBuf),
}

/// Who may use the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiConfig {
    /// Everybody on this machine, without TLS: only on a loopback address.
    InsecureLoopback,
    /// Over TLS, whoever has the token whose SHA-256 is in this file as `sha256:` and 64 hexadecimal digits.
    Token {
        /// The file. Default: `token.sha256` in the directory of the certificates.
        file: PathBuf,
    },
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read the settings in {}: {detail}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// The file is not TOML, has an unknown key or a value of the wrong kind.
    #[error("read the settings in {}: {detail}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Where and what.
        detail: String,
    },
    /// A value cannot be used.
    #[error("use the setting {key}: {problem}")]
    Value {
        /// The setting as it is named in the file.
        key: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A variable has the prefix but is not a setting.
    #[error("use the environment variable {0}: there is no such setting")]
    Variable(String),
}

impl Config {
    /// Puts the layers together: the file named by `--config` or `WEIR_CONTROL_CONFIG`, `environment`, and `args`.
    ///
    /// # Errors
    /// [`ConfigError`] names the file or setting, what is wrong, and what would be right.
    pub fn load(args: Args, environment: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let (file, variables) = layers::environment(environment)?;
        let path = args.config.clone().or(file);
        let file = path.map(|path| layers::file(&path)).transpose()?.unwrap_or_default();
        check(args.into_layer().over(variables).over(file))
    }

    /// The settings of a cluster on one machine for one person: everything in `directory`, an open API on loopback.
    #[must_use]
    pub fn dev(cluster: ClusterName, directory: &Path, http: SocketAddr, quic: SocketAddr, identity: PathBuf) -> Self {
        Self {
            cluster,
            store: StoreConfig::Embedded(directory.to_owned()),
            blobs: directory.join("blobs"),
            listen_http: http,
            listen_quic: quic,
            advertise_http: None,
            advertise_quic: None,
            identity,
            api: ApiConfig::InsecureLoopback,
            keep_ended: KeepEnded::default(),
            placing: Placing::default(),
            wire_max: WIRE_MAX,
        }
    }

    /// The settings as a file with the same effect.
    ///
    /// # Errors
    /// A path that is not UTF-8.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        #[derive(Serialize)]
        struct File<'a> {
            cluster: &'a str,
            #[serde(flatten)]
            etcd: Option<etcd::Keys<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            embedded: Option<&'a Path>,
            blobs: &'a Path,
            listen_http: SocketAddr,
            listen_quic: SocketAddr,
            #[serde(skip_serializing_if = "Option::is_none")]
            advertise_http: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            advertise_quic: Option<&'a str>,
            identity: &'a Path,
            #[serde(skip_serializing_if = "Option::is_none")]
            token_file: Option<&'a Path>,
            insecure_loopback: bool,
            keep_ended_runs: u32,
            keep_ended_for: String,
            #[serde(flatten)]
            placing: placing::Keys,
            wire_max: u32,
        }
        let (etcd, embedded) = match &self.store {
            StoreConfig::Etcd(etcd) => (Some(etcd.keys()), None),
            StoreConfig::Embedded(directory) => (None, Some(directory.as_path())),
        };
        let (token_file, insecure_loopback) = match &self.api {
            ApiConfig::InsecureLoopback => (None, true),
            ApiConfig::Token { file } => (Some(file.as_path()), false),
        };
        Ok(toml::to_string(&File {
            cluster: self.cluster.as_str(),
            etcd,
            embedded,
            blobs: &self.blobs,
            listen_http: self.listen_http,
            listen_quic: self.listen_quic,
            advertise_http: self.advertise_http.as_deref(),
            advertise_quic: self.advertise_quic.as_deref(),
            identity: &self.identity,
            token_file,
            insecure_loopback,
            keep_ended_runs: self.keep_ended.runs,
            keep_ended_for: units::format_duration_ms(u64::try_from(self.keep_ended.time.as_millis())?),
            placing: self.placing.keys(),
            wire_max: self.wire_max,
        })?)
    }
}

/// Turns what was said into settings that can work.
fn check(layer: Layer) -> Result<Config, ConfigError> {
    let (store, keep_ended) = (check_store(&layer)?, check_keep_ended(&layer)?);
    let placing = placing::check(&layer)?;
    let wire_max = check_wire_max(&layer)?;
    let cluster = layer.cluster.unwrap_or_else(|| CLUSTER_DEFAULT.to_owned());
    let cluster = cluster.parse().map_err(|e| value("cluster", e))?;
    let data = layer.data_dir.or(layer.embedded);
    let blobs = layer.blobs.or_else(|| data.map(|data| data.join("blobs")));
    let blobs = blobs.ok_or_else(|| value("blobs", "say where blobs are kept: --data-dir DIR or --blobs DIR"))?;
    let identity = layer.identity.ok_or_else(|| {
        value("identity", "name the directory that `wctl cluster init` made for this replica: --identity DIR")
    })?;
    let open = layer.insecure_loopback.unwrap_or(false);
    let host = if open { [127, 0, 0, 1] } else { [0, 0, 0, 0] };
    let listen_http = layer.listen_http.unwrap_or_else(|| (host, HTTP_PORT).into());
    let listen_quic = layer.listen_quic.unwrap_or_else(|| (host, LINK_PORT).into());
    let api = match (open, layer.token_file) {
        (true, Some(_)) => return Err(value("token_file", "an open API (insecure_loopback) has no token")),
        (true, None) if !listen_http.ip().is_loopback() => {
            let problem = format!("{listen_http} is not a loopback address, so the API needs TLS and a token there");
            return Err(value("insecure_loopback", problem));
        }
        (true, None) => ApiConfig::InsecureLoopback,
        (false, file) => ApiConfig::Token { file: file.unwrap_or_else(|| identity.join("token.sha256")) },
    };
    Ok(Config {
        cluster,
        store,
        blobs,
        listen_http,
        listen_quic,
        advertise_http: layer.advertise_http,
        advertise_quic: layer.advertise_quic,
        identity,
        api,
        keep_ended,
        placing,
        wire_max,
    })
}

fn check_wire_max(layer: &Layer) -> Result<u32, ConfigError> {
    let wire = layer.wire_max.unwrap_or(WIRE_MAX);
    if (WIRE_MIN..=WIRE_MAX).contains(&wire) {
        return Ok(wire);
    }
    Err(value("wire_max", format!("{wire} is out of range; say {WIRE_MIN} to {WIRE_MAX}")))
}

fn check_keep_ended(layer: &Layer) -> Result<KeepEnded, ConfigError> {
    let default = KeepEnded::default();
    let runs = layer.keep_ended_runs.unwrap_or(default.runs);
    if runs > KEEP_ENDED_RUNS_MAX {
        return Err(value(
            "keep_ended_runs",
            format!("{runs} is out of range; 0 to {KEEP_ENDED_RUNS_MAX} can be kept"),
        ));
    }
    let Some(text) = &layer.keep_ended_for else { return Ok(KeepEnded { runs, ..default }) };
    let ms = units::parse_duration_ms(text).map_err(|error| value("keep_ended_for", error))?;
    let time = Duration::from_millis(ms);
    if !KEEP_ENDED_FOR.contains(&time) {
        return Err(value("keep_ended_for", format!("{text} is out of range; say 5m to 3650d")));
    }
    Ok(KeepEnded { runs, time })
}

/// Where the state is kept: in one place.
fn check_store(layer: &Layer) -> Result<StoreConfig, ConfigError> {
    let endpoints = layer.etcd.clone().unwrap_or_default();
    match (layer.embedded.clone(), endpoints.is_empty()) {
        (Some(directory), true) => {
            etcd::check_absent(layer)?;
            Ok(StoreConfig::Embedded(directory))
        }
        (None, false) => Ok(StoreConfig::Etcd(etcd::check(endpoints, layer)?)),
        (Some(_), false) => Err(value("embedded", "give either etcd endpoints or a directory, not both")),
        (None, true) => {
            let problem = "say where the state is kept: --etcd http://127.0.0.1:2379 or --embedded DIR";
            Err(value("etcd", problem))
        }
    }
}

fn value(key: &'static str, problem: impl ToString) -> ConfigError {
    ConfigError::Value { key, problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    pub(super) fn load(flags: &[&str], variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let args = Args::try_parse_from(["weir-control"].iter().chain(flags)).unwrap();
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::load(args, variables)
    }

    #[test]
    fn flags_beat_variables_and_variables_beat_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.toml");
        let text = "cluster = \"file\"\nembedded = \"/file\"\nidentity = \"/id\"\nlisten_quic = \"127.0.0.1:1\"\n";
        std::fs::write(&path, text).unwrap();
        let file = path.to_str().unwrap();
        let variables = [("WEIR_CONTROL_CLUSTER", "env"), ("WEIR_CONTROL_LISTEN_HTTP", "127.0.0.1:2"), ("PATH", "/")];
        let config = load(&["--config", file, "--cluster", "flag"], &variables).unwrap();
        assert_eq!(config.cluster.as_str(), "flag");
        assert_eq!(config.listen_http, "127.0.0.1:2".parse().unwrap());
        assert_eq!(config.listen_quic, "127.0.0.1:1".parse().unwrap());
        assert_eq!(config.store, StoreConfig::Embedded("/file".into()));
        assert_eq!(config.blobs, Path::new("/file/blobs"));
        assert_eq!(config.api, ApiConfig::Token { file: "/id/token.sha256".into() });
    }

    #[test]
    fn what_is_printed_reads_back() {
        let etcd = ["--etcd", "http://127.0.0.1:1", "--etcd", "http://127.0.0.1:2", "--data-dir", "/d"];
        let etcd = [&etcd[..], &["--identity", "/i", "--advertise-http", "https://a:1"]].concat();
        let secure = ["--etcd", "https://a:1", "--etcd-ca", "/ca", "--etcd-cert", "/c", "--etcd-key", "/k"];
        let login = ["--etcd-user", "weir", "--etcd-password-file", "/p", "--data-dir", "/d", "--identity", "/i"];
        let secure = [&secure[..], &login].concat();
        let embedded = vec![
            "--embedded",
            "/e",
            "--identity",
            "/i",
            "--insecure-loopback",
            "--placement",
            "pack",
            "--preempt-delay",
            "3s",
        ];
        for flags in [etcd, secure, embedded] {
            let config = load(&flags, &[]).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("control.toml");
            std::fs::write(&path, config.to_toml().unwrap()).unwrap();
            assert_eq!(load(&[], &[("WEIR_CONTROL_CONFIG", path.to_str().unwrap())]).unwrap(), config);
        }
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let base = ["--identity", "/i", "--embedded", "/e"];
        for (flags, variables, part) in [
            (vec![], vec![], "setting etcd"),
            (vec!["--etcd", "http://x:1", "--embedded", "/e"], vec![], "not both"),
            (vec!["--etcd", "http://x:1", "--identity", "/i"], vec![], "setting blobs"),
            (vec!["--embedded", "/e"], vec![], "wctl cluster init"),
            ([&base[..], &["--cluster", "No Name"]].concat(), vec![], "setting cluster"),
            (
                [&base[..], &["--insecure-loopback", "--listen-http", "0.0.0.0:1"]].concat(),
                vec![],
                "not a loopback address",
            ),
            ([&base[..], &["--insecure-loopback", "--token-file", "/t"]].concat(), vec![], "setting token_file"),
            ([&base[..], &["--keep-ended-for", "1m"]].concat(), vec![], "say 5m to 3650d"),
            (base.to_vec(), vec![("WEIR_CONTROL_KEEP_ENDED_RUNS", "2000000")], "0 to 1000000 can be kept"),
            (base.to_vec(), vec![("WEIR_CONTROL_CLUSTR", "x")], "WEIR_CONTROL_CLUSTR"),
            (base.to_vec(), vec![("WEIR_CONTROL_LISTEN_HTTP", "nowhere")], "listen_http"),
            (base.to_vec(), vec![("WEIR_CONTROL_INSECURE_LOOPBACK", "maybe")], "insecure_loopback"),
            (base.to_vec(), vec![("WEIR_CONTROL_CONFIG", "/does/not/exist")], "/does/not/exist"),
        ] {
            let error = load(&flags, &variables).unwrap_err().to_string();
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        }
    }

    #[test]
    fn unknown_keys_in_the_file_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.toml");
        for (text, part) in [("clutser = \"a\"", "clutser"), ("cluster = 1", "cluster"), ("cluster", "line 1")] {
            std::fs::write(&path, text).unwrap();
            let error = load(&["--config", path.to_str().unwrap()], &[]).unwrap_err().to_string();
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        }
    }
}
