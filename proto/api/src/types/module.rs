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
    /// What it exports.
    #[serde(default)]
    pub exports: Vec<String>,
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
