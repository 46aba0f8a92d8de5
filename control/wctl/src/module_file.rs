//! Wasm files, read locally before anything is sent.

use weir_api::{Import, Module, ModuleKind, ModuleMemory, ModuleParts, ModuleTable};
use weir_module::{Kind, Limits, Report, Unrunnable};

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
    Ok(module(bytes, report))
}

fn refusal(error: weir_module::Error) -> Failure {
    Failure::new(Exit::Invalid, format!("the module is refused: {error}"))
}

fn module(bytes: &[u8], report: Report) -> Module {
    let import = |import: weir_module::Import| Import {
        module: import.interface,
        name: Some(import.item).filter(|item| !item.is_empty()),
    };
    Module {
        parts: Some(parts(&report)),
        digest: input::digest(bytes),
        size: bytes.len() as u64,
        kind: kind(report.kind),
        imports: report.imports.into_iter().map(import).collect(),
        exports: report.exports.into_iter().map(|export| export.name).collect(),
        sdk: report.task_interface,
        made_with: report.producers.iter().map(ToString::to_string).collect(),
    }
}

fn parts(report: &Report) -> ModuleParts {
    let memory = |memory: &weir_module::Memory| ModuleMemory {
        initial_bytes: memory.initial_bytes,
        maximum_bytes: memory.maximum_bytes,
    };
    let table = |table: &weir_module::Table| ModuleTable { initial: table.initial, maximum: table.maximum };
    ModuleParts {
        memories: report.memories.iter().filter(|memory| !memory.imported).map(memory).collect(),
        tables: report.tables.iter().filter(|table| !table.imported).map(table).collect(),
        functions: report.functions,
        code_bytes: report.code_bytes,
        data_bytes: report.data_bytes,
        memory_min_bytes: report.memory_min_bytes(),
        memory_max_bytes: report.memory_max_bytes(),
    }
}

const fn kind(kind: Kind) -> ModuleKind {
    match kind {
        Kind::CoreCommandP1 => ModuleKind::WasiP1Command,
        Kind::CommandComponent => ModuleKind::WasiP2Command,
        Kind::TaskComponent => ModuleKind::Task,
        Kind::Unrunnable(
            Unrunnable::NoStart
            | Unrunnable::Reactor
            | Unrunnable::StartNotACommand
            | Unrunnable::HttpService
            | Unrunnable::OtherWasiVersion
            | Unrunnable::OtherTaskVersion
            | Unrunnable::NoRun,
        ) => ModuleKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
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
