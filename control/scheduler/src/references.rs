//! What the recorded state refers to in the blob store, for those who clean up there.

use alloc::vec::Vec;

use weir_wire::{
    id::{Digest, Seq, Term},
    outcome::Captured,
    segment::Entry,
    work::Input,
};

use crate::{run::Run, scheduler::Scheduler};

/// One object of the blob store that the recorded state needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// A blob.
    Blob(Digest),
    /// The segment object of a transaction; what its entries refer to is needed too.
    Segment(Seq, Term),
}

impl Reference {
    /// What an entry refers to.
    pub fn of(entry: &Entry) -> impl Iterator<Item = Self> + use<> {
        let blob = |captured: &Captured| match captured {
            Captured::Blob(blob) => Some(Self::Blob(blob.digest)),
            Captured::Empty | Captured::Inline(_) => None,
        };
        [blob(&entry.result), blob(&entry.log)].into_iter().flatten()
    }
}

impl Scheduler {
    /// What a page of at most `limit` runs refers to, in the order of their submission from a cursor of an earlier page
    /// on, with the cursor of the next page; modules are in [`modules`](Self::modules). Nothing while not leading.
    #[must_use]
    pub fn references(&self, from: u64, limit: usize) -> (Vec<Reference>, Option<u64>) {
        let Some(leading) = self.leading.as_ref() else {
            return (Vec::new(), None);
        };
        let mut page = leading.order.range(from..);
        let mut found = Vec::new();
        for (_, id) in page.by_ref().take(limit) {
            if let Some(run) = leading.runs.get(id) {
                of_run(run, &mut found);
            }
        }
        (found, page.next().map(|(position, _)| *position))
    }
}

fn of_run(run: &Run, found: &mut Vec<Reference>) {
    // The payload as submitted, and the one made from other results: either may be asked for again.
    for input in [&run.record.input, run.input()] {
        match input {
            Input::None | Input::Inline(_) => {}
            Input::Blob(blob) | Input::Items(blob) => found.push(Reference::Blob(blob.digest)),
        }
    }
    for entry in run.inline.values() {
        found.extend(Reference::of(entry));
    }
    found.extend(run.segments.iter().map(|segment| Reference::Segment(segment.seq, segment.term)));
}
