//! Runs tasks in native unit tests, with a context of the test's choice and a record of what the task reported.
//! Absent from components.
//!
//! ```
//! use weir_sdk::testing::TestHost;
//!
//! fn third(_: ()) -> weir_sdk::Result<u32> {
//!     weir_sdk::log::info!("at work");
//!     Ok(weir_sdk::context().index)
//! }
//!
//! let seen = TestHost::new().task(2, 4).run(|| third(()));
//! assert_eq!(seen.value, Ok(2));
//! assert_eq!(seen.log[0].1, "at work");
//! ```

use std::cell::RefCell;
use std::time::SystemTime;

use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::entry::TaskResult;
use crate::error::Error;
use crate::log::Level;

/// A stand-in for the executor: the context that tasks run by it see.
#[derive(Debug, Clone)]
#[must_use]
pub struct TestHost {
    context: Context,
}

/// What a task returned and reported.
#[derive(Debug)]
#[non_exhaustive]
pub struct Seen<T> {
    /// What the function returned.
    pub value: T,
    /// The log lines, in order.
    pub log: Vec<(Level, String)>,
    /// The progress reports, in order, as (done, total).
    pub progress: Vec<(u64, u64)>,
}

impl TestHost {
    /// Makes a host whose only task is the first attempt of task 0 of 1, without a deadline, of namespace `default`, job
    /// `test`, run `test`.
    pub fn new() -> Self {
        Self { context: default_context() }
    }

    /// Sets which task of how many it is.
    ///
    /// # Panics
    /// When there is no such task: `index` is not less than `count`.
    pub fn task(mut self, index: u32, count: u32) -> Self {
        assert!(index < count, "task {index} of {count} does not exist: the first is 0");
        (self.context.index, self.context.count) = (index, count);
        self
    }

    /// Sets which attempt it is, counted from 1.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.context.attempt = attempt;
        self
    }

    /// Sets when the attempt would be ended. Nothing ends it.
    pub fn deadline(mut self, deadline: SystemTime) -> Self {
        self.context.deadline = Some(deadline);
        self
    }

    /// Sets the namespace, the job and the run.
    pub fn job(mut self, namespace: &str, job: &str, run: &str) -> Self {
        let context = &mut self.context;
        (context.namespace, context.job, context.run) = (namespace.to_owned(), job.to_owned(), run.to_owned());
        self
    }

    /// Calls the function on this thread with the context set. Other threads see the default context.
    pub fn run<T>(self, function: impl FnOnce() -> T) -> Seen<T> {
        let attempt = Attempt::begin(self.context);
        let value = function();
        let Record { log, progress, .. } = attempt.end();
        Seen { value, log, progress }
    }

    /// Runs the task on a payload as an executor does: bytes in, bytes out. An empty payload is JSON `null`.
    pub fn run_payload<I, R>(self, payload: &[u8], task: fn(I) -> R) -> Seen<Result<Vec<u8>, Error>>
    where
        I: DeserializeOwned,
        R: TaskResult,
    {
        self.run(|| crate::entry::run(payload, task))
    }
}

impl Default for TestHost {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) struct Record {
    pub(crate) context: Context,
    pub(crate) log: Vec<(Level, String)>,
    pub(crate) progress: Vec<(u64, u64)>,
}

thread_local! {
    /// The attempts under way on this thread; a test may run a task within a task.
    static RECORDS: RefCell<Vec<Record>> = const { RefCell::new(Vec::new()) };
}

/// Uses the record of the innermost attempt under way on this thread, if there is one.
pub(crate) fn current<T>(use_record: impl FnOnce(&mut Record) -> T) -> Option<T> {
    RECORDS.with_borrow_mut(|records| records.last_mut().map(use_record))
}

pub(crate) fn default_context() -> Context {
    Context {
        namespace: "default".to_owned(),
        job: "test".to_owned(),
        run: "test".to_owned(),
        index: 0,
        count: 1,
        attempt: 1,
        deadline: None,
    }
}

/// Ends the attempt when the task panics as well, so that the next test on the thread starts afresh.
struct Attempt {
    depth: usize,
}

impl Attempt {
    fn begin(context: Context) -> Self {
        let record = Record { context, log: Vec::new(), progress: Vec::new() };
        RECORDS.with_borrow_mut(|records| {
            records.push(record);
            Self { depth: records.len() - 1 }
        })
    }

    fn end(self) -> Record {
        RECORDS.with_borrow_mut(|records| records.remove(self.depth))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        RECORDS.with_borrow_mut(|records| records.truncate(self.depth));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> String {
        crate::context().job
    }

    #[test]
    fn contexts_nest_and_end() {
        let inner = TestHost::new().job("n", "inner", "r");
        let outer = TestHost::new().job("n", "outer", "r");
        let seen = outer.run(|| (job(), inner.run(job).value, job()));
        assert_eq!(seen.value, ("outer".to_owned(), "inner".to_owned(), "outer".to_owned()));
        assert_eq!(job(), "test");
    }

    #[test]
    fn a_panic_ends_the_attempt() {
        let panicked = std::panic::catch_unwind(|| TestHost::new().job("n", "lost", "r").run(|| panic!("as planned")));
        assert!(panicked.is_err());
        assert_eq!(job(), "test");
    }

    #[test]
    fn reports_are_recorded_in_order() {
        let seen = TestHost::new().attempt(3).run(|| {
            crate::log::warn!("attempt {}", crate::context().attempt);
            crate::progress(1, 2);
            crate::log::error!("done");
            crate::progress(2, 2);
        });
        assert_eq!(seen.log, [(Level::Warn, "attempt 3".to_owned()), (Level::Error, "done".to_owned())]);
        assert_eq!(seen.progress, [(1, 2), (2, 2)]);
    }

    #[test]
    fn reports_without_a_test_host_go_nowhere() {
        crate::log::info!("unseen");
        crate::progress(1, 1);
    }
}
