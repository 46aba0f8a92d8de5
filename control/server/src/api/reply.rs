//! What a successful answer looks like.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;
use weir_api::{Versioned, routes};

use super::refusal::Refusal;

/// An answer in the making.
#[derive(Debug)]
pub(super) struct Reply {
    response: Response,
}

impl Reply {
    /// An object of the API as JSON.
    pub(super) fn object<T: Serialize>(object: T) -> Result<Self, Refusal> {
        let body = serde_json::to_vec(&Versioned::from(object))
            .map_err(|error| Refusal::internal("encode the answer", &error))?;
        Ok(Self::body(Body::from(body), "application/json"))
    }

    /// Any body.
    pub(super) fn body(body: Body, media_type: &'static str) -> Self {
        let mut response = Response::new(body);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        Self { response }
    }

    /// Nothing to say but that it is done.
    pub(super) fn empty() -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }

    #[must_use]
    pub(super) fn status(mut self, status: StatusCode) -> Self {
        *self.response.status_mut() = status;
        self
    }

    /// The store revision that the answer reflects.
    #[must_use]
    pub(super) fn revision(self, revision: u64) -> Self {
        self.header(HeaderName::from_static(routes::REVISION_HEADER), &revision.to_string())
    }

    /// Adds a header; a value that is not one is left out.
    #[must_use]
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.response.headers_mut().insert(name, value);
        }
        self
    }

    pub(super) fn done(self) -> Response {
        self.response
    }
}
