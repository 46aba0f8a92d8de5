//! Requests with bodies.

use weir_link::blob::HEADER_LEN_MAX;
use weir_link::{Config, Error, Request, Session};

use crate::fixture::{Pair, pair, soon, waits};

const PART_LEN: usize = 64 << 10;

/// Eight mebibytes that differ from place to place.
fn blob() -> Vec<u8> {
    (0..(8u32 << 20) / 4).flat_map(u32::to_le_bytes).collect()
}

async fn ask(session: &Session, header: &[u8]) -> Request {
    soon(session.request(header, u64::MAX)).await.expect("a request")
}

/// Answers one request with its own header and body.
async fn echo(session: Session) -> Result<(), Error> {
    let (header, mut body, answer) = session.accept_request().await?.read(u64::MAX).await?;
    let mut reply = answer.start(&header).await?;
    while let Some(part) = body.next().await? {
        reply.send(part).await?;
    }
    reply.finish()
}

#[tokio::test]
async fn a_blob_goes_there_and_back_from_either_side() {
    let Pair { control, executor, listener: _listener } = pair(Config::default(), Config::default()).await;
    let sent = bytes::Bytes::from(blob());
    for (asks, answers) in [(&executor, &control), (&control, &executor)] {
        let answering = tokio::spawn(echo(answers.session.clone()));
        let Request { mut body, response } = ask(&asks.session, b"PUT 1").await;
        let parts = sent.clone();
        let sending = tokio::spawn(async move {
            for at in (0..parts.len()).step_by(PART_LEN) {
                body.send(parts.slice(at..at + PART_LEN)).await.unwrap();
            }
            body.finish().unwrap();
        });
        let (header, mut body) = soon(response.read()).await.unwrap();
        assert_eq!(header, b"PUT 1"[..]);
        assert!(soon(body.read_all()).await.unwrap() == sent);
        soon(sending).await.unwrap();
        soon(answering).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_body_above_the_receivers_limit_is_stopped() {
    let Pair { control, executor, listener: _listener } = pair(Config::default(), Config::default()).await;
    let Request { mut body, response } = ask(&executor.session, b"").await;
    body.send(vec![0; 1001].into()).await.unwrap();
    let (_, mut received, answer) = soon(control.session.accept_request()).await.unwrap().read(1000).await.unwrap();
    assert_eq!(soon(received.read_all()).await, Err(Error::BodyTooLong { max: 1000 }));
    assert_eq!(soon(received.next()).await, Ok(None));
    // The sender learns of it at one of its next parts.
    let stopped = soon(async {
        loop {
            if let Err(error) = body.send(vec![0; PART_LEN].into()).await {
                return error;
            }
        }
    })
    .await;
    assert!(matches!(stopped, Error::StreamAborted { .. }), "{stopped}");
    answer.refuse(413);
    assert_eq!(soon(response.read()).await.unwrap_err(), Error::StreamAborted { code: 413 });
    assert_eq!(executor.session.close_reason(), None, "the connection goes on");
}

#[tokio::test]
async fn a_part_never_looks_like_the_whole() {
    let Pair { control, executor, listener: _listener } = pair(Config::default(), Config::default()).await;
    let Request { mut body, response } = ask(&executor.session, b"half").await;
    body.send(vec![1; 10].into()).await.unwrap();
    let (_, mut received, answer) = soon(control.session.accept_request()).await.unwrap().read(1000).await.unwrap();
    assert_eq!(soon(received.next()).await.unwrap().unwrap().len(), 10);
    drop(body);
    assert!(matches!(soon(received.next()).await, Err(Error::StreamAborted { .. })));
    drop(answer);
    assert!(matches!(soon(response.read()).await, Err(Error::StreamAborted { .. })));
}

#[tokio::test]
async fn headers_are_bounded() {
    let Pair { control, executor, listener: _listener } = pair(Config::default(), Config::default()).await;
    let header = vec![b'h'; HEADER_LEN_MAX as usize];
    let too_long = [header.clone(), vec![b'h']].concat();
    let error = soon(executor.session.request(&too_long, 0)).await.unwrap_err();
    assert_eq!(error, Error::FrameTooLong { len: u64::from(HEADER_LEN_MAX) + 1, max: HEADER_LEN_MAX });

    let answering = tokio::spawn(echo(control.session.clone()));
    // The stream of the refused request was never used for another one.
    let refused = soon(answering).await.unwrap();
    assert!(refused.is_err(), "{refused:?}");
    let answering = tokio::spawn(echo(control.session.clone()));
    let Request { body, response } = ask(&executor.session, &header).await;
    body.finish().unwrap();
    assert_eq!(soon(response.read()).await.unwrap().0, header);
    soon(answering).await.unwrap().unwrap();
}

#[tokio::test]
async fn requests_in_flight_are_limited() {
    let config = Config { requests_max: 2, ..Config::default() };
    let Pair { control, executor, listener: _listener } = pair(config.clone(), config).await;
    let first = ask(&executor.session, b"1").await;
    let second = ask(&executor.session, b"2").await;
    assert!(waits(executor.session.request(b"3", 0)).await, "two are allowed");

    let answering = tokio::spawn(echo(control.session.clone()));
    first.body.finish().unwrap();
    let (_, mut body) = soon(first.response.read()).await.unwrap();
    assert!(soon(body.read_all()).await.unwrap().is_empty());
    soon(answering).await.unwrap().unwrap();
    let third = soon(executor.session.request(b"3", 0)).await;
    assert!(third.is_ok(), "the first made room");
    drop(second);
}

#[tokio::test]
async fn blobs_that_nobody_reads_do_not_hold_up_frames() {
    let config = Config { requests_max: 2, stream_window: 64 << 10, ..Config::default() };
    let Pair { mut control, executor, listener: _listener } = pair(config.clone(), config).await;
    let mut stalled = Vec::new();
    for _ in 0..2 {
        let Request { mut body, response } = ask(&executor.session, b"never read").await;
        stalled.push(tokio::spawn(async move { while body.send(vec![0; PART_LEN].into()).await.is_ok() {} }));
        stalled.push(tokio::spawn(async move { drop(response.read().await) }));
    }
    for number in 0..1000u32 {
        soon(executor.sender.send(&number.to_le_bytes())).await.unwrap();
        assert_eq!(soon(control.receiver.recv()).await.unwrap().unwrap(), number.to_le_bytes()[..]);
    }
    executor.session.close(0, "");
    for task in stalled {
        soon(task).await.unwrap();
    }
}
