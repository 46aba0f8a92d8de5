use weir_api::{Blob, Module, Page, PageQuery, routes};

use crate::{Client, Result, transport::Call};

impl Client {
    /// Stores a module under its digest; the server verifies and validates it.
    ///
    /// # Errors
    /// Fails with `digest_mismatch` or `invalid_module` when the server refuses it.
    pub async fn put_module(&self, digest: &str, bytes: impl Into<bytes::Bytes>) -> Result<Module> {
        self.object(Call::put(routes::module(digest)).bytes(bytes.into())).await
    }

    /// Reads what a stored module is.
    ///
    /// # Errors
    /// Fails with `not_found` when it is not stored.
    pub async fn module(&self, digest: &str) -> Result<Module> {
        self.object(Call::get(routes::module(digest))).await
    }

    /// Lists the stored modules.
    ///
    /// # Errors
    /// Fails when the cluster does.
    pub async fn modules(&self, page: &PageQuery) -> Result<Page<Module>> {
        self.object(Call::get(routes::modules()).query(page)).await
    }

    /// Stores a payload or items blob under its digest.
    ///
    /// # Errors
    /// Fails with `digest_mismatch` or `too_large` when the server refuses it.
    pub async fn put_blob(&self, digest: &str, bytes: impl Into<bytes::Bytes>) -> Result<Blob> {
        self.object(Call::put(routes::blob(digest)).bytes(bytes.into())).await
    }
}
