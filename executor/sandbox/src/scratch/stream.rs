//! A stream into a file of a scratch directory, which is charged before it is written.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};
use wasmtime_wasi::{
    async_trait,
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};

use super::ledger::Ledger;

/// Bytes that a guest may offer in one write.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// A stream of a component into a file.
#[derive(Debug)]
pub(super) struct FileStream {
    file: Arc<File>,
    /// Where the next byte goes; to the end of the file where there is none.
    at: Option<u64>,
    ledger: Arc<Ledger>,
    state: Standing,
}

#[derive(Debug)]
enum Standing {
    Ready,
    Writing(JoinHandle<io::Result<()>>),
    Failed(io::Error),
    Closed,
}

impl FileStream {
    pub(super) const fn new(file: Arc<File>, at: Option<u64>, ledger: Arc<Ledger>) -> Self {
        Self { file, at, ledger, state: Standing::Ready }
    }

    /// The error of the write before, once.
    fn failed(&mut self) -> StreamResult<()> {
        match std::mem::replace(&mut self.state, Standing::Closed) {
            Standing::Failed(error) => Err(StreamError::LastOperationFailed(error.into())),
            Standing::Closed => Err(StreamError::Closed),
            other @ (Standing::Ready | Standing::Writing(_)) => {
                self.state = other;
                Ok(())
            }
        }
    }
}

#[async_trait]
impl OutputStream for FileStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.failed()?;
        if matches!(self.state, Standing::Writing(_)) || bytes.len() > WRITE_BYTES_MAX {
            return Err(StreamError::trap("write not permitted: check_write not called first"));
        }
        let Some(writing) = self.ledger.begin(bytes.len() as u64) else {
            self.state = Standing::Failed(io::Error::from_raw_os_error(libc::ENOSPC));
            return Ok(());
        };
        let (file, at) = (Arc::clone(&self.file), self.at);
        self.at = at.map(|at| at.saturating_add(bytes.len() as u64));
        self.state = Standing::Writing(spawn_blocking(move || {
            let at = at.map_or_else(|| file.metadata().map(|meta| meta.len()), Ok)?;
            let written = file.write_all_at(&bytes, at);
            drop(writing);
            written
        }));
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.failed()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.failed()?;
        Ok(if matches!(self.state, Standing::Writing(_)) { 0 } else { WRITE_BYTES_MAX })
    }

    async fn cancel(&mut self) {
        // A write that has begun cannot be undone: it is waited for, so that a guest has no more than one of a stream.
        self.ready().await;
        self.state = Standing::Closed;
    }
}

#[async_trait]
impl Pollable for FileStream {
    async fn ready(&mut self) {
        if let Standing::Writing(task) = &mut self.state {
            self.state = match task.await {
                Ok(Ok(())) => Standing::Ready,
                Ok(Err(error)) => Standing::Failed(error),
                Err(error) => Standing::Failed(io::Error::other(error)),
            };
        }
    }
}
