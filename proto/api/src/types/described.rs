//! What a module is, as the reader of modules reports it.

use weir_module::{Kind, Memory, Report, Table};

use super::{Import, Module, ModuleKind, ModuleMemory, ModuleParts, ModuleTable};

impl Module {
    /// Describes a module of this digest.
    pub fn described(digest: String, report: &Report) -> Self {
        let import = |import: &weir_module::Import| Import {
            module: import.interface.clone(),
            name: Some(import.item.clone()).filter(|item| !item.is_empty()),
        };
        Self {
            digest,
            size: report.size_bytes,
            kind: kind(report.kind),
            imports: report.imports.iter().map(import).collect(),
            exports: report.exports.iter().map(|export| export.name.clone()).collect(),
            sdk: report.task_interface.clone(),
            made_with: report.producers.iter().map(ToString::to_string).collect(),
            parts: Some(parts(report)),
        }
    }
}

fn parts(report: &Report) -> ModuleParts {
    let memory =
        |memory: &Memory| ModuleMemory { initial_bytes: memory.initial_bytes, maximum_bytes: memory.maximum_bytes };
    let table = |table: &Table| ModuleTable { initial: table.initial, maximum: table.maximum };
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
        Kind::Unrunnable(_) => ModuleKind::Unknown,
    }
}
