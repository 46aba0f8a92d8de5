//! A cluster with its authority, and both ends of a connection in it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use weir_link::issue::{ClusterCa, Issued, Validity};
use weir_link::{CONTROL_SERVER_NAME, Config, Connector, Error, Identity, Link, Listener};

/// After this, a wait has failed. Loopback answers within milliseconds.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// Waits for `future`, but not for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("the wait took longer than its deadline")
}

/// Tells whether `future` has to wait.
pub(crate) async fn waits<T>(future: impl Future<Output = T>) -> bool {
    tokio::time::timeout(Duration::ZERO, future).await.is_err()
}

pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(crate) fn today() -> Validity {
    Validity::starting(SystemTime::now(), DAY)
}

pub(crate) struct Cluster {
    pub(crate) ca: ClusterCa,
}

impl Cluster {
    pub(crate) fn new(name: &str) -> Self {
        let (ca, _) = ClusterCa::generate(name.parse().expect("a name"), today()).expect("an authority");
        Self { ca }
    }

    pub(crate) fn control(&self) -> Identity {
        self.identity(&self.ca.issue_control(&[], today()).expect("a certificate"))
    }

    pub(crate) fn executor(&self, node: &str) -> Identity {
        self.identity(&self.ca.issue_executor(&node.parse().expect("a name"), today()).expect("a certificate"))
    }

    /// Trusts this cluster's authority.
    pub(crate) fn identity(&self, issued: &Issued) -> Identity {
        identity(issued, self.ca.certificate_pem(), SystemTime::now())
    }
}

/// Reads an identity as of `now`, which may be a day on which an expired certificate was valid.
pub(crate) fn identity(issued: &Issued, authority: &str, now: SystemTime) -> Identity {
    Identity::from_pem(&issued.certificate_pem, &issued.key_pem, authority, now).expect("an identity")
}

/// Connects to `listener` once.
pub(crate) async fn dial(listener: &Listener, identity: &Identity, config: Config) -> Result<Link, Error> {
    let addr = listener.local_addr().expect("an address");
    let connector = Connector::new(identity, config).expect("a connector");
    soon(connector.connect(&[addr], CONTROL_SERVER_NAME)).await
}

/// Both ends of a connection, and the listener that must outlive it.
pub(crate) struct Pair {
    pub(crate) control: Link,
    pub(crate) executor: Link,
    pub(crate) listener: Listener,
}

pub(crate) async fn pair(control: Config, executor: Config) -> Pair {
    let cluster = Cluster::new("test");
    let listener = Listener::bind(loopback(), &cluster.control(), control).expect("a listener");
    let dialled = dial(&listener, &cluster.executor("n1"), executor).await.expect("a connection");
    let accepted = soon(listener.accept()).await.expect("a connection");
    Pair { control: accepted, executor: dialled, listener }
}
