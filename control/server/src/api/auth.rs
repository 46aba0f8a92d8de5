//! Who may call the API.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};
use weir_api::{Code, routes};

use super::{Api, refusal::Refusal};

/// The longest token that is looked at, bytes.
const TOKEN_LEN_MAX: usize = 512;
/// What answers without credentials: nothing in it is about what the cluster runs.
const OPEN_PATHS: [&str; 3] = [routes::HEALTH, routes::HEALTH_LEADER, routes::OPENAPI];

/// Who may call the API.
#[derive(Clone, Debug)]
pub(crate) enum Auth {
    /// Everybody who reaches the socket: only for a cluster on the loopback device of one person's machine.
    Open,
    /// Whoever holds the token with this SHA-256.
    Token {
        /// The digest of the token.
        sha256: [u8; 32],
    },
}

/// Lets a request through, or answers it.
pub(super) async fn check(State(api): State<Api>, request: Request, next: Next) -> Response {
    let verdict = match &*api.auth {
        _ if OPEN_PATHS.contains(&request.uri().path()) => Ok(()),
        Auth::Open => check_local(request.headers()),
        Auth::Token { sha256 } => check_token(request.headers(), sha256),
    };
    match verdict {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn check_token(headers: &HeaderMap, sha256: &[u8; 32]) -> Result<(), Refusal> {
    let refuse = |detail| Err(Refusal::new(Code::Unauthenticated, detail));
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return refuse("no token was sent; set WCTL_TOKEN to the one that `wctl cluster init` printed");
    };
    let token = value.as_bytes().split_at_checked("bearer ".len());
    let Some((_, token)) = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer ")) else {
        return refuse("the authorization header is not `Bearer <token>`");
    };
    if token.len() > TOKEN_LEN_MAX || !same(&Sha256::digest(token).into(), sha256) {
        return refuse("the token is not the cluster's");
    }
    Ok(())
}

/// Compares in a time that does not depend on the content.
fn same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    let difference = left.iter().zip(right).fold(0, |sum, (l, r)| sum | (l ^ r));
    std::hint::black_box(difference) == 0
}

/// Keeps web pages out of an open API: a browser can be made to call the loopback device, but it names the page's
/// origin, and with a rebound name the wrong host.
fn check_local(headers: &HeaderMap) -> Result<(), Refusal> {
    let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or(""));
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or(""));
    let host_ok = host.is_none_or(|host| host.parse::<Authority>().is_ok_and(|host| is_loopback(host.host())));
    let origin_ok =
        origin.is_none_or(|origin| origin.parse::<Uri>().is_ok_and(|origin| origin.host().is_some_and(is_loopback)));
    if host_ok && origin_ok {
        Ok(())
    } else {
        Err(Refusal::new(Code::Forbidden, "an API without authentication answers only to names of the loopback device"))
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn only_the_token_opens() {
        let sha256: [u8; 32] = Sha256::digest(b"t0ken").into();
        for (value, ok) in [
            ("Bearer t0ken", true),
            ("bearer t0ken", true),
            ("Bearer t0ke", false),
            ("Bearer t0ken2", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("t0ken", false),
            ("Basic dDBrZW4=", false),
        ] {
            let verdict = check_token(&headers(header::AUTHORIZATION, value), &sha256);
            assert_eq!(verdict.is_ok(), ok, "{value}");
            if let Err(refusal) = verdict {
                assert_eq!(refusal.problem.code, Code::Unauthenticated);
            }
        }
        assert!(check_token(&HeaderMap::new(), &sha256).is_err());
    }

    #[test]
    fn web_pages_do_not_reach_an_open_api() {
        assert!(check_local(&HeaderMap::new()).is_ok());
        for (host, ok) in [
            ("127.0.0.1:4640", true),
            ("localhost:4640", true),
            ("[::1]:4640", true),
            ("evil.example:4640", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(check_local(&headers(header::HOST, host)).is_ok(), ok, "{host}");
        }
        for (origin, ok) in [("http://localhost:3000", true), ("https://evil.example", false), ("null", false)] {
            assert_eq!(check_local(&headers(header::ORIGIN, origin)).is_ok(), ok, "{origin}");
        }
    }
}
