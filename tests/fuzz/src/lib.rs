//! What attackers write, at random: bytes of the wire, job specs, modules, and guests that run.
//!
//! A target is a function of bytes that panics when a promise is broken, so that any fuzzer can call it. The one here is
//! small and needs no other toolchain: it replays a committed corpus and goes on with seeded mutations of it, so that the
//! same seed gives the same inputs everywhere.

pub mod campaign;
pub mod corpus;
mod generate;
mod mutate;
mod random;
mod smith;
mod targets;

use std::fmt;

pub use weir_isolation::be_helper;

/// What is fuzzed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// Every document of the wire and of the store: decoding is total, and encoding its inverse.
    Wire,
    /// The job spec as TOML and JSON: a refusal or a spec whose canonical form is that spec again.
    Spec,
    /// The look at a module before it is taken: a report or a refusal, the same one each time.
    Module,
    /// Random guests in the sandbox: no limit is passed, and the sandbox is as before.
    Guest,
    /// The same with guests that wasm-smith makes.
    Smith,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Wire, Self::Spec, Self::Module, Self::Guest, Self::Smith];

    /// Tries one input.
    ///
    /// # Panics
    /// When a promise is broken.
    pub fn run(self, input: &[u8]) {
        match self {
            Self::Wire => targets::wire::run(input),
            Self::Spec => targets::spec::run(input),
            Self::Module => targets::module::run(input),
            Self::Guest => targets::guest::run(input),
            Self::Smith => targets::guest::run_smith(input),
        }
    }

    /// The name on the command line and of the directory of its corpus.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wire => "wire",
            Self::Spec => "spec",
            Self::Module => "module",
            Self::Guest => "guest",
            Self::Smith => "smith",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
