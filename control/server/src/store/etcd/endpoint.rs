//! Which endpoints may be used, and what their errors mean.

use std::net::IpAddr;

use etcd_client::Error;

use super::StoreError;

/// Refuses endpoints that cannot work or that would send the cluster's state in plain text over a network.
pub(super) fn check(url: &str, allow_plaintext: bool) -> Result<(), StoreError> {
    let refuse = |why: &str| Err(StoreError::Settings(format!("the etcd endpoint {url:?} {why}")));
    if url.starts_with("https://") {
        return refuse("needs TLS, which this build does not offer for etcd; use a local proxy and http://127.0.0.1");
    }
    let Some(rest) = url.strip_prefix("http://") else {
        return refuse("does not begin with http://, as in http://127.0.0.1:2379");
    };
    let authority = rest.trim_end_matches('/');
    let Some(host) = host(authority) else {
        return refuse("is not of the form http://HOST:PORT");
    };
    if allow_plaintext || is_loopback(host) {
        return Ok(());
    }
    refuse(
        "is another machine, and http:// would send the cluster's state over the network in plain text; use a loopback \
         address, or say --etcd-allow-plaintext if the network is protected in another way",
    )
}

/// What an error of the client means for the caller.
pub(super) fn failure(what: &str, error: &Error) -> StoreError {
    let Error::GRpcStatus(status) = error else {
        return StoreError::Unavailable(format!("{what}: {error}"));
    };
    let text = format!("{what}: {}", describe(status));
    // Codes of gRPC that say "not like this" rather than "not just now".
    match i32::from(status.code()) {
        3 | 5 | 7 | 9 | 12 | 16 => StoreError::Refused(text),
        _ => StoreError::Unavailable(text),
    }
}

/// The message of a status with its causes: "transport error" alone helps nobody.
fn describe(status: &(dyn std::error::Error + 'static)) -> String {
    let mut text = status.to_string();
    let mut cause = status.source();
    while let Some(current) = cause {
        let more = current.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = current.source();
    }
    text
}

fn host(authority: &str) -> Option<&str> {
    if authority.contains(['/', '?', '#', '@', ' ']) {
        return None;
    }
    let (host, port) = authority.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    (!host.is_empty()).then_some(host)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_on_this_machine() {
        for (url, allowed, with_flag) in [
            ("http://127.0.0.1:2379", true, true),
            ("http://127.9.9.9:2379/", true, true),
            ("http://localhost:2379", true, true),
            ("http://[::1]:2379", true, true),
            ("http://10.0.0.1:2379", false, true),
            ("http://etcd.example:2379", false, true),
            ("http://localhost.example:2379", false, true),
            ("http://127.0.0.1@example:2379", false, false),
            ("http://127.0.0.1", false, false),
            ("https://127.0.0.1:2379", false, false),
            ("127.0.0.1:2379", false, false),
            ("http://:2379", false, false),
            ("", false, false),
        ] {
            assert_eq!(check(url, false).is_ok(), allowed, "{url}");
            assert_eq!(check(url, true).is_ok(), with_flag, "{url} with the flag");
        }
    }
}
