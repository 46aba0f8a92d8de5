//! The flags of the daemon.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;

use super::layers::Layer;

/// The control plane of a Weir cluster
///
/// Every setting may also be given in a TOML file under the name of its flag (with _ for -), or in a variable such as
/// WEIR_CONTROL_CLUSTER. Flags beat variables, and variables beat the file.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "weir-control", version, max_term_width = 100)]
pub struct Args {
    /// File with settings
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Name of the cluster [default: weir]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Keep the state in etcd; one URL for each member (repeatable)
    #[arg(long, value_name = "URL")]
    pub etcd: Vec<String>,
    /// Accept http:// for an etcd on another machine: the network is protected in another way
    #[arg(long)]
    pub etcd_allow_plaintext: bool,
    /// PEM file with the authority that signed etcd's certificate; needed for https://
    #[arg(long, value_name = "FILE")]
    pub etcd_ca: Option<PathBuf>,
    /// PEM file with the certificate for an etcd that asks for one
    #[arg(long, value_name = "FILE")]
    pub etcd_cert: Option<PathBuf>,
    /// PEM file with the private key of --etcd-cert
    #[arg(long, value_name = "FILE")]
    pub etcd_key: Option<PathBuf>,
    /// User of etcd, where its authentication is enabled
    #[arg(long, value_name = "NAME")]
    pub etcd_user: Option<String>,
    /// File with the password of --etcd-user
    #[arg(long, value_name = "FILE")]
    pub etcd_password_file: Option<PathBuf>,
    /// Keep the state in a file in this directory; only one process can use it
    #[arg(long, value_name = "DIR")]
    pub embedded: Option<PathBuf>,
    /// Where this replica keeps what is not in the store [default: the directory of --embedded]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Directory of the blob store; replicas of a cluster share it [default: blobs in the data directory]
    #[arg(long, value_name = "DIR")]
    pub blobs: Option<PathBuf>,
    /// Address of the HTTP API [default: 0.0.0.0:4640]
    #[arg(long, value_name = "ADDRESS")]
    pub listen_http: Option<SocketAddr>,
    /// Address of the link to executors, UDP [default: 0.0.0.0:4641]
    #[arg(long, value_name = "ADDRESS")]
    pub listen_quic: Option<SocketAddr>,
    /// URL under which others reach the HTTP API [default: made of the host name]
    #[arg(long, value_name = "URL")]
    pub advertise_http: Option<String>,
    /// Host and port under which executors reach the link [default: made of the host name]
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise_quic: Option<String>,
    /// Directory with ca.pem, control.pem, control.key, https.pem and https.key, from `wctl cluster init`
    #[arg(long, value_name = "DIR")]
    pub identity: Option<PathBuf>,
    /// File with the hash of the admin token [default: token.sha256 in the directory of --identity]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Serve the API without TLS and token, on a loopback address
    #[arg(long)]
    pub insecure_loopback: bool,
    /// Ended runs that are kept, the newest of each job apart [default: 100000]
    #[arg(long, value_name = "N")]
    pub keep_ended_runs: Option<u32>,
    /// How long an ended run is kept, such as 12h; at least 5m [default: 7d]
    #[arg(long, value_name = "TIME")]
    pub keep_ended_for: Option<String>,
    /// How nodes are filled: spread for evenly, pack for one after the other [default: spread]
    #[arg(long, value_name = "POLICY")]
    pub placement: Option<String>,
    /// Percentage of the nodes that has to vanish at once for the brake; 100 turns it off [default: 30]
    #[arg(long, value_name = "PERCENT")]
    pub brake_share: Option<u32>,
    /// Number of nodes that has to vanish at once for the brake, whatever their share [default: 3]
    #[arg(long, value_name = "N")]
    pub brake_nodes_min: Option<u32>,
    /// How long production waits for room before others have to make some [default: 1s]
    #[arg(long, value_name = "TIME")]
    pub preempt_delay: Option<String>,
    /// How long tasks that have to make room may go on [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub preempt_grace: Option<String>,
    /// Tasks that may be open in the whole cluster; what is submitted beyond that is refused [default: 50000000]
    #[arg(long, value_name = "N")]
    pub open_tasks_max: Option<u32>,
    /// Speak no newer wire version with executors [default: the newest one]
    #[arg(long, value_name = "N")]
    pub wire_max: Option<u32>,
    /// Print the settings that result, and exit
    #[arg(long)]
    pub print_config: bool,
}

impl Args {
    pub(super) fn into_layer(self) -> Layer {
        Layer {
            cluster: self.cluster,
            etcd: (!self.etcd.is_empty()).then_some(self.etcd),
            etcd_allow_plaintext: self.etcd_allow_plaintext.then_some(true),
            etcd_ca: self.etcd_ca,
            etcd_cert: self.etcd_cert,
            etcd_key: self.etcd_key,
            etcd_user: self.etcd_user,
            etcd_password_file: self.etcd_password_file,
            embedded: self.embedded,
            data_dir: self.data_dir,
            blobs: self.blobs,
            listen_http: self.listen_http,
            listen_quic: self.listen_quic,
            advertise_http: self.advertise_http,
            advertise_quic: self.advertise_quic,
            identity: self.identity,
            token_file: self.token_file,
            insecure_loopback: self.insecure_loopback.then_some(true),
            keep_ended_runs: self.keep_ended_runs,
            keep_ended_for: self.keep_ended_for,
            placement: self.placement,
            brake_share: self.brake_share,
            brake_nodes_min: self.brake_nodes_min,
            wire_max: self.wire_max,
            preempt_delay: self.preempt_delay,
            preempt_grace: self.preempt_grace,
            open_tasks_max: self.open_tasks_max,
        }
    }
}
