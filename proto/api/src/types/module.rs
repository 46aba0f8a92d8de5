use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A Wasm module in the blob store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Module {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Bytes of the binary.
    pub size: u64,
    /// How it is executed.
    pub kind: ModuleKind,
    /// What it imports.
    #[serde(default)]
    pub imports: Vec<Import>,
    /// What it exports; at most the first 1,000.
    #[serde(default)]
    pub exports: Vec<String>,
    /// The version of the SDK's interface that it was built against; absent when it was made without the SDK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdk: Option<String>,
    /// What it was made with, as its toolchain says, such as `language Rust` and `processed-by rustc 1.95.0`; at most the
    /// first 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made_with: Vec<String>,
    /// What is in it; absent when it was stored by a version that did not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<ModuleParts>,
}

/// What is in a module, and the memory that a task of it is estimated to use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModuleParts {
    /// The memories of its core modules.
    pub memories: Vec<ModuleMemory>,
    /// The tables of its core modules.
    pub tables: Vec<ModuleTable>,
    /// Functions that it defines.
    pub functions: u64,
    /// Bytes of their code.
    pub code_bytes: u64,
    /// Bytes of initial data, most of which is copied into the initial memory.
    pub data_bytes: u64,
    /// A `memory` below this is too little to start: the initial sizes of memories and of tables, at 8 bytes for each
    /// element. An estimate for a component that instantiates a core module twice or never.
    pub memory_min_bytes: u64,
    /// A `memory` above this is never used: the declared maxima of memories and of tables. Absent when one declares
    /// none, and may grow as far as its job lets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max_bytes: Option<u64>,
}

/// A linear memory of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModuleMemory {
    /// Its size at the start.
    pub initial_bytes: u64,
    /// What it may grow to, if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_bytes: Option<u64>,
}

/// A table of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModuleTable {
    /// Its elements at the start.
    pub initial: u64,
    /// What it may grow to, if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<u64>,
}

/// One import of a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Import {
    /// The module or interface, such as `wasi_snapshot_preview1` or `wasi:cli/environment@0.2.0`.
    pub module: String,
    /// The item of a core module; absent for a component's whole interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// How a module is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModuleKind {
    /// A WASI preview 1 core module with `_start`.
    WasiP1Command,
    /// A WASI preview 2 component that exports `wasi:cli/run`.
    WasiP2Command,
    /// A component that exports `weir:task/run`.
    Task,
    /// A kind of a later version.
    #[serde(other)]
    Unknown,
}

/// A payload or items file in the blob store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Blob {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}
