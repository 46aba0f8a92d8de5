use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// The longest line: a log record of the largest output budget in base64, with room for its other fields.
const LINE_BYTES_MAX: usize = 96 << 20;

/// The lines of an NDJSON answer as they arrive, such as the records of a log.
#[derive(Debug)]
pub struct Lines<T> {
    address: String,
    response: reqwest::Response,
    buffer: Vec<u8>,
    /// How much of the buffer is known to have no end of line.
    searched: usize,
    line: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    pub(crate) fn new(address: String, response: reqwest::Response) -> Self {
        Self { address, response, buffer: Vec::new(), searched: 0, line: PhantomData }
    }

    /// Waits for the next line; `None` at the end. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Fails when the connection breaks or a line is not what was asked for.
    pub async fn next(&mut self) -> Result<Option<T>> {
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
                    return Err(Error::Exchange { address: self.address.clone(), source });
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

    fn parse(&self, line: &[u8]) -> Result<T> {
        serde_json::from_slice(line).map_err(|error| self.bad(format!("a line is not what was asked for: {error}")))
    }

    fn bad(&self, reason: String) -> Error {
        Error::Answer { address: self.address.clone(), reason }
    }
}
