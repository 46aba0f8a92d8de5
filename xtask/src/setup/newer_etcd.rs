//! A newer etcd than the machine's own Debian has, beside it: fetched once, unpacked below Cargo's target directory, and not
//! installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::{find_program, program, run_for, say};

/// The Debian release that has etcd 3.5.
const SUITE: &str = "trixie";
/// Debian's own keys, by which packages are checked.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// How long each step may take.
const STEP_MAX: Duration = Duration::from_secs(60);
/// How long nobody tries again after it could not be fetched.
const AGAIN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The folder with the program below Cargo's target directory, once it is there.
pub(crate) fn folder(target: &Path) -> PathBuf {
    target.join("etcd-3.5/usr/bin")
}

/// Fetches it unless it is there; that it cannot be had is said, and no error. Tests that want it count as skipped then.
pub(super) fn fetch(target: &Path) {
    let place = target.join("etcd-3.5");
    if folder(target).join("etcd").is_file() || was_tried(&place) {
        return;
    }
    say(format!("setup: fetching the etcd of Debian {SUITE} (the tests of a newer etcd)"));
    if let Err(error) = fetch_into(&place) {
        say(format!("setup: it cannot be had, and its tests will be skipped: {error:#}"));
        // Fails only where the next try does as well.
        let _ = fs::create_dir_all(&place).and_then(|()| fs::write(place.join("tried"), ""));
    }
}

fn was_tried(place: &Path) -> bool {
    let tried = fs::metadata(place.join("tried")).and_then(|file| file.modified());
    tried.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < AGAIN_AFTER))
}

fn fetch_into(place: &Path) -> Result<()> {
    ensure!(find_program("apt-get").is_some(), "this machine has no apt-get");
    let address = mirror(Path::new("/etc/apt")).context("the machine's apt has no source of Debian packages")?;
    for folder in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(place.join(folder)).with_context(|| format!("cannot create {folder}"))?;
    }
    let source = format!("deb [signed-by={KEYS}] {address} {SUITE} main\n");
    fs::write(place.join("sources.list"), source).context("cannot write a list of sources")?;
    run_for(apt(place).arg("update"), STEP_MAX)?;
    run_for(apt(place).args(["download", "etcd-server"]), STEP_MAX)?;
    let package = fs::read_dir(place).context("cannot list what was fetched")?.filter_map(Result::ok);
    let mut package = package.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "deb"));
    let package = package.next().context("apt-get has fetched no package")?;
    run_for(program("dpkg").arg("-x").arg(package).arg(place), STEP_MAX)
}

/// apt-get with everything that it keeps in this place, so that the machine's own lists stay as they are.
fn apt(place: &Path) -> Command {
    let mut command = program("apt-get");
    command.current_dir(place).arg("--quiet=2").stdout(Stdio::null());
    let file = |name: &str| place.join(name).display().to_string();
    for (key, value) in [
        ("Dir::Etc::sourcelist", file("sources.list")),
        ("Dir::Etc::sourceparts", "-".to_owned()),
        ("Dir::State::lists", file("lists")),
        ("Dir::Cache", file("cache")),
        // As another user, apt could not write here.
        ("APT::Sandbox::User", "root".to_owned()),
    ] {
        command.arg("-o").arg(format!("{key}={value}"));
    }
    command
}

/// The address from which this machine has its packages, but not that of security updates.
fn mirror(apt: &Path) -> Option<String> {
    let parts = fs::read_dir(apt.join("sources.list.d")).into_iter().flatten().filter_map(Result::ok);
    let files = parts.map(|entry| entry.path()).chain([apt.join("sources.list")]);
    files.filter_map(|file| fs::read_to_string(file).ok()).find_map(|text| address_in(&text))
}

fn address_in(text: &str) -> Option<String> {
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with("URIs:") || line.starts_with("deb "));
    let words = lines.flat_map(str::split_whitespace);
    let address = |word: &&str| {
        (word.starts_with("http://") || word.starts_with("https://")) && word.trim_end_matches('/').ends_with("/debian")
    };
    let mut words = words.filter(address);
    words.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_both_forms_of_sources() {
        let sources =
            "Types: deb\n# http://old/debian\nURIs: http://host/debian-security\n\nURIs: http://host/debian\n";
        assert_eq!(address_in(sources).as_deref(), Some("http://host/debian"));
        let list = "# deb http://no/debian x main\ndeb [signed-by=/k] https://host/debian/ bookworm main\n";
        assert_eq!(address_in(list).as_deref(), Some("https://host/debian/"));
        for none in ["", "URIs: http://host/other", "deb cdrom:[x]/ bookworm main"] {
            assert_eq!(address_in(none), None, "{none}");
        }
    }
}
