//! The host as a native build sees it: unit tests and tools of the task's developer.

use crate::context::Context;
use crate::log::Level;
use crate::testing;

/// Checks the task like the component's export does; there is nothing to export to.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($task:path) => {};
}

pub(crate) fn context() -> Context {
    testing::current(|seen| seen.context.clone()).unwrap_or_else(testing::default_context)
}

#[expect(clippy::print_stderr, reason = "a native run has no log but the standard error")]
pub(crate) fn log(level: Level, message: &str) {
    eprintln!("[{level:5}] {message}");
    testing::current(|seen| seen.log.push((level, message.to_owned())));
}

pub(crate) fn progress(done: u64, total: u64) {
    testing::current(|seen| seen.progress.push((done, total)));
}
