//! The wire and the store.

use std::fmt::Debug;

use weir_wire::{
    attempt::{AttemptEvent, Command},
    codec::Document,
    items, log,
    message::{BlobReply, BlobRequest, ToControl, ToExecutor},
    node::NodeRecord,
    record::{BlobStore, Block, Delta, Head, JobState, Leader, Quota, RunMeta, SubmissionSegment},
    work::JobRecord,
};

pub(crate) fn run(input: &[u8]) {
    document::<Command>(input);
    document::<AttemptEvent>(input);
    document::<ToExecutor>(input);
    document::<ToControl>(input);
    document::<BlobRequest>(input);
    document::<BlobReply>(input);
    document::<JobRecord>(input);
    document::<NodeRecord>(input);
    document::<Head>(input);
    document::<Leader>(input);
    document::<BlobStore>(input);
    document::<SubmissionSegment>(input);
    document::<Delta>(input);
    document::<Block>(input);
    document::<RunMeta>(input);
    document::<JobState>(input);
    document::<Quota>(input);
    logs(input);
    blob_of_items(input);
}

/// What decodes is written back in a form that decodes to the same, and is the only one from then on.
fn document<T: Document + PartialEq + Debug>(input: &[u8]) {
    let Ok(value) = T::from_bytes(input) else { return };
    let bytes = value.to_bytes();
    let again = T::from_bytes(&bytes);
    assert_eq!(again.as_ref(), Ok(&value), "{} changes when it is written", T::NAME);
    assert_eq!(again.map(|value| value.to_bytes()).as_ref(), Ok(&bytes), "{} has two forms", T::NAME);
}

fn logs(input: &[u8]) {
    let Ok(records) = log::records(input) else { return };
    let mut written = Vec::new();
    records.iter().for_each(|record| record.append_to(&mut written));
    assert_eq!(log::records(&written), Ok(records), "a log changes when it is written");
}

/// Every item that a blob says it has can be had, and no other.
fn blob_of_items(input: &[u8]) {
    let Ok(count) = items::count(input) else { return };
    assert!(items::get(input, count).is_err(), "there is an item after the last");
    let Ok(prefix) = items::prefix_len(input) else { return };
    let prefix = usize::try_from(prefix).ok().and_then(|len| input.get(..len));
    let Some(prefix) = prefix else { return };
    if items::check(prefix, input.len() as u64) == Ok(count) {
        let items: Result<Vec<&[u8]>, _> = (0..count).map(|index| items::get(input, index)).collect();
        let items = items.expect("every item of a blob that was checked");
        assert_eq!(items::encode(items.iter().copied()).as_deref(), Ok(input), "items change when they are written");
    }
}
