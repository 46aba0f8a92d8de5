//! `cargo xtask ci`: what continuous integration runs, in the order of what fails fastest.

use anyhow::{Context, Result};

use crate::process::{cargo, run, say};
use crate::workspace::{self, FUZZ_FOLDER, GUEST_FOLDER};
use crate::{setup, test, tidy};

/// Formats, lints, documentation, tidy rules and tests; stops at the first that fails.
///
/// # Errors
/// Names the step that failed.
pub(crate) fn ci() -> Result<()> {
    let root = workspace::root()?;
    setup::setup()?;
    let workspaces = [root.clone(), root.join(GUEST_FOLDER)];
    for folder in workspaces.iter().chain([&root.join(FUZZ_FOLDER)]) {
        say(format!("ci: formatting of {}", folder.display()));
        run(cargo().current_dir(folder).args(["fmt", "--all", "--check"])).context("run `cargo fmt --all` there")?;
    }
    tidy::tidy()?;
    for folder in &workspaces {
        say(format!("ci: lints of {}", folder.display()));
        run(cargo().current_dir(folder).args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
            .context("clippy failed")?;
    }
    say("ci: documentation");
    run(cargo().current_dir(&root).env("RUSTDOCFLAGS", "-D warnings").args([
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ]))
    .context("the documentation has faults")?;
    test::test()
}
