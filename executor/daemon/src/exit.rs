//! Why the daemon ends, and with which code.

use std::process::ExitCode;

use weir_agent::ExitReason;
use weir_wire::message::RefuseCode;

use crate::config::Problem;

/// Why the executor ended, where a script may want to tell.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory is used by another daemon.
    #[error("lock the data directory {0}: another executor uses it; give each its own")]
    DataDirInUse(String),
    /// A certificate was refused.
    #[error("join the cluster")]
    Certificate(#[source] weir_link::Error),
    /// The control plane ended it.
    #[error("stay in the cluster")]
    Ended(#[source] ExitReason),
}

/// The exit code for an error: 3 for the configuration, 5 for a conflict with another executor, 6 for a refused
/// identity, 1 for everything else.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(code(error))
}

fn code(error: &anyhow::Error) -> u8 {
    if error.chain().any(|cause| cause.is::<Problem>() || cause.is::<weir_link::IdentityError>()) {
        return 3;
    }
    match error.chain().find_map(|cause| cause.downcast_ref::<Error>()) {
        Some(Error::DataDirInUse(_) | Error::Ended(ExitReason::Superseded { .. })) => 5,
        Some(Error::Ended(ExitReason::Refused { code: RefuseCode::Identity, .. })) => 5,
        Some(Error::Certificate(_) | Error::Ended(ExitReason::Refused { .. })) => 6,
        Some(Error::Ended(ExitReason::Drained)) | None => 1,
    }
}

#[cfg(test)]
mod tests {
    use weir_wire::id::Incarnation;

    use super::*;

    #[test]
    fn each_kind_of_end_has_its_code() {
        let refused = |code| Error::Ended(ExitReason::Refused { code, message: "no".into() });
        let superseded = ExitReason::Superseded { incarnation: Incarnation(1), message: "later".into() };
        let problem = Problem { key: "memory".into(), why: "it is not a size".into() };
        let cases = [
            (anyhow::Error::new(problem), 3),
            (anyhow::Error::new(Error::DataDirInUse("/d".into())).context("start"), 5),
            (anyhow::Error::new(Error::Ended(superseded)), 5),
            (anyhow::Error::new(refused(RefuseCode::Identity)), 5),
            (anyhow::Error::new(refused(RefuseCode::Cluster)), 6),
            (anyhow::Error::new(Error::Certificate(weir_link::Error::NoAddress)), 6),
            (anyhow::anyhow!("anything else"), 1),
        ];
        for (error, expected) in cases {
            assert_eq!(code(&error), expected, "{error:#}");
        }
    }
}
