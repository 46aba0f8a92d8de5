//! Words that must not stand in the text of a file.

use std::path::Path;

use super::size::{is_test_file, lines_with_test_mark};
use super::{File, Finding};
use crate::test::SKIP_VARIABLE;

/// Names under which nothing can be found by its purpose.
const FORBIDDEN_MODULES: [&str; 5] = ["util", "utils", "common", "helpers", "misc"];

/// Sources and mirrors of packages: which one a machine uses is that machine's business.
const REGISTRY_HOSTS: [&str; 9] = [
    concat!("deb.", "debian.org"),
    concat!("security.", "debian.org"),
    concat!("snapshot.", "debian.org"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("static.", "rust-lang.org"),
    concat!("registry.", "npmjs.org"),
    concat!("py", "pi.org"),
    concat!("proxy.", "golang.org"),
];

/// What a test that waits for time to pass calls.
const SLEEPS: [&str; 2] = [concat!("thread::", "sleep"), concat!("time::", "sleep")];

/// Refuses modules named after nothing.
pub(super) fn module_names(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let parts = file.path.trim_end_matches(".rs").split('/');
        findings.extend(parts.filter(|part| FORBIDDEN_MODULES.contains(part)).map(|part| forbidden(&file.path, part)));
        for (number, line) in file.text.lines().enumerate() {
            let declared = inline_module(line).filter(|name| FORBIDDEN_MODULES.contains(name));
            findings.extend(declared.map(|name| forbidden(&format!("{}:{}", file.path, number + 1), name)));
        }
    }
    findings
}

/// Refuses tests that sleep, and tests that are switched off.
pub(super) fn sleeping_tests(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let all = is_test_file(&file.path) || file.path.starts_with("tests/");
        for (number, (line, in_test)) in lines_with_test_mark(&file.text).enumerate() {
            let place = || format!("{}:{}", file.path, number + 1);
            if (all || in_test) && SLEEPS.iter().any(|sleep| line.contains(sleep)) {
                let what = "a test sleeps: wait for a condition with a deadline, or advance a clock".to_owned();
                findings.push(Finding { rule: "no-sleep", place: place(), what });
            }
            if line.trim_start().starts_with(concat!("#[", "ignore")) {
                let what = "an ignored test rots: put slow suites into a crate of their own".to_owned();
                findings.push(Finding { rule: "no-ignore", place: place(), what });
            }
        }
    }
    findings
}

/// Refuses a skip that the count would miss: what a passing test prints is hidden.
pub(super) fn uncounted_skips(files: &[File]) -> Vec<Finding> {
    let skipping =
        files.iter().filter(|file| file.path.ends_with(".rs") && file.text.contains(concat!("\"SKIP", "PED: ")));
    skipping
        .filter(|file| !file.text.contains(SKIP_VARIABLE))
        .map(|file| Finding {
            rule: "counted-skips",
            place: file.path.clone(),
            what: format!("a skipped test must also say so in the file that ${SKIP_VARIABLE} names"),
        })
        .collect()
}

/// Refuses hosts of package registries and paths that exist only on one machine, such as that of this clone.
pub(super) fn machine_names(files: &[File], machine: &[String]) -> Vec<Finding> {
    let own = machine.iter().map(String::as_str);
    let needles: Vec<&str> = REGISTRY_HOSTS.into_iter().chain(own).collect();
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !file.path.ends_with("Cargo.lock")) {
        for (number, line) in file.text.lines().enumerate() {
            findings.extend(needles.iter().filter(|needle| names(line, needle)).map(|needle| Finding {
                rule: "machine-names",
                place: format!("{}:{}", file.path, number + 1),
                what: format!("`{needle}` belongs to a registry or to one machine"),
            }));
        }
    }
    findings
}

/// Paths that give this machine away: of the clone, of the user, of the superuser.
pub(super) fn places_of_machine(clone: &Path, home: Option<&Path>) -> Vec<String> {
    // A folder right below the root, such as `/data`, is likely to be meant as an example.
    let telling = [Some(clone), home].into_iter().flatten().filter(|path| path.components().count() > 2);
    let paths = telling.map(|path| path.to_string_lossy().into_owned());
    paths.chain([concat!("/ro", "ot/").to_owned()]).collect()
}

/// Whether the text stands in the line by itself; `x/y/z` does not name the folder `/y/`.
fn names(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !needle.starts_with('/')
            || before.is_none_or(|letter| !letter.is_alphanumeric() && letter != '.' && letter != '-')
    })
}

fn forbidden(place: &str, name: &str) -> Finding {
    Finding {
        rule: "module-names",
        place: place.to_owned(),
        what: format!("nothing in a module named `{name}` can be found by its purpose"),
    }
}

fn inline_module(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).unwrap_or(line);
    line.strip_prefix("mod ")?.strip_suffix('{').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_module_named_after_nothing_is_refused() {
        for bad in [
            sample("a/src/utils.rs", ""),
            sample("a/src/common/place.rs", ""),
            sample("a/src/lib.rs", "pub(crate) mod helpers {"),
        ] {
            assert_eq!(module_names(&[bad]).len(), 1);
        }
        assert_eq!(module_names(&[sample("a/src/utility.rs", "mod placement {\n// util\n}")]), []);
    }

    #[test]
    fn a_sleep_is_refused_in_tests_and_only_there() {
        let call = format!("    std::{}(duration);\n", SLEEPS[0]);
        let module = format!("#[cfg(test)]\nmod tests {{\n{call}}}\n");
        assert_eq!(sleeping_tests(&[sample("a/src/lib.rs", &module)])[0].place, "a/src/lib.rs:3");
        for path in ["a/tests/x.rs", "tests/e2e/src/lib.rs"] {
            assert_eq!(sleeping_tests(&[sample(path, &call)]).len(), 1, "{path}");
        }
        assert_eq!(sleeping_tests(&[sample("a/src/lib.rs", &call)]), []);
    }

    #[test]
    fn an_ignored_test_is_refused() {
        let text = format!("{}ignore]\nfn x() {{}}\n", "#[");
        assert_eq!(sleeping_tests(&[sample("a/src/lib.rs", &text)])[0].rule, "no-ignore");
    }

    #[test]
    fn a_skip_that_is_only_printed_is_refused() {
        let print = format!("println!({}{{name}}\")", concat!("\"SKIP", "PED: "));
        assert_eq!(uncounted_skips(&[sample("a/tests/x.rs", &print)]).len(), 1);
        assert_eq!(uncounted_skips(&[sample("a/tests/x.rs", &format!("{print}; log({SKIP_VARIABLE})"))]), []);
    }

    #[test]
    fn only_telling_paths_are_looked_for() {
        let superuser = places_of_machine(Path::new("/weir"), None);
        assert_eq!(superuser.len(), 1);
        let all = places_of_machine(Path::new("/a/clone"), Some(Path::new("/users/ann")));
        assert_eq!(all[..2], ["/a/clone", "/users/ann"]);
    }

    #[test]
    fn hosts_and_paths_of_a_machine_are_refused() {
        let machine = ["/clone/of/somebody".to_owned()];
        for bad in [REGISTRY_HOSTS[0], "/clone/of/somebody/target"] {
            assert_eq!(machine_names(&[sample("a.md", &format!("see {bad}x"))], &machine).len(), 1, "{bad}");
        }
        let fine = sample("a.md", "see /usr/share/doc and https://example.org/ and x/clone/of/somebody/target");
        assert_eq!(machine_names(&[fine, sample("Cargo.lock", REGISTRY_HOSTS[3])], &machine), []);
    }
}
