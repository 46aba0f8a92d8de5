//! A second copy of what tells one start of an executor from another, with a checksum.
//!
//! The first copies have none, as earlier releases have to read them. A counter that a bad disk sets back would have work of
//! an earlier start taken for that of this one, so what this copy says stands where the two differ. Releases without it
//! count on in the first copies: a higher count is theirs.

use std::{fs, io, path::Path};

use sha2::{Digest as _, Sha256};

const NAME: &str = "witness";
/// Bytes of the checksum.
const SUM_BYTES: usize = 8;
const LEN: usize = 16 + SUM_BYTES;

/// What was last written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Witness {
    pub(super) installation: u64,
    pub(super) incarnation: u64,
}

impl Witness {
    /// Reads it; a damaged one is reported and counts as missing.
    pub(super) fn read(dir: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(dir.join(NAME)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let read = Self::from_bytes(&bytes);
        if read.is_none() {
            tracing::warn!(file = NAME, "a file of the data directory is damaged, and is written anew");
        }
        Ok(read)
    }

    /// Writes it down durably.
    pub(super) fn write(self, dir: &Path) -> io::Result<()> {
        super::replace(dir, NAME, &self.to_bytes())
    }

    fn to_bytes(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&self.installation.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.incarnation.to_le_bytes());
        let sum = Sha256::digest(&bytes[..16]);
        bytes[16..].copy_from_slice(&sum[..SUM_BYTES]);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.try_into().ok()?;
        let number = |at: usize| Some(u64::from_le_bytes(bytes[at..at + 8].try_into().ok()?));
        let read = Self { installation: number(0)?, incarnation: number(8)? };
        (read.to_bytes() == *bytes).then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_torn_tail_is_noticed() {
        let bytes = Witness { installation: 0x0123_4567_89ab_cdef, incarnation: 7 }.to_bytes();
        assert!(Witness::from_bytes(&bytes).is_some());
        for bit in 0..LEN * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Witness::from_bytes(&flipped), None, "bit {bit}");
        }
        for len in 0..LEN {
            assert_eq!(Witness::from_bytes(&bytes[..len]), None, "{len} bytes");
        }
    }
}
