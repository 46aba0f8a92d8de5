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
