//! `cargo xtask setup`: finds what is missing on this machine and installs it, saying what.

mod debian;
pub(crate) mod newer_etcd;
mod wasm;

use anyhow::Result;

use crate::process::say;
use crate::workspace;

/// Installs what is missing; with everything there it takes a fraction of a second and says one line.
///
/// # Errors
/// Names what could not be installed, why, and what to do.
pub(crate) fn setup() -> Result<()> {
    let packages = debian::install_missing()?;
    let targets = wasm::install_missing()?;
    newer_etcd::fetch(&workspace::target_folder(&workspace::root()?)?);
    if packages.is_empty() && targets.is_empty() {
        say("setup: everything is there (protoc, etcd, wasm32-wasip1, wasm32-wasip2)");
    }
    Ok(())
}
