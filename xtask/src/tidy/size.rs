//! How long files are.

use super::{File, Finding};

/// Lines of production code in one file; a longer one has more than one reason to change.
const LINES_MAX: usize = 1_000;

/// Refuses files over the limit.
pub(super) fn file_size(files: &[File]) -> Vec<Finding> {
    let long = sizes(files).filter(|(_, lines)| *lines > LINES_MAX);
    long.map(|(file, lines)| Finding {
        rule: "file-size",
        place: file.path.clone(),
        what: format!("{lines} lines of production code, the limit is {LINES_MAX}: split it by reason to change"),
    })
    .collect()
}

/// The middle and the 90th of a hundred, to be watched: the aims are 150 and 500.
pub(super) fn distribution(files: &[File]) -> String {
    let mut lines: Vec<usize> = sizes(files).map(|(_, lines)| lines).collect();
    lines.sort_unstable();
    let at = |share: usize| lines.get((lines.len() * share / 100).min(lines.len().saturating_sub(1))).unwrap_or(&0);
    format!("Rust: median {} lines, p90 {} (aims: 150, 500)", at(50), at(90))
}

/// Whether a Rust file holds nothing but tests.
pub(super) fn is_test_file(path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    let stem = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
    stem == "tests" || stem.ends_with("_tests") || parts.any(|part| part == "tests")
}

/// For each line, whether it belongs to a test module, which stands at the end of a file or in one piece.
pub(super) fn lines_with_test_mark(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut after_attribute = false;
    let mut inside = false;
    text.lines().map(move |line| {
        let starts = after_attribute && line.starts_with("mod ") && line.ends_with('{');
        after_attribute = line == "#[cfg(test)]" || (after_attribute && line.starts_with("#["));
        let marked = inside || starts || after_attribute;
        inside = (inside || starts) && line != "}";
        (line, marked)
    })
}

fn sizes(files: &[File]) -> impl Iterator<Item = (&File, usize)> {
    let rust = files.iter().filter(|file| file.path.ends_with(".rs") && !is_test_file(&file.path));
    rust.map(|file| (file, lines_with_test_mark(&file.text).filter(|(_, in_test)| !in_test).count()))
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_long_file_is_refused_and_its_tests_are_free() {
        let body = "fn x() {}\n".repeat(LINES_MAX);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    // test\n".repeat(500));
        assert_eq!(file_size(&[sample("a/src/lib.rs", &format!("{body}{tests}"))]), []);
        let findings = file_size(&[sample("a/src/lib.rs", &format!("{body}{tests}fn y() {{}}\n"))]);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.starts_with("1001 lines"), "{}", findings[0]);
        assert_eq!(file_size(&[sample("a/tests/all.rs", &body.repeat(2))]), []);
    }

    #[test]
    fn test_files_are_told_from_the_test_crates() {
        for path in ["a/tests/x.rs", "a/src/tests.rs", "tests/e2e/tests/x.rs", "a/src/b/place_tests.rs"] {
            assert!(is_test_file(path), "{path}");
        }
        for path in ["tests/sim/src/lib.rs", "a/src/attests.rs", "a/src/lib.rs"] {
            assert!(!is_test_file(path), "{path}");
        }
    }

    #[test]
    fn the_distribution_is_counted_in_production_lines() {
        let files = [sample("a.rs", "x\n"), sample("b.rs", &"x\n".repeat(5)), sample("c.md", &"x\n".repeat(99))];
        assert_eq!(distribution(&files), "Rust: median 5 lines, p90 5 (aims: 150, 500)");
        assert_eq!(distribution(&[]), "Rust: median 0 lines, p90 0 (aims: 150, 500)");
    }
}
