//! One pass over a binary that collects what is worth knowing of it.

use wasmparser::{
    ComponentExternalKind, ComponentTypeRef, Encoding, ExternalKind, KnownCustom, MemoryType, Parser, Payload,
    ProducersSectionReader, TableType, TypeRef,
};

use crate::error::{Error, shown};
use crate::features::Feature;
use crate::format;
use crate::limits::Limits;
use crate::provide::{is_command_run, is_task_run};
use crate::report::{Export, Import, ItemKind, Kind, Memory, Producer, Report, Table, Unrunnable};
use crate::structure;

/// How many exports a report lists: a module may have millions, and nobody reads them.
const EXPORTS_LISTED_MAX: usize = 1_000;
/// How many producers a report lists.
const PRODUCERS_LISTED_MAX: usize = 64;
/// How many memories and tables a report lists of each.
const MEMORIES_LISTED_MAX: usize = 1_000;
/// The page of a memory that does not say otherwise: 64 KiB.
const PAGE_SIZE_LOG2: u32 = 16;

/// Describes a binary, whether or not it could run.
///
/// The code of functions is not looked at.
///
/// # Errors
/// [`Error`] if it is no module or component, is cut off, has damaged sections, or has more imports or core modules
/// than [`Limits`] allow by default.
pub fn inspect(bytes: &[u8]) -> Result<Report, Error> {
    scan(bytes, &Limits { size_bytes_max: u64::MAX, ..Limits::default() })
}

/// Describes a binary; `limits` bound what is collected.
pub(crate) fn scan(bytes: &[u8], limits: &Limits) -> Result<Report, Error> {
    let size = bytes.len() as u64;
    structure::at_most("size in bytes", size, limits.size_bytes_max)?;
    format::recognise(bytes)?;
    let mut scan = Scan::new(size, limits);
    for payload in Parser::new(0).parse_all(bytes) {
        scan.payload(payload.map_err(|e| refused(&e))?)?;
    }
    Ok(scan.finish())
}

/// Turns a refusal of the parser into ours: a feature by its name, the rest as it is.
pub(crate) fn refused(error: &wasmparser::Error) -> Error {
    // The parser has no category for this one; our tests notice when the words change.
    const MULTI_MEMORY: &str = "multiple memories";
    let feature = match error.missing_wasm_feature() {
        Some(features) => Some(Feature::missing(features)),
        None => (error.message() == MULTI_MEMORY).then_some(Feature::MultiMemory),
    };
    match feature {
        Some(feature) => Error::Feature { feature, offset: error.offset() as u64 },
        None => Error::malformed(error.offset(), error.message()),
    }
}

struct Scan<'l> {
    limits: &'l Limits,
    /// The module or component being read, and those around it.
    around: Vec<Encoding>,
    report: Report,
    found: Found,
}

/// The exports of the outermost module or component that decide what it is.
#[derive(Default)]
struct Found {
    component: bool,
    start: bool,
    initialize: bool,
    command_run: bool,
    other_command_run: bool,
    task_run: bool,
    other_task_run: bool,
    http: bool,
}

impl<'l> Scan<'l> {
    fn new(size_bytes: u64, limits: &'l Limits) -> Self {
        let report = Report {
            kind: Kind::Unrunnable(Unrunnable::NoStart),
            imports: Vec::new(),
            exports: Vec::new(),
            exports_total: 0,
            memories: Vec::new(),
            tables: Vec::new(),
            size_bytes,
            functions: 0,
            code_bytes: 0,
            data_bytes: 0,
            core_modules: 0,
            producers: Vec::new(),
            task_interface: None,
        };
        Self { limits, around: Vec::new(), report, found: Found::default() }
    }

