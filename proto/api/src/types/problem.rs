use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An error of the API (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`; [`Problem::code`] tells errors apart.
    #[serde(rename = "type", default = "blank")]
    pub kind: String,
    /// A short text that depends on the code only.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What is wrong in this case, and what to do.
    #[serde(default)]
    pub detail: String,
    /// The stable code.
    pub code: Code,
    /// The single findings, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
}

/// One finding of a validation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Detail {
    /// The path of the key; empty for the whole document.
    pub path: String,
    /// Why the value is refused.
    pub reason: String,
    /// What would be accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
}

macro_rules! codes {
    ($($(#[$doc:meta])+ $name:ident = $text:literal, $status:literal, $title:literal;)+) => {
        /// The stable code of an error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Code {
            $($(#[$doc])+ $name,)+
            /// A code of a later version.
            #[serde(other)]
            Unknown,
        }

        impl Code {
            /// Every code that this version sends.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The code as it is written on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ Self::Unknown => "unknown" }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ Self::Unknown => 500 }
            }

            /// The title that goes with it.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ Self::Unknown => "error" }
            }
        }
    };
}

codes! {
    /// The request itself is malformed: its path, query, header or JSON.
    InvalidRequest = "invalid_request", 400, "invalid request";
    /// A job spec was refused; `details` say where.
    InvalidSpec = "invalid_spec", 422, "invalid job spec";
    /// A Wasm module was refused.
    InvalidModule = "invalid_module", 422, "invalid module";
    /// The value is meaningful, but not to this version.
    Unsupported = "unsupported", 422, "not supported by this version";
    /// The bytes do not have the digest that the path names.
    DigestMismatch = "digest_mismatch", 422, "digest mismatch";
    /// There is no such object.
    NotFound = "not_found", 404, "not found";
    /// The object is not in a state, or not at the version, that the request requires.
    Conflict = "conflict", 409, "conflict";
    /// The idempotency key was used for a different request.
    IdempotencyMismatch = "idempotency_mismatch", 409, "idempotency key reused";
    /// The function that was called did not succeed.
    TaskFailed = "task_failed", 424, "task failed";
    /// The credentials are missing or wrong.
    Unauthenticated = "unauthenticated", 401, "not authenticated";
    /// The credentials do not allow this.
    Forbidden = "forbidden", 403, "forbidden";
    /// The body is larger than the endpoint accepts.
    TooLarge = "too_large", 413, "body too large";
    /// Too much work is queued; `Retry-After` says when to try again.
    BackPressure = "back_pressure", 429, "too much queued work";
    /// A quota is used up.
    QuotaExceeded = "quota_exceeded", 429, "quota exceeded";
    /// This replica does not lead and knows no leader.
    NoLeader = "no_leader", 503, "no leader";
    /// The store does not answer; the control plane retries.
    StoreUnavailable = "store_unavailable", 503, "store unavailable";
    /// The blob store cannot take more, or cannot be read.
    BlobStore = "blob_store", 507, "blob store failed";
    /// A defect of the server; its log has more.
    Internal = "internal", 500, "internal error";
}

impl Problem {
    /// Makes a problem with the status and title of its code.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: blank(),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code,
            details: Vec::new(),
        }
    }

    /// Adds the single findings.
    #[must_use]
    pub fn with_details(mut self, details: Vec<Detail>) -> Self {
        self.details = details;
        self
    }
}

impl From<&crate::spec::Invalid> for Problem {
    fn from(invalid: &crate::spec::Invalid) -> Self {
        Self::new(invalid.code(), invalid.to_string()).with_details(invalid.details())
    }
}

fn blank() -> String {
    "about:blank".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_written_as_they_are_named() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    #[test]
    fn a_later_code_is_unknown() {
        assert_eq!(serde_json::from_str::<Code>("\"moon_phase\"").unwrap(), Code::Unknown);
    }
}
