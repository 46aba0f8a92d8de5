//! The host as a component sees it: imports and the export of the WIT world.

use std::time::{Duration, SystemTime};

use crate::context::Context;
use crate::error::Error;
use crate::log::Level;
use bindings::weir::task::host;

pub use bindings::export_task;
pub use bindings::exports::weir::task::run::{Failure, Guest};

/// The types and functions generated from the WIT world.
#[expect(missing_docs, reason = "generated code documents what the WIT file documents")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "task",
        runtime_path: "::wit_bindgen::rt",
        pub_export_macro: true,
        export_macro_name: "export_task",
    });
}

/// Exports a function as the task of the component.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($task:path) => {
        const _: () = {
            struct Task;
            impl $crate::__private::Guest for Task {
                fn run(
                    input: ::std::vec::Vec<u8>,
                ) -> ::core::result::Result<::std::vec::Vec<u8>, $crate::__private::Failure> {
                    $crate::__private::run(&input, $task).map_err(::core::convert::Into::into)
                }
            }
    $crate::__private::export_task!(Task with_types_in $crate::__private::bindings);
        };
    };
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (message, retryable) = error.into_parts();
        Self { message, retryable }
    }
}

pub(crate) fn context() -> Context {
    let context = host::get_context();
    let deadline = context.deadline_ms.map(Duration::from_millis);
    Context {
        namespace: context.namespace,
        job: context.job,
        run: context.run,
        index: context.index,
        count: context.count,
        attempt: context.attempt,
        deadline: deadline.and_then(|since_epoch| SystemTime::UNIX_EPOCH.checked_add(since_epoch)),
    }
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Trace => host::Level::Trace,
        Level::Debug => host::Level::Debug,
        Level::Info => host::Level::Info,
        Level::Warn => host::Level::Warn,
        Level::Error => host::Level::Error,
    };
    host::log(level, message);
}

pub(crate) fn progress(done: u64, total: u64) {
    host::progress(done, total);
}
