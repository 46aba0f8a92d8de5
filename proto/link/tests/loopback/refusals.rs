//! Peers that must not get a connection, and what both sides say of it.

use std::net::UdpSocket;
use std::time::{Duration, SystemTime};

use weir_link::issue::Validity;
use weir_link::{Config, Connector, Error, Identity, Listener, RefusalCause, RefusedBy};

use crate::fixture::{Cluster, DAY, dial, identity, loopback, soon, today};

async fn outcome(control: &Identity, executor: &Identity) -> (Error, Listener) {
    let listener = Listener::bind(loopback(), control, Config::default()).expect("a listener");
    let error = dial(&listener, executor, Config::default()).await.expect_err("it must be refused");
    (error, listener)
}

async fn expect(control: &Identity, executor: &Identity, by: RefusedBy, cause: RefusalCause) -> String {
    let (error, listener) = outcome(control, executor).await;
    let Error::Refused { by: found_by, cause: found, detail } = error else { panic!("{error:?}") };
    assert_eq!((found_by, found), (by, cause), "{detail}");
    assert_eq!(listener.stats().accepted, 0);
    assert!(!Error::Refused { by, cause, detail: detail.clone() }.is_transient());
    detail
}

#[tokio::test]
async fn certificates_of_another_authority_are_refused_by_either_side() {
    let (ours, theirs) = (Cluster::new("c"), Cluster::new("c"));
    let now = SystemTime::now();
    let issued = theirs.ca.issue_executor(&"n1".parse().unwrap(), today()).unwrap();
    let stranger = identity(&issued, ours.ca.certificate_pem(), now);
    expect(&ours.control(), &stranger, RefusedBy::Peer, RefusalCause::UnknownAuthority).await;

    let issued = theirs.ca.issue_control(&[], today()).unwrap();
    let impostor = identity(&issued, ours.ca.certificate_pem(), now);
    expect(&impostor, &ours.executor("n1"), RefusedBy::Us, RefusalCause::UnknownAuthority).await;
}

#[tokio::test]
async fn certificates_outside_their_validity_are_refused_by_either_side() {
    let cluster = Cluster::new("c");
    let now = SystemTime::now();
    let past = Validity { not_before: now - 3 * DAY, not_after: now - DAY };
    let future = Validity { not_before: now + DAY, not_after: now + 3 * DAY };
    for (validity, back_then) in [(past, now - 2 * DAY), (future, now + 2 * DAY)] {
        let issued = cluster.ca.issue_executor(&"n1".parse().unwrap(), validity).unwrap();
        let executor = identity(&issued, cluster.ca.certificate_pem(), back_then);
        expect(&cluster.control(), &executor, RefusedBy::Peer, RefusalCause::OutsideValidity).await;

        let issued = cluster.ca.issue_control(&[], validity).unwrap();
        let control = identity(&issued, cluster.ca.certificate_pem(), back_then);
        expect(&control, &cluster.executor("n1"), RefusedBy::Us, RefusalCause::OutsideValidity).await;
    }
}

#[tokio::test]
async fn an_executor_cannot_listen_and_control_cannot_dial() {
    let cluster = Cluster::new("c");
    // An executor's certificate names no host, so it fails on that before its purpose is looked at.
    let (error, _listener) = outcome(&cluster.executor("n1"), &cluster.executor("n2")).await;
    assert!(
        matches!(
            error,
            Error::Refused { by: RefusedBy::Us, cause: RefusalCause::WrongPurpose | RefusalCause::Bad, .. }
        ),
        "{error:?}"
    );
    expect(&cluster.control(), &cluster.control(), RefusedBy::Peer, RefusalCause::WrongPurpose).await;
}

#[tokio::test]
async fn another_cluster_is_refused_even_by_a_trusted_authority() {
    let (ours, theirs) = (Cluster::new("ours"), Cluster::new("theirs"));
    let both = format!("{}{}", ours.ca.certificate_pem(), theirs.ca.certificate_pem());
    let now = SystemTime::now();
    let impostor = identity(&theirs.ca.issue_control(&[], today()).unwrap(), &both, now);
    let executor = identity(&ours.ca.issue_executor(&"n1".parse().unwrap(), today()).unwrap(), &both, now);
    let detail = expect(&impostor, &executor, RefusedBy::Us, RefusalCause::WrongRole).await;
    assert!(detail.contains("weir://theirs/control"), "{detail}");
}

#[tokio::test]
async fn a_control_on_another_host_name_is_refused() {
    let cluster = Cluster::new("c");
    let listener = Listener::bind(loopback(), &cluster.control(), Config::default()).unwrap();
    let connector = Connector::new(&cluster.executor("n1"), Config::default()).unwrap();
    let addrs = [listener.local_addr().unwrap()];
    let error = soon(connector.connect(&addrs, "other.example")).await.unwrap_err();
    assert!(matches!(error, Error::Refused { by: RefusedBy::Us, cause: RefusalCause::Bad, .. }), "{error:?}");

    let named = cluster.identity(&cluster.ca.issue_control(&["127.0.0.1".to_owned()], today()).unwrap());
    listener.replace_identity(&named).unwrap();
    assert!(soon(connector.connect(&addrs, "127.0.0.1")).await.is_ok());
}

#[tokio::test]
async fn a_silent_address_is_unreachable_and_the_next_one_is_tried() {
    let cluster = Cluster::new("c");
    let silent = UdpSocket::bind(loopback()).unwrap();
    let addr = silent.local_addr().unwrap();
    let config = Config { connect_timeout: Duration::from_millis(300), ..Config::default() };
    let connector = Connector::new(&cluster.executor("n1"), config).unwrap();
    let error = soon(connector.connect(&[addr], weir_link::CONTROL_SERVER_NAME)).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { addr: tried, .. } if *tried == addr), "{error:?}");
    assert!(error.is_transient());
    assert_eq!(soon(connector.connect(&[], "x")).await.unwrap_err(), Error::NoAddress);

    let listener = Listener::bind(loopback(), &cluster.control(), Config::default()).unwrap();
    let addrs = [addr, listener.local_addr().unwrap()];
    assert!(soon(connector.connect(&addrs, weir_link::CONTROL_SERVER_NAME)).await.is_ok());
}

#[tokio::test]
async fn a_listener_that_is_not_served_turns_peers_away() {
    let cluster = Cluster::new("c");
    let config = Config { handshakes_max: 1, accept_queue_max: 1, ..Config::default() };
    let listener = Listener::bind(loopback(), &cluster.control(), config).unwrap();
    let executor = cluster.executor("n1");
    let queued = dial(&listener, &executor, Config::default()).await.unwrap();
    let waiting = dial(&listener, &executor, Config::default()).await.unwrap();
    assert_eq!(dial(&listener, &executor, Config::default()).await.unwrap_err(), Error::Busy);
    assert_eq!(listener.stats().turned_away, 1);

    assert!(soon(listener.accept()).await.is_some());
    assert!(soon(listener.accept()).await.is_some());
    assert!(dial(&listener, &executor, Config::default()).await.is_ok());
    drop((queued, waiting));
}

#[tokio::test]
async fn bytes_that_are_not_quic_are_ignored() {
    let cluster = Cluster::new("c");
    let listener = Listener::bind(loopback(), &cluster.control(), Config::default()).unwrap();
    let noise = UdpSocket::bind(loopback()).unwrap();
    for len in [0usize, 1, 20, 1200, 1400] {
        noise.send_to(&vec![0xc3; len], listener.local_addr().unwrap()).unwrap();
    }
    assert!(dial(&listener, &cluster.executor("n1"), Config::default()).await.is_ok());
}
