//! The faults: text files in `xtask/mutations`, one for each.
//!
//! The first line says what the fault is; `expect = S1 S4` names the properties as which it may be seen, and `ci` that
//! continuous integration looks for it. Of faults that the simulator does not have, `suite = …` names the tests that have to
//! fail in place of properties. Then follow the places: `=== file`, the code as it is, `--- becomes`, the code
//! with the fault. A last `===` ends the file.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::copy::Copy;
use super::suite::Suite;

/// One fault.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mutation {
    pub(crate) name: String,
    /// Properties as which it may be seen.
    pub(crate) expect: Vec<String>,
    pub(crate) ci: bool,
    pub(crate) suite: Suite,
    places: Vec<Place>,
}

/// One place in the code.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    file: String,
    anchor: String,
    replacement: String,
}

/// All faults, by name.
///
/// # Errors
/// Names the file that cannot be read.
pub(crate) fn read(root: &Path) -> Result<Vec<Mutation>> {
    let folder = root.join("xtask/mutations");
    let mut mutations = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).context("a fault has no name")?.to_owned();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        mutations.push(parse(name, &text).with_context(|| format!("{} is malformed", path.display()))?);
    }
    mutations.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(mutations)
}

fn parse(name: String, text: &str) -> Result<Mutation> {
    let mut mutation = Mutation { name, expect: Vec::new(), ci: false, suite: Suite::Simulator, places: Vec::new() };
    let mut lines = text.lines().skip(1);
    let mut line = lines.next();
    while let Some(option) = line.filter(|line| !line.starts_with("===")) {
        if let Some(codes) = option.strip_prefix("expect = ") {
            mutation.expect = codes.split_whitespace().map(str::to_owned).collect();
        } else if let Some(suite) = option.strip_prefix("suite = ") {
            mutation.suite = Suite::parse(suite)?;
        } else {
            ensure!(option == "ci", "unknown option `{option}`");
            mutation.ci = true;
        }
        line = lines.next();
    }
    while let Some(file) = line.and_then(|line| line.strip_prefix("=== ")) {
        let anchor: Vec<&str> = lines.by_ref().take_while(|line| *line != "--- becomes").collect();
        let mut replacement = Vec::new();
        line = lines.next();
        while let Some(text) = line.filter(|line| !line.starts_with("===")) {
            replacement.push(text);
            line = lines.next();
        }
        let (anchor, replacement) = (anchor.join("\n"), replacement.join("\n"));
        ensure!(!anchor.trim().is_empty(), "a place has no code");
        mutation.places.push(Place { file: file.to_owned(), anchor, replacement });
    }
    ensure!(line == Some("===") && lines.next().is_none(), "`===` ends the file");
    ensure!(!mutation.places.is_empty(), "there is no place");
    let simulated = mutation.suite == Suite::Simulator;
    ensure!(mutation.expect.is_empty() != simulated, "there is no property, or one beside a suite");
    ensure!(simulated || !mutation.ci, "continuous integration has the simulator alone");
    Ok(mutation)
}

impl Mutation {
    /// The files of the copy with the fault in them.
    ///
    /// # Errors
    /// When a place is not there exactly once.
    pub(crate) fn applied(&self, copy: &Copy) -> Result<Vec<(String, String)>> {
        self.changed(|file| copy.original(file))
    }

    /// As [`Mutation::applied`], with another way to read the code.
    pub(crate) fn changed(&self, read: impl Fn(&str) -> Result<String>) -> Result<Vec<(String, String)>> {
        let mut files: Vec<(String, String)> = Vec::new();
        for Place { file, anchor, replacement } in &self.places {
            let known = files.iter().position(|(name, _)| name == file);
            let text = match known {
                Some(at) => files.remove(at).1,
                None => read(file).with_context(|| format!("cannot read {file}"))?,
            };
            let count = text.matches(anchor.as_str()).count();
            ensure!(
                count == 1,
                "its code is {count} times in {file}, not once: mend xtask/mutations/{}.txt",
                self.name
            );
            files.push((file.clone(), text.replacen(anchor.as_str(), replacement, 1)));
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Why.\nexpect = S1 C\nci\n=== a.rs\none\ntwo\n--- becomes\n2\n=== b.rs\nx\n--- becomes\n===\n";

    #[test]
    fn a_fault_is_read_and_applied() {
        let mutation = parse("name".to_owned(), TEXT).unwrap();
        assert_eq!((mutation.expect.join(" ").as_str(), mutation.ci, mutation.places.len()), ("S1 C", true, 2));
        let code = |file: &str| Ok(if file == "a.rs" { "zero\none\ntwo\n" } else { "wxy" }.to_owned());
        let changed = mutation.changed(code).unwrap();
        assert_eq!(changed, [("a.rs".to_owned(), "zero\n2\n".to_owned()), ("b.rs".to_owned(), "wy".to_owned())]);
    }

    #[test]
    fn code_that_is_not_there_exactly_once_is_an_error_that_names_the_fault() {
        let mutation = parse("name".to_owned(), TEXT).unwrap();
        for code in ["", "one\ntwo\none\ntwo\n"] {
            let error = mutation.changed(|_| Ok(code.to_owned())).unwrap_err();
            assert!(error.to_string().contains("name.txt"), "{error}");
        }
    }

    #[test]
    fn a_fault_of_processes_names_a_suite_and_no_property() {
        let text = |options: &str| format!("Why.\n{options}=== a.rs\none\n--- becomes\n===\n");
        let mutation = parse("name".to_owned(), &text("suite = e2e restart\n")).unwrap();
        assert_eq!(mutation.suite, Suite::EndToEnd { name: "restart".to_owned() });
        for options in ["suite = e2e restart\nexpect = S1\n", "suite = e2e restart\nci\n", "suite = nonsense\n", ""] {
            assert!(parse("name".to_owned(), &text(options)).is_err(), "{options}");
        }
    }

    #[test]
    fn malformed_files_are_refused() {
        for text in ["", "Why.\nexpect = S1\n===\n", "Why.\nnonsense\n===\n", "Why.\nexpect = S1\n=== a\nx\n"] {
            assert!(parse("name".to_owned(), text).is_err(), "{text}");
        }
    }
}
