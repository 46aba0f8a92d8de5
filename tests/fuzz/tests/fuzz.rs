//! The committed corpus and a fixed number of seeded mutations of it: the same inputs on every machine.

use std::{fs, path::Path};

use weir_fuzz::{
    Target,
    campaign::{self, Amount, Tried},
};

const SEED: u64 = 0x5745_4952;

fn nothing_is_found(target: Target, mutations: u64) {
    let tried = campaign::run(target, SEED, Amount::Mutations(mutations)).expect("a corpus");
    if let Tried { finding: Some(finding), .. } = tried {
        panic!("{target}: {}\nthe input: {:?}", finding.message, finding.input);
    }
    assert!(tried.executions > mutations);
}

#[test]
fn the_wire_decodes_anything_and_writes_it_back() {
    nothing_is_found(Target::Wire, 20_000);
}

#[test]
fn a_spec_is_refused_or_has_one_canonical_form() {
    nothing_is_found(Target::Spec, 5_000);
}

#[test]
fn a_module_is_refused_or_is_what_it_is_said_to_be() {
    nothing_is_found(Target::Module, 5_000);
}

#[test]
fn a_random_guest_passes_no_limit() {
    nothing_is_found(Target::Guest, 60);
}

#[test]
fn a_guest_of_wasm_smith_passes_no_limit() {
    nothing_is_found(Target::Smith, 60);
}

#[test]
fn cargo_fuzz_has_every_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
    for target in Target::ALL {
        let file = format!("fuzz_targets/{target}.rs");
        assert!(manifest.contains(&format!("[[bin]]\nname = \"{target}\"\npath = \"{file}\"")), "{target}");
        let text = fs::read_to_string(folder.join(file)).expect("a target");
        assert!(text.contains(&format!("Target::{target:?}.run(")), "{target}");
    }
}
