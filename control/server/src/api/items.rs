//! How many items an items blob has, read from its beginning only.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use weir_wire::{id::Digest, items, outcome::BlobRef};

use super::{Api, refusal::Refusal};
use crate::blobs::{BlobError, Content};

/// Checks a stored items blob.
///
/// # Errors
/// When it is not stored, or is not an items blob.
pub(super) async fn check(api: &Api, digest: &Digest) -> Result<(BlobRef, u32), Refusal> {
    let permit = api.large_reads.acquire().await;
    let _permit = permit.map_err(|error| Refusal::internal("read the items", &error))?;
    api.handle.blobs().hold(digest).await?;
    let Some(mut content) = api.handle.blobs().get(digest).await? else {
        return Err(Refusal::not_found(format!("no blob {digest} is stored; upload the items first")));
    };
    let wrong = |error: items::Error| Refusal::invalid_key("items", format!("{digest}: {error}"), None);
    let mut read = BytesMut::new();
    gather(&mut content, &mut read, items::HEAD_LEN).await?;
    let prefix_len = items::prefix_len(&read).map_err(wrong)?;
    let prefix_len = usize::try_from(prefix_len).map_err(|_| wrong(items::Error::TooLarge))?;
    gather(&mut content, &mut read, prefix_len).await?;
    let prefix = read.get(..prefix_len).ok_or_else(|| wrong(items::Error::Malformed))?;
    let count = items::check(prefix, content.len).map_err(wrong)?;
    let blob = BlobRef { digest: *digest, len: content.len };
    Ok((blob, count))
}

/// Reads on until `len` bytes are there, or all of them are.
async fn gather(content: &mut Content, read: &mut BytesMut, len: usize) -> Result<(), BlobError> {
    while read.len() < len {
        let Some(part) = content.stream.next().await else { break };
        let part: Bytes = part?;
        read.extend_from_slice(&part);
    }
    Ok(())
}
