//! The name in a certificate: cluster, role and node, as the URI `weir://<cluster>/<role>[/<node>]`.

use std::fmt;
use std::str::FromStr;

use weir_wire::id::{ClusterName, NodeId};

/// The DNS name in every control certificate, whatever host it runs on.
///
/// Executors verify it, so a control replica may move to another address without a new certificate.
pub const CONTROL_SERVER_NAME: &str = "control.weir.internal";

const SCHEME: &str = "weir://";

/// How much of a text that is not a name an error shows, in characters.
const SHOWN_LEN_MAX: usize = 256;

/// Who a certificate says its holder is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// The cluster; both ends of a connection must name the same one.
    pub cluster: ClusterName,
    /// What the holder is in that cluster.
    pub role: Role,
}

/// The part that a certificate's holder plays in its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Role {
    /// A control replica; only it may accept executors.
    Control,
    /// An executor, by the name of its node.
    Executor(NodeId),
}

/// Why a text is not a certificate name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not of the form `weir://<cluster>/control` or `weir://<cluster>/executor/<node>`.
    #[error("read '{0}' as weir://<cluster>/control or weir://<cluster>/executor/<node>")]
    Form(String),
}

impl Name {
    /// Returns the name of the control replicas of `cluster`.
    #[must_use]
    pub fn control(cluster: ClusterName) -> Self {
        Self { cluster, role: Role::Control }
    }

    /// Returns the name of the executor on `node`.
    #[must_use]
    pub fn executor(cluster: ClusterName, node: NodeId) -> Self {
        Self { cluster, role: Role::Executor(node) }
    }
}

impl Role {
    /// Returns the node of an executor.
    #[must_use]
    pub fn node(&self) -> Option<&NodeId> {
        match self {
            Self::Control => None,
            Self::Executor(node) => Some(node),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.role {
            Role::Control => write!(f, "{SCHEME}{}/control", self.cluster),
            Role::Executor(node) => write!(f, "{SCHEME}{}/executor/{node}", self.cluster),
        }
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).ok_or_else(|| Error::Form(text.chars().take(SHOWN_LEN_MAX).collect()))
    }
}

fn parse(text: &str) -> Option<Name> {
    let mut parts = text.strip_prefix(SCHEME)?.split('/');
    let cluster = parts.next()?.parse().ok()?;
    let role = match parts.next()? {
        "control" => Role::Control,
        "executor" => Role::Executor(parts.next()?.parse().ok()?),
        _ => return None,
    };
    parts.next().is_none().then_some(Name { cluster, role })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_written() {
        for text in ["weir://prod/control", "weir://prod/executor/rack-1.node_7"] {
            assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let long = format!("weir://c/executor/{}", "a".repeat(64));
        for bad in [
            "",
            "weir://",
            "weir://c",
            "weir://c/",
            "weir://c/control/",
            "weir://c/control/n",
            "weir://c/executor",
            "weir://c/executor/n/m",
            "https://c/control",
            "weir://c/admin",
            "weir:///control",
            "weir://c/executor/",
            "weir://C/control",
            "weir://c/executor/a b",
            &long,
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
