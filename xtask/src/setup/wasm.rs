//! The Wasm targets of the Rust toolchain, from the first source that has them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::process::{capture, find_program, program, run, run_for, say};

mod from_debian;

const TARGETS: [&str; 2] = ["wasm32-wasip1", "wasm32-wasip2"];

/// A folder with `rustc-<version>-<target>.tar.xz` files, for machines that reach no rustup server.
const PREBUILT_VARIABLE: &str = "WEIR_WASM_TARGETS";

/// rustup tries a server that does not answer for minutes; a working one is done in seconds.
const RUSTUP_LIMIT: Duration = Duration::from_secs(120);

/// The toolchain that gets the targets.
struct Toolchain {
    /// Such as `1.95.0`.
    version: String,
    /// `lib/rustlib` below its sysroot.
    library: PathBuf,
}

/// Installs the targets that the toolchain lacks and returns their names.
pub(super) fn install_missing() -> Result<Vec<&'static str>> {
    let toolchain = Toolchain::find()?;
    let missing: Vec<&'static str> = TARGETS.into_iter().filter(|target| !toolchain.has(target)).collect();
    for target in &missing {
        install(&toolchain, target)?;
    }
    Ok(missing)
}

fn install(toolchain: &Toolchain, target: &str) -> Result<()> {
    type Source = fn(&Toolchain, &str) -> Result<()>;
    const SOURCES: [(&str, Source); 3] =
        [("prebuilt", from_folder), ("rustup", from_rustup), ("Debian's packages", from_debian::install)];
    let mut reasons = Vec::new();
    for (name, source) in SOURCES {
        match source(toolchain, target) {
            Ok(()) if toolchain.has(target) => {
                say(format!("setup: installed the target {target} ({name})"));
                return Ok(());
            }
            Ok(()) => reasons.push(format!("{name}: ran, but the target is still not there")),
            Err(error) => reasons.push(format!("{name}: {error:#}")),
        }
    }
    bail!(
        "cannot install the target {target} for rustc {version}. Tried:\n  {reasons}\nAny one of these mends it: set \
         {PREBUILT_VARIABLE} to a folder with rustc-{version}-{target}.tar.xz, or make `rustup target add {target}` \
         work, or give this machine Debian's packages rust-src {version} and wasi-libc (trixie-backports)",
        version = toolchain.version,
        reasons = reasons.join("\n  "),
    )
}

impl Toolchain {
    fn find() -> Result<Self> {
        let about = capture(program("rustc").arg("-vV")).context("setup needs rustc")?;
        let version = release_of(&about).ok_or_else(|| anyhow!("`rustc -vV` names no release"))?.to_owned();
        let sysroot = capture(program("rustc").args(["--print", "sysroot"]))?;
        Ok(Self { version, library: Path::new(sysroot.trim()).join("lib/rustlib") })
    }

    fn folder(&self, target: &str) -> PathBuf {
        self.library.join(target)
    }

    fn has(&self, target: &str) -> bool {
        let Ok(entries) = fs::read_dir(self.folder(target).join("lib")) else {
            return false;
        };
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
    }

    /// Puts a finished target folder in place in one step, so that an interrupted set-up leaves no half of one.
    fn adopt(&self, finished: &Path, target: &str) -> Result<()> {
        let place = self.folder(target);
        if place.exists() {
            fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
        }
        fs::rename(finished, &place).with_context(|| format!("cannot move the target to {}", place.display()))
    }
}

fn release_of(about: &str) -> Option<&str> {
    about.lines().find_map(|line| line.strip_prefix("release: ")).map(str::trim)
}

fn from_folder(toolchain: &Toolchain, target: &str) -> Result<()> {
    let folder = env::var_os(PREBUILT_VARIABLE).map(PathBuf::from).context("WEIR_WASM_TARGETS is not set")?;
    let name = format!("rustc-{}-{target}.tar.xz", toolchain.version);
    let archive = folder.join(&name);
    ensure!(archive.is_file(), "there is no {}", archive.display());
    check_sum(&folder, &name)?;
    say(format!("setup: unpacking {name} into the Rust toolchain"));
    let draft = Draft::new(&toolchain.library, target)?;
    run(program("tar").arg("-xJf").arg(&archive).arg("-C").arg(&draft.folder))?;
    toolchain.adopt(&draft.folder.join(target), target)
}

/// The folder may list the sums of its archives; a file that is not what its list says is refused.
fn check_sum(folder: &Path, name: &str) -> Result<()> {
    let Ok(sums) = fs::read_to_string(folder.join("SHA256SUMS")) else {
        return Ok(());
    };
    let Some(expected) = sum_of(&sums, name) else {
        return Ok(());
    };
    let printed = capture(program("sha256sum").arg(folder.join(name)))?;
    let actual = printed.split_whitespace().next().unwrap_or_default();
    ensure!(actual == expected, "{name} has the wrong sha256: {actual}, the list says {expected}");
    Ok(())
}

fn sum_of<'a>(sums: &'a str, name: &str) -> Option<&'a str> {
    sums.lines().find_map(|line| {
        let (sum, file) = line.split_once(char::is_whitespace)?;
        (file.trim_start().trim_start_matches('*') == name).then_some(sum)
    })
}

fn from_rustup(_toolchain: &Toolchain, target: &str) -> Result<()> {
    ensure!(find_program("rustup").is_some(), "there is no rustup");
    say(format!("setup: rustup target add {target}"));
    run_for(program("rustup").args(["target", "add", target]).env("RUST_BACKTRACE", "0"), RUSTUP_LIMIT)
}

/// A folder beside the targets that goes away with its value.
struct Draft {
    folder: PathBuf,
}

impl Draft {
    fn new(parent: &Path, name: &str) -> Result<Self> {
        let folder = parent.join(format!(".{name}.{}", std::process::id()));
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot write to {}: run setup as its owner", parent.display()))?;
        Ok(Self { folder })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // A left-over folder costs disk space and nothing else.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_read() {
        assert_eq!(release_of("rustc 1.95.0 (x)\nbinary: rustc\nrelease: 1.95.0\n"), Some("1.95.0"));
        assert_eq!(release_of("gcc\n"), None);
    }

    #[test]
    fn sums_are_found_by_file_name() {
        let sums = "aa  one.tar.xz\nbb *two.tar.xz\n";
        assert_eq!(sum_of(sums, "one.tar.xz"), Some("aa"));
        assert_eq!(sum_of(sums, "two.tar.xz"), Some("bb"));
        assert_eq!(sum_of(sums, "three.tar.xz"), None);
    }

    #[test]
    fn a_target_is_there_only_with_its_standard_library() {
        let draft = Draft::new(&env::temp_dir(), "weir-toolchain").unwrap();
        let toolchain = Toolchain { version: "1.0.0".to_owned(), library: draft.folder.clone() };
        fs::create_dir_all(toolchain.folder("t").join("lib")).unwrap();
        assert!(!toolchain.has("t"));
        fs::write(toolchain.folder("t").join("lib/libstd-1.rlib"), "").unwrap();
        assert!(toolchain.has("t"));
        assert!(!toolchain.has("other"));
    }
}
