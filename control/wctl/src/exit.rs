//! The exit codes, all of them.

use std::process::ExitCode;

use weir_client::{Error, api::Code};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Ok,
    /// 1: failed at the server, or for a reason that no other code names.
    Failed,
    /// 2: the command line is wrong.
    Usage,
    /// 3: the spec or module is refused.
    Invalid,
    /// 4: there is no such object.
    NotFound,
    /// 5: the object is not in the state or version that the command requires.
    Conflict,
    /// 6: the token is missing, wrong or does not allow this.
    Denied,
    /// 7: the cluster cannot be reached, or has no leader or store.
    Unreachable,
    /// 8: the time to wait has passed; the work goes on.
    TimedOut,
    /// 9: accepted but not placed, or held back by quota or back-pressure.
    NotPlaced,
    /// 10: `plan` or `diff --exit-code` found changes.
    Changes,
    /// 11: the tasks failed.
    TasksFailed,
    /// 130: interrupted by Ctrl-C or SIGTERM.
    Interrupted,
    /// The guest's own code, with `run --propagate-exit`.
    Guest(u8),
}

impl Exit {
    /// Every code but the guest's, for the documentation and its test.
    pub const ALL: [Self; 13] = [
        Self::Ok,
        Self::Failed,
        Self::Usage,
        Self::Invalid,
        Self::NotFound,
        Self::Conflict,
        Self::Denied,
        Self::Unreachable,
        Self::TimedOut,
        Self::NotPlaced,
        Self::Changes,
        Self::TasksFailed,
        Self::Interrupted,
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Invalid => 3,
            Self::NotFound => 4,
            Self::Conflict => 5,
            Self::Denied => 6,
            Self::Unreachable => 7,
            Self::TimedOut => 8,
            Self::NotPlaced => 9,
            Self::Changes => 10,
            Self::TasksFailed => 11,
            Self::Interrupted => 130,
            Self::Guest(code) => code,
        }
    }

    /// The code that goes with an error of the API.
    pub const fn of_problem(code: Code) -> Self {
        match code {
            Code::InvalidRequest => Self::Usage,
            Code::InvalidSpec | Code::InvalidModule | Code::Unsupported | Code::DigestMismatch | Code::TooLarge => {
                Self::Invalid
            }
            Code::NotFound => Self::NotFound,
            Code::TaskFailed => Self::TasksFailed,
            Code::Conflict | Code::IdempotencyMismatch => Self::Conflict,
            Code::Unauthenticated | Code::Forbidden => Self::Denied,
            Code::BackPressure | Code::QuotaExceeded => Self::NotPlaced,
            Code::NoLeader | Code::StoreUnavailable => Self::Unreachable,
            Code::BlobStore | Code::Internal | Code::Unknown => Self::Failed,
        }
    }

    /// The code that goes with an error of the client.
    pub fn of_client(error: &Error) -> Self {
        match error {
            Error::Options(_) => Self::Usage,
            Error::Connect { .. } | Error::Exchange { .. } => Self::Unreachable,
            Error::Api(problem) => Self::of_problem(problem.code),
            Error::Answer { .. } => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use weir_client::api::Problem;

    use super::*;

    #[test]
    fn the_table_is_the_documented_one() {
        let codes = Exit::ALL.map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 130]);
        assert_eq!(Exit::Guest(42).code(), 42);
    }

    #[test]
    fn every_problem_has_a_code_that_is_not_success() {
        for (code, expected) in [
            (Code::InvalidRequest, 2),
            (Code::InvalidSpec, 3),
            (Code::InvalidModule, 3),
            (Code::Unsupported, 3),
            (Code::DigestMismatch, 3),
            (Code::TooLarge, 3),
            (Code::NotFound, 4),
            (Code::Conflict, 5),
            (Code::IdempotencyMismatch, 5),
            (Code::TaskFailed, 11),
            (Code::Unauthenticated, 6),
            (Code::Forbidden, 6),
            (Code::NoLeader, 7),
            (Code::StoreUnavailable, 7),
            (Code::BackPressure, 9),
            (Code::QuotaExceeded, 9),
            (Code::BlobStore, 1),
            (Code::Internal, 1),
        ] {
            let error = Error::Api(Box::new(Problem::new(code, "")));
            assert_eq!(Exit::of_client(&error).code(), expected, "{}", code.as_str());
        }
        assert!(Code::ALL.iter().all(|code| Exit::of_problem(*code) != Exit::Ok));
    }

    #[test]
    fn local_failures() {
        assert_eq!(Exit::of_client(&Error::Options(String::new())), Exit::Usage);
        let answer = Error::Answer { address: String::new(), reason: String::new() };
        assert_eq!(Exit::of_client(&answer), Exit::Failed);
    }
}
