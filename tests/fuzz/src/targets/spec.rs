//! The job spec.

use weir_api::spec::{Invalid, JobSpec};

/// Most characters of a refusal's problem: what is wrong is quoted, and must not be quoted whole.
const PROBLEM_LEN_MAX: usize = 4096;

pub(crate) fn run(input: &[u8]) {
    verdict(JobSpec::from_json(input));
    if let Ok(text) = std::str::from_utf8(input) {
        verdict(JobSpec::from_toml(text));
    }
}

fn verdict(read: Result<JobSpec, Invalid>) {
    match read {
        Ok(spec) => {
            let document = spec.to_document();
            let again = JobSpec::from_document(&document).expect("the canonical form of a spec is a spec");
            assert_eq!(again, spec, "a spec changes when it is written");
            assert_eq!(again.to_document(), document, "a spec has two canonical forms");
            assert!(document.changes(&again.to_document()).is_empty(), "a spec differs from itself");
        }
        Err(invalid) => {
            let details = invalid.details();
            assert!(!invalid.to_string().is_empty());
            for detail in details {
                assert!(!detail.reason.is_empty(), "a problem without a reason at {}", detail.path);
                assert!(detail.reason.len() <= PROBLEM_LEN_MAX, "a problem of {} bytes", detail.reason.len());
            }
        }
    }
}
