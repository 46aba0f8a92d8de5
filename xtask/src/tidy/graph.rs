//! Who may depend on whom. The tables here are the law; `docs/ARCHITECTURE.md` explains it.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;

/// A crate of the host workspace with what it names in its manifest.
#[derive(Debug)]
pub(super) struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug)]
struct Dependency {
    name: String,
    for_tests: bool,
}

/// A family of crates and the only ones that may name it; the last of them are test crates.
const OWNERS: [(&str, &[&str]); 5] = [
    ("quinn", &["weir-link"]),
    ("etcd-client", &["weir-control", "weir-e2e", "weir-bench"]),
    ("wasmtime", &["weir-sandbox", "weir-bench"]),
    ("landlock", &["weir-sandbox"]),
    ("seccompiler", &["weir-sandbox"]),
];

/// The vocabulary, which every crate may use.
const VOCABULARY: &str = "weir-wire";

/// Which of our own crates each one may use, beside the vocabulary.
const GRAPH: [(&str, &[&str]); 18] = [
    ("weir-wire", &[]),
    ("weir-api", &["weir-module"]),
    ("weir-module", &[]),
    ("weir-link", &[]),
    ("weir-scheduler", &[]),
    ("weir-control", &["weir-scheduler", "weir-link", "weir-api", "weir-module"]),
    ("weir-agent", &[]),
    ("weir-sandbox", &["weir-module"]),
    ("weir-executor", &["weir-agent", "weir-sandbox", "weir-link"]),
    ("weir-client", &["weir-api"]),
    (
        "wctl",
        &[
            "weir-client",
            "weir-api",
            "weir-module",
            "weir-link",
            "weir-control",
            "weir-executor",
            "weir-sandbox",
            "weir-sim",
        ],
    ),
    ("weir-sim", &["weir-scheduler", "weir-agent", "weir-api"]),
    ("weir-e2e", &["weir-api", "weir-client", "weir-link"]),
    ("weir-isolation", &["weir-sandbox", "weir-module"]),
    ("weir-fuzz", &["weir-api", "weir-module", "weir-isolation"]),
    ("weir-libfuzzer", &["weir-fuzz"]),
    (
        "weir-bench",
        &[
            "weir-api",
            "weir-e2e",
            "weir-isolation",
            "weir-client",
            "weir-module",
            "weir-link",
            "weir-scheduler",
            "weir-agent",
            "weir-sandbox",
            "weir-sim",
        ],
    ),
    ("xtask", &[]),
];

/// What their tests may use in addition; never anything that depends on them in turn.
const GRAPH_OF_TESTS: [(&str, &[&str]); 1] = [("weir-control", &["weir-client"])];

/// The crates that are `no_std`, and all that they may use outside their tests: each of these is `no_std` itself.
const PURE: [&str; 3] = ["weir-wire", "weir-scheduler", "weir-agent"];
const PURE_MAY_USE: [&str; 4] = [VOCABULARY, "thiserror", "tracing", "regex"];

/// Reads the packages from what `cargo metadata` prints.
///
/// # Errors
/// When its form is not the expected one.
pub(super) fn packages(metadata: &Value) -> Result<Vec<Package>> {
    let list = metadata["packages"].as_array().context("`cargo metadata` lists no packages")?;
    list.iter().map(package).collect()
}

/// Refuses a large dependency outside the crate that owns it.
pub(super) fn single_owner(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        for dependency in &package.dependencies {
            let owners = OWNERS.iter().find(|(family, _)| is_of(family, &dependency.name));
            let Some((_, owners)) = owners.filter(|(_, owners)| !owners.contains(&package.name.as_str())) else {
                continue;
            };
            findings.push(Finding {
                rule: "single-owner",
                place: package.name.clone(),
                what: format!("names {}, which belongs to {} alone", dependency.name, owners.join(" and ")),
            });
        }
    }
    findings
}

/// Refuses a dependency between our own crates that the table does not have, and a crate that it does not know.
pub(super) fn crate_graph(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let Some((_, allowed)) = GRAPH.iter().find(|(name, _)| *name == package.name) else {
            let what = "is not in the table of crates in xtask/src/tidy/graph.rs".to_owned();
            findings.push(Finding { rule: "crate-graph", place: package.name.clone(), what });
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let ours = GRAPH.iter().any(|(ours, _)| *ours == name);
            let in_tests = dependency.for_tests
                && GRAPH_OF_TESTS.iter().any(|(user, used)| *user == package.name && used.contains(&name));
            if ours && name != VOCABULARY && !allowed.contains(&name) && !in_tests {
                let what = format!("may not depend on {name}");
                findings.push(Finding { rule: "crate-graph", place: package.name.clone(), what });
            }
        }
    }
    findings
}

