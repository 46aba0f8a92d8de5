//! One member of etcd, and who this replica is to it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use etcd_client::{Client, ConnectOptions, Error};

use super::{CALL_MAX, CONNECT_MAX, PING_EVERY, StoreError, TlsOptions, access::Credentials, failure};

/// A connection to one member, which logs in before its first call.
pub(super) struct Member {
    pub(super) url: String,
    client: Client,
    credentials: Option<Arc<Credentials>>,
    /// Whether the client has a token, or needs none. Two calls at once may both find that it has not; they then log in
    /// twice, which does no harm.
    known: AtomicBool,
}

impl Member {
    /// Prepares the connection; nothing has to answer yet.
    ///
    /// # Errors
    /// [`StoreError::Settings`] for an endpoint that cannot be used.
    pub(super) async fn new(
        url: &str,
        tls: Option<&TlsOptions>,
        credentials: Option<Arc<Credentials>>,
    ) -> Result<Self, StoreError> {
        // The client is not told the user here: it would log in at once, and fail where etcd does not answer yet.
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_MAX)
            .with_keep_alive(PING_EVERY, CALL_MAX)
            .with_auto_token_refresh(credentials.is_some())
            .with_require_leader(true);
        if let Some(tls) = tls {
            options = options.with_tls(tls.clone());
        }
        let client = Client::connect([url], Some(options)).await;
        let client = client.map_err(|error| StoreError::Settings(format!("{url}: {error}")))?;
        let known = AtomicBool::new(credentials.is_none());
        Ok(Self { url: url.to_owned(), client, credentials, known })
    }

    /// The client for one call. It has a token if it needs one, and gets another when that has expired.
    pub(super) async fn client(&self) -> Result<Client, Error> {
        let mut client = self.client.clone();
        let Some(credentials) = self.credentials.as_ref().filter(|_| !self.known.load(Ordering::Relaxed)) else {
            return Ok(client);
        };
        match client.update_user(Some(credentials.pair())).await {
            Ok(()) => tracing::debug!(etcd.url = self.url, etcd.user = credentials.user, "logged in"),
            // As other clients do it, so that authentication can be enabled once all of them have a user.
            Err(error) if failure::is_open(&error) => {
                tracing::warn!(
                    etcd.url = self.url,
                    "authentication is not enabled in etcd: everybody may change its keys"
                );
            }
            Err(error) => return Err(error),
        }
        self.known.store(true, Ordering::Relaxed);
        Ok(client)
    }

    /// Has the next call log in again.
    pub(super) fn forget_login(&self) {
        self.known.store(self.credentials.is_none(), Ordering::Relaxed);
    }

    /// The user that logs in, if there is one.
    pub(super) fn user(&self) -> Option<&str> {
        self.credentials.as_ref().map(|credentials| credentials.user.as_str())
    }
}
