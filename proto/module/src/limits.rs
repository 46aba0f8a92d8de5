//! How large a module and its parts may be.

use weir_wire::limits::MODULE_LEN_MAX;

/// How large a module and its parts may be; compiling costs memory and time in proportion to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The whole file, bytes. Default 128 MiB.
    pub size_bytes_max: u64,
    /// Functions of all its core modules together. Default 200,000.
    ///
    /// Measured: 3.6 MB of empty functions, over a million of them, take the compiler 5 GB.
    pub functions_max: u32,
    /// Code of one function, bytes. Default 4 MiB.
    pub function_bytes_max: u32,
    /// Locals × blocks of one function, parameters included. Default 50 million.
    ///
    /// Measured: 20,000 × 60,000 make the compiler ask for 52 GB; the largest interpreters stay under 10 million.
    pub locals_blocks_max: u64,
    /// Imports of the whole file. Default 10,000.
    pub imports_max: u32,
    /// Core modules inside a component. Default 64.
    pub core_modules_max: u32,
    /// Memories of all its core modules together. Default 2: each takes a slot of 4 GiB of address space.
    pub memories_max: u32,
    /// Tables of one core module. Default 4.
    pub tables_max: u32,
    /// Initial elements of one table. Default 200,000.
    pub table_elements_max: u64,
    /// Initial size of one memory, bytes. Default 4 GiB, which is all that a 32-bit memory can have; pass a task's own
    /// limit to refuse what could never start.
    pub memory_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            size_bytes_max: MODULE_LEN_MAX,
            functions_max: 200_000,
            function_bytes_max: 4 << 20,
            locals_blocks_max: 50_000_000,
            imports_max: 10_000,
            core_modules_max: 64,
            memories_max: 2,
            tables_max: 4,
            table_elements_max: 200_000,
            memory_bytes_max: 4 << 30,
        }
    }
}
