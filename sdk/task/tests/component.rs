//! What the toolchain makes of the examples: components with the right boundary, and with function names.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its guests fails")]

use std::path::{Path, PathBuf};
use std::process::Command;

use wasmparser::{Parser, Payload};

/// Interfaces of a component, and the custom sections of the core modules in it.
#[derive(Debug, Default)]
struct Component {
    imports: Vec<String>,
    exports: Vec<String>,
    sections: Vec<String>,
}

impl Component {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let mut component = Self::default();
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(&bytes) {
            let payload = payload.unwrap();
            if let Payload::ModuleSection { .. } | Payload::ComponentSection { .. } = payload {
                depth += 1;
            } else if let Payload::End(_) = payload {
                // The last end is that of the whole.
                depth = usize::saturating_sub(depth, 1);
            } else if let (Payload::ComponentImportSection(imports), 0) = (&payload, depth) {
                let names = imports.clone().into_iter().map(|import| import.unwrap().name.name.to_owned());
                component.imports.extend(names);
            } else if let (Payload::ComponentExportSection(exports), 0) = (&payload, depth) {
                let names = exports.clone().into_iter().map(|export| export.unwrap().name.name.to_owned());
                component.exports.extend(names);
            } else if let (Payload::CustomSection(section), 1..) = (&payload, depth) {
                component.sections.push(section.name().to_owned());
            }
        }
        component
    }
}

/// Builds a package of the example workspace as its user would, and returns the file.
fn build(package: &str) -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--target", "wasm32-wasip2"])
        .args(["--message-format", "json", "--package", package, "--manifest-path"])
        .arg(manifest)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<serde_json::Value>();
    let files = messages.flat_map(|message| message.unwrap()["filenames"].as_array().cloned().unwrap_or_default());
    let name = format!("{package}.wasm");
    let mut files = files.filter_map(|file| file.as_str().map(PathBuf::from));
    files.find(|file| file.ends_with(&name)).unwrap()
}

#[test]
fn a_task_exports_the_versioned_interface() {
    for package in ["hello", "primes", "wordcount"] {
        let component = Component::read(&build(package));
        assert_eq!(component.exports, ["weir:task/run@0.1.0"], "{package}");
        assert!(component.imports.contains(&"weir:task/host@0.1.0".to_owned()), "{package}: {component:?}");
    }
}

#[test]
fn a_task_imports_nothing_else_but_basic_wasi() {
    let allowed = ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "weir:task/host@0.1.0"];
    for package in ["hello", "primes", "wordcount"] {
        for import in Component::read(&build(package)).imports {
            assert!(allowed.iter().any(|allowed| import.starts_with(allowed)), "{package} imports {import}");
        }
    }
}

#[test]
fn a_release_build_has_function_names_and_no_debug_information() {
    for package in ["hello", "hostile-recurse"] {
        let sections = Component::read(&build(package)).sections;
        assert!(sections.iter().any(|name| name == "name"), "{package}: {sections:?}");
        assert!(!sections.iter().any(|name| name.starts_with(".debug")), "{package}: {sections:?}");
    }
}

#[test]
fn a_command_exports_the_command_interface() {
    let exports = Component::read(&build("echo-wasi")).exports;
    assert!(exports.iter().all(|name| name.starts_with("wasi:cli/run@0.2.")), "{exports:?}");
    assert_eq!(exports.len(), 1);
}
