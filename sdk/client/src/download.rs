use crate::{Error, Result};

/// The bytes of a large answer as they arrive.
#[derive(Debug)]
pub struct Download {
    address: String,
    response: reqwest::Response,
}

impl Download {
    pub(crate) const fn new(address: String, response: reqwest::Response) -> Self {
        Self { address, response }
    }

    /// Waits for the next bytes; `None` at the end.
    ///
    /// # Errors
    /// Fails when the connection breaks.
    pub async fn next(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>> {
        let chunk = self.response.chunk().await;
        chunk.map_err(|source| Error::Exchange { address: self.address.clone(), source })
    }
}
