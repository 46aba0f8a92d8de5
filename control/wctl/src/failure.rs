//! What a person reads when a command fails: one line with what, why and what to do next; causes under `-v`.

use std::{error::Error as StdError, fmt::Write as _, io};

use weir_client::{
    Error as ClientError,
    api::{Code, Detail},
};

use crate::exit::Exit;

/// The result of a command.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
    details: Vec<Detail>,
    source: Option<anyhow::Error>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, details: Vec::new(), source: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Adds what to do next.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause; its text is shown at once, deeper causes under `-v`.
    #[must_use]
    pub(crate) fn because(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(anyhow::Error::new(source));
        self
    }

    /// What failed, in one line.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// Whether the reader of stdout has gone, which is its right.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        let error = self.source.as_ref().and_then(|source| source.downcast_ref::<io::Error>());
        error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn render(&self, verbose: bool, color: bool) -> String {
        let (on, off) = if color { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        let mut text = format!("{on}error:{off} {}", self.message);
        let mut causes: Vec<String> = Vec::new();
        if let Some(source) = &self.source {
            causes = source.chain().map(ToString::to_string).collect();
            if !self.message.contains(&causes[0]) {
                add(&mut text, format_args!(": {}", causes[0]));
            }
        }
        match self.details.as_slice() {
            [] => {}
            details => {
                for detail in details {
                    let path = if detail.path.is_empty() { "the spec" } else { &detail.path };
                    add(&mut text, format_args!("\n  {path}: {}", detail.reason));
                    if let Some(allowed) = &detail.allowed {
                        add(&mut text, format_args!(" (allowed: {allowed})"));
                    }
                }
            }
        }
        if let Some(hint) = &self.hint {
            add(&mut text, format_args!("\n  {hint}"));
        }
        text.push('\n');
        if verbose {
            for cause in causes.iter().skip(1) {
                add(&mut text, format_args!("  caused by: {cause}\n"));
            }
        }
        text
    }
}

fn add(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("writing to a string cannot fail");
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = Exit::of_client(&error);
        let hint = match &error {
            ClientError::Connect { .. } | ClientError::Exchange { .. } if error.is_certificate() => Some(
                "--ca, WCTL_CA or the context file name the certificate of the cluster's authority; is it another cluster's?",
            ),
            ClientError::Connect { .. } => Some(
                "is the cluster running? `wctl dev` starts one here; --addr, WCTL_ADDR or the context file say where it is",
            ),
            ClientError::Exchange { .. } | ClientError::Answer { .. } => {
                Some("is this the address of a Weir control plane, and https:// or http:// as it should be?")
            }
            ClientError::Api(problem) => hint_of(problem.code),
            ClientError::Options(_) => None,
        };
        let details = match &error {
            ClientError::Api(problem) => problem.details.clone(),
            ClientError::Connect { .. }
            | ClientError::Exchange { .. }
            | ClientError::Answer { .. }
            | ClientError::Options(_) => Vec::new(),
        };
        let message = match (&error, details.is_empty()) {
            (ClientError::Api(problem), false) => problem.title.clone(),
            (ClientError::Api(problem), true) if !problem.detail.is_empty() => problem.detail.clone(),
            (ClientError::Connect { source, .. } | ClientError::Exchange { source, .. }, _) => {
                format!("failed to {error}: {}", root_cause(source))
            }
            _ => format!("failed to {error}"),
        };
        let source = match error {
            ClientError::Connect { source, .. } | ClientError::Exchange { source, .. } => Some(source.into()),
            ClientError::Api(_) | ClientError::Answer { .. } | ClientError::Options(_) => None,
        };
        // The innermost cause is in the message already; the chain is for `-v`.
        let source = source.map(|source: anyhow::Error| source.context(message.clone()));
        Self { exit, message, hint: hint.map(str::to_owned), details, source }
    }
}

fn root_cause(error: &dyn StdError) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

const fn hint_of(code: Code) -> Option<&'static str> {
    match code {
        Code::Unauthenticated | Code::Forbidden => {
            Some("give a token with --token, WCTL_TOKEN or the context file; `wctl cluster init` printed it once")
        }
        Code::BackPressure => Some("try again later"),
        Code::QuotaExceeded => Some("no run was started; `wctl quota list` shows what is used"),
        Code::NoLeader | Code::StoreUnavailable => {
            Some("the control plane keeps trying; `wctl cluster info` shows how it is doing")
        }
        Code::BlobStore | Code::Internal => Some("the control plane's log says more"),
        Code::InvalidRequest
        | Code::TaskFailed
        | Code::InvalidSpec
        | Code::InvalidModule
        | Code::Unsupported
        | Code::DigestMismatch
        | Code::NotFound
        | Code::Conflict
        | Code::IdempotencyMismatch
        | Code::TooLarge
        | Code::Unknown => None,
    }
}

impl From<weir_api::spec::Invalid> for Failure {
    fn from(invalid: weir_api::spec::Invalid) -> Self {
        let details = invalid.details();
        Self { details, ..Self::new(Exit::Invalid, invalid.code().title()) }
    }
}

#[cfg(test)]
mod tests {
    use weir_api::{JobSpec, Problem};

    use super::*;

    #[test]
    fn spec_problems_are_listed_with_their_keys() {
        let invalid = JobSpec::from_toml("[job]\nname = \"a\"\nmodule = \"m\"\ncount = 0\n").unwrap_err();
        let failure = Failure::from(invalid);
        assert_eq!(failure.exit(), Exit::Invalid);
        assert_eq!(
            failure.render(false, false),
            "error: invalid job spec\n  job.count: 0 is out of range (allowed: 1 to 10000000)\n"
        );
    }

    #[test]
    fn an_api_error_says_what_to_do() {
        let problem = Problem::new(Code::Unauthenticated, "the token is wrong");
        let failure = Failure::from(ClientError::Api(Box::new(problem)));
        assert_eq!(failure.exit(), Exit::Denied);
        let text = failure.render(false, false);
        assert!(text.starts_with("error: the token is wrong\n  give a token with --token"), "{text}");
    }

    #[test]
    fn causes_are_shown_under_verbose_only() {
        let outer = io::Error::other(io::Error::new(io::ErrorKind::NotFound, "inner"));
        let failure = Failure::usage("failed to read x").because(outer);
        assert_eq!(failure.render(false, false), "error: failed to read x: inner\n");
        let failure = Failure::from(ClientError::Options("no address is given".to_owned()));
        assert_eq!(failure.render(true, false), "error: failed to use the client's options: no address is given\n");
    }

    #[test]
    fn a_closed_pipe_is_recognised() {
        let failure = Failure::new(Exit::Failed, "write").because(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(failure.is_closed_pipe());
        assert!(!Failure::usage("x").is_closed_pipe());
    }
}
