//! Turns a module into native code: bytes in, bytes out, so that it can move into a process of its own.

use wasmtime::{Engine, Precompiled};

/// What a guest is, as the first bytes of its binary say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A core module.
    Module,
    /// A component.
    Component,
}

/// Compiles a binary.
///
/// # Errors
/// Why it cannot be run, in words for its author.
pub(crate) fn compile(engine: &Engine, wasm: &[u8]) -> Result<Vec<u8>, String> {
    let artefact = match kind_of(wasm)? {
        Kind::Module => engine.precompile_module(wasm),
        Kind::Component => engine.precompile_component(wasm),
    };
    artefact.map_err(|error| format!("{error:#}"))
}

/// The kind of an artefact.
pub(crate) const fn kind_of_artefact(precompiled: Precompiled) -> Kind {
    match precompiled {
        Precompiled::Module => Kind::Module,
        Precompiled::Component => Kind::Component,
    }
}

/// Tells a core module from a component by the binary's version and layer fields.
fn kind_of(wasm: &[u8]) -> Result<Kind, String> {
    match wasm.get(..8) {
        Some(b"\0asm\x01\0\0\0") => Ok(Kind::Module),
        Some(b"\0asm\x0d\0\x01\0") => Ok(Kind::Component),
        _ => Err("this is not a Wasm binary".to_owned()),
    }
}
