//! What every crate declares: shared lints, and `no_std` where it is promised.

use super::{File, Finding, text_of};

/// Crates that decide, and therefore must not be able to name a clock, a socket or a thread.
const PURE_CRATES: [&str; 3] = ["proto/wire", "control/scheduler", "executor/agent"];

/// Refuses a pure crate that links the standard library outside its tests.
pub(super) fn no_std(files: &[File]) -> Vec<Finding> {
    const DECLARATIONS: [&str; 2] = ["#![no_std]", "#![cfg_attr(not(test), no_std)]"];
    let mut findings = Vec::new();
    for folder in PURE_CRATES {
        let path = format!("{folder}/src/lib.rs");
        let text = text_of(files, &path).unwrap_or_default();
        if !text.lines().any(|line| DECLARATIONS.contains(&line)) {
            findings.push(broken(&path, "a pure crate must declare `#![no_std]`"));
        }
        let inside = files.iter().filter(|file| file.path.starts_with(&format!("{folder}/src/")));
        for file in inside {
            findings.extend(links_std(&file.text).map(|line| {
                broken(&format!("{}:{line}", file.path), "only the tests of a pure crate may link the standard library")
            }));
        }
    }
    findings
}

/// Refuses a crate that does not take the workspace's lints.
pub(super) fn shared_lints(files: &[File]) -> Vec<Finding> {
    let manifests = files.iter().filter(|file| file.path.ends_with("Cargo.toml") && file.text.contains("[package]"));
    manifests
        .filter(|file| !takes_lints(&file.text))
        .map(|file| Finding {
            rule: "shared-lints",
            place: file.path.clone(),
            what: "add `[lints]` with `workspace = true`".to_owned(),
        })
        .collect()
}

fn takes_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    lines.next() == Some("workspace = true")
}

fn links_std(text: &str) -> impl Iterator<Item = usize> {
    let mut previous = "";
    text.lines().enumerate().filter_map(move |(index, line)| {
        let found = line.trim_start().starts_with("extern crate std") && previous.trim() != "#[cfg(test)]";
        previous = line;
        found.then_some(index + 1)
    })
}

fn broken(place: &str, what: &str) -> Finding {
    Finding { rule: "no-std", place: place.to_owned(), what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn pure(text: &str) -> Vec<File> {
        PURE_CRATES.iter().map(|folder| sample(&format!("{folder}/src/lib.rs"), text)).collect()
    }

    #[test]
    fn a_pure_crate_with_the_standard_library_is_refused() {
        assert_eq!(no_std(&pure("#![no_std]\nextern crate alloc;\n#[cfg(test)]\nextern crate std;\n")), []);
        assert_eq!(no_std(&pure("//! A crate.\n")).len(), PURE_CRATES.len());
        let linked = no_std(&pure("#![no_std]\nextern crate std;\n"));
        assert_eq!(linked[0].place, "proto/wire/src/lib.rs:2");
        assert_eq!(no_std(&[]).len(), PURE_CRATES.len());
    }

    #[test]
    fn a_crate_without_the_shared_lints_is_refused() {
        let good = "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n";
        assert_eq!(shared_lints(&[sample("a/Cargo.toml", good), sample("Cargo.toml", "[workspace]\n")]), []);
        for bad in ["[package]\nname = \"a\"\n", "[package]\n[lints]\nrust.unsafe_code = \"allow\"\n"] {
            assert_eq!(shared_lints(&[sample("a/Cargo.toml", bad)]).len(), 1);
        }
    }
}
