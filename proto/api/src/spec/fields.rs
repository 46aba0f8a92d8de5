//! Checks of single values that are used in more than one place.

use super::limits::{NAME_LEN_MAX, TEXT_LEN_MAX};

pub(super) const NAME_ALLOWED: &str =
    "1 to 63 of a-z, 0-9, `-`, `_` and `.`, starting and ending with a letter or digit";
pub(super) const DIGEST_ALLOWED: &str = "sha256: and 64 hexadecimal digits in lower case";

/// Checks the name of a job, namespace, node or published directory.
///
/// # Errors
/// Returns what is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_' | b'.');
    let outer = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let bytes = name.as_bytes();
    if bytes.len() > NAME_LEN_MAX {
        return Err(format!("has {} characters", bytes.len()));
    }
    if bytes.iter().all(|c| inner(*c)) && outer(bytes.first()) && outer(bytes.last()) {
        Ok(())
    } else {
        Err(format!("`{}` is not a name", name.escape_debug()))
    }
}

pub(super) const HOST_ALLOWED: &str = "a host name, or an IP address that is one machine's";

/// Checks where a guest may connect to.
pub(super) fn check_host(host: &str) -> Result<(), String> {
    use std::net::IpAddr;
    let label = |label: &str| {
        let inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(inner)
    };
    let address = host.parse::<IpAddr>();
    if let Ok(IpAddr::V6(v6)) = address
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        return Err(format!("`{host}` is an IPv4 address in the form of IPv6: write {v4}"));
    }
    match address {
        Ok(IpAddr::V4(v4)) if v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast() => {
            Err(format!("`{host}` is the address of no machine"))
        }
        Ok(IpAddr::V6(v6)) if v6.is_unspecified() || v6.is_multicast() => {
            Err(format!("`{host}` is the address of no machine"))
        }
        Ok(_) => Ok(()),
        // What ends with a number is an address to some programs, and none to others.
        Err(_) if host.len() <= 253 && host.split('.').all(label) && !ends_with_number(host) => Ok(()),
        Err(_) => Err(format!("`{}` is no name and no address", host.escape_debug())),
    }
}

fn ends_with_number(host: &str) -> bool {
    host.rsplit('.').next().is_some_and(|last| last.bytes().all(|c| c.is_ascii_digit()))
}

/// Checks that a text is a digest in canonical form.
///
/// # Errors
/// Returns what is wrong with it.
pub fn check_digest(digest: &str) -> Result<(), String> {
    let hex = digest.strip_prefix("sha256:").ok_or_else(|| format!("`{}` has no `sha256:`", digest.escape_debug()))?;
    if hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)) {
        Ok(())
    } else {
        Err(format!("`{}` is not a sha256 digest", digest.escape_debug()))
    }
}

/// Checks the absolute path at which a guest sees a directory.
pub(super) fn check_guest_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err(format!("`{}` is not absolute", path.escape_debug()));
    }
    if path.len() > TEXT_LEN_MAX || path.contains('\0') {
        return Err("is too long or contains a NUL".to_owned());
    }
    if path.split('/').any(|part| part == "." || part == "..") {
        return Err(format!("`{}` contains `.` or `..`", path.escape_debug()));
    }
    Ok(())
}
