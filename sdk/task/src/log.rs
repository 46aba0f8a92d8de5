//! Log lines of a task, with a level. They appear in `wctl logs` next to what the task prints.
//!
//! ```
//! use weir_sdk::log;
//! log::info!("read {} bytes", 42);
//! ```

use std::fmt;

pub use crate::{
    __log_debug as debug, __log_error as error, __log_info as info, __log_trace as trace, __log_warn as warn,
};

/// How much a log line matters, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every step, for finding a mistake.
    Trace,
    /// What a developer of the task wants to know.
    Debug,
    /// What an operator of the job wants to know.
    Info,
    /// Something is not as it should be, and the task goes on.
    Warn,
    /// Something failed.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        })
    }
}

/// Writes one log line with the level; the macros of this module are the shorter way.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    match message.as_str() {
        Some(message) => crate::host::log(level, message),
        None => crate::host::log(level, &message.to_string()),
    }
}

/// Writes a log line at level trace, from format arguments.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_trace {
    ($($argument:tt)+) => { $crate::log::write($crate::log::Level::Trace, ::core::format_args!($($argument)+)) };
}

/// Writes a log line at level debug, from format arguments.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($argument:tt)+) => { $crate::log::write($crate::log::Level::Debug, ::core::format_args!($($argument)+)) };
}

/// Writes a log line at level info, from format arguments.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($argument:tt)+) => { $crate::log::write($crate::log::Level::Info, ::core::format_args!($($argument)+)) };
}

/// Writes a log line at level warn, from format arguments.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($argument:tt)+) => { $crate::log::write($crate::log::Level::Warn, ::core::format_args!($($argument)+)) };
}

/// Writes a log line at level error, from format arguments.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($argument:tt)+) => { $crate::log::write($crate::log::Level::Error, ::core::format_args!($($argument)+)) };
}
