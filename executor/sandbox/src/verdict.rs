//! Decides how an attempt ended: state, reason, message and backtrace.

use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;
use weir_wire::{
    limits::MESSAGE_LEN_MAX,
    outcome::Failure,
    task::{Reason, Source, Status},
};

use crate::{
    backtrace,
    limits::{Denied, FUEL_SLICE},
    lines::Lines,
    program::Returned,
};

/// What made an attempt end.
#[derive(Debug)]
pub(crate) enum End {
    /// The guest, one way or another.
    Guest(wasmtime::Result<Returned>),
    /// A command from outside.
    Cancelled(Reason),
    /// Its wall-clock time.
    TimedOut,
    /// Its output, although the guest goes on.
    OutputFull,
}

/// What a job wants to connect to has no address, or none that may be connected to; not the guest's doing.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Unresolved {
    pub(crate) why: String,
    /// The node does not allow it, so that trying again does not help.
    pub(crate) denied: bool,
}

/// How an attempt ended, without what it used.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) status: Status,
    pub(crate) failure: Option<Box<Failure>>,
    /// What a task returned; a command's result is its output.
    pub(crate) returned: Option<Vec<u8>>,
    /// Whether the guest's fuel is counted exactly; if not it is rounded up to a whole slice.
    pub(crate) fuel_exact: bool,
}

/// What else is known at the end of an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    pub(crate) denied: Option<Denied>,
    pub(crate) output_full: bool,
    pub(crate) output_max: u64,
    /// The source lines of its code, if they are known.
    pub(crate) lines: Option<&'a Lines>,
}

/// Judges the end of an attempt.
pub(crate) fn judge(end: End, known: Circumstances<'_>) -> Verdict {
    match end {
        End::Cancelled(reason) => {
            let by_control =
                matches!(reason, Reason::Cancelled | Reason::Preempted | Reason::Drained | Reason::DependencyFailed);
            let source = if by_control { Source::Control } else { Source::Executor };
            failed(Status::Killed, Failure::new(reason, source, "ended before it was done"))
        }
        End::OutputFull => output_limit(),
        _ if known.output_full => output_limit(),
        End::TimedOut => by_limit(Reason::WallTimeout, "the wall-clock timeout passed"),
        End::Guest(Ok(Returned::Result(bytes))) if bytes.len() as u64 > known.output_max => output_limit(),
        End::Guest(Ok(Returned::Result(bytes))) => succeeded(Some(bytes)),
        End::Guest(Ok(Returned::Done)) => succeeded(None),
        End::Guest(Ok(Returned::Failed)) => exited(1, "the command failed".to_owned(), known.denied, false),
        End::Guest(Ok(Returned::Error { message, permanent })) => exited(1, message, known.denied, permanent),
        End::Guest(Err(error)) => by_error(&error, known),
    }
}

/// Fuel to be charged, given how much of the budget is gone.
pub(crate) fn charged_fuel(budget: u64, left: u64, exact: bool) -> u64 {
    let used = budget.saturating_sub(left);
    if exact { used } else { used.div_ceil(FUEL_SLICE).saturating_mul(FUEL_SLICE).min(budget) }
}

/// An attempt that failed before the guest could.
pub(crate) fn host_error(message: impl Into<String>) -> Failure {
    Failure::new(Reason::HostError, Source::Executor, clipped(message.into()))
}

/// An attempt whose result the host cannot read, whatever the guest made of it.
pub(crate) fn output_lost(error: &weir_wire::codec::Error) -> Verdict {
    failed(Status::Failed, host_error(format!("the output cannot be read: {error}")))
}

fn by_error(error: &wasmtime::Error, Circumstances { denied, lines, .. }: Circumstances<'_>) -> Verdict {
    if let Some(&I32Exit(code)) = error.downcast_ref() {
        return if code == 0 {
            succeeded(None)
        } else {
            exited(code, format!("exited with code {code}"), denied, false)
        };
    }
    if let Some(Unresolved { why, denied }) = error.downcast_ref() {
        let denied = denied.then(|| Failure::new(Reason::CapabilityDenied, Source::Executor, why));
        return failed(Status::Failed, denied.unwrap_or_else(|| host_error(why.as_str())));
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return failed(Status::Failed, host_error(format!("{error:#}")));
    }
    let trap = error.downcast_ref::<Trap>().copied();
    let (reason, source, message) = match (trap, denied) {
        (Some(Trap::OutOfFuel), _) => {
            (Reason::FuelExhausted, Source::Executor, "the fuel budget is used up".to_owned())
        }
        (Some(Trap::StackOverflow), _) => {
            (Reason::StackOverflow, Source::Guest, "the call stack is used up".to_owned())
        }
        (_, Some(denied)) => {
            (limit_reason(denied), Source::Executor, format!("{}: {}", limit_text(denied), root(error)))
        }
        (Some(Trap::MemoryOutOfBounds), None) => (
            Reason::Trap,
            Source::Guest,
            format!("{}; deep recursion looks like this where a compiler keeps the stack in memory", root(error)),
        ),
        (_, None) => (Reason::Trap, Source::Guest, root(error)),
    };
    let failure =
        Failure { backtrace: backtrace::of_error(error, lines), ..Failure::new(reason, source, clipped(message)) };
    failed(Status::Failed, failure)
}

