//! What the errors of the client mean, and what can be done about them.

use std::error::Error as _;

use etcd_client::Error;

use super::StoreError;

/// What etcd or TLS says when this replica is not let in, and what to do. Each is said wherever it is found in an error.
const ADVICE: [(&str, &str); 7] = [
    (
        "authentication failed, invalid user ID or password",
        "check etcd_user and the file of etcd_password_file, which is read when weir-control starts",
    ),
    ("user name is empty", "etcd asks who this is: set etcd_user and etcd_password_file"),
    (
        "permission denied",
        "grant the user of etcd_user, or of the certificate, reading and writing of the cluster's keys",
    ),
    ("invalid peer certificate", "check etcd_ca, and that etcd's certificate names the host of the endpoint"),
    ("received fatal alert", "etcd does not accept this replica's certificate: check etcd_cert and etcd_key"),
    (
        "received corrupt message of type InvalidContentType",
        "what answers there serves no TLS: if it is etcd, use http://, else name etcd's client URL",
    ),
    ("HTTP/2 was not negotiated", "is this endpoint etcd's client URL?"),
];
/// What etcd says when it does not know, or no longer trusts, who a request is from.
const STRANGER: [&str; 3] = ["invalid auth token", "revision of auth store is old", "user name is empty"];
/// What etcd says while its quota alarm is raised, and what to do.
const FULL: (&str, &str) = (
    "database space exceeded",
    "etcd is full: compact and defragment it, or raise --quota-backend-bytes, and then disarm the alarm; nothing has to be \
     restarted here",
);
/// How the first question to an endpoint fails where one side speaks TLS and the other does not, or where something else
/// than etcd answers: the question, what the error says, and what to look at. An etcd that ends just then may also be the
/// cause, which goes by.
const ENDPOINT: [(&str, &[&str], &str); 4] = [
    (
        "status at https://",
        &["tls handshake eof", "connection reset"],
        "if etcd serves no TLS there, begin the endpoint with http://; if it is not etcd that is there, name etcd's client URL",
    ),
    (
        "status at http",
        &["grpc-status header missing"],
        "a web server answers there, and not etcd: name etcd's client URL",
    ),
    // An etcd with TLS closes without a word. What answers, but not in HTTP/2, is a web server, or a proxy that speaks TLS.
    (
        "status at http://",
        &["invalid frame", "frame with invalid size", "frame_size_error"],
        "what answers there does not speak as etcd does: name etcd's client URL; if etcd serves TLS there, begin the \
         endpoint with https:// and set etcd_ca",
    ),
    (
        "status at http://",
        &["broken pipe", "connection closed", "connection reset"],
        "if etcd serves TLS there, begin the endpoint with https:// and set etcd_ca; if it is not etcd that is there, name \
         etcd's client URL",
    ),
];
const NOT_ENABLED: &str = "authentication is not enabled";

/// A call that did not succeed.
#[derive(Debug)]
pub(super) struct Failure {
    /// What the caller hears.
    pub(super) error: StoreError,
    /// Asking again will not help before somebody has done something.
    pub(super) locked_out: bool,
    /// Another login may help.
    pub(super) stranger: bool,
    /// etcd takes nothing more before somebody has made room.
    pub(super) full: bool,
}

impl Failure {
    /// What an error means that came when this client tried to do `what`.
    pub(super) fn new(what: &str, error: &Error) -> Self {
        let Error::GRpcStatus(status) = error else {
            return Self::unavailable(format!("{what}: {error}"));
        };
        let said = if status.message().is_empty() { status.code().to_string() } else { status.message().to_owned() };
        let cause = with_causes(said, status.source());
        let stranger = STRANGER.iter().any(|said| cause.contains(said));
        let full = cause.contains(FULL.0);
        let refused = ADVICE.iter().find(|(said, _)| cause.contains(said)).map(|(_, advice)| *advice);
        let endpoint = ENDPOINT.iter().find(|(question, said, _)| {
            what.starts_with(question) && said.iter().any(|said| cause.to_lowercase().contains(said))
        });
        let advice = refused.or(full.then_some(FULL.1)).or(endpoint.map(|(_, _, advice)| *advice));
        let text = advice.map_or_else(|| format!("{what}: {cause}"), |advice| format!("{what}: {cause}; {advice}"));
        // Codes of gRPC that say "not like this" rather than "not just now".
        let error = match i32::from(status.code()) {
            3 | 5 | 7 | 9 | 12 | 16 if !stranger => StoreError::Refused(text),
            _ => StoreError::Unavailable(text),
        };
        Self { error, locked_out: refused.is_some(), stranger, full }
    }

    /// A member that did not answer, which says nothing about the next one.
    pub(super) fn unavailable(text: String) -> Self {
        Self { error: StoreError::Unavailable(text), locked_out: false, stranger: false, full: false }
    }
}

/// Whether an etcd asks nobody who he is, so that a login is neither possible nor needed.
pub(super) fn is_open(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.message().contains(NOT_ENABLED))
}

/// Whether etcd does not know, or no longer knows, what a request names.
pub(super) fn is_gone(error: &Error) -> bool {
    const NOT_FOUND: i32 = 5;
    matches!(error, Error::GRpcStatus(status) if i32::from(status.code()) == NOT_FOUND)
}

/// A text and what caused it: "transport error" alone helps nobody.
fn with_causes(mut text: String, mut cause: Option<&(dyn std::error::Error + 'static)>) -> String {
    while let Some(current) = cause {
        let more = current.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = current.source();
    }
    text
}
