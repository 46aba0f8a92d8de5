//! `cargo xtask tidy`: the rules of this repository that no compiler checks.
//!
//! Every rule is a function from data to findings, so that its tests can show it a bad sample.

mod docs;
mod graph;
mod manifest;
mod metrics;
mod readme;
mod size;
mod text;

use std::env;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::process::{capture, program, say};
use crate::workspace::{self, FUZZ_FOLDER};

pub(crate) use readme::commands as readme_commands;

/// Text longer than this is generated data, which has no style.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A text file of the repository.
#[derive(Debug)]
struct File {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    rule: &'static str,
    /// A file, with its line when there is one, or a crate.
    place: String,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}: {}", self.place, self.rule, self.what)
    }
}

/// Checks the whole repository.
///
/// # Errors
/// When a rule is broken; what and where has been printed by then.
pub(crate) fn tidy() -> Result<()> {
    let root = workspace::root()?;
    let files = files(&root)?;
    let mut packages = graph::packages(&workspace::metadata(&root)?)?;
    packages.extend(graph::packages(&workspace::metadata(&root.join(FUZZ_FOLDER))?)?);
    let machine = text::places_of_machine(&root, env::var_os("HOME").as_deref().map(Path::new));

    let mut findings = Vec::new();
    findings.extend(size::file_size(&files));
    findings.extend(text::module_names(&files));
    findings.extend(text::sleeping_tests(&files));
    findings.extend(text::uncounted_skips(&files));
    findings.extend(text::machine_names(&files, &machine));
    findings.extend(graph::single_owner(&packages));
    findings.extend(graph::crate_graph(&packages));
    findings.extend(graph::pure_dependencies(&packages));
    findings.extend(manifest::no_std(&files));
    findings.extend(manifest::shared_lints(&files));
    findings.extend(metrics::unused(&files));
    findings.extend(docs::invariants(&files));
    findings.extend(docs::promises(&files));
    findings.extend(docs::links(&files));
    findings.extend(docs::lengths(&files));
    findings.extend(readme::rules(&files));

    for finding in &findings {
        say(format!("tidy: {finding}"));
    }
    say(format!("tidy: {} files, {}", files.len(), size::distribution(&files)));
    if findings.is_empty() {
        return Ok(());
    }
    bail!("tidy: {} findings (above, each with its place and rule)", findings.len())
}

/// The text files that are tracked or would be: what `.gitignore` names is left out.
fn files(root: &Path) -> Result<Vec<File>> {
    let list = capture(program("git").arg("-C").arg(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))
    .context("tidy checks what git tracks")?;
    let mut files = Vec::new();
    for path in list.split('\0').filter(|path| !path.is_empty()) {
        let full = root.join(path);
        // A tracked file may have been removed since; a link or a submodule is not text.
        let Ok(about) = fs::symlink_metadata(&full) else {
            continue;
        };
        if !about.is_file() || about.len() > FILE_BYTES_MAX {
            continue;
        }
        let bytes = fs::read(&full).with_context(|| format!("cannot read {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    files.dedup_by(|left, right| left.path == right.path);
    Ok(files)
}

/// The text of one file, when it is there.
fn text_of<'a>(files: &'a [File], path: &str) -> Option<&'a str> {
    files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
}

#[cfg(test)]
fn sample(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_read_and_a_finding_says_where() {
        let files = files(&workspace::root().unwrap()).unwrap();
        assert!(text_of(&files, "xtask/src/tidy.rs").is_some());
        assert!(text_of(&files, "target/CACHEDIR.TAG").is_none());
        let finding = Finding { rule: "file-size", place: "a.rs:3".to_owned(), what: "too long".to_owned() };
        assert_eq!(finding.to_string(), "a.rs:3: file-size: too long");
    }
}
