//! `cargo xtask fuzz`: inputs that attackers write, at random, for as long as it is asked for.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::process::{cargo, program, run, say};
use crate::workspace;

/// Builds the targets and hands over; the exit code says whether something was found.
///
/// They are built all together as for the tests, whose build they share, with the assertions in them.
///
/// # Errors
/// When they do not build or start.
pub(crate) fn fuzz(arguments: &[String]) -> Result<ExitCode> {
    let root = workspace::root()?;
    say("fuzz: building the targets");
    run(cargo().current_dir(&root).args(["build", "--workspace", "--bins"]))?;
    let status = program(workspace::target_folder(&root)?.join("debug/weir-fuzz"))
        .args(arguments)
        .status()
        .context("cannot start the fuzzer")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
