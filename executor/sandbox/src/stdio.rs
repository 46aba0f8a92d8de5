//! Standard output and standard error of a guest, as writers into its capture.

use std::{
    future, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};
use weir_wire::log::Stream;

use crate::capture::Capture;

/// Bytes that a guest may offer in one write.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// One stream of one attempt. It never waits: output within the budget is taken at once, and beyond it the guest ends.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    pub(crate) capture: Arc<Capture>,
    pub(crate) stream: Stream,
}

impl IsTerminal for Writer {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Writer {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.capture.write(self.stream, &bytes).map_err(|_full| StreamError::trap("the output budget is used up"))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        future::ready(()).await;
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.capture.write(self.stream, bytes);
        Poll::Ready(written.map(|()| bytes.len()).map_err(|_full| io::ErrorKind::QuotaExceeded.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
