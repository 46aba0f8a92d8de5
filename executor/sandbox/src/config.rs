//! How a sandbox is set up.

use std::{collections::BTreeMap, path::PathBuf, thread};

use weir_wire::units::MemBytes;

use crate::{apart::Apart, compile::CompileLimits, helper::Helper, network_policy::NetworkPolicy};

/// Where guests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// On threads of this process.
    InProcess,
    /// In processes of their own, which have the workers' threads; needs a [`Helper::Program`].
    Processes {
        /// How many, 1 up to the number of workers.
        number: usize,
    },
}

/// The configuration of a sandbox.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Worker threads, each with an engine and a pool of its own. Default: the machine's threads.
    pub workers: usize,
    /// Attempts that one worker holds at the same time; more wait in order. Default: 64. Each costs about 8 GiB of
    /// address space and, while in use, what its guest touches.
    pub lanes_per_worker: u32,
    /// Largest linear memory of any attempt, whatever its job allows. Default and most: 4 GiB.
    pub memory_max: MemBytes,
    /// Where compiled modules are kept; created if missing. Has no usable default.
    pub cache_dir: PathBuf,
    /// The node's key: an artefact is loaded only if it was sealed with it. Has no usable default.
    pub cache_key: [u8; 32],
    /// Bytes of compiled modules kept on disk; the longest unused ones go first. Default: 8 GiB.
    pub cache_bytes_max: u64,
    /// Where guests run. Default: on threads of this process.
    pub isolation: Isolation,
    /// Namespaces whose guests share worker processes with nobody; needs [`Isolation::Processes`]. Default: none.
    pub apart: Apart,
    /// How to start processes that work for the sandbox. Default: none are started.
    pub helper: Helper,
    /// What compiling a module may take in a process of its own.
    pub compile: CompileLimits,
    /// The directories that jobs may be granted, by name. Default: none.
    pub published: BTreeMap<String, PathBuf>,
    /// Directories that jobs may be granted to change as well, by names of their own. Default: none.
    pub published_writable: BTreeMap<String, PathBuf>,
    /// Where scratch directories are made; created if missing, and emptied at the start. Default: there are none.
    pub scratch: Option<PathBuf>,
    /// Where guests may connect, if their jobs name it. Default: nowhere.
    pub network: NetworkPolicy,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            workers: thread::available_parallelism().map_or(1, usize::from),
            lanes_per_worker: 64,
            memory_max: MemBytes(4 << 30),
            cache_dir: PathBuf::new(),
            cache_key: [0; 32],
            cache_bytes_max: 8 << 30,
            isolation: Isolation::InProcess,
            apart: Apart::default(),
            helper: Helper::InProcess,
            compile: CompileLimits::default(),
            published: BTreeMap::new(),
            published_writable: BTreeMap::new(),
            scratch: None,
            network: NetworkPolicy::default(),
        }
    }
}
