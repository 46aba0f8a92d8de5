//! Wasm files, read locally before anything is sent.

use weir_api::Module;
use weir_module::Limits;

use crate::{
    exit::Exit,
    failure::{Failure, Result},
    input,
};

/// Checks that a module would be accepted.
pub(crate) fn check(bytes: &[u8]) -> Result<()> {
    weir_module::validate(bytes, &Limits::default()).map(|_| ()).map_err(refusal)
}

/// Reads what a module is, whether or not it would be accepted.
pub(crate) fn inspect(bytes: &[u8]) -> Result<Module> {
    let report = weir_module::inspect(bytes).map_err(refusal)?;
    Ok(Module::described(input::digest(bytes), &report))
}

fn refusal(error: weir_module::Error) -> Failure {
    Failure::new(Exit::Invalid, format!("the module is refused: {error}"))
}

#[cfg(test)]
mod tests {
    use weir_api::ModuleKind;

    use super::*;

    /// A core module with an empty `_start`.
    const COMMAND: &[u8] =
        b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x0a\x01\x06_start\0\0\x0a\x04\x01\x02\0\x0b";

    #[test]
    fn a_command_is_accepted_and_described() {
        check(COMMAND).unwrap();
        let module = inspect(COMMAND).unwrap();
        assert_eq!((module.kind, module.exports), (ModuleKind::WasiP1Command, vec!["_start".to_owned()]));
        assert_eq!(module.size, COMMAND.len() as u64);
        let parts = module.parts.unwrap();
        assert_eq!((parts.functions, parts.memory_min_bytes, parts.memory_max_bytes), (1, 0, Some(0)));
        assert_eq!((module.sdk, module.made_with.len()), (None, 0));
    }

    #[test]
    fn what_is_no_module_is_refused() {
        for bytes in [&b""[..], b"hello", &COMMAND[..20], b"\0asm\x01\0\0\0"] {
            assert_eq!(check(bytes).unwrap_err().exit(), Exit::Invalid, "{bytes:?}");
        }
    }
}
