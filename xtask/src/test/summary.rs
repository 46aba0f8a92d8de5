//! Reads what the test harness prints and adds up its results.

/// What a test says that needs a package registry which does not answer.
const OUT_OF_REACH: &str = "cannot be fetched";

/// What all test binaries together came to.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) passed: usize,
    pub(super) failed: usize,
    /// Tests that the harness itself left out.
    pub(super) ignored: usize,
    /// `name: why` of each test that found its conditions missing.
    pub(super) skips: Vec<String>,
    /// Names of failed tests.
    pub(super) failures: Vec<String>,
}

impl Summary {
    /// Takes in one line; returns whether it is worth showing.
    pub(super) fn take(&mut self, line: &str) -> bool {
        if let Some([passed, failed, ignored]) = result_of(line) {
            self.passed += passed;
            self.failed += failed;
            self.ignored += ignored;
        }
        let name = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"));
        self.failures.extend(name.map(str::to_owned));
        !line.is_empty()
    }

    /// Tests that did not run, for whatever reason.
    /// Of those that were skipped, how many wait for something outside of this machine.
    pub(super) fn out_of_reach(&self) -> usize {
        self.skips.iter().filter(|reason| reason.contains(OUT_OF_REACH)).count()
    }

    pub(super) fn skipped(&self) -> usize {
        self.skips.len() + self.ignored
    }
}

/// The numbers of passed, failed and ignored tests in a line with the result of one test binary.
fn result_of(line: &str) -> Option<[usize; 3]> {
    let (verdict, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    if verdict != "ok" && verdict != "FAILED" {
        return None;
    }
    let mut parts = counts.split("; ");
    let mut next = |word: &str| parts.next()?.strip_suffix(word)?.trim_end().parse().ok();
    Some([next("passed")?, next("failed")?, next("ignored")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\nrunning 3 tests\ntest a ... ok\ntest b ... FAILED\ntest c ... ok\n\nfailures:\n\n\
        ---- b stdout ----\nthread 'b' panicked\n\n\nfailures:\n    b\n\n\
        test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
        test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.00s\n";

    #[test]
    fn results_are_added_up_and_failures_named() {
        let mut summary = Summary::default();
        let shown: Vec<&str> = OUTPUT.lines().filter(|line| summary.take(line)).collect();
        assert_eq!((summary.passed, summary.failed, summary.ignored), (7, 1, 1));
        assert_eq!(summary.failures, ["b"]);
        assert!(shown.contains(&"thread 'b' panicked"));
        assert!(!shown.contains(&""));
    }

    #[test]
    fn a_line_of_another_form_counts_nothing() {
        for line in ["test result: ok", "test result: fine. 1 passed; 0 failed; 0 ignored", "1 passed; 0 failed"] {
            assert_eq!(result_of(line), None, "{line}");
        }
    }
}