/// Refuses a dependency of a pure crate that is not on the short list; their tests may use what they like.
pub(super) fn pure_dependencies(packages: &[Package]) -> Vec<Finding> {
    let pure = packages.iter().filter(|package| PURE.contains(&package.name.as_str()));
    let named = pure.flat_map(|package| package.dependencies.iter().map(move |dependency| (package, dependency)));
    named
        .filter(|(_, dependency)| !dependency.for_tests && !PURE_MAY_USE.contains(&dependency.name.as_str()))
        .map(|(package, dependency)| Finding {
            rule: "pure-dependencies",
            place: package.name.clone(),
            what: format!("a pure crate may not depend on {}", dependency.name),
        })
        .collect()
}

fn package(value: &Value) -> Result<Package> {
    let name = value["name"].as_str().context("a package has no name")?.to_owned();
    let listed = value["dependencies"].as_array().with_context(|| format!("{name} lists no dependencies"))?;
    let dependencies = listed.iter().map(|value| {
        let name = value["name"].as_str().context("a dependency has no name")?.to_owned();
        Ok(Dependency { name, for_tests: value["kind"].as_str() == Some("dev") })
    });
    Ok(Package { dependencies: dependencies.collect::<Result<_>>().with_context(|| name.clone())?, name })
}

fn is_of(family: &str, name: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(name: &str, dependency: &str, kind: Option<&str>) -> Vec<Package> {
        let metadata = json!({"packages": [{"name": name, "dependencies": [{"name": dependency, "kind": kind}]}]});
        packages(&metadata).unwrap()
    }

    #[test]
    fn a_large_dependency_outside_its_owner_is_refused() {
        for (name, dependency) in [
            ("weir-control", "quinn"),
            ("weir-executor", "wasmtime-wasi"),
            ("weir-isolation", "wasmtime"),
            ("wctl", "etcd-client"),
        ] {
            assert_eq!(single_owner(&one(name, dependency, None)).len(), 1, "{name} {dependency}");
        }
        assert_eq!(single_owner(&one("weir-link", "quinn", None)), []);
        assert_eq!(single_owner(&one("weir-bench", "wasmtime", None)), []);
        assert_eq!(single_owner(&one("wctl", "quinnette", None)), []);
        assert_eq!(single_owner(&one("wctl", "quinn-proto", Some("dev"))).len(), 1);
    }

    #[test]
    fn a_dependency_that_the_table_does_not_allow_is_refused() {
        for (name, dependency) in [
            ("weir-executor", "weir-control"),
            ("weir-wire", "weir-api"),
            ("weir-scheduler", "weir-link"),
            ("xtask", "wctl"),
        ] {
            assert_eq!(crate_graph(&one(name, dependency, None)).len(), 1, "{name} {dependency}");
        }
        assert_eq!(crate_graph(&one("weir-control", "weir-scheduler", None)), []);
        assert_eq!(crate_graph(&one("weir-api", "weir-wire", None)), []);
        assert_eq!(crate_graph(&one("weir-control", "weir-client", Some("dev"))), []);
        assert_eq!(crate_graph(&one("weir-control", "weir-client", None)).len(), 1);
        assert_eq!(crate_graph(&one("weir-new", "serde", None))[0].place, "weir-new");
    }

    #[test]
    fn a_pure_crate_keeps_to_its_list() {
        assert_eq!(pure_dependencies(&one("weir-agent", "tokio", None)).len(), 1);
        assert_eq!(pure_dependencies(&one("weir-agent", "tokio", Some("dev"))), []);
        assert_eq!(pure_dependencies(&one("weir-agent", "weir-wire", None)), []);
        assert_eq!(pure_dependencies(&one("weir-link", "tokio", None)), []);
    }

    #[test]
    fn metadata_of_another_form_is_an_error() {
        assert!(packages(&json!({})).is_err());
        assert!(packages(&json!({"packages": [{"name": "a"}]})).is_err());
    }
}