fn exited(code: i32, message: String, denied: Option<Denied>, permanent: bool) -> Verdict {
    let (reason, source, message) = match denied {
        Some(denied) => (limit_reason(denied), Source::Executor, format!("{}: {message}", limit_text(denied))),
        None => (Reason::ExitNonzero, Source::Guest, message),
    };
    let exit_code = Some(code);
    let failure = Failure { exit_code, permanent, ..Failure::new(reason, source, clipped(message)) };
    Verdict { fuel_exact: true, ..failed(Status::Failed, failure) }
}

fn succeeded(returned: Option<Vec<u8>>) -> Verdict {
    Verdict { status: Status::Succeeded, failure: None, returned, fuel_exact: true }
}

fn output_limit() -> Verdict {
    by_limit(Reason::OutputLimit, "more output than its budget allows")
}

fn by_limit(reason: Reason, message: &str) -> Verdict {
    failed(Status::Failed, Failure::new(reason, Source::Executor, message))
}

fn failed(status: Status, failure: Failure) -> Verdict {
    Verdict { status, failure: Some(Box::new(failure)), returned: None, fuel_exact: false }
}

const fn limit_reason(denied: Denied) -> Reason {
    match denied {
        Denied::Memory => Reason::MemoryLimit,
        Denied::Table => Reason::TableLimit,
    }
}

const fn limit_text(denied: Denied) -> &'static str {
    match denied {
        Denied::Memory => "more memory than the limit was refused, then",
        Denied::Table => "a larger table than the limit was refused, then",
    }
}

fn root(error: &wasmtime::Error) -> String {
    error.root_cause().to_string()
}

fn clipped(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MESSAGE_LEN_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Circumstances<'_> = Circumstances { denied: None, output_full: false, output_max: 10, lines: None };

    fn reason(end: End, known: Circumstances<'_>) -> Option<Reason> {
        judge(end, known).failure.map(|failure| failure.reason)
    }

    #[test]
    fn reasons_follow_from_the_end_and_its_circumstances() {
        let trap = |trap: Trap| End::Guest(Err(wasmtime::Error::new(trap)));
        let exit = |code| End::Guest(Err(wasmtime::Error::new(I32Exit(code))));
        let denied = Circumstances { denied: Some(Denied::Memory), ..QUIET };
        let table = Circumstances { denied: Some(Denied::Table), ..QUIET };
        let full = Circumstances { output_full: true, ..QUIET };
        let cases = [
            (exit(0), denied, None),
            (exit(3), QUIET, Some(Reason::ExitNonzero)),
            (exit(3), denied, Some(Reason::MemoryLimit)),
            (trap(Trap::UnreachableCodeReached), QUIET, Some(Reason::Trap)),
            (trap(Trap::UnreachableCodeReached), denied, Some(Reason::MemoryLimit)),
            (trap(Trap::UnreachableCodeReached), table, Some(Reason::TableLimit)),
            (trap(Trap::OutOfFuel), denied, Some(Reason::FuelExhausted)),
            (trap(Trap::StackOverflow), QUIET, Some(Reason::StackOverflow)),
            (trap(Trap::UnreachableCodeReached), full, Some(Reason::OutputLimit)),
            (End::TimedOut, QUIET, Some(Reason::WallTimeout)),
            (End::Cancelled(Reason::Drained), full, Some(Reason::Drained)),
            (End::Guest(Ok(Returned::Result(vec![0; 11]))), QUIET, Some(Reason::OutputLimit)),
            (End::Guest(Ok(Returned::Result(vec![0; 10]))), QUIET, None),
            (
                End::Guest(Ok(Returned::Error { message: "no".to_owned(), permanent: true })),
                QUIET,
                Some(Reason::ExitNonzero),
            ),
        ];
        for (index, (end, known, expected)) in cases.into_iter().enumerate() {
            assert_eq!(reason(end, known), expected, "case {index}");
        }
    }

    #[test]
    fn uncertain_fuel_is_charged_in_whole_slices() {
        assert_eq!(charged_fuel(10 * FUEL_SLICE, 10 * FUEL_SLICE - 1, true), 1);
        assert_eq!(charged_fuel(10 * FUEL_SLICE, 10 * FUEL_SLICE - 1, false), FUEL_SLICE);
        assert_eq!(charged_fuel(500, 499, false), 500);
    }
}
