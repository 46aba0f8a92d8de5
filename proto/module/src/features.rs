//! The features of WebAssembly that guests may use, and what to say of the others.

use std::fmt;

use wasmparser::WasmFeatures;

/// The features that guests may use.
///
/// Exceptions are on, since real toolchains use them. Threads would break the limits and the determinism of an
/// attempt; the rest is off until somebody needs it.
pub(crate) const ALLOWED: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL)
    // Gates `externref` only; the garbage collector's own types need GC as well.
    .union(WasmFeatures::GC_TYPES);

/// A feature of WebAssembly that guests may not use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Shared memories and atomic instructions.
    Threads,
    /// Memories and tables with 64-bit addresses.
    Memory64,
    /// SIMD instructions whose results differ between machines.
    RelaxedSimd,
    /// More than one memory in a module.
    MultiMemory,
    /// Garbage-collected structs and arrays.
    Gc,
    /// Typed function references.
    FunctionReferences,
    /// The first, withdrawn form of exceptions.
    LegacyExceptions,
    /// Asynchronous functions, streams and futures of components (WASI 0.3).
    ComponentAsync,
    /// Another proposal for components.
    ComponentProposal,
    /// Stack switching.
    StackSwitching,
    /// 128-bit arithmetic.
    WideArithmetic,
    /// Memories with pages of another size.
    CustomPageSizes,
    /// Another proposal.
    Other,
}

impl Feature {
    /// Returns what a developer can do without the feature.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Threads => "build without threads and atomics; use more tasks for parallel work",
            Self::Memory64 => "build for wasm32",
            Self::RelaxedSimd => "build without relaxed-simd; plain SIMD is supported",
            Self::MultiMemory => "build with one memory",
            Self::Gc | Self::FunctionReferences => {
                "use a language or compiler setting that manages its own memory (no Wasm GC)"
            }
            Self::LegacyExceptions => "build with the standard exceptions (exnref), for example with a newer compiler",
            Self::ComponentAsync => "build for WASI 0.2 (wasm32-wasip2)",
            Self::ComponentProposal => "build with a toolchain for WASI 0.2",
            Self::StackSwitching | Self::WideArithmetic | Self::CustomPageSizes | Self::Other => {
                "build without this proposal"
            }
        }
    }

    /// Returns the feature that wasmparser missed.
    pub(crate) fn missing(features: WasmFeatures) -> Self {
        const COMPONENT_ASYNC: WasmFeatures = WasmFeatures::CM_ASYNC
            .union(WasmFeatures::CM_ASYNC_STACKFUL)
            .union(WasmFeatures::CM_MORE_ASYNC_BUILTINS)
            .union(WasmFeatures::CM_THREADING)
            .union(WasmFeatures::CM_ERROR_CONTEXT);
        const COMPONENT: WasmFeatures = WasmFeatures::CM_VALUES
            .union(WasmFeatures::CM_NESTED_NAMES)
            .union(WasmFeatures::CM_FIXED_LENGTH_LISTS)
            .union(WasmFeatures::CM_GC)
            .union(WasmFeatures::CM_MAP)
            .union(WasmFeatures::CM64)
            .union(WasmFeatures::CM_IMPLEMENTS)
            .union(WasmFeatures::CM_CANON_NAMES);
        let names = [
            (WasmFeatures::THREADS.union(WasmFeatures::SHARED_EVERYTHING_THREADS), Self::Threads),
            (WasmFeatures::MEMORY64, Self::Memory64),
            (WasmFeatures::RELAXED_SIMD, Self::RelaxedSimd),
            (WasmFeatures::MULTI_MEMORY, Self::MultiMemory),
            (WasmFeatures::GC.union(WasmFeatures::CUSTOM_DESCRIPTORS), Self::Gc),
            (WasmFeatures::FUNCTION_REFERENCES, Self::FunctionReferences),
            (WasmFeatures::LEGACY_EXCEPTIONS, Self::LegacyExceptions),
            (COMPONENT_ASYNC, Self::ComponentAsync),
            (COMPONENT, Self::ComponentProposal),
            (WasmFeatures::STACK_SWITCHING, Self::StackSwitching),
            (WasmFeatures::WIDE_ARITHMETIC, Self::WideArithmetic),
            (WasmFeatures::CUSTOM_PAGE_SIZES, Self::CustomPageSizes),
        ];
        names.into_iter().find(|(flags, _)| features.intersects(*flags)).map_or(Self::Other, |(_, name)| name)
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Threads => "threads (shared memory or atomics)",
            Self::Memory64 => "memory64",
            Self::RelaxedSimd => "relaxed SIMD",
            Self::MultiMemory => "multiple memories",
            Self::Gc => "garbage-collected types",
            Self::FunctionReferences => "typed function references",
            Self::LegacyExceptions => "legacy exceptions",
            Self::ComponentAsync => "asynchronous components (WASI 0.3)",
            Self::ComponentProposal => "a proposal of the component model",
            Self::StackSwitching => "stack switching",
            Self::WideArithmetic => "wide arithmetic",
            Self::CustomPageSizes => "custom page sizes",
            Self::Other => "a proposal",
        })
    }
}
