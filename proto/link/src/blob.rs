//! Requests with streamed bodies: each direction of a stream is a header (`u32` little-endian length, bytes), then
//! the body until the stream ends.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use quinn::{RecvStream, SendStream};

use crate::error::Error;
use crate::session::{CODE_PROTOCOL, CODE_RESERVED_FIRST, Core, read_exact, stream_code};

/// The longest header of a request or an answer, bytes: room for a digest, a range and a reason.
pub const HEADER_LEN_MAX: u32 = 8 << 10;

/// The stream code of a body that was dropped before its end.
const CODE_DROPPED: u32 = CODE_RESERVED_FIRST + 1;
/// The stream code of a body that nobody reads.
const CODE_UNWANTED: u32 = CODE_RESERVED_FIRST + 2;
/// The stream code of a body that is too long.
const CODE_TOO_LONG: u32 = CODE_RESERVED_FIRST + 3;

/// How much of a body is read at a time, bytes.
const CHUNK_LEN_MAX: usize = 64 << 10;

/// A request that this side began.
#[derive(Debug)]
pub struct Request {
    /// The request's body; [`finish`](BlobSender::finish) it before waiting for the answer.
    pub body: BlobSender,
    /// The answer to come.
    pub response: Response,
}

/// An answer that has not been read.
#[derive(Debug)]
pub struct Response {
    core: Arc<Core>,
    stream: RecvStream,
    body_len_max: u64,
}

/// A request of the peer that has not been read.
#[derive(Debug)]
pub struct IncomingRequest {
    core: Arc<Core>,
    tx: SendStream,
    rx: RecvStream,
}

/// The right to answer a request, once.
#[derive(Debug)]
pub struct Answer {
    core: Arc<Core>,
    stream: Option<SendStream>,
}

/// Sends a body. Dropping it unfinished aborts the body, so that a part never looks like the whole.
#[derive(Debug)]
pub struct BlobSender {
    core: Arc<Core>,
    stream: Option<SendStream>,
}

/// Receives a body up to a limit. Dropping it tells the peer to stop.
#[derive(Debug)]
pub struct BlobReceiver {
    core: Arc<Core>,
    stream: RecvStream,
    len: u64,
    len_max: u64,
    done: bool,
}

impl Response {
    /// Waits for the answer: its header, and its body to be received.
    ///
    /// # Errors
    /// [`Error::StreamAborted`] with the peer's code if it refused, [`Error::FrameTooLong`] for the header, or the
    /// end of the connection.
    pub async fn read(mut self) -> Result<(Bytes, BlobReceiver), Error> {
        let header = read_header(&self.core, &mut self.stream).await?;
        Ok((header, BlobReceiver::new(self.core, self.stream, self.body_len_max)))
    }
}

impl IncomingRequest {
    pub(crate) fn new(core: Arc<Core>, tx: SendStream, rx: RecvStream) -> Self {
        Self { core, tx, rx }
    }

    /// Waits for the header; the body may have `body_len_max` bytes.
    ///
    /// # Errors
    /// [`Error::FrameTooLong`] for the header, [`Error::Truncated`], or the end of the connection.
    pub async fn read(mut self, body_len_max: u64) -> Result<(Bytes, BlobReceiver, Answer), Error> {
        let header = read_header(&self.core, &mut self.rx).await?;
        let answer = Answer { core: Arc::clone(&self.core), stream: Some(self.tx) };
        Ok((header, BlobReceiver::new(self.core, self.rx, body_len_max), answer))
    }
}

impl Answer {
    /// Sends the header of the answer; the body follows through the sender returned.
    ///
    /// # Errors
    /// [`Error::FrameTooLong`], [`Error::StreamAborted`] if the peer no longer wants it, or the end of the connection.
    pub async fn start(mut self, header: &[u8]) -> Result<BlobSender, Error> {
        let Some(stream) = self.stream.take() else {
            return Err(Error::Finished);
        };
        let mut body = BlobSender { core: Arc::clone(&self.core), stream: Some(stream) };
        body.send_header(header).await?;
        Ok(body)
    }

    /// Refuses to answer; `code` is below [`CODE_RESERVED_FIRST`].
    pub fn refuse(mut self, code: u32) {
        abort(&mut self.stream, code);
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        abort(&mut self.stream, CODE_DROPPED);
    }
}

