#![doc = include_str!("../README.md")]

#[cfg(all(target_family = "wasm", not(all(target_os = "wasi", target_env = "p2"))))]
compile_error!("a Weir task is a component: build it with `cargo build --target wasm32-wasip2`");

#[cfg(all(target_os = "wasi", target_env = "p2"))]
#[path = "component.rs"]
mod host;
#[cfg(not(all(target_os = "wasi", target_env = "p2")))]
#[path = "native.rs"]
mod host;

mod context;
mod entry;
mod error;
pub mod log;
#[cfg(not(all(target_os = "wasi", target_env = "p2")))]
pub mod testing;

pub use context::Context;
pub use error::{Error, Result, WrapErr};
pub use weir_sdk_macros::task;

/// Returns the context of the running task: which task it is, of which run, and how long it may take.
///
/// In a native build it is the one set by `testing::TestHost`, or that of the only task of a run named `test`.
#[must_use]
pub fn context() -> Context {
    host::context()
}

/// Reports that `done` of `total` units of work are finished. The unit is the task's own: bytes, rows, steps.
///
/// A report replaces the one before it, so that it may be lost without harm; some tens per task are enough.
pub fn progress(done: u64, total: u64) {
    host::progress(done, total);
}

/// What the expansion of the attribute refers to. No part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::entry::{check_input, check_output, run};
    #[cfg(all(target_os = "wasi", target_env = "p2"))]
    pub use crate::host::{Failure, Guest, bindings, export_task};
}
