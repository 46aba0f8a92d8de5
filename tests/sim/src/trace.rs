//! The trace of a run: a hash always, text on request, and the ERROR events of the cores.

use std::{
    cell::RefCell,
    fmt::{self, Write as _},
    io::Write,
};

use crate::rng::mix;

/// What has happened so far.
#[derive(Default)]
pub(crate) struct Trace {
    hash: u64,
    sink: Option<Box<dyn Write>>,
    /// For encodings that only the hash reads.
    scratch: Vec<u8>,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("hash", &self.hash).field("kept", &self.sink.is_some()).finish_non_exhaustive()
    }
}

impl Trace {
    pub(crate) fn new(sink: Option<Box<dyn Write>>) -> Self {
        Self { hash: 0, sink, scratch: Vec::new() }
    }

    /// Folds bytes, and their number, into the hash.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let mut hash = mix(self.hash ^ bytes.len() as u64);
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            hash = mix(hash ^ chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
        self.hash = mix(hash ^ chunks.remainder().iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    }

    /// Folds a number into the hash.
    pub(crate) const fn number(&mut self, number: u64) {
        self.hash = mix(self.hash ^ number);
    }

    /// Folds what `encode` writes into the hash.
    pub(crate) fn fold(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        encode(&mut scratch);
        self.bytes(&scratch);
        self.scratch = scratch;
    }

    /// Notes a line, if anybody wants to read it.
    pub(crate) fn line(&mut self, at_ns: u64, line: fmt::Arguments<'_>) {
        if let Some(sink) = &mut self.sink {
            // A reader that has gone away, such as `head`, does not change the world.
            let _ = writeln!(sink, "{:>12} {line}", Seconds(at_ns));
        }
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }
}

/// Nanoseconds, shown as seconds.
pub(crate) struct Seconds(pub(crate) u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:06}", self.0 / 1_000_000_000, self.0 / 1000 % 1_000_000))
    }
}

thread_local! {
    static ERRORS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A subscriber that keeps ERROR events: none of the cores may emit one in any simulated world.
#[derive(Debug)]
pub(crate) struct ErrorWatch;

struct Text(String);

impl tracing::field::Visit for Text {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl tracing::Subscriber for ErrorWatch {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }
    fn max_level_hint(&self) -> Option<tracing::metadata::LevelFilter> {
        Some(tracing::metadata::LevelFilter::ERROR)
    }
    fn new_span(&self, _span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _span: &tracing::span::Id, _values: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _span: &tracing::span::Id, _follows: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = Text(event.metadata().target().into());
        event.record(&mut text);
        ERRORS.with_borrow_mut(|errors| errors.push(text.0));
    }
    fn enter(&self, _span: &tracing::span::Id) {}
    fn exit(&self, _span: &tracing::span::Id) {}
}

/// The ERROR events of this thread since the last call.
pub(crate) fn take_errors() -> Vec<String> {
    ERRORS.with_borrow_mut(|errors| if errors.is_empty() { Vec::new() } else { std::mem::take(errors) })
}
