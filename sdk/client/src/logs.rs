use weir_api::LogRecord;

use crate::{Error, Result};

/// The longest line of a log: a record of the largest output budget in base64, with room for its other fields.
const LINE_BYTES_MAX: usize = 96 << 20;

/// The records of a log as they arrive.
#[derive(Debug)]
pub struct LogLines {
    address: String,
    response: reqwest::Response,
    buffer: Vec<u8>,
    /// How much of the buffer is known to have no end of line.
    searched: usize,
}

impl LogLines {
    pub(crate) fn new(address: String, response: reqwest::Response) -> Self {
        Self {
            address,
            response,
            buffer: Vec::new(),
            searched: 0,
        }
    }

    /// Waits for the next record; `None` at the end of the log. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Fails when the connection breaks or a line is not a record.
    pub async fn next(&mut self) -> Result<Option<LogRecord>> {
        loop {
            if let Some(line) = self.take_line() {
                if line.is_empty() {
                    continue;
                }
                return self.parse(&line).map(Some);
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) if self.buffer.len() + chunk.len() > LINE_BYTES_MAX => {
                    return Err(self.bad(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
                }
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) if self.buffer.is_empty() => return Ok(None),
                Ok(None) => {
                    let line = std::mem::take(&mut self.buffer);
                    self.searched = 0;
                    return self.parse(&line).map(Some);
                }
                Err(source) => {
                    return Err(Error::Exchange {
                        address: self.address.clone(),
                        source,
                    });
                }
            }
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let end = self.searched + end;
        let rest = self.buffer.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.buffer, rest);
        line.truncate(end);
        self.searched = 0;
        Some(line)
    }

    fn parse(&self, line: &[u8]) -> Result<LogRecord> {
        serde_json::from_slice(line).map_err(|error| self.bad(format!("a line is not a log record: {error}")))
    }

    fn bad(&self, reason: String) -> Error {
        Error::Answer {
            address: self.address.clone(),
            reason,
        }
    }
}
