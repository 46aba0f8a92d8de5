//! Settings as they are given in one place, before they are put together.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::Deserialize;

use super::{ConfigError, value};

/// What the name of each variable begins with.
const PREFIX: &str = "WEIR_CONTROL_";
/// The longest file read, bytes.
const FILE_LEN_MAX: u64 = 1 << 20;

/// What one place says; all of it may be missing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layer {
    pub(super) cluster: Option<String>,
    pub(super) etcd: Option<Vec<String>>,
    pub(super) etcd_allow_plaintext: Option<bool>,
    pub(super) etcd_ca: Option<PathBuf>,
    pub(super) etcd_cert: Option<PathBuf>,
    pub(super) etcd_key: Option<PathBuf>,
    pub(super) etcd_user: Option<String>,
    pub(super) etcd_password_file: Option<PathBuf>,
    pub(super) embedded: Option<PathBuf>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) blobs: Option<PathBuf>,
    pub(super) listen_http: Option<SocketAddr>,
    pub(super) listen_quic: Option<SocketAddr>,
    pub(super) advertise_http: Option<String>,
    pub(super) advertise_quic: Option<String>,
    pub(super) identity: Option<PathBuf>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) insecure_loopback: Option<bool>,
    pub(super) keep_ended_runs: Option<u32>,
    pub(super) keep_ended_for: Option<String>,
    pub(super) placement: Option<String>,
    pub(super) brake_share: Option<u32>,
    pub(super) brake_nodes_min: Option<u32>,
    pub(super) wire_max: Option<u32>,
    pub(super) preempt_delay: Option<String>,
    pub(super) preempt_grace: Option<String>,
    pub(super) open_tasks_max: Option<u32>,
}

impl Layer {
    /// What this one says, and where it says nothing what `below` says.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            cluster: self.cluster.or(below.cluster),
            etcd: self.etcd.or(below.etcd),
            etcd_allow_plaintext: self.etcd_allow_plaintext.or(below.etcd_allow_plaintext),
            etcd_ca: self.etcd_ca.or(below.etcd_ca),
            etcd_cert: self.etcd_cert.or(below.etcd_cert),
            etcd_key: self.etcd_key.or(below.etcd_key),
            etcd_user: self.etcd_user.or(below.etcd_user),
            etcd_password_file: self.etcd_password_file.or(below.etcd_password_file),
            embedded: self.embedded.or(below.embedded),
            data_dir: self.data_dir.or(below.data_dir),
            blobs: self.blobs.or(below.blobs),
            listen_http: self.listen_http.or(below.listen_http),
            listen_quic: self.listen_quic.or(below.listen_quic),
            advertise_http: self.advertise_http.or(below.advertise_http),
            advertise_quic: self.advertise_quic.or(below.advertise_quic),
            identity: self.identity.or(below.identity),
            token_file: self.token_file.or(below.token_file),
            insecure_loopback: self.insecure_loopback.or(below.insecure_loopback),
            keep_ended_runs: self.keep_ended_runs.or(below.keep_ended_runs),
            keep_ended_for: self.keep_ended_for.or(below.keep_ended_for),
            placement: self.placement.or(below.placement),
            brake_share: self.brake_share.or(below.brake_share),
            brake_nodes_min: self.brake_nodes_min.or(below.brake_nodes_min),
            wire_max: self.wire_max.or(below.wire_max),
            preempt_delay: self.preempt_delay.or(below.preempt_delay),
            preempt_grace: self.preempt_grace.or(below.preempt_grace),
            open_tasks_max: self.open_tasks_max.or(below.open_tasks_max),
        }
    }
}

pub(super) fn file(path: &Path) -> Result<Layer, ConfigError> {
    let unreadable = |detail: String| ConfigError::Unreadable { path: path.to_owned(), detail };
    let len = std::fs::metadata(path).map_err(|e| unreadable(e.to_string()))?.len();
    if len > FILE_LEN_MAX {
        return Err(unreadable(format!("it has {len} bytes, more than {FILE_LEN_MAX}; is it the right file?")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(e.to_string()))?;
    toml::from_str(&text)
        .map_err(|error| ConfigError::File { path: path.to_owned(), detail: error.to_string().trim_end().to_owned() })
}

/// Reads the variables with the prefix; the first part of the answer is the file to read.
pub(super) fn environment(
    variables: impl Iterator<Item = (String, String)>,
) -> Result<(Option<PathBuf>, Layer), ConfigError> {
    let mut layer = Layer::default();
    let mut file = None;
    for (name, text) in variables {
        let Some(setting) = name.strip_prefix(PREFIX) else { continue };
        match setting {
            "CONFIG" => file = Some(text.into()),
            "CLUSTER" => layer.cluster = Some(text),
            "ETCD" => layer.etcd = Some(text.split(',').map(|url| url.trim().to_owned()).collect()),
            "ETCD_ALLOW_PLAINTEXT" => layer.etcd_allow_plaintext = Some(parse("etcd_allow_plaintext", &text)?),
            "ETCD_CA" => layer.etcd_ca = Some(text.into()),
            "ETCD_CERT" => layer.etcd_cert = Some(text.into()),
            "ETCD_KEY" => layer.etcd_key = Some(text.into()),
            "ETCD_USER" => layer.etcd_user = Some(text),
            "ETCD_PASSWORD_FILE" => layer.etcd_password_file = Some(text.into()),
            "EMBEDDED" => layer.embedded = Some(text.into()),
            "DATA_DIR" => layer.data_dir = Some(text.into()),
            "BLOBS" => layer.blobs = Some(text.into()),
            "LISTEN_HTTP" => layer.listen_http = Some(parse("listen_http", &text)?),
            "LISTEN_QUIC" => layer.listen_quic = Some(parse("listen_quic", &text)?),
            "ADVERTISE_HTTP" => layer.advertise_http = Some(text),
            "ADVERTISE_QUIC" => layer.advertise_quic = Some(text),
            "IDENTITY" => layer.identity = Some(text.into()),
            "TOKEN_FILE" => layer.token_file = Some(text.into()),
            "KEEP_ENDED_RUNS" => layer.keep_ended_runs = Some(parse("keep_ended_runs", &text)?),
            "KEEP_ENDED_FOR" => layer.keep_ended_for = Some(text),
            "PLACEMENT" => layer.placement = Some(text),
            "BRAKE_SHARE" => layer.brake_share = Some(parse("brake_share", &text)?),
            "BRAKE_NODES_MIN" => layer.brake_nodes_min = Some(parse("brake_nodes_min", &text)?),
            "WIRE_MAX" => layer.wire_max = Some(parse("wire_max", &text)?),
            "PREEMPT_DELAY" => layer.preempt_delay = Some(text),
            "OPEN_TASKS_MAX" => layer.open_tasks_max = Some(parse("open_tasks_max", &text)?),
            "PREEMPT_GRACE" => layer.preempt_grace = Some(text),
            "INSECURE_LOOPBACK" => layer.insecure_loopback = Some(parse("insecure_loopback", &text)?),
            _ => return Err(ConfigError::Variable(name)),
        }
    }
    Ok((file, layer))
}

fn parse<T: FromStr<Err: std::fmt::Display>>(key: &'static str, text: &str) -> Result<T, ConfigError> {
    text.parse().map_err(|error| value(key, format!("{text:?}: {error}")))
}
