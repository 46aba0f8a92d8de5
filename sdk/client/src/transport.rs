use std::{
    sync::atomic::{AtomicBool, AtomicUsize},
    time::Duration,
};

use reqwest::{Method, Response, StatusCode, header::HeaderMap};
use serde::{Serialize, de::DeserializeOwned};
use weir_api::{Code, Problem, Versioned, routes};

use crate::{Error, Options, Result, race, tries::Tries};

/// The most bytes of an answer that is read as a whole, results of tasks apart.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A client of one cluster; cheap to clone through an `Arc`, and safe to share.
#[derive(Debug)]
pub struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) addresses: Vec<String>,
    /// The address that answered last.
    pub(crate) preferred: AtomicUsize,
    /// Whether that one is known to answer.
    pub(crate) settled: AtomicBool,
    /// How long an address may be silent before the next one is tried beside it.
    pub(crate) head_start: Duration,
    token: Option<String>,
}

/// One request, ready to be sent as often as needed.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(&'static str, String)>,
    body: Option<(&'static str, bytes::Bytes)>,
    repeatable: bool,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Call {
    pub(crate) fn get(path: String) -> Self {
        Self { method: Method::GET, path, query: Vec::new(), headers: Vec::new(), body: None, repeatable: true }
    }

    /// A write that has the same effect when it arrives twice.
    pub(crate) fn put(path: String) -> Self {
        Self { method: Method::PUT, ..Self::get(path) }
    }

    /// A write that is sent once, unless it gets an idempotency key.
    pub(crate) fn post(path: String) -> Self {
        Self { method: Method::POST, repeatable: false, ..Self::get(path) }
    }

    pub(crate) fn delete(path: String) -> Self {
        Self { method: Method::DELETE, repeatable: false, ..Self::get(path) }
    }

    /// Says that the write has the same effect when it arrives twice.
    pub(crate) fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }
    }

    /// Adds the fields of `query` that are set.
    pub(crate) fn query(mut self, query: &impl Serialize) -> Self {
        if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(query) {
            for (name, value) in fields {
                match value {
                    serde_json::Value::Null => {}
                    serde_json::Value::String(text) => self.query.push((name, text)),
                    other @ (serde_json::Value::Bool(_)
                    | serde_json::Value::Number(_)
                    | serde_json::Value::Array(_)
                    | serde_json::Value::Object(_)) => self.query.push((name, other.to_string())),
                }
            }
        }
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Makes a write repeatable when there is a key.
    pub(crate) fn idempotency_key(self, key: Option<&str>) -> Self {
        match key {
            Some(key) => Self { repeatable: true, ..self.header(routes::IDEMPOTENCY_HEADER, key) },
            None => self,
        }
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self> {
        let bytes = serde_json::to_vec(body).map_err(|error| Error::Options(format!("encode the request: {error}")))?;
        self.body = Some(("application/json", bytes.into()));
        Ok(self)
    }

    pub(crate) fn bytes(mut self, body: bytes::Bytes) -> Self {
        self.body = Some(("application/octet-stream", body));
        self
    }
}

impl Client {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    /// Fails when an address is not a URL, or the CA certificate is missing or unreadable.
    pub fn new(options: Options) -> Result<Self> {
        Ok(Self {
            addresses: options.checked_addresses()?,
            http: options.http()?,
            preferred: AtomicUsize::new(0),
            settled: AtomicBool::new(false),
            head_start: race::HEAD_START,
            token: options.token,
        })
    }

    /// Sends a call and reads a versioned object.
    pub(crate) async fn object<T: DeserializeOwned>(&self, call: Call) -> Result<T> {
        let (address, bytes) = self.bytes(call, ANSWER_BYTES_MAX).await?;
        let versioned: Versioned<T> = serde_json::from_slice(&bytes)
            .map_err(|error| Error::Answer { address, reason: format!("not an object of the API: {error}") })?;
        Ok(versioned.object)
    }

    /// Sends a call and reads the whole body, up to `len_max` bytes.
    pub(crate) async fn bytes(&self, call: Call, len_max: usize) -> Result<(String, Vec<u8>)> {
        let (address, whole) = self.whole(call, len_max).await?;
        Ok((address, whole.body))
    }

    /// Sends a call and reads all of its answer, with a body of up to `len_max` bytes. A call that may be repeated is so
    /// also when whoever answers it dies in the middle of the body.
    pub(crate) async fn whole(&self, call: Call, len_max: usize) -> Result<(String, Whole)> {
        let mut tries = Tries::of(self, call.repeatable).await;
        loop {
            match self.read_once(&call, tries.address(), len_max).await {
                Ok(whole) => return Ok((tries.answered(), whole)),
                Err(error) => tries.again(error).await?,
            }
        }
    }

    async fn read_once(&self, call: &Call, address: &str, len_max: usize) -> Result<Whole> {
        let response = self.send_once(call, address).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Whole { status, headers, body: Self::body(address, response, len_max).await? })
    }

    /// Reads the whole body of an answer, up to `len_max` bytes.
    async fn body(address: &str, mut response: Response, len_max: usize) -> Result<Vec<u8>> {
        let address = || address.to_owned();
        let mut bytes = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() > len_max => {
                    return Err(Error::Answer { address: address(), reason: format!("longer than {len_max} bytes") });
                }
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => return Ok(bytes),
                Err(source) => return Err(Error::Exchange { address: address(), source }),
            }
        }
    }

    /// Sends a call, again if it may be, and turns problems into errors.
    pub(crate) async fn send(&self, call: Call) -> Result<(String, Response)> {
        let mut tries = Tries::of(self, call.repeatable).await;
        loop {
            match self.send_once(&call, tries.address()).await {
                Ok(response) => return Ok((tries.answered(), response)),
                Err(error) => tries.again(error).await?,
            }
        }
    }

    async fn send_once(&self, call: &Call, address: &str) -> Result<Response> {
        let mut request = self.http.request(call.method.clone(), format!("{address}{}", call.path));
        if !call.query.is_empty() {
            request = request.query(&call.query);
        }
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some((media_type, body)) = &call.body {
            request = request.header("content-type", *media_type).body(body.clone());
        }
        let response = request.send().await.map_err(|source| {
            let address = address.to_owned();
            if source.is_connect() { Error::Connect { address, source } } else { Error::Exchange { address, source } }
        })?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(address, response).await) }
    }
}

/// Whether TLS is what failed.
pub(crate) fn is_tls(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(current) = cause {
        if current.is::<rustls::Error>() {
            return true;
        }
        // An `io::Error` hides what it wraps from `source`, which may be another one.
        let wrapped = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => current.source(),
        };
    }
    false
}

async fn refusal(address: &str, response: Response) -> Error {
    let status = response.status();
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let is_problem = response
        .headers()
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with(routes::PROBLEM_TYPE));
    let body = response.bytes().await.unwrap_or_default();
    if is_problem && let Ok(mut problem) = serde_json::from_slice::<Problem>(&body) {
        if let Some(seconds) = retry_after {
            problem.detail = format!("{}; try again in {seconds} s", problem.detail);
        }
        return Error::Api(Box::new(problem));
    }
    match status {
        StatusCode::UNAUTHORIZED => {
            Error::Api(Box::new(Problem::new(Code::Unauthenticated, "no valid token was sent")))
        }
        StatusCode::FORBIDDEN => Error::Api(Box::new(Problem::new(Code::Forbidden, "the token does not allow this"))),
        _ => {
            Error::Answer { address: address.to_owned(), reason: format!("status {status} without a problem document") }
        }
    }
}
