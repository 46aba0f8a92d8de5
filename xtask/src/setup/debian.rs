//! The programs that come as Debian packages: protoc for the build, etcd for the tests.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{capture, find_program, program, run, say};

/// A Debian package, what it is for, and how to see that what it brings is there.
struct Need {
    package: &'static str,
    why: &'static str,
    is_met: fn() -> bool,
}

const NEEDS: [Need; 4] = [
    Need {
        package: "protobuf-compiler",
        why: "protoc, which compiles the protocol of etcd's client",
        is_met: || find_program("protoc").is_some(),
    },
    Need {
        package: "libprotobuf-dev",
        why: "the protocol files that protoc itself brings",
        is_met: protocol_files_are_there,
    },
    Need { package: "etcd-server", why: "the real etcd of the tests", is_met: || find_program("etcd").is_some() },
    Need { package: "faketime", why: "clocks that tests can set", is_met: || find_program("faketime").is_some() },
];

/// Debian's switch: while this file exists and answers 101, installing a package starts no service.
const POLICY_FILE: &str = "/usr/sbin/policy-rc.d";

/// Installs the packages whose programs are missing and returns their names.
pub(super) fn install_missing() -> Result<Vec<&'static str>> {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !(need.is_met)()).collect();
    let packages: Vec<&'static str> = missing.iter().map(|need| need.package).collect();
    if packages.is_empty() {
        return Ok(packages);
    }
    for need in &missing {
        say(format!("setup: installing the Debian package {} ({})", need.package, need.why));
    }
    install(&packages).with_context(|| {
        let words = packages.join(" ");
        format!(
            "setup needs the packages {words}; install them by hand (as root: apt-get install {words}) and try again"
        )
    })?;
    if let Some(need) = missing.iter().find(|need| !(need.is_met)()) {
        bail!("the package {} was installed, yet something of it is missing ({})", need.package, need.why);
    }
    Ok(packages)
}

/// protoc looks for its own files beside itself, in `../include`.
fn protocol_files_are_there() -> bool {
    const FILE: &str = "include/google/protobuf/descriptor.proto";
    let beside = find_program("protoc").and_then(|file| Some(file.parent()?.parent()?.join(FILE)));
    let set =
        env::var_os("PROTOC_INCLUDE").map(|folder| PathBuf::from(folder).join("google/protobuf/descriptor.proto"));
    beside.into_iter().chain(set).chain([Path::new("/usr").join(FILE)]).any(|file| file.is_file())
}

fn install(packages: &[&str]) -> Result<()> {
    if find_program("apt-get").is_none() {
        bail!("this machine has no apt-get, and setup knows no other way");
    }
    let root = Root::gain()?;
    run(root.command("apt-get").args(["update", "--quiet=2"]))?;
    let quiet = NoServices::begin(&root)?;
    let outcome = run(root
        .command("env")
        .arg("DEBIAN_FRONTEND=noninteractive")
        .args(["apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends"])
        .args(packages));
    quiet.end(&root)?;
    outcome?;
    if packages.contains(&"etcd-server") && Path::new("/run/systemd/system").is_dir() {
        run(root.command("systemctl").args(["disable", "--quiet", "etcd.service"]))?;
    }
    Ok(())
}

/// How this process may act as root.
struct Root {
    sudo: bool,
}

impl Root {
    fn gain() -> Result<Self> {
        if capture(program("id").arg("-u"))?.trim() == "0" {
            return Ok(Self { sudo: false });
        }
        if find_program("sudo").is_some() && run(program("sudo").args(["-n", "true"])).is_ok() {
            return Ok(Self { sudo: true });
        }
        bail!("installing packages needs root, and `sudo -n` does not give it without a password")
    }

    fn command(&self, name: &str) -> Command {
        if !self.sudo {
            return program(name);
        }
        let mut command = program("sudo");
        command.args(["-n", name]);
        command
    }
}

/// Keeps packages from starting services while they are installed.
struct NoServices {
    made_policy: bool,
}

impl NoServices {
    fn begin(root: &Root) -> Result<Self> {
        if Path::new(POLICY_FILE).exists() {
            return Ok(Self { made_policy: false });
        }
        let draft: PathBuf = env::temp_dir().join(format!("weir-policy-{}", std::process::id()));
        fs::write(&draft, "#!/bin/sh\nexit 101\n").with_context(|| format!("cannot write {}", draft.display()))?;
        let outcome = run(root.command("install").args(["-m", "755"]).arg(&draft).arg(POLICY_FILE));
        fs::remove_file(&draft).with_context(|| format!("cannot remove {}", draft.display()))?;
        outcome?;
        Ok(Self { made_policy: true })
    }

    fn end(self, root: &Root) -> Result<()> {
        if self.made_policy {
            run(root.command("rm").arg(POLICY_FILE))?;
        }
        Ok(())
    }
}
