//! Where things are: the repository, the Cargo workspaces in it and what they build.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::{capture, cargo};

/// The folder of the guest workspace below the root.
pub(crate) const GUEST_FOLDER: &str = "examples";
/// The folder of the fuzz targets for cargo-fuzz, a workspace too.
pub(crate) const FUZZ_FOLDER: &str = "tests/fuzz/libfuzzer";
/// The target of components, which SDK guests are.
pub(crate) const GUEST_TARGET: &str = "wasm32-wasip2";
/// The target of core modules, which only WASI commands can be.
pub(crate) const COMMAND_TARGET: &str = "wasm32-wasip1";

/// The root of the repository that this tool was built from.
///
/// # Errors
/// When the folder has been moved since the tool was built.
pub(crate) fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent folder")?;
    ensure!(
        root.join("Cargo.toml").is_file(),
        "this tool was built in {}, which is gone: run it as `cargo xtask`",
        root.display()
    );
    Ok(root.to_owned())
}

/// `cargo metadata` of the workspace in `folder`, its own packages only.
///
/// # Errors
/// When cargo cannot read the workspace.
pub(crate) fn metadata(folder: &Path) -> Result<Value> {
    let text = capture(
        cargo().args(["metadata", "--format-version=1", "--no-deps", "--manifest-path"]).arg(folder.join("Cargo.toml")),
    )?;
    serde_json::from_str(&text).context("cannot read what `cargo metadata` printed")
}

/// Where the workspace in `folder` builds to; `CARGO_TARGET_DIR` and Cargo's configuration are honoured.
///
/// # Errors
/// As [`metadata`].
pub(crate) fn target_folder(folder: &Path) -> Result<PathBuf> {
    let metadata = metadata(folder)?;
    let path = metadata["target_directory"].as_str().context("`cargo metadata` names no target directory")?;
    Ok(PathBuf::from(path))
}

/// Where the guests are built to; each target has a folder in it.
///
/// # Errors
/// As [`metadata`].
pub(crate) fn guest_target_folder(root: &Path) -> Result<PathBuf> {
    target_folder(&root.join(GUEST_FOLDER))
}
