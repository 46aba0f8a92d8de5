use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words::words;

words! {
    /// Where a log record comes from.
    LogStream {
        /// The guest's stdout.
        Stdout = "stdout",
        /// The guest's stderr.
        Stderr = "stderr",
        /// The guest's log calls.
        Log = "log",
    }
}

words! {
    /// The level of a log call.
    LogLevel {
        /// Every step.
        Trace = "trace",
        /// For the developer.
        Debug = "debug",
        /// For the user.
        Info = "info",
        /// Something is odd.
        Warn = "warn",
        /// Something went wrong.
        Error = "error",
    }
}

/// One line of the NDJSON that a log is sent as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogRecord {
    /// Milliseconds since the attempt started.
    pub at_ms: u64,
    /// Where it comes from.
    pub stream: LogStream,
    /// The level of a log call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
    /// The text, where the bytes are UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes, where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Bytes that were dropped before this record because the budget was used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
}

impl LogRecord {
    /// Makes a record of bytes as the guest wrote them.
    pub fn new(at_ms: u64, stream: LogStream, level: Option<LogLevel>, bytes: &[u8]) -> Self {
        let (text, base64) = match std::str::from_utf8(bytes) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(STANDARD.encode(bytes))),
        };
        Self { at_ms, stream, level, text, base64, dropped: None }
    }

    /// The bytes as the guest wrote them; none when the record is damaged.
    pub fn bytes(&self) -> Vec<u8> {
        match (&self.text, &self.base64) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(base64)) => STANDARD.decode(base64).unwrap_or_default(),
            (None, None) => Vec::new(),
        }
    }
}

impl super::Payload {
    /// Makes an inline payload.
    pub fn inline(bytes: &[u8]) -> Self {
        Self::Base64(STANDARD.encode(bytes))
    }

    /// Reads an inline payload.
    ///
    /// # Errors
    /// Fails when the text is not base64.
    pub fn decode(base64: &str) -> Result<Vec<u8>, String> {
        STANDARD.decode(base64).map_err(|error| format!("not base64: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive() {
        for bytes in [&b"hello\n"[..], b"", &[0xff, 0x00, 0x80], "é".as_bytes(), &"é".as_bytes()[..1]] {
            let record = LogRecord::new(1, LogStream::Stdout, None, bytes);
            let json = serde_json::to_string(&record).unwrap();
            assert!(!json.contains('\n'));
            assert_eq!(serde_json::from_str::<LogRecord>(&json).unwrap().bytes(), bytes);
        }
    }
}
