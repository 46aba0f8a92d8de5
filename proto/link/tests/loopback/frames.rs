//! Frames, log streams, and the end of a connection.

use std::time::Duration;

use weir_link::{CODE_PROTOCOL, Config, Error, Role, TrySendError};

use crate::fixture::{Cluster, Pair, dial, loopback, pair, soon, today, waits};

#[tokio::test]
async fn frames_of_every_size_arrive_in_order_on_both_sides() {
    let config = Config::default();
    let Pair { mut control, mut executor, listener } = pair(config.clone(), config.clone()).await;
    assert_eq!(control.session.peer().role, Role::Executor("n1".parse().unwrap()));
    assert_eq!(executor.session.peer().role, Role::Control);

    let max = config.frame_len_max as usize;
    for len in [0, 1, 4, 1000, 16 << 10, max - 1, max] {
        let frame = vec![len.to_le_bytes()[0]; len];
        executor.sender.send(&frame).await.unwrap();
        assert_eq!(soon(control.receiver.recv()).await.unwrap().unwrap(), frame);
        control.sender.send(&frame).await.unwrap();
        assert_eq!(soon(executor.receiver.recv()).await.unwrap().unwrap(), frame);
    }
    let error = executor.sender.send(&vec![0; max + 1]).await.unwrap_err();
    assert_eq!(error, Error::FrameTooLong { len: max as u64 + 1, max: config.frame_len_max });
    assert_eq!(listener.stats().accepted, 1);
}

