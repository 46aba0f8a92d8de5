//! Payload blobs in memory, for the attempts that are started with them.

use std::{collections::BTreeMap, sync::Arc};

use weir_agent::Payload;
use weir_wire::{
    id::{Digest, RunId},
    items,
};

/// The payloads of the runs of this node; runs with the same blob share it.
#[derive(Debug)]
pub(crate) struct Payloads {
    bytes_max: usize,
    runs: BTreeMap<RunId, (Digest, Arc<[u8]>)>,
}

impl Payloads {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX), runs: BTreeMap::new() }
    }

    /// The content of a blob, if another run has it.
    pub(crate) fn share(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        self.runs.values().find(|(known, _)| known == digest).map(|(_, bytes)| Arc::clone(bytes))
    }

    /// Keeps the payload of a run; false when there is no room for it.
    pub(crate) fn put(&mut self, run: RunId, digest: Digest, bytes: Arc<[u8]>) -> bool {
        let mut distinct: BTreeMap<Digest, usize> =
            self.runs.values().map(|(digest, bytes)| (*digest, bytes.len())).collect();
        distinct.insert(digest, bytes.len());
        let fits = distinct.values().sum::<usize>() <= self.bytes_max;
        if fits {
            self.runs.insert(run, (digest, bytes));
        }
        fits
    }

    pub(crate) fn forget(&mut self, run: RunId) {
        self.runs.remove(&run);
    }

    /// The bytes for one attempt.
    pub(crate) fn resolve(&self, run: RunId, payload: Payload) -> Result<Box<[u8]>, String> {
        let blob = || self.runs.get(&run).map(|(_, bytes)| bytes).ok_or("the payload of the run is not here");
        match payload {
            Payload::Inline(bytes) => Ok(bytes),
            Payload::Blob => Ok(Box::from(&blob()?[..])),
            Payload::Item(index) => items::get(blob()?, index).map(Box::from).map_err(|error| error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: RunId = RunId(1);
    const DIGEST: Digest = Digest([1; 32]);

    #[test]
    fn attempts_get_the_blob_or_their_item() {
        let mut payloads = Payloads::new(1000);
        let blob = items::encode([b"zero".as_slice(), b"one"].into_iter()).expect("small");
        assert!(payloads.put(RUN, DIGEST, blob.clone().into()));
        assert_eq!(payloads.resolve(RUN, Payload::Inline([7].into())), Ok([7].into()));
        assert_eq!(payloads.resolve(RUN, Payload::Blob), Ok(blob.into()));
        assert_eq!(payloads.resolve(RUN, Payload::Item(1)), Ok(Box::from(b"one".as_slice())));
        assert!(payloads.resolve(RUN, Payload::Item(2)).is_err());
        payloads.forget(RUN);
        assert!(payloads.resolve(RUN, Payload::Blob).is_err());
    }

    #[test]
    fn memory_is_bounded_and_equal_blobs_count_once() {
        let mut payloads = Payloads::new(100);
        let bytes: Arc<[u8]> = [0; 80].into();
        for run in 0..5 {
            assert!(payloads.put(RunId(run), DIGEST, Arc::clone(&bytes)));
        }
        assert!(payloads.share(&DIGEST).is_some_and(|shared| Arc::ptr_eq(&shared, &bytes)));
        assert!(!payloads.put(RunId(9), Digest([2; 32]), [0; 30].into()));
        (0..5).for_each(|run| payloads.forget(RunId(run)));
        assert!(payloads.put(RunId(9), Digest([2; 32]), [0; 30].into()));
    }
}
