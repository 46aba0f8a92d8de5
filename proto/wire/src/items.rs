//! The items blob: the payloads of an array, item i for task i, readable at random.
//!
//! Layout: `WIRI`, a format byte, the count as four little-endian bytes, count + 1 offsets of eight bytes each into
//! the content, then the content.

use alloc::vec::Vec;

use crate::limits;

const MAGIC: &[u8; 4] = b"WIRI";
const FORMAT: u8 = 1;
/// The bytes that [`prefix_len`] needs.
pub const HEAD_LEN: usize = 9;

/// Why a blob is not an items blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The head is missing or not ours.
    #[error("read the items: not an items blob of format {FORMAT}")]
    NotItems,
    /// The offsets do not fit the length.
    #[error("read the items: the blob is truncated or its offsets are wrong")]
    Malformed,
    /// Too many items or bytes.
    #[error("build the items: more than {} items or {} bytes", limits::TASKS_PER_RUN_MAX, limits::ITEMS_LEN_MAX)]
    TooLarge,
}

/// Builds an items blob.
///
/// # Errors
/// [`Error::TooLarge`].
pub fn encode<'a>(items: impl Iterator<Item = &'a [u8]> + Clone) -> Result<Vec<u8>, Error> {
    let mut blob = prefix(items.clone().map(|item| item.len() as u64))?;
    for item in items {
        blob.extend_from_slice(item);
    }
    Ok(blob)
}

/// Builds what comes before the content of an items blob, from the lengths of its items.
///
/// # Errors
/// [`Error::TooLarge`].
pub fn prefix(lengths: impl Iterator<Item = u64> + Clone) -> Result<Vec<u8>, Error> {
    let (mut count, mut total) = (0u32, 0u64);
    for length in lengths.clone() {
        count = count.checked_add(1).filter(|count| *count <= limits::TASKS_PER_RUN_MAX).ok_or(Error::TooLarge)?;
        total = total.checked_add(length).filter(|total| *total <= limits::ITEMS_LEN_MAX).ok_or(Error::TooLarge)?;
    }
    let len = HEAD_LEN + (count as usize + 1) * 8;
    let mut blob = Vec::with_capacity(len + usize::try_from(total).unwrap_or(0));
    blob.extend_from_slice(MAGIC);
    blob.push(FORMAT);
    blob.extend_from_slice(&count.to_le_bytes());
    let mut offset = 0u64;
    blob.extend_from_slice(&offset.to_le_bytes());
    for length in lengths {
        offset += length;
        blob.extend_from_slice(&offset.to_le_bytes());
    }
    Ok(blob)
}

/// The number of items in a blob.
///
/// # Errors
/// [`Error::NotItems`] or [`Error::Malformed`].
pub fn count(blob: &[u8]) -> Result<u32, Error> {
    let head = blob.get(..HEAD_LEN).ok_or(Error::NotItems)?;
    if &head[..4] != MAGIC || head[4] != FORMAT {
        return Err(Error::NotItems);
    }
    let count = u32::from_le_bytes([head[5], head[6], head[7], head[8]]);
    if count > limits::TASKS_PER_RUN_MAX || offset(blob, count).is_none() {
        return Err(Error::Malformed);
    }
    Ok(count)
}

/// The length of everything before the content, bytes, read from the first [`HEAD_LEN`] bytes of a blob.
///
/// # Errors
/// [`Error::NotItems`] or [`Error::Malformed`].
pub fn prefix_len(head: &[u8]) -> Result<u64, Error> {
    let head = head.get(..HEAD_LEN).ok_or(Error::NotItems)?;
    if &head[..4] != MAGIC || head[4] != FORMAT {
        return Err(Error::NotItems);
    }
    let count = u32::from_le_bytes([head[5], head[6], head[7], head[8]]);
    if count > limits::TASKS_PER_RUN_MAX {
        return Err(Error::Malformed);
    }
    Ok(HEAD_LEN as u64 + (u64::from(count) + 1) * 8)
}

/// Checks all offsets of a blob of `len` bytes, given the first [`prefix_len`] of them, and returns the number of items.
///
/// # Errors
/// [`Error::NotItems`] or [`Error::Malformed`].
pub fn check(prefix: &[u8], len: u64) -> Result<u32, Error> {
    let content = prefix_len(prefix)?;
    let count = count(prefix)?;
    let mut before = 0;
    for index in 0..=count {
        let at = offset(prefix, index).ok_or(Error::Malformed)? as u64;
        if at < before || (index == 0 && at != 0) {
            return Err(Error::Malformed);
        }
        before = at;
    }
    if content.checked_add(before) == Some(len) { Ok(count) } else { Err(Error::Malformed) }
}

/// Item `index` of a blob.
///
/// # Errors
/// A blob that is not one of ours, or an index past its end.
pub fn get(blob: &[u8], index: u32) -> Result<&[u8], Error> {
    let count = count(blob)?;
    if index >= count {
        return Err(Error::Malformed);
    }
    let content = HEAD_LEN + (count as usize + 1) * 8;
    let (from, to) = (offset(blob, index), offset(blob, index + 1));
    let (Some(from), Some(to)) = (from, to) else {
        return Err(Error::Malformed);
    };
    let range = content.checked_add(from).ok_or(Error::Malformed)?..content.checked_add(to).ok_or(Error::Malformed)?;
    blob.get(range).ok_or(Error::Malformed)
}

fn offset(blob: &[u8], index: u32) -> Option<usize> {
    let at = HEAD_LEN + index as usize * 8;
    let bytes: [u8; 8] = blob.get(at..at + 8)?.try_into().ok()?;
    usize::try_from(u64::from_le_bytes(bytes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_back_by_index() {
        let items: [&[u8]; 4] = [b"a", b"", b"long item", b"z"];
        let blob = encode(items.into_iter()).expect("small");
        assert_eq!(count(&blob), Ok(4));
        for (index, item) in items.iter().enumerate() {
            assert_eq!(get(&blob, u32::try_from(index).expect("small")), Ok(*item));
        }
        assert_eq!(get(&blob, 4), Err(Error::Malformed));
    }

    #[test]
    fn a_prefix_is_enough_to_check_a_blob() {
        let blob = encode([b"abc".as_slice(), b"", b"d"].into_iter()).expect("small");
        let len = blob.len() as u64;
        let prefix = usize::try_from(prefix_len(&blob).expect("whole")).expect("small");
        assert_eq!(prefix, blob.len() - 4);
        assert_eq!(check(&blob[..prefix], len), Ok(3));
        assert_eq!(check(&blob[..prefix - 1], len), Err(Error::Malformed));
        assert_eq!(check(&blob[..prefix], len - 1), Err(Error::Malformed));
        let mut backwards = blob;
        backwards[HEAD_LEN + 8] = 4;
        assert_eq!(check(&backwards, len), Err(Error::Malformed));
        assert_eq!(prefix_len(b"WIRI\x01\xff\xff\xff\xff"), Err(Error::Malformed));
        assert_eq!(prefix_len(b"WIRI"), Err(Error::NotItems));
    }

    #[test]
    fn damaged_blobs_are_refused() {
        let blob = encode([b"abc".as_slice()].into_iter()).expect("small");
        for len in 0..blob.len() {
            assert!(get(&blob[..len], 0).is_err(), "truncated to {len}");
        }
        let mut wrong = blob.clone();
        wrong[9 + 8] = 0xff;
        assert!(get(&wrong, 0).is_err());
        assert_eq!(count(b"hello world"), Err(Error::NotItems));
    }
}
