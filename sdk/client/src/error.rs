use thiserror::Error;
use weir_api::{Code, Problem};

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
#[derive(Debug, Error)]
pub enum Error {
    /// The client cannot be built from its options.
    #[error("use the client's options: {0}")]
    Options(String),
    /// No address could be reached.
    #[error("reach the cluster at {address}")]
    Connect {
        /// The address that was tried last.
        address: String,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke while the request or its answer was under way.
    #[error("exchange a request with {address}")]
    Exchange {
        /// The address.
        address: String,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// The server refused the request or failed.
    #[error("{}", problem_text(.0))]
    Api(Box<Problem>),
    /// The answer is not what the API documents; the address may be something else's.
    #[error("read the answer of {address}: {reason}")]
    Answer {
        /// The address.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// The server's code, if it answered.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Api(problem) => Some(problem.code),
            Self::Options(_) | Self::Connect { .. } | Self::Exchange { .. } | Self::Answer { .. } => None,
        }
    }

    /// Whether the server's certificate was not accepted.
    pub fn is_certificate(&self) -> bool {
        match self {
            Self::Connect { source, .. } | Self::Exchange { source, .. } => crate::transport::is_tls(source),
            Self::Options(_) | Self::Api(_) | Self::Answer { .. } => false,
        }
    }

    /// Whether the server said that there is no such object.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(Code::NotFound)
    }
}

fn problem_text(problem: &Problem) -> String {
    if problem.detail.is_empty() { problem.title.clone() } else { problem.detail.clone() }
}
