//! The names of objects in the blob store.

use alloc::{format, string::String};

use crate::id::Digest;

/// The directory of all blobs.
pub const DIRECTORY: &str = "sha256";

/// The object that holds the blob with this digest: a module, a payload, a large result or log.
#[must_use]
pub fn object_name(digest: &Digest) -> String {
    let hex = digest.to_hex();
    format!("{DIRECTORY}/{}/{hex}", &hex[..2])
}

/// The object that holds the blob store's random id.
pub const STORE_ID: &str = "store-id";
