//! Why a file is not accepted, in words that say what to do.

use std::fmt;

use crate::features::Feature;
use crate::provide::UnknownImport;
use crate::report::Unrunnable;
use crate::structure::Excess;

/// How many unknown imports an error's text shows; the value has all of them.
const IMPORTS_SHOWN_MAX: usize = 20;

/// How much of a text from the file an error shows, in characters.
const TEXT_SHOWN_MAX: usize = 200;

/// Why a file is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It has no bytes.
    #[error("the file is empty; did the build succeed?")]
    Empty,
    /// It is not WebAssembly.
    #[error("this is not WebAssembly: {0}")]
    NotWasm(Looks),
    /// It is machine code of wasmtime.
    #[error(
        "this is a precompiled wasmtime artefact, which is never loaded from outside; submit the .wasm it was made from"
    )]
    Precompiled,
    /// It has another version of the format.
    #[error(
        "this is WebAssembly of version {version:#x}, not a module (0x1) or component (0x1000d); use a current toolchain"
    )]
    UnknownVersion {
        /// The four bytes after the magic.
        version: u32,
    },
    /// It ends in the middle of a section.
    #[error(
        "the file is truncated: the section at offset {offset:#x} needs {needed} bytes, {available} are there; \
         copy or download it again"
    )]
    Truncated {
        /// Where the section starts.
        offset: u64,
        /// How many bytes it needs from there.
        needed: u64,
        /// How many there are.
        available: u64,
    },
    /// It breaks a rule of the format.
    #[error("the module is invalid: {0}")]
    Malformed(Malformed),
    /// It uses a feature that is off.
    #[error("the module uses {feature} (at offset {offset:#x}), which is not supported: {}", feature.advice())]
    Feature {
        /// The feature.
        feature: Feature,
        /// Where it was seen.
        offset: u64,
    },
    /// Something of it is larger than allowed.
    #[error(transparent)]
    TooLarge(#[from] Excess),
    /// It imports what nobody provides.
    #[error("the module imports what nobody provides: {}", ListImports(.0))]
    UnknownImports(Vec<UnknownImport>),
    /// It is well-formed, but not something that runs.
    #[error("the module cannot be run: {0}")]
    NotRunnable(Unrunnable),
}

/// Where and how a file breaks a rule of the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at offset {offset:#x})")]
pub struct Malformed {
    /// Where.
    pub offset: u64,
    /// The rule, shortened.
    pub message: String,
}

/// What a file that is not WebAssembly looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// A gzip file.
    Gzip,
    /// A zip file.
    Zip,
    /// A Zstandard, xz or bzip2 file.
    Compressed,
    /// A tar archive.
    Tar,
    /// A program for this or another machine: ELF, Mach-O or PE.
    Native,
    /// A static library.
    Library,
    /// LLVM bitcode.
    Bitcode,
    /// WebAssembly in its text form.
    Wat,
    /// A web page.
    Html,
    /// A script that names its interpreter.
    Script,
    /// JavaScript, which toolchains for browsers put beside the module.
    JavaScript,
    /// Some other text.
    Text,
    /// Shorter than any module, but it begins like one.
    Cut,
    /// Nothing known.
    Unknown,
}

impl fmt::Display for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "it looks like a gzip file; unpack it with gunzip first",
            Self::Zip => "it looks like a zip file; unpack it and submit the .wasm inside",
            Self::Compressed => "it looks like a compressed file; unpack it first",
            Self::Tar => "it looks like a tar archive; unpack it and submit the .wasm inside",
            Self::Native => "it looks like a program for a machine; build it for wasm32-wasip2 or wasm32-wasip1",
            Self::Library => "it looks like a static library; build a program or a component of it",
            Self::Bitcode => "it looks like LLVM bitcode; link it to a .wasm first",
            Self::Wat => "it looks like WebAssembly text; convert it with `wasm-tools parse` or `wat2wasm`",
            Self::Html => "it looks like a web page; was the download an error page?",
            Self::Script => "it looks like a script; submit a .wasm file",
            Self::JavaScript => "it looks like JavaScript; submit the .wasm file beside it",
            Self::Text => "it looks like text; submit a .wasm file",
            Self::Cut => "it begins like a module but has fewer than 8 bytes; copy or download it again",
            Self::Unknown => "it does not begin with `\\0asm`; submit a .wasm file",
        })
    }
}

impl Error {
    pub(crate) fn malformed(offset: usize, message: &str) -> Self {
        Self::Malformed(Malformed { offset: offset as u64, message: shown(message) })
    }
}

/// Returns `text` without control characters and no longer than an error shows.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().take(TEXT_SHOWN_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(TEXT_SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

struct ListImports<'a>(&'a [UnknownImport]);

impl fmt::Display for ListImports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, unknown) in self.0.iter().take(IMPORTS_SHOWN_MAX).enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{}", unknown.import)?;
        }
        if let Some(more) = self.0.len().checked_sub(IMPORTS_SHOWN_MAX).filter(|more| *more > 0) {
            write!(f, " and {more} more")?;
        }
        let mut hints: Vec<&str> = self.0.iter().filter_map(|unknown| unknown.hint.as_deref()).collect();
        hints.dedup();
        for hint in hints.iter().take(3) {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}