#[tokio::test]
async fn many_small_frames_from_many_tasks_all_arrive() {
    const FRAMES: u32 = 5_000;
    let Pair { mut control, executor, listener: _listener } = pair(Config::default(), Config::default()).await;
    let tasks: Vec<_> = (0..4u32)
        .map(|task| {
            let sender = executor.sender.clone();
            tokio::spawn(async move {
                for number in 0..FRAMES {
                    sender.send(&[task.to_le_bytes(), number.to_le_bytes()].concat()).await.unwrap();
                }
            })
        })
        .collect();
    let mut next = [0u32; 4];
    for _ in 0..4 * FRAMES {
        let frame = soon(control.receiver.recv()).await.unwrap().unwrap();
        let (task, number) = frame.split_at(4);
        let task = u32::from_le_bytes(task.try_into().unwrap()) as usize;
        assert_eq!(u32::from_le_bytes(number.try_into().unwrap()), next[task]);
        next[task] += 1;
    }
    for task in tasks {
        soon(task).await.unwrap();
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_fills_the_queue_and_no_more() {
    let config =
        Config { frame_len_max: 8 << 10, queue_bytes_max: 32 << 10, stream_window: 16 << 10, ..Config::default() };
    let Pair { mut control, executor, listener: _listener } = pair(config.clone(), config).await;
    let frame = [7; 8 << 10];
    let mut sent = 0u32;
    // What the window and the queue hold together, and then some.
    while sent < 16 {
        match executor.sender.try_send(&frame) {
            Ok(()) => sent += 1,
            Err(TrySendError::Full) if waits(executor.sender.send(&frame)).await => break,
            Err(TrySendError::Full) => sent += 1,
            Err(error) => panic!("{error}"),
        }
        tokio::task::yield_now().await;
    }
    assert!((3..16).contains(&sent), "{sent}");
    assert!(executor.sender.queued_bytes() <= 32 << 10);
    for _ in 0..sent {
        assert_eq!(soon(control.receiver.recv()).await.unwrap().unwrap(), frame[..]);
    }
    soon(executor.sender.send(b"last")).await.unwrap();
    assert_eq!(soon(control.receiver.recv()).await.unwrap().unwrap(), b"last"[..]);
}

#[tokio::test]
async fn a_frame_above_the_receivers_limit_ends_the_connection() {
    let small = Config { frame_len_max: 100, ..Config::default() };
    let Pair { mut control, executor, listener: _listener } = pair(small, Config::default()).await;
    executor.sender.send(&[0; 100]).await.unwrap();
    executor.sender.send(&[0; 101]).await.unwrap();
    assert_eq!(soon(control.receiver.recv()).await.unwrap().unwrap().len(), 100);
    assert_eq!(soon(control.receiver.recv()).await, Err(Error::FrameTooLong { len: 101, max: 100 }));
    let closed = soon(executor.session.closed()).await;
    assert!(matches!(closed, Error::ClosedByPeer { code, .. } if code == u64::from(CODE_PROTOCOL)), "{closed}");
    assert!(soon(executor.sender.send(b"x")).await.is_err());
}

#[tokio::test]
async fn a_cancelled_receive_loses_nothing() {
    let Pair { mut control, executor, listener: _listener } = pair(Config::default(), Config::default()).await;
    assert!(waits(control.receiver.recv()).await);
    executor.sender.send(b"one").await.unwrap();
    executor.sender.send(b"two").await.unwrap();
    assert_eq!(soon(control.receiver.recv()).await.unwrap().unwrap(), b"one"[..]);
    assert_eq!(control.receiver.buffered().unwrap().unwrap(), b"two"[..]);
    assert_eq!(control.receiver.buffered(), Ok(None));
}

#[tokio::test]
async fn finishing_delivers_everything_before_the_end() {
    let Pair { mut control, executor, listener: _listener } = pair(Config::default(), Config::default()).await;
    for number in 0..100u8 {
        executor.sender.send(&[number]).await.unwrap();
    }
    let clone = executor.sender.clone();
    soon(executor.sender.finish()).await.unwrap();
    executor.session.close(7, "leaving");
    assert_eq!(clone.send(b"late").await, Err(Error::Finished));
    for number in 0..100u8 {
        assert_eq!(soon(control.receiver.recv()).await.unwrap().unwrap(), [number][..]);
    }
    let closed = soon(control.session.closed()).await;
    assert_eq!(closed, Error::ClosedByPeer { code: 7, reason: "leaving".to_owned() });
}

#[tokio::test]
async fn the_code_and_reason_of_a_close_arrive_shortened() {
    let Pair { mut control, executor, listener: _listener } = pair(Config::default(), Config::default()).await;
    control.session.close(42, &"ä".repeat(1000));
    let Err(Error::ClosedByPeer { code: 42, reason }) = soon(async {
        let mut receiver = executor.receiver;
        receiver.recv().await
    })
    .await
    else {
        panic!("the close did not arrive")
    };
    assert_eq!(reason, "ä".repeat(128));
    assert_eq!(executor.session.close_reason(), Some(Error::ClosedByPeer { code: 42, reason }));
    assert_eq!(soon(control.receiver.recv()).await, Err(Error::Closed));
}

#[tokio::test]
async fn closing_the_listener_tells_every_executor() {
    let Pair { executor, listener, .. } = pair(Config::default(), Config::default()).await;
    soon(listener.close(3, "restart")).await;
    let expected = Error::ClosedByPeer { code: 3, reason: "restart".to_owned() };
    assert_eq!(soon(executor.session.closed()).await, expected);
    assert!(soon(listener.accept()).await.is_none());
}

#[test]
fn a_peer_that_vanishes_is_noticed() {
    let idle_timeout = Duration::from_millis(300);
    let config = Config { idle_timeout, keep_alive: idle_timeout / 2, ..Config::default() };
    let here = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let there = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    here.block_on(async {
        let cluster = Cluster::new("test");
        let listener = weir_link::Listener::bind(loopback(), &cluster.control(), config.clone()).unwrap();
        let addr = listener.local_addr().unwrap();
        let identity = cluster.executor("n1");
        let dialled = there.spawn(async move {
            let connector = weir_link::Connector::new(&identity, config).unwrap();
            connector.connect(&[addr], weir_link::CONTROL_SERVER_NAME).await
        });
        let mut accepted = soon(listener.accept()).await.unwrap();
        let dialled = soon(dialled).await.unwrap().unwrap();
        // Without its runtime the peer can say nothing any more.
        there.shutdown_background();
        assert!(matches!(soon(accepted.receiver.recv()).await, Err(Error::Lost(_))));
        drop(dialled);
    });
}

#[test]
fn a_listener_that_was_killed_resets_its_old_connections() {
    // Only a reset can end the connection within this test.
    let config = Config { idle_timeout: Duration::from_secs(600), ..Config::default() };
    let here = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let there = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let cluster = Cluster::new("test");
    let issued = cluster.ca.issue_control(&[], today()).unwrap();
    let bind = |addr| {
        let (identity, config) = (cluster.identity(&issued), config.clone());
        async move { weir_link::Listener::bind(addr, &identity, config) }
    };
    let (killed, accepted, executor) = here.block_on(async {
        let killed = soon(there.spawn(bind(loopback()))).await.unwrap().unwrap();
        let executor = dial(&killed, &cluster.executor("n1"), config.clone()).await.unwrap();
        let accepted = soon(killed.accept()).await.unwrap();
        (killed, accepted, executor)
    });
    let addr = killed.local_addr().unwrap();
    // Without its runtime the listener ends as that of a killed process does: it says nothing and its port is free.
    there.shutdown_timeout(Duration::from_secs(20));
    drop((accepted, killed));
    here.block_on(async {
        let _listener = bind(addr).await.unwrap();
        // The first datagram that reaches the new listener is answered.
        executor.sender.send(b"renew").await.unwrap();
        let end = soon(executor.session.closed()).await;
        assert!(matches!(&end, Error::Lost(detail) if detail.contains("restarted")), "{end}");
    });
}

#[tokio::test]
async fn log_streams_are_limited_and_do_not_hold_up_frames() {
    let config = Config { log_streams_max: 2, ..Config::default() };
    let Pair { mut control, executor, listener: _listener } = pair(config.clone(), config).await;
    let first = soon(executor.session.open_log_stream()).await.unwrap();
    let second = soon(executor.session.open_log_stream()).await.unwrap();
    assert!(waits(executor.session.open_log_stream()).await, "two are allowed");

    // Nobody reads the log, until its queue is full.
    let chunk = vec![1; 64 << 10];
    let mut sent = 0;
    while !matches!(first.try_send(&chunk), Err(TrySendError::Full)) {
        sent += 1;
        tokio::task::yield_now().await;
    }
    assert!(sent > 0);
    executor.sender.send(b"report").await.unwrap();
    assert_eq!(soon(control.receiver.recv()).await.unwrap().unwrap(), b"report"[..]);

    let mut log = soon(control.session.accept_log_stream()).await.unwrap();
    for _ in 0..sent {
        assert_eq!(soon(log.recv()).await.unwrap().unwrap().len(), chunk.len());
    }
    soon(first.finish()).await.unwrap();
    assert_eq!(soon(log.recv()).await, Ok(None));
    drop(log);
    let third = soon(executor.session.open_log_stream()).await;
    assert!(third.is_ok(), "the first made room");
    drop(second);
}

#[tokio::test]
async fn another_certificate_serves_the_next_connection() {
    let cluster = Cluster::new("test");
    let listener = weir_link::Listener::bind(loopback(), &cluster.control(), Config::default()).unwrap();
    let first = dial(&listener, &cluster.executor("n1"), Config::default()).await.unwrap();
    let stranger = Cluster::new("stranger");
    listener.replace_identity(&stranger.control()).unwrap();
    assert!(dial(&listener, &cluster.executor("n2"), Config::default()).await.is_err());
    assert!(dial(&listener, &stranger.executor("n2"), Config::default()).await.is_ok());
    first.sender.send(b"still here").await.unwrap();
    let mut accepted = soon(listener.accept()).await.unwrap();
    assert_eq!(soon(accepted.receiver.recv()).await.unwrap().unwrap(), b"still here"[..]);
}
