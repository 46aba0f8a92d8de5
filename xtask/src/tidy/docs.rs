//! Documents that say what is true: invariants with gates, promises with tests, links that lead somewhere.

use super::{File, Finding, text_of};

const ARCHITECTURE: &str = "docs/ARCHITECTURE.md";
const SPECIFICATION: &str = "docs/SPEC.md";

/// Lines a document may have, so that it is read.
const LENGTHS: [(&str, usize); 2] = [("README.md", 80), (ARCHITECTURE, 300)];

/// Refuses an invariant that names no gate.
pub(super) fn invariants(files: &[File]) -> Vec<Finding> {
    let Some(text) = text_of(files, ARCHITECTURE) else {
        return vec![missing(ARCHITECTURE)];
    };
    let stated = paragraphs(text).filter(|(_, paragraph)| paragraph.contains("**Architecture Invariant"));
    stated
        .filter(|(_, paragraph)| paragraph.split_once("Gate:").is_none_or(|(_, gate)| gate.trim().is_empty()))
        .map(|(number, _)| Finding {
            rule: "invariants",
            place: format!("{ARCHITECTURE}:{number}"),
            what: "an invariant without a gate is a wish: name what checks it (`Gate: …`)".to_owned(),
        })
        .collect()
}

/// Refuses a promise whose test is neither there nor said to be pending.
pub(super) fn promises(files: &[File]) -> Vec<Finding> {
    let Some(text) = text_of(files, SPECIFICATION) else {
        return vec![missing(SPECIFICATION)];
    };
    let mut findings = Vec::new();
    for (number, line) in rows(text) {
        let test = line.trim().trim_matches('|').rsplit('|').next().unwrap_or_default().trim();
        if let Some(what) = fault_of(test, files) {
            findings.push(Finding { rule: "promises", place: format!("{SPECIFICATION}:{number}"), what });
        }
    }
    findings
}

/// Refuses links between documents that lead nowhere.
pub(super) fn links(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (index, line) in file.text.lines().enumerate() {
            for target in link_targets(line).filter(|target| !leads_somewhere(folder, target, files)) {
                let what = format!("the link to `{target}` leads nowhere");
                findings.push(Finding { rule: "links", place: format!("{}:{}", file.path, index + 1), what });
            }
        }
    }
    findings
}

/// Refuses documents that have grown too long to be read.
pub(super) fn lengths(files: &[File]) -> Vec<Finding> {
    let measured =
        LENGTHS.iter().map(|(path, max)| (path, max, text_of(files, path).unwrap_or_default().lines().count()));
    measured
        .filter(|(_, max, lines)| lines > max)
        .map(|(path, max, lines)| Finding {
            rule: "document-length",
            place: (*path).to_owned(),
            what: format!("{lines} lines, the limit is {max}"),
        })
        .collect()
}

fn missing(path: &str) -> Finding {
    Finding { rule: "documents", place: path.to_owned(), what: "the document is missing".to_owned() }
}

/// Paragraphs with the number of their first line.
fn paragraphs(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut number = 1;
    text.split("\n\n").map(move |paragraph| {
        let first = number + paragraph.chars().take_while(|letter| *letter == '\n').count();
        number += paragraph.matches('\n').count() + 2;
        (first, paragraph)
    })
}

/// The rows of all tables, without their heads.
fn rows(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_body = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_rule = line.starts_with("|-") || line.starts_with("|:");
        let in_row = line.starts_with('|') && in_body && !is_rule;
        in_body = line.starts_with('|') && (in_body || is_rule);
        in_row.then_some((index + 1, line))
    })
}

fn fault_of(test: &str, files: &[File]) -> Option<String> {
    if test == "test pending" {
        return None;
    }
    let named: Vec<&str> = test.split('`').skip(1).step_by(2).collect();
    if named.is_empty() {
        return Some(format!("`{test}` is neither a test in backquotes nor \"test pending\""));
    }
    named.into_iter().find_map(|name| {
        let (path, function) = name.split_once("::").map_or((name, None), |(path, function)| (path, Some(function)));
        let Some(text) = text_of(files, path) else {
            return Some(format!("there is no file {path}"));
        };
        let function = function?;
        let last = function.rsplit("::").next().unwrap_or(function);
        (!text.contains(&format!("fn {last}("))).then(|| format!("{path} has no function {last}"))
    })
}

fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    let parts = line.split("](").skip(1);
    parts.filter_map(|part| part.split_once(')')).map(|(target, _)| target).filter(|target| !target.contains("://"))
}

fn leads_somewhere(folder: &str, target: &str, files: &[File]) -> bool {
    let target = target.split('#').next().unwrap_or_default();
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    let path = parts.join("/");
    let below = format!("{path}/");
    target.is_empty() || files.iter().any(|file| file.path == path || file.path.starts_with(&below))
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn an_invariant_without_a_gate_is_refused() {
        let text = "# A\n\n**Architecture Invariant: x.** Because. Gate: clippy.\n\n\
                    **Architecture Invariant: y.** Because.\n\n**Architecture Invariant: z.** Gate:\n";
        let findings = invariants(&[sample(ARCHITECTURE, text)]);
        let places: Vec<&str> = findings.iter().map(|finding| finding.place.as_str()).collect();
        assert_eq!(places, ["docs/ARCHITECTURE.md:5", "docs/ARCHITECTURE.md:7"]);
        assert_eq!(invariants(&[])[0].rule, "documents");
    }

    #[test]
    fn a_promise_without_its_test_is_refused() {
        let check = |cell: &str| {
            let table = format!("text\n\n| Promise | Test |\n|---|---|\n| a `thing` | {cell} |\n");
            promises(&[sample(SPECIFICATION, &table), sample("a/tests/x.rs", "fn works() {}")])
        };
        for good in ["test pending", "`a/tests/x.rs`", "`a/tests/x.rs::works`", "`a/tests/x.rs`, `a/tests/x.rs::works`"]
        {
            assert_eq!(check(good), [], "{good}");
        }
        for bad in ["", "soon", "`a/tests/y.rs`", "`a/tests/x.rs::fails`", "`a/tests/x.rs::works`, `b.rs`"] {
            let findings = check(bad);
            assert_eq!(findings.len(), 1, "{bad}");
            assert_eq!(findings[0].place, "docs/SPEC.md:5");
        }
    }

    #[test]
    fn a_link_to_nowhere_is_refused() {
        let files = |text: &str| [sample("docs/A.md", text), sample("README.md", ""), sample("docs/b/c.md", "")];
        let good = "[a](../README.md) [b](b/c.md#part) [c](https://example.org/x) [d](#here) [e](b)";
        assert_eq!(links(&files(good)), []);
        assert_eq!(links(&files("x\n[a](README.md)"))[0].place, "docs/A.md:2");
    }

    #[test]
    fn a_long_document_is_refused() {
        assert_eq!(lengths(&[sample("README.md", &"x\n".repeat(80))]), []);
        assert_eq!(lengths(&[sample("README.md", &"x\n".repeat(81))]).len(), 1);
    }
}
