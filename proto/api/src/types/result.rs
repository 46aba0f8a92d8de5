use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One line of the NDJSON in which the results of a run are sent: at most one of `text`, `base64` and `blob`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskResult {
    /// The task.
    pub index: u32,
    /// Bytes of the result.
    pub size: u64,
    /// The bytes, where they are few and UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes, where they are few and not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// The digest of a larger result, which is read with the task's own route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<String>,
}

impl TaskResult {
    /// Makes a line of a small result.
    pub fn inline(index: u32, bytes: &[u8]) -> Self {
        let (text, base64) = match std::str::from_utf8(bytes) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(STANDARD.encode(bytes))),
        };
        Self { index, size: bytes.len() as u64, text, base64, blob: None }
    }

    /// The bytes; nothing when they are in a blob, or the line is damaged.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match (&self.text, &self.base64) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(base64)) => STANDARD.decode(base64).ok(),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive() {
        for bytes in [&b"42"[..], b"", &[0xff, 0x00], "é".as_bytes()] {
            let line = serde_json::to_string(&TaskResult::inline(3, bytes)).unwrap();
            let read: TaskResult = serde_json::from_str(&line).unwrap();
            assert_eq!((read.index, read.bytes().as_deref()), (3, Some(bytes)));
        }
    }
}