impl BlobSender {
    /// Sends the next part of the body, waiting while the peer is not reading.
    ///
    /// # Errors
    /// [`Error::StreamAborted`] if the peer wants no more, or the end of the connection.
    pub async fn send(&mut self, part: Bytes) -> Result<(), Error> {
        let Some(stream) = &mut self.stream else {
            return Err(Error::Finished);
        };
        stream.write_chunk(part).await.map_err(|e| self.core.write_error(&e))
    }

    /// Ends the body. It is still being delivered; the answer tells when it arrived.
    ///
    /// # Errors
    /// [`Error::StreamAborted`] or [`Error::Finished`] if the peer wants no more.
    pub fn finish(mut self) -> Result<(), Error> {
        let Some(mut stream) = self.stream.take() else {
            return Err(Error::Finished);
        };
        stream.finish().map_err(|_| Error::Finished)
    }

    /// Gives the body up; `code` is below [`CODE_RESERVED_FIRST`].
    pub fn abort(mut self, code: u32) {
        abort(&mut self.stream, code);
    }

    async fn send_header(&mut self, header: &[u8]) -> Result<(), Error> {
        let len = u32::try_from(header.len()).unwrap_or(u32::MAX);
        if len > HEADER_LEN_MAX {
            return Err(Error::FrameTooLong { len: header.len() as u64, max: HEADER_LEN_MAX });
        }
        let mut bytes = BytesMut::with_capacity(4 + header.len());
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(header);
        self.send(bytes.freeze()).await
    }
}

impl Drop for BlobSender {
    fn drop(&mut self) {
        abort(&mut self.stream, CODE_DROPPED);
    }
}

impl BlobReceiver {
    /// Waits for the next part, at most 64 KiB; `None` when the body is complete.
    ///
    /// Cancelling the wait loses nothing.
    ///
    /// # Errors
    /// [`Error::BodyTooLong`], after which the peer is told to stop; [`Error::StreamAborted`] if the sender gave up;
    /// or the end of the connection.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.done {
            return Ok(None);
        }
        let chunk = self.stream.read_chunk(CHUNK_LEN_MAX, true).await.map_err(|e| self.core.read_error(&e))?;
        let Some(chunk) = chunk else {
            self.done = true;
            return Ok(None);
        };
        self.len += chunk.bytes.len() as u64;
        if self.len > self.len_max {
            self.done = true;
            // Fails only on a stream that has ended, which needs no stopping.
            drop(self.stream.stop(stream_code(CODE_TOO_LONG)));
            return Err(Error::BodyTooLong { max: self.len_max });
        }
        Ok(Some(chunk.bytes))
    }

    /// Waits for the whole body.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn read_all(&mut self) -> Result<Bytes, Error> {
        let mut body = BytesMut::new();
        while let Some(part) = self.next().await? {
            body.extend_from_slice(&part);
        }
        Ok(body.freeze())
    }

    fn new(core: Arc<Core>, stream: RecvStream, len_max: u64) -> Self {
        Self { core, stream, len: 0, len_max, done: false }
    }
}

impl Drop for BlobReceiver {
    fn drop(&mut self) {
        if !self.done {
            // Fails only on a stream that has ended, which needs no stopping.
            drop(self.stream.stop(stream_code(CODE_UNWANTED)));
        }
    }
}

/// Begins a request; see [`Session::request`](crate::Session::request).
pub(crate) async fn request(core: &Arc<Core>, header: &[u8], body_len_max: u64) -> Result<Request, Error> {
    let (tx, rx) = core.connection.open_bi().await.map_err(|e| core.end(&e))?;
    let mut body = BlobSender { core: Arc::clone(core), stream: Some(tx) };
    body.send_header(header).await?;
    Ok(Request { body, response: Response { core: Arc::clone(core), stream: rx, body_len_max } })
}

async fn read_header(core: &Core, stream: &mut RecvStream) -> Result<Bytes, Error> {
    let mut prefix = [0; 4];
    read_exact(core, stream, &mut prefix).await?;
    let len = u32::from_le_bytes(prefix);
    if len > HEADER_LEN_MAX {
        core.close(CODE_PROTOCOL, "a header is longer than the limit");
        return Err(Error::FrameTooLong { len: len.into(), max: HEADER_LEN_MAX });
    }
    let mut header = BytesMut::zeroed(len as usize);
    read_exact(core, stream, &mut header).await?;
    Ok(header.freeze())
}

fn abort(stream: &mut Option<SendStream>, code: u32) {
    if let Some(mut stream) = stream.take() {
        // Fails only on a stream that has ended, which needs no abort.
        drop(stream.reset(stream_code(code)));
    }
}
