//! From a module to an artefact in the cache, in this process or in one of its own that has limits.

mod child;
mod compiler;
mod debug_info;
mod parent;

use std::{
    fs::File,
    io::{self, Read, Write},
    time::Duration,
};

use wasmtime::Engine;
use weir_wire::{attempt::ModuleFile, limits::MODULE_LEN_MAX, units::MemBytes};

use crate::{
    cache::{Cache, Draft},
    helper::Helper,
};

pub(crate) use child::main as child;
pub(crate) use compiler::{Kind, kind_of_artefact};
pub(crate) use debug_info::push_clean;

/// What compiling one module may take, where it has a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space that the process may add to what it began with. Default: 4 GiB, where the largest real module measured took 2.2 GiB.
    pub memory: MemBytes,
    /// CPU time, counted in whole seconds. Default: 5 minutes, where the same module took 126 seconds.
    pub cpu: Duration,
    /// Time by the clock. Default: 10 minutes, since guests want the CPU as well.
    pub timeout: Duration,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { memory: MemBytes(4 << 30), cpu: Duration::from_mins(5), timeout: Duration::from_mins(10) }
    }
}

/// Why a module cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It never can.
    Module(String),
    /// The machine is at fault; the next request tries again.
    Machine(String),
}

/// Compiles modules, one after the other.
pub(crate) struct Compiler {
    pub(crate) engine: Engine,
    pub(crate) cache: Cache,
    pub(crate) helper: Helper,
    pub(crate) limits: CompileLimits,
    /// Closed at its other end when the sandbox stops.
    pub(crate) stopped: io::PipeReader,
}

impl Compiler {
    /// Compiles a module, and keeps the artefact under this node's seal.
    pub(crate) fn compile(&self, module: &ModuleFile) -> Result<(), Refusal> {
        let unreadable = |error: io::Error| Refusal::Machine(format!("failed to read the module: {error}"));
        let unkept = |error: io::Error| Refusal::Machine(format!("failed to keep the compiled module: {error}"));
        let wasm = File::open(&module.path).map_err(unreadable)?;
        if wasm.metadata().map_err(unreadable)?.len() > MODULE_LEN_MAX {
            return Err(Refusal::Module(format!("the module is larger than {MODULE_LEN_MAX} bytes")));
        }
        let draft = self.cache.draft(&module.digest).map_err(unkept)?;
        match &self.helper {
            Helper::InProcess => self.compile_here(wasm, &draft)?,
            Helper::Program { path, args } => parent::compile(self, (path, args), wasm, &draft)?,
        }
        self.cache.keep(&module.digest, draft).map_err(unkept)
    }

    fn compile_here(&self, wasm: File, draft: &Draft) -> Result<(), Refusal> {
        let machine = |error: io::Error| Refusal::Machine(format!("failed to compile the module: {error}"));
        let mut bytes = Vec::new();
        wasm.take(MODULE_LEN_MAX).read_to_end(&mut bytes).map_err(machine)?;
        let artefact = compiler::compile(&self.engine, &bytes).map_err(Refusal::Module)?;
        draft.file().write_all(&artefact).map_err(machine)
    }
}
