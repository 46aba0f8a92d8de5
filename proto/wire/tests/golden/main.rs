//! The bytes of every message and every stored value, committed: a change of one of them is a change of the format.
//!
//! `WEIR_BLESS=1 cargo test -p weir-wire` writes the files anew; a difference in one of them needs a new format version,
//! and the old file stays as the one of version N−1.

mod alloc_meter;
mod cases;
mod messages;
mod mutate;
mod stored;
mod variants;

use std::{collections::BTreeSet, fs, path::PathBuf};

use cases::Case;
use weir_wire::{
    codec::Document as _,
    kind::Kind,
    record::Delta,
    work::{Capabilities, JobRecord},
};

#[global_allocator]
static METER: alloc_meter::Meter = alloc_meter::Meter;

fn all() -> Vec<Case> {
    let mut cases = messages::cases();
    cases.extend(stored::cases());
    cases
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/v1")
}

fn committed(name: &str) -> Vec<u8> {
    let path = directory().join(format!("{name}.hex"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    from_hex(&text)
}

#[test]
fn committed_bytes_decode_to_the_samples_and_back() {
    let bless = std::env::var_os("WEIR_BLESS").is_some();
    for case in all() {
        let path = directory().join(format!("{}.hex", case.name));
        if bless {
            fs::write(&path, to_hex(&case.bytes)).unwrap();
        }
        let committed = committed(case.name);
        assert_eq!(to_hex(&committed), to_hex(&case.bytes), "{} is written differently", case.name);
        assert!((case.is_sample)(&committed), "{} is read differently", case.name);
    }
}

#[test]
fn a_delta_of_the_previous_format_is_read_and_written_as_one_of_today() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/previous/delta_v1.hex");
    let bytes = from_hex(&fs::read_to_string(path).unwrap());
    let delta = Delta::from_bytes(&bytes).unwrap();
    assert_eq!(delta, stored::delta());
    assert_eq!((bytes[0], delta.to_bytes()[0]), (1, 2));
    for len in 0..bytes.len() {
        assert!(Delta::from_bytes(&bytes[..len]).is_err(), "{len} bytes of it are read");
    }
}

#[test]
fn a_job_record_of_the_previous_format_is_read_as_one_without_capabilities() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/previous/job_record_v1.hex");
    let bytes = from_hex(&fs::read_to_string(path).unwrap());
    let job = JobRecord::from_bytes(&bytes).unwrap();
    assert_eq!(job, JobRecord { capabilities: Capabilities::NONE, ..stored::job(Kind::Batch) });
    assert_eq!((bytes[0], job.to_bytes()[0]), (1, 2));
    for len in 0..bytes.len() {
        assert!(JobRecord::from_bytes(&bytes[..len]).is_err(), "{len} bytes of it are read");
    }
}

#[test]
fn every_committed_file_has_its_sample() {
    let names: BTreeSet<String> = all().iter().map(|case| format!("{}.hex", case.name)).collect();
    assert_eq!(names.len(), all().len(), "two samples have one name");
    let files: BTreeSet<String> =
        fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, names);
}

#[test]
fn every_variant_is_in_the_sample_that_it_names() {
    for enumeration in variants::enumerations() {
        let missing = enumeration.missing(committed);
        assert!(missing.is_empty(), "no golden bytes of {}: {missing:?}", enumeration.name);
    }
}

/// The list of the test above, and that of the samples, against the source: what is new there has to be here.
#[test]
fn every_enumeration_and_every_document_of_the_source_has_samples() {
    let enumerations: BTreeSet<String> = variants::enumerations().iter().map(|one| one.name.to_owned()).collect();
    assert_eq!(named_in_source("wire_enum!("), enumerations);
    let documents: BTreeSet<String> = all().iter().filter_map(|case| case.document.map(str::to_owned)).collect();
    assert_eq!(named_in_source("impl Document for "), documents);
}

/// The names that follow a text at the beginning of a line. What a worker process and its executor say to each other is
/// of one build, and so no format.
fn named_in_source(before: &str) -> BTreeSet<String> {
    let files = fs::read_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")).expect("the sources");
    let files = files.map(|entry| entry.expect("a source").path()).filter(|path| !path.ends_with("worker.rs"));
    let texts: Vec<String> = files.map(|path| fs::read_to_string(path).expect("a source")).collect();
    let found = texts.iter().flat_map(|text| text.lines()).filter_map(|line| line.strip_prefix(before));
    found.filter_map(|rest| rest.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn another_format_version_is_refused_by_name() {
    for case in all().iter().filter(|case| case.versioned) {
        let mut bytes = case.bytes.clone();
        bytes[0] = 0xfe;
        assert!(!(case.is_sample)(&bytes), "{} of format 254 is read", case.name);
    }
}

fn to_hex(bytes: &[u8]) -> String {
    let lines = bytes.chunks(32).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    lines.map(|line| line + "\n").collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).expect("a hexadecimal digit")).expect("below 16");
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
