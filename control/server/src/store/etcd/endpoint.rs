//! Which endpoints may be used.

use std::net::IpAddr;

use super::StoreError;

/// Refuses endpoints that cannot work or that would send the cluster's state in plain text over a network.
pub(super) fn check(url: &str, allow_plaintext: bool) -> Result<(), StoreError> {
    let refuse = |why: &str| Err(StoreError::Settings(format!("the etcd endpoint {url:?} {why}")));
    let secure = url.strip_prefix("https://");
    let Some(rest) = secure.or_else(|| url.strip_prefix("http://")) else {
        return refuse("does not begin with https:// or http://, as in http://127.0.0.1:2379");
    };
    let authority = rest.trim_end_matches('/');
    let Some(host) = host(authority) else {
        return refuse("is not of the form https://HOST:PORT or http://HOST:PORT");
    };
    if secure.is_some() || allow_plaintext || is_loopback(host) {
        return Ok(());
    }
    refuse(
        "is another machine, and http:// would send the cluster's state over the network in plain text; use https:// \
         with --etcd-ca, or say --etcd-allow-plaintext if the network is protected in another way",
    )
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
            ("https://127.0.0.1:2379", true, true),
            ("https://etcd.example:2379", true, true),
            ("https://[2001:db8::1]:2379/", true, true),
            ("https://etcd.example", false, false),
            ("https://user@etcd.example:2379", false, false),
            ("HTTPS://etcd.example:2379", false, false),
            ("127.0.0.1:2379", false, false),
            ("http://:2379", false, false),
            ("", false, false),
        ] {
            assert_eq!(check(url, false).is_ok(), allowed, "{url}");
            assert_eq!(check(url, true).is_ok(), with_flag, "{url} with the flag");
        }
    }
}