    fn finish(mut self) -> Report {
        self.report.kind = self.found.kind();
        self.report
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most sections say nothing that is reported")]
    fn payload(&mut self, payload: Payload<'_>) -> Result<(), Error> {
        let failed = |e: wasmparser::Error| refused(&e);
        match payload {
            Payload::Version { encoding, .. } => self.enter(encoding)?,
            Payload::End(_) => {
                self.around.pop();
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(failed)?;
                    self.core_import(import.module, import.name, &import.ty)?;
                }
            }
            Payload::ComponentImportSection(section) if self.outermost() => {
                for import in section {
                    let import = import.map_err(failed)?;
                    self.import(import.name.name, "", component_import_kind(import.ty))?;
                }
            }
            Payload::ExportSection(section) if self.outermost() => {
                for export in section {
                    let export = export.map_err(failed)?;
                    self.core_export(export.name, core_kind(export.kind));
                }
            }
            Payload::ComponentExportSection(section) if self.outermost() => {
                for export in section {
                    let export = export.map_err(failed)?;
                    self.component_export(export.name.name, component_kind(export.kind));
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.memory(&memory.map_err(failed)?, false);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    self.table(&table.map_err(failed)?.ty, false);
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    self.report.data_bytes += data.map_err(failed)?.data.len() as u64;
                }
            }
            Payload::CodeSectionStart { count, size, .. } => {
                self.report.functions += u64::from(count);
                self.report.code_bytes += u64::from(size);
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Producers(producers) = section.as_known() {
                    self.producers(producers);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn enter(&mut self, encoding: Encoding) -> Result<(), Error> {
        if self.around.is_empty() {
            self.found.component = encoding == Encoding::Component;
        }
        self.around.push(encoding);
        if encoding == Encoding::Module {
            self.report.core_modules += 1;
            let max = u64::from(self.limits.core_modules_max);
            structure::at_most("number of core modules", self.report.core_modules.into(), max)?;
        }
        Ok(())
    }

    fn outermost(&self) -> bool {
        self.around.len() == 1
    }

    /// A core module inside a component is given its imports by the component; only its memories and tables count.
    fn core_import(&mut self, module: &str, name: &str, ty: &TypeRef) -> Result<(), Error> {
        let kind = match ty {
            TypeRef::Func(_) | TypeRef::FuncExact(_) => ItemKind::Function,
            TypeRef::Global(_) => ItemKind::Global,
            TypeRef::Tag(_) => ItemKind::Tag,
            TypeRef::Memory(memory) => {
                self.memory(memory, true);
                ItemKind::Memory
            }
            TypeRef::Table(table) => {
                self.table(table, true);
                ItemKind::Table
            }
        };
        if self.outermost() { self.import(module, name, kind) } else { Ok(()) }
    }

    fn import(&mut self, interface: &str, item: &str, kind: ItemKind) -> Result<(), Error> {
        self.report.imports.push(Import { interface: shown(interface), item: shown(item), kind });
        let max = u64::from(self.limits.imports_max);
        Ok(structure::at_most("number of imports", self.report.imports.len() as u64, max)?)
    }

    fn core_export(&mut self, name: &str, kind: ItemKind) {
        self.found.start |= name == "_start" && kind == ItemKind::Function;
        self.found.initialize |= name == "_initialize" && kind == ItemKind::Function;
        self.export(name, kind);
    }

    fn component_export(&mut self, name: &str, kind: ItemKind) {
        let is_interface = kind == ItemKind::Interface;
        if is_interface && is_command_run(name) {
            self.found.command_run = true;
        } else if is_interface && is_task_run(name) {
            self.found.task_run = true;
        }
        if is_interface && let Some(version) = name.strip_prefix("weir:task/run@") {
            self.report.task_interface = Some(shown(version));
        }
        self.found.other_command_run |= name.starts_with("wasi:cli/run@");
        self.found.other_task_run |= name.starts_with("weir:task/run");
        self.found.http |= name.starts_with("wasi:http/incoming-handler@") || name.starts_with("wasi:http/handler@");
        self.export(name, kind);
    }

    fn export(&mut self, name: &str, kind: ItemKind) {
        self.report.exports_total += 1;
        if self.report.exports.len() < EXPORTS_LISTED_MAX {
            self.report.exports.push(Export { name: shown(name), kind });
        }
    }

    fn memory(&mut self, memory: &MemoryType, imported: bool) {
        let page_size_log2 = memory.page_size_log2.unwrap_or(PAGE_SIZE_LOG2);
        let bytes = |pages: u64| 1u64.checked_shl(page_size_log2).and_then(|page| pages.checked_mul(page));
        if self.report.memories.len() < MEMORIES_LISTED_MAX {
            self.report.memories.push(Memory {
                initial_bytes: bytes(memory.initial).unwrap_or(u64::MAX),
                maximum_bytes: memory.maximum.map(|pages| bytes(pages).unwrap_or(u64::MAX)),
                imported,
                shared: memory.shared,
                wide: memory.memory64,
            });
        }
    }

    fn table(&mut self, table: &TableType, imported: bool) {
        if self.report.tables.len() < MEMORIES_LISTED_MAX {
            self.report.tables.push(Table { initial: table.initial, maximum: table.maximum, imported });
        }
    }

    /// Reads what is readable: the section is a courtesy of the toolchain, and no reason to refuse a module.
    fn producers(&mut self, section: ProducersSectionReader<'_>) {
        let values = section
            .into_iter()
            .map_while(Result::ok)
            .flat_map(|field| field.values.into_iter().map_while(Result::ok).map(move |value| (field.name, value)));
        let room = PRODUCERS_LISTED_MAX.saturating_sub(self.report.producers.len());
        let fresh = values.take(room).map(|(field, value)| Producer {
            field: shown(field),
            name: shown(value.name),
            version: shown(value.version),
        });
        for producer in fresh.collect::<Vec<_>>() {
            // A component repeats the producers of its modules.
            if !self.report.producers.contains(&producer) {
                self.report.producers.push(producer);
            }
        }
    }
}

impl Found {
    fn kind(&self) -> Kind {
        if self.task_run {
            return Kind::TaskComponent;
        }
        if self.command_run {
            return Kind::CommandComponent;
        }
        Kind::Unrunnable(match self {
            Self { component: false, start: true, .. } => return Kind::CoreCommandP1,
            Self { component: false, initialize: true, .. } => Unrunnable::Reactor,
            Self { component: false, .. } => Unrunnable::NoStart,
            Self { other_task_run: true, .. } => Unrunnable::OtherTaskVersion,
            Self { other_command_run: true, .. } => Unrunnable::OtherWasiVersion,
            Self { http: true, .. } => Unrunnable::HttpService,
            Self { .. } => Unrunnable::NoRun,
        })
    }
}

fn core_kind(kind: ExternalKind) -> ItemKind {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => ItemKind::Function,
        ExternalKind::Table => ItemKind::Table,
        ExternalKind::Memory => ItemKind::Memory,
        ExternalKind::Global => ItemKind::Global,
        ExternalKind::Tag => ItemKind::Tag,
    }
}

fn component_kind(kind: ComponentExternalKind) -> ItemKind {
    match kind {
        ComponentExternalKind::Module => ItemKind::Module,
        ComponentExternalKind::Func => ItemKind::Function,
        ComponentExternalKind::Value => ItemKind::Value,
        ComponentExternalKind::Type => ItemKind::Type,
        ComponentExternalKind::Instance => ItemKind::Interface,
        ComponentExternalKind::Component => ItemKind::Component,
    }
}

fn component_import_kind(ty: ComponentTypeRef) -> ItemKind {
    component_kind(ty.kind())
}
