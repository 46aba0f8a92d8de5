//! Turns a module into native code: bytes in, bytes out, so that it can move into a process of its own.

use wasmtime::{Engine, Precompiled};

use super::debug_info;

/// What a guest is, as the first bytes of its binary say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A core module.
    Module,
    /// A component.
    Component,
}

/// Validates and compiles a binary; behind the artefact is a table of its source lines, if it says what they are.
///
/// # Errors
/// Why it cannot be run, in words for its author.
pub(crate) fn compile(engine: &Engine, wasm: &[u8]) -> Result<Vec<u8>, String> {
    // Cheap, where compiling a hostile module may take gigabytes.
    let report = weir_module::validate(wasm, &weir_module::Limits::default()).map_err(|error| error.to_string())?;
    let artefact = match report.kind {
        weir_module::Kind::CoreCommandP1 => engine.precompile_module(wasm),
        weir_module::Kind::CommandComponent | weir_module::Kind::TaskComponent => engine.precompile_component(wasm),
        weir_module::Kind::Unrunnable(why) => return Err(why.to_string()),
    };
    let mut artefact = artefact.map_err(|error| format!("{error:#}"))?;
    artefact.extend(debug_info::table(wasm));
    Ok(artefact)
}

/// The kind of an artefact.
pub(crate) const fn kind_of_artefact(precompiled: Precompiled) -> Kind {
    match precompiled {
        Precompiled::Module => Kind::Module,
        Precompiled::Component => Kind::Component,
    }
}
