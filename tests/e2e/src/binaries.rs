//! Where the programs under test are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The directory of the programs built together with the running test or bench.
///
/// # Errors
/// A program that runs from an unusual place.
pub fn directory() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("WEIR_BIN_DIR") {
        return Ok(dir.into());
    }
    let this = std::env::current_exe().context("find the running program")?;
    let dir = this.parent().context("the running program has a directory")?;
    let dir = if dir.ends_with("deps") { dir.parent().context("deps has a parent")? } else { dir };
    Ok(dir.to_owned())
}

/// A program of the workspace.
///
/// # Errors
/// A program that was not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = directory()?.join(name);
    ensure!(path.exists(), "{} is missing: run `cargo build --workspace --bins` first", path.display());
    Ok(path)
}

/// A guest from the examples, built for a target.
///
/// # Errors
/// A guest that was not built.
pub fn guest(target: &str, name: &str) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let root = std::env::var_os("WEIR_GUEST_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let path = root.join(target).join("release").join(format!("{name}.wasm"));
    ensure!(
        path.exists(),
        "{} is missing: run `cargo xtask setup`, then `cargo build --release --target {target}` in examples/",
        path.display()
    );
    Ok(path)
}
