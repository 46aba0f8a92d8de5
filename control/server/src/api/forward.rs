//! Requests that reach a replica that does not lead: passed on to the one that does.
//!
//! Clients may so ask any replica. What a replica can answer by itself it answers itself, and a request is passed on at
//! most once, so that two replicas that take each other for the leader do not play ball.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::sync::Semaphore;
use weir_api::{Code, routes};

use super::{
    Api,
    refusal::{RETRY_AFTER_S, Refusal},
};
use crate::status::unix_ms;

/// Marks a request that was passed on.
const FORWARDED_HEADER: HeaderName = HeaderName::from_static("x-weir-forwarded");
/// What every replica answers for itself.
const OWN_PATHS: [&str; 4] = [routes::HEALTH, routes::HEALTH_LEADER, routes::METRICS, routes::OPENAPI];
/// Headers that are about one connection and not about the request; RFC 9110, section 7.6.1.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::HOST,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// Most requests that are passed on at the same time.
const FORWARDS_MAX: usize = 1024;
/// How long a connection to the leader may take to open.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long the leader may take to answer what this replica can also answer by itself.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// The way to whoever leads.
#[derive(Clone, Debug)]
pub(crate) struct Forwarder {
    http: reqwest::Client,
    places: Arc<Semaphore>,
    /// Since when nothing could be passed on, Unix milliseconds; 0 if the last request was.
    silent_since_ms: Arc<AtomicU64>,
}

/// The leader did not answer a request that this replica answers in its place.
#[derive(Clone, Debug)]
pub(super) struct Silent {
    /// Since when it has answered nothing that was passed on, Unix milliseconds.
    pub(super) since_ms: u64,
    /// What happened.
    pub(super) why: String,
}

impl Forwarder {
    /// Prepares connections; with certificates, the leader's has to come from one of these authorities.
    ///
    /// # Errors
    /// A certificate that cannot be used.
    pub(crate) fn new(ca_pem: Option<&[u8]>) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.unwrap_or_default()) {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { http, places: Arc::new(Semaphore::new(FORWARDS_MAX)), silent_since_ms: Arc::default() })
    }

    /// Notes whether the leader has answered; if not, tells since when it does not.
    fn note(&self, answered: bool) -> u64 {
        let since = &self.silent_since_ms;
        if answered {
            since.store(0, Ordering::Relaxed);
            return 0;
        }
        let now_ms = unix_ms();
        since.compare_exchange(0, now_ms, Ordering::Relaxed, Ordering::Relaxed).err().unwrap_or(now_ms)
    }

    /// Sends a request to the leader and gives its answer.
    async fn send(&self, leader: &str, request: Request) -> Result<Response, Refusal> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let Ok(place) = place else {
            let detail = "too many requests are being passed on to the leader; ask it directly";
            return Err(Refusal::new(Code::BackPressure, detail).retry_after(RETRY_AFTER_S));
        };
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut headers = without_hops(parts.headers);
        headers.insert(FORWARDED_HEADER, HeaderValue::from_static("1"));
        // A body is sent as it comes; an empty one as none, so that the leader is not told of a body of unknown length.
        let bodiless = headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0")
            && matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE);
        let mut passed = self.http.request(parts.method, format!("{leader}{target}")).headers(headers);
        if !bodiless {
            passed = passed.body(reqwest::Body::wrap_stream(body.into_data_stream()));
        }
        let answer = passed.send().await.map_err(|error| unreached(leader, &error))?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = answer.status();
        *response.headers_mut() = without_hops(answer.headers().clone());
        let chunks = answer.bytes_stream();
        // The place is kept for as long as the answer lasts.
        *response.body_mut() = Body::from_stream(futures_util::StreamExt::map(chunks, move |chunk| {
            let _kept = &place;
            chunk
        }));
        Ok(response)
    }
}

/// Passes a request on if another replica leads.
pub(super) async fn pass_on(State(api): State<Api>, request: Request, next: Next) -> Response {
    let Some(leader) = elsewhere(&api, &request) else {
        return next.run(request).await;
    };
    let own = answers_anyway(&request).then(|| copy_of_read(&request));
    // A leader that fell silent has a successor soon, and an upload may take its time.
    let replaced =
        api.handle.wait_for(|status| status.leader.as_ref().is_none_or(|known| !is_at(&known.http, &leader)));
    let answer = tokio::select! {
        answer = api.forwarder.send(&leader, request) => answer,
        () = replaced => Err(interrupted(&leader, "it leads no more")),
        () = tokio::time::sleep(ANSWER_MAX), if own.is_some() => {
            Err(interrupted(&leader, &format!("it was silent for {} s", ANSWER_MAX.as_secs())))
        }
    };
    let since_ms = api.forwarder.note(answer.is_ok());
    match (answer, own) {
        (Ok(response), _) => response,
        (Err(refusal), Some(mut own)) => {
            own.extensions_mut().insert(Silent { since_ms, why: refusal.detail().to_owned() });
            next.run(own).await
        }
        (Err(refusal), None) => refusal.into_response(),
    }
}

/// The URL of the replica that has to answer, unless it is this one or not known.
fn elsewhere(api: &Api, request: &Request) -> Option<String> {
    let path = request.uri().path();
    if OWN_PATHS.contains(&path) || request.headers().contains_key(FORWARDED_HEADER) {
        return None;
    }
    let status = api.handle.status();
    if status.leading {
        return None;
    }
    let leader = status.leader?.http;
    (!leader.is_empty()).then(|| leader.trim_end_matches('/').to_owned())
}

fn is_at(url: &str, leader: &str) -> bool {
    url.trim_end_matches('/') == leader
}

/// Whether this replica tells what it knows when the leader does not answer: that nobody does is worth knowing.
fn answers_anyway(request: &Request) -> bool {
    request.method() == Method::GET && request.uri().path() == routes::CLUSTER
}

/// A read has no body.
fn copy_of_read(request: &Request) -> Request {
    let mut copy = Request::new(Body::empty());
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

fn without_hops(mut headers: HeaderMap) -> HeaderMap {
    HOP_BY_HOP.iter().for_each(|name| drop(headers.remove(name)));
    headers
}

fn unreached(leader: &str, error: &reqwest::Error) -> Refusal {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    tracing::debug!(leader.http = leader, error = %cause, "a request could not be passed on");
    if !error.is_connect() {
        return interrupted(leader, &cause.to_string());
    }
    let detail = format!("the leader {leader} cannot be reached ({cause}); another replica takes over if it is gone");
    Refusal::new(Code::NoLeader, detail).retry_after(RETRY_AFTER_S)
}

fn interrupted(leader: &str, cause: &str) -> Refusal {
    let detail = format!(
        "the leader {leader} did not answer ({cause}); a change that was asked for may have taken effect, and repeating \
         it with the same idempotency key is safe"
    );
    Refusal::new(Code::NoLeader, detail).retry_after(RETRY_AFTER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_one_connection_stays_there() {
        let given = [("host", "a:1"), ("connection", "close"), ("authorization", "Bearer t"), ("content-length", "3")];
        let headers = given.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let passed = without_hops(HeaderMap::from_iter(headers));
        let mut names: Vec<&str> = passed.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "content-length"]);
    }

    #[test]
    fn a_certificate_that_is_none_is_refused() {
        let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(Forwarder::new(Some(bad.as_bytes())).is_err());
        assert!(Forwarder::new(None).is_ok());
    }
}
