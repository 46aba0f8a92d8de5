//! What a cut does to those that talk through it.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use super::{Network, Way};

/// Long enough for a byte to arrive that is on its way, and awaited in full where none may come.
const SILENCE: Duration = Duration::from_millis(200);

fn byte(mut from: &TcpStream) -> Option<u8> {
    let mut byte = [0];
    matches!(from.read(&mut byte), Ok(1)).then_some(byte[0])
}

#[test]
fn a_frozen_stream_delivers_later_and_a_refused_one_ends() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let network = Network::start(&[target.local_addr().unwrap().port()], &[1], 0).unwrap();
    let address = network.etcd_urls(0).remove(0).replace("http://", "");
    let mut near = TcpStream::connect(&address).unwrap();
    let (far, _) = target.accept().unwrap();
    near.write_all(&[1]).unwrap();
    assert_eq!(byte(&far), Some(1));

    network.set_etcd(0, Way::Frozen);
    far.set_read_timeout(Some(SILENCE)).unwrap();
    near.write_all(&[2]).unwrap();
    assert_eq!(byte(&far), None);
    network.set_etcd(0, Way::Open);
    far.set_read_timeout(None).unwrap();
    assert_eq!(byte(&far), Some(2));

    network.set_etcd(0, Way::Refused);
    assert_eq!(byte(&far), None, "the stream ends");
    let late = TcpStream::connect(&address).unwrap();
    assert_eq!(byte(&late), None, "a new one ends at once");
}

#[test]
fn datagrams_are_lost_while_the_link_is_cut() {
    let target = UdpSocket::bind("127.0.0.1:0").unwrap();
    target.set_read_timeout(Some(SILENCE)).unwrap();
    let network = Network::start(&[], &[target.local_addr().unwrap().port()], 2).unwrap();
    let near = UdpSocket::bind("127.0.0.1:0").unwrap();
    near.connect(("127.0.0.1", network.link_port(1, 0))).unwrap();
    let mut buffer = [0; 8];

    network.set_links_of_executor(1, Way::Refused);
    near.send(b"lost").unwrap();
    assert!(target.recv_from(&mut buffer).is_err());
    network.set_links_of_executor(1, Way::Open);
    network.set_links_of_executor(0, Way::Frozen);
    near.send(b"there").unwrap();
    let (len, relay) = target.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"there");
    target.send_to(b"back", relay).unwrap();
    near.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let len = near.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"back");
}
