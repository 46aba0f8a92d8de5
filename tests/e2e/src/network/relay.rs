//! A port that leads to another one, as long as it is let.

use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream, UdpSocket,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// What becomes of what arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It goes on.
    Open,
    /// It stays where it is, and nobody is told: of a stream until the way is open again, of datagrams for good.
    Frozen,
    /// Connections are closed, those that come too; datagrams are lost.
    Refused,
}

/// More than the largest datagram.
const BUFFER_LEN: usize = 64 << 10;

/// One relay; it ends with the runtime that it was started in.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) port: u16,
    way: watch::Sender<Way>,
}

impl Relay {
    pub(super) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    pub(super) async fn tcp(target: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("listen for streams")?;
        let port = listener.local_addr()?.port();
        let (way, watched) = watch::channel(Way::Open);
        tokio::spawn(accept(listener, target, watched));
        Ok(Self { port, way })
    }

    pub(super) async fn udp(target: u16) -> Result<Self> {
        let near = UdpSocket::bind(("127.0.0.1", 0)).await.context("listen for datagrams")?;
        let far = UdpSocket::bind(("127.0.0.1", 0)).await.context("send datagrams")?;
        far.connect(("127.0.0.1", target)).await.context("name the target of datagrams")?;
        let port = near.local_addr()?.port();
        let (way, watched) = watch::channel(Way::Open);
        tokio::spawn(pass_datagrams(near, far, watched));
        Ok(Self { port, way })
    }
}

async fn accept(listener: TcpListener, target: u16, way: watch::Receiver<Way>) {
    // An error here is one of a single connection.
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        if *way.borrow() == Way::Refused {
            continue;
        }
        let way = way.clone();
        tokio::spawn(async move {
            let Ok(far) = TcpStream::connect(("127.0.0.1", target)).await else { return };
            let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
            let mut refused = way.clone();
            // The end of one direction is the end of both: neither etcd nor its clients half-close.
            tokio::select! {
                () = pass_bytes(near_read, far_write, way.clone()) => {}
                () = pass_bytes(far_read, near_write, way) => {}
                _ = refused.wait_for(|way| *way == Way::Refused) => {}
            }
        });
    }
}

async fn pass_bytes(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let mut buffer = vec![0; BUFFER_LEN];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        let open = way.wait_for(|way| *way != Way::Frozen).await.is_ok();
        if !open || to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
    }
}

async fn pass_datagrams(near: UdpSocket, far: UdpSocket, way: watch::Receiver<Way>) {
    let (near, far) = (Arc::new(near), Arc::new(far));
    // One peer uses a relay: the newest one, as an executor that was started again has another port.
    let (peer, peer_known) = watch::channel(None);
    let back = {
        let (near, far, way) = (Arc::clone(&near), Arc::clone(&far), way.clone());
        async move {
            let mut buffer = vec![0; BUFFER_LEN];
            loop {
                // A target that is not there shows as an error here, and may be there later.
                let Ok(len) = far.recv(&mut buffer).await else { continue };
                let (peer, open) = (*peer_known.borrow(), *way.borrow() == Way::Open);
                if let Some(peer) = peer.filter(|_| open) {
                    // What is not delivered is lost, as on any network.
                    let _lost = near.send_to(&buffer[..len], peer).await;
                }
            }
        }
    };
    let forth = async move {
        let mut buffer = vec![0; BUFFER_LEN];
        loop {
            let Ok((len, from)) = near.recv_from(&mut buffer).await else { continue };
            peer.send_replace(Some(from));
            let open = *way.borrow() == Way::Open;
            if open {
                let _lost = far.send(&buffer[..len]).await;
            }
        }
    };
    tokio::join!(back, forth);
}
