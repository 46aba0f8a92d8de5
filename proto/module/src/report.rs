//! What a binary is and has.

use std::fmt;

/// What one element of a table takes on a node, bytes.
const TABLE_ELEMENT_BYTES: u64 = 8;

/// What a binary is and has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What kind of guest it is.
    pub kind: Kind,
    /// What it needs from the executor.
    pub imports: Vec<Import>,
    /// What it offers; at most the first 1,000.
    pub exports: Vec<Export>,
    /// How many exports there are.
    pub exports_total: u64,
    /// The memories of its core modules.
    pub memories: Vec<Memory>,
    /// The tables of its core modules.
    pub tables: Vec<Table>,
    /// The whole file, bytes.
    pub size_bytes: u64,
    /// Functions that its core modules define.
    pub functions: u64,
    /// Code of those functions, bytes.
    pub code_bytes: u64,
    /// Initial data of its memories, bytes.
    pub data_bytes: u64,
    /// Core modules in it; 1 if it is one itself.
    pub core_modules: u32,
    /// What it was made with, such as language, compiler and SDK; at most the first 64.
    pub producers: Vec<Producer>,
    /// The version of the task interface that it exports, which is that of the SDK it was made with.
    pub task_interface: Option<String>,
}

/// What kind of guest a binary is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A core module with `_start`, for WASI preview 1.
    CoreCommandP1,
    /// A component that exports `wasi:cli/run@0.2.x`.
    CommandComponent,
    /// A component that exports `weir:task/run@0.1.0`, made with the SDK.
    TaskComponent,
    /// None of these.
    Unrunnable(Unrunnable),
}

/// Why a well-formed binary is not a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrunnable {
    /// A core module without `_start`.
    NoStart,
    /// A core module with `_initialize` only: a library for a host.
    Reactor,
    /// `_start` is not a function without parameters and results.
    StartNotACommand,
    /// A component that serves HTTP.
    HttpService,
    /// A component for a version of WASI that is not provided.
    OtherWasiVersion,
    /// A component for another version of the task interface.
    OtherTaskVersion,
    /// A component that exports no way to run it.
    NoRun,
}

/// One thing that a binary needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The module or interface, such as `wasi_snapshot_preview1` or `wasi:cli/stdin@0.2.3`.
    pub interface: String,
    /// The item in that module; empty for a component, which imports whole interfaces.
    pub item: String,
    /// What it must be.
    pub kind: ItemKind,
}

/// One thing that a binary offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ItemKind,
}

/// What an import or export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ItemKind {
    /// A function.
    Function,
    /// A linear memory.
    Memory,
    /// A table.
    Table,
    /// A global.
    Global,
    /// An exception tag.
    Tag,
    /// An interface: a component instance.
    Interface,
    /// A type.
    Type,
    /// A core module.
    Module,
    /// A component.
    Component,
    /// A value.
    Value,
}

/// A linear memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Its size at the start, bytes.
    pub initial_bytes: u64,
    /// The size it may grow to, bytes, if it says so.
    pub maximum_bytes: Option<u64>,
    /// Whether it is expected from outside.
    pub imported: bool,
    /// Whether threads share it.
    pub shared: bool,
    /// Whether its addresses have 64 bits.
    pub wide: bool,
}

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Its elements at the start.
    pub initial: u64,
    /// The elements it may grow to, if it says so.
    pub maximum: Option<u64>,
    /// Whether it is expected from outside.
    pub imported: bool,
}

/// Something that a binary was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// The role, such as `language`, `processed-by` or `sdk`.
    pub field: String,
    /// The name, such as `Rust`.
    pub name: String,
    /// The version; may be empty.
    pub version: String,
}

impl Report {
    /// Returns what all memories take at the start, bytes.
    #[must_use]
    pub fn memory_initial_bytes(&self) -> u64 {
        self.memories.iter().fold(0, |sum, memory| sum.saturating_add(memory.initial_bytes))
    }

    /// Returns what a task takes of its `memory` before its first instruction: memories and tables at their initial
    /// sizes.
    ///
    /// Exact for a core module. In a component each core module is counted once, as toolchains instantiate them; what
    /// one core module imports from another is counted where it is defined.
    #[must_use]
    pub fn memory_min_bytes(&self) -> u64 {
        let memories = self.own_memories().map(|memory| memory.initial_bytes);
        let tables = self.own_tables().map(|table| table.initial.saturating_mul(TABLE_ELEMENT_BYTES));
        memories.chain(tables).fold(0, u64::saturating_add)
    }

    /// Returns what a task can take of its `memory` at most, by the maxima that its memories and tables declare; `None`
    /// if one of them declares none.
    #[must_use]
    pub fn memory_max_bytes(&self) -> Option<u64> {
        let memories = self.own_memories().map(|memory| memory.maximum_bytes);
        let tables = self.own_tables().map(|table| Some(table.maximum?.saturating_mul(TABLE_ELEMENT_BYTES)));
        memories.chain(tables).try_fold(0u64, |sum, most| Some(sum.saturating_add(most?)))
    }

    fn own_memories(&self) -> impl Iterator<Item = &Memory> {
        self.memories.iter().filter(|memory| !memory.imported)
    }

    fn own_tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter().filter(|table| !table.imported)
    }
}

impl fmt::Display for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.name)?;
        if self.version.is_empty() { Ok(()) } else { write!(f, " {}", self.version) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CoreCommandP1 => f.write_str("WASI preview 1 command"),
            Self::CommandComponent => f.write_str("WASI preview 2 command"),
            Self::TaskComponent => f.write_str("task component"),
            Self::Unrunnable(_) => f.write_str("not runnable"),
        }
    }
}

impl fmt::Display for Unrunnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoStart => {
                "it exports no `_start`: build a program with a main function for wasm32-wasip1 or wasm32-wasip2, \
                 or a task with the SDK"
            }
            Self::Reactor => {
                "it exports `_initialize` but no `_start`: it is a library; build a program with a main function, \
                 or turn it into a component with the SDK's task interface"
            }
            Self::StartNotACommand => "its `_start` is not a function without parameters and results",
            Self::HttpService => "it is an HTTP service (wasi:http/incoming-handler), which is not supported yet",
            Self::OtherWasiVersion => {
                "it exports a wasi:cli/run of another version than 0.2.0 to 0.2.12: build it for wasm32-wasip2"
            }
            Self::OtherTaskVersion => {
                "it exports another version of the task interface than weir:task/run@0.1.0: build it with a matching SDK"
            }
            Self::NoRun => {
                "it exports neither wasi:cli/run@0.2 nor weir:task/run@0.1.0: build a program with a main function, \
                 or a task with the SDK"
            }
        })
    }
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.item.is_empty() { f.write_str(&self.interface) } else { write!(f, "{}.{}", self.interface, self.item) }
    }
}

impl fmt::Display for ItemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Function => "function",
            Self::Memory => "memory",
            Self::Table => "table",
            Self::Global => "global",
            Self::Tag => "tag",
            Self::Interface => "interface",
            Self::Type => "type",
            Self::Module => "core module",
            Self::Component => "component",
            Self::Value => "value",
        })
    }
}
