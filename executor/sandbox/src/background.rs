//! What a component has its file streams do while it goes on: such work is charged like that of a call which waits.
//!
//! A stream that comes with wasmtime-wasi does not tell whether an operation of it is under way, but its answers do.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use bytes::Bytes;
use wasmtime_wasi::{
    async_trait,
    p2::{DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamResult},
};

/// How many streams of an attempt have an operation under way, as far as the guest has not seen the end of it.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(AtomicU32);

impl UnderWay {
    pub(crate) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// Whether one stream has an operation under way.
#[derive(Debug)]
struct Operation {
    all: Arc<UnderWay>,
    under_way: bool,
}

impl Operation {
    const fn none(all: Arc<UnderWay>) -> Self {
        Self { all, under_way: false }
    }

    fn set(&mut self, under_way: bool) {
        match (std::mem::replace(&mut self.under_way, under_way), under_way) {
            (false, true) => drop(self.all.0.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.all.0.fetch_sub(1, Ordering::Relaxed)),
            (false, false) | (true, true) => {}
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// A stream out of a file.
struct Input {
    stream: DynInputStream,
    operation: Operation,
}

/// A stream into a file.
struct Output {
    stream: DynOutputStream,
    operation: Operation,
}

/// Has a stream out of a file tell what it does.
pub(crate) fn input(stream: DynInputStream, all: Arc<UnderWay>) -> DynInputStream {
    Box::new(Input { stream, operation: Operation::none(all) })
}

/// Has a stream into a file tell what it does.
pub(crate) fn output(stream: DynOutputStream, all: Arc<UnderWay>) -> DynOutputStream {
    Box::new(Output { stream, operation: Operation::none(all) })
}

#[async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        // It begins to read by itself.
        self.operation.set(true);
        self.stream.ready().await;
        self.operation.set(false);
    }
}

#[async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let read = self.stream.read(size);
        if size > 0 {
            self.operation.set(read.as_ref().is_ok_and(Bytes::is_empty));
        }
        read
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        let read = self.stream.blocking_read(size).await;
        self.operation.set(false);
        read
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
        self.operation.set(false);
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        self.stream.ready().await;
        self.operation.set(false);
    }
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let written = self.stream.write(bytes);
        self.operation.set(written.is_ok());
        written
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.stream.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let room = self.stream.check_write();
        self.operation.set(room.as_ref().is_ok_and(|room| *room == 0));
        room
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        let written = self.stream.blocking_write_and_flush(bytes).await;
        self.operation.set(false);
        written
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
        self.operation.set(false);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Waker},
    };

    use tokio::sync::mpsc;
    use wasmtime_wasi::p2::StreamError;

    use super::*;

    /// A stream whose operations end when the test says so.
    struct File {
        ends: mpsc::UnboundedReceiver<()>,
        busy: bool,
        done: bool,
    }

    #[async_trait]
    impl Pollable for File {
        async fn ready(&mut self) {
            if !self.done {
                self.ends.recv().await;
            }
            (self.busy, self.done) = (false, true);
        }
    }

    #[async_trait]
    impl InputStream for File {
        fn read(&mut self, _size: usize) -> StreamResult<Bytes> {
            Ok(if std::mem::take(&mut self.done) { Bytes::from_static(b"x") } else { Bytes::new() })
        }
    }

    #[async_trait]
    impl OutputStream for File {
        fn write(&mut self, _bytes: Bytes) -> StreamResult<()> {
            if self.busy {
                return Err(StreamError::Closed);
            }
            (self.busy, self.done) = (true, false);
            Ok(())
        }

        fn flush(&mut self) -> StreamResult<()> {
            Ok(())
        }

        fn check_write(&mut self) -> StreamResult<usize> {
            Ok(usize::from(!self.busy))
        }
    }

    fn file() -> (mpsc::UnboundedSender<()>, Box<File>) {
        let (end, ends) = mpsc::unbounded_channel();
        (end, Box::new(File { ends, busy: false, done: false }))
    }

    fn is_over(future: impl Future) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_stream_tells_whether_it_reads() {
        let all = Arc::<UnderWay>::default();
        let (end, file) = file();
        let mut stream = input(file, Arc::clone(&all));
        assert!(!all.any());
        assert!(stream.read(1).expect("open").is_empty() && all.any(), "it has begun");
        assert!(!is_over(stream.ready()) && all.any(), "nobody waits any more, and it goes on");
        assert!(stream.read(0).expect("open").is_empty() && all.any(), "nothing is asked");
        end.send(()).expect("it waits");
        assert!(is_over(stream.ready()) && !all.any());
        assert_eq!(stream.read(1).expect("open"), "x");
        assert!(!is_over(stream.ready()) && all.any(), "waiting begins to read");
        drop(stream);
        assert!(!all.any());
    }

    #[test]
    fn a_stream_tells_whether_it_writes() {
        let all = Arc::<UnderWay>::default();
        let (end, first) = file();
        let (_end, second) = file();
        let (mut first, mut second) = (output(first, Arc::clone(&all)), output(second, Arc::clone(&all)));
        assert!(is_over(async { first.check_write().expect("open") }) && !all.any());
        first.write(Bytes::new()).expect("open");
        second.write(Bytes::new()).expect("open");
        assert!(first.check_write().expect("open") == 0 && all.any());
        drop(second);
        assert!(all.any(), "the other one goes on");
        end.send(()).expect("it waits");
        assert!(is_over(first.ready()) && !all.any());
        assert_eq!(first.check_write().expect("open"), 1);
        assert!(!all.any());
    }
}
