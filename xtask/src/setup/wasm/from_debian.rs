//! Builds a target's standard library from Debian's packages of the Rust sources and of wasi-libc.
//!
//! Debian's stable releases carry an older Rust; trixie-backports has the recent ones. The mirror is the one that this
//! machine already uses: its own list with the suite replaced.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Draft, Toolchain};
use crate::process::{cargo, find_program, program, run, say};

const SUITE: &str = "trixie-backports";
const SOURCES: &str = "/etc/apt/sources.list.d/debian.sources";
const CRATE_NAME: &str = "weir_target_probe";

pub(super) fn install(toolchain: &Toolchain, target: &str) -> Result<()> {
    ensure!(find_program("apt-get").is_some() && find_program("dpkg").is_some(), "this is no Debian machine");
    let sources = fs::read_to_string(SOURCES).with_context(|| format!("cannot read {SOURCES}"))?;
    let sources = with_suite(&sources, SUITE);
    ensure!(!sources.is_empty(), "{SOURCES} has no entry to derive {SUITE} from");
    say(format!("setup: building {target} from Debian's packages rust-src and wasi-libc (about a minute)"));
    let work = Draft::new(&env::temp_dir(), "weir-wasm-target")?;
    let packages = work.folder.join("packages");
    download(&work.folder, &sources, &toolchain.version, &packages)?;
    lend_sources(toolchain, &packages)?;
    let libraries = build(&work.folder, target)?;
    // On the toolchain's own file system, so that it can be moved into place.
    let draft = Draft::new(&toolchain.library, target)?;
    let finished = draft.folder.join(target);
    collect(&libraries, &packages.join("usr/lib").join(libc_folder(target)), &finished.join("lib"))?;
    toolchain.adopt(&finished, target)
}

/// The machine's list of package sources with another suite; security entries have no such suite and are left out.
fn with_suite(sources: &str, suite: &str) -> String {
    let mut derived = String::new();
    for entry in sources.split("\n\n") {
        let is_release = entry.lines().any(|line| line.starts_with("Suites:") && !line.contains("-security"));
        if !is_release {
            continue;
        }
        for line in entry.lines() {
            if line.starts_with("Suites:") {
                derived.push_str("Suites: ");
                derived.push_str(suite);
            } else {
                derived.push_str(line);
            }
            derived.push('\n');
        }
        derived.push('\n');
    }
    derived
}

fn libc_folder(target: &str) -> &str {
    if target == "wasm32-wasip1" { "wasm32-wasi" } else { target }
}

fn download(work: &Path, sources: &str, version: &str, packages: &Path) -> Result<()> {
    let list = work.join("weir.sources");
    fs::write(&list, sources).context("cannot write the list of package sources")?;
    for folder in ["lists/partial", "cache/archives/partial", "debs"] {
        fs::create_dir_all(work.join(folder)).context("cannot make a folder for the packages")?;
    }
    let apt = || -> Command {
        let mut command = program("apt-get");
        command.current_dir(work.join("debs"));
        command.arg("--quiet=2");
        command.arg("-o").arg(format!("Dir::Etc::sourcelist={}", list.display()));
        command.args(["-o", "Dir::Etc::sourceparts=/dev/null"]);
        command.arg("-o").arg(format!("Dir::State::Lists={}", work.join("lists").display()));
        command.arg("-o").arg(format!("Dir::Cache={}", work.join("cache").display()));
        command
    };
    run(apt().arg("update"))?;
    run(apt().arg("download").arg(format!("rust-src={version}*")).arg("wasi-libc"))?;
    for file in files_with_extension(&work.join("debs"), "deb")? {
        run(program("dpkg").arg("-x").arg(file).arg(packages))?;
    }
    Ok(())
}

/// Cargo looks for the sources of the standard library inside the toolchain.
fn lend_sources(toolchain: &Toolchain, packages: &Path) -> Result<()> {
    let place = toolchain.library.join("src/rust");
    if place.join("library/Cargo.lock").is_file() {
        return Ok(());
    }
    let from = packages.join(format!("usr/src/rustc-{}/library", toolchain.version));
    ensure!(from.is_dir(), "the package rust-src has no {}", from.display());
    fs::create_dir_all(&place).with_context(|| format!("cannot write to the Rust toolchain ({})", place.display()))?;
    run(program("cp").arg("-r").arg(from).arg(&place))
}

/// Builds an empty crate and with it the standard library; returns the folder of what was built.
fn build(work: &Path, target: &str) -> Result<PathBuf> {
    let folder = work.join("crate");
    let output = work.join("built");
    fs::create_dir_all(folder.join("src")).context("cannot make a crate")?;
    fs::write(folder.join("src/lib.rs"), "").context("cannot write a crate")?;
    let manifest = format!("[package]\nname = \"{CRATE_NAME}\"\nedition = \"2024\"\n\n[workspace]\n");
    fs::write(folder.join("Cargo.toml"), manifest).context("cannot write a crate")?;
    run(cargo()
        .current_dir(&folder)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Cembed-bitcode=yes -Zforce-unstable-if-unmarked")
        .env("CARGO_TARGET_DIR", &output)
        .args(["build", "--quiet", "--release", "-Zbuild-std=std,panic_abort", "--target", target]))?;
    Ok(output.join(target).join("release/deps"))
}

fn collect(libraries: &Path, libc: &Path, place: &Path) -> Result<()> {
    let startup = place.join("self-contained");
    fs::create_dir_all(&startup).context("cannot make the target's folder")?;
    for file in files_with_extension(libraries, "rlib")? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.contains(CRATE_NAME) && !name.starts_with("libproc_macro-") {
            copy(&file, &place.join(name))?;
        }
    }
    for name in ["libc.a", "crt1-command.o", "crt1-reactor.o"] {
        copy(&libc.join(name), &startup.join(name))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn files_with_extension(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry.context("cannot read a folder's entry")?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suite_is_replaced_and_security_left_out() {
        let machine = "Types: deb\nURIs: mirror\nSuites: stable stable-updates\nComponents: main\n\n\
                       Types: deb\nURIs: mirror-security\nSuites: stable-security\n";
        let derived = with_suite(machine, "next");
        assert_eq!(derived, "Types: deb\nURIs: mirror\nSuites: next\nComponents: main\n\n");
        assert_eq!(with_suite("", "next"), "");
    }

    #[test]
    fn preview_one_uses_the_older_libc_folder() {
        assert_eq!(libc_folder("wasm32-wasip1"), "wasm32-wasi");
        assert_eq!(libc_folder("wasm32-wasip2"), "wasm32-wasip2");
    }
}
