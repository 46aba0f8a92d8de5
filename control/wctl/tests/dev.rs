//! `wctl dev` as a person uses it: start, deploy, stop, start again.
#![cfg(test)]
#![cfg(feature = "dev")]

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

/// A command that ends with 7: `proc_exit(7)` in `_start`.
const EXIT_SEVEN: &[u8] = b"\0asm\x01\0\0\0\x01\x08\x02\x60\x01\x7f\0\x60\0\0\x02\x24\x01\x16wasi_snapshot_preview1\x09\
    proc_exit\0\0\x03\x02\x01\x01\x05\x03\x01\0\x01\x07\x13\x02\x06memory\x02\0\x06_start\0\x01\x0a\x08\x01\x06\0\x41\x07\
    \x10\0\x0b";
/// A command that does nothing.
const NULL: &[u8] =
    b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x0a\x01\x06_start\0\0\x0a\x04\x01\x02\0\x0b";

/// A running cluster; dropping it kills it.
struct Dev {
    process: Child,
    address: String,
}

impl Dev {
    /// Starts a cluster on free ports and waits for its readiness line.
    fn start(data: &Path) -> Self {
        let mut process = wctl()
            .args(["dev", "--listen", "127.0.0.1:0", "--link", "127.0.0.1:0", "--memory", "1GiB", "--data-dir"])
            .arg(data)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut seen = Vec::new();
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("it ended early: {seen:#?}"));
            if let Some(rest) = line.strip_prefix("weir dev is ready at ") {
                break rest.split(';').next().unwrap().to_owned();
            }
            seen.push(line);
        };
        // The rest is read so that the pipe never fills up.
        std::thread::spawn(move || lines.count());
        Self { process, address }
    }

    fn run(&self, line: &str) -> Output {
        wctl().args(line.split_whitespace()).env("WCTL_ADDR", &self.address).output().unwrap()
    }

    fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} -o json"));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{line}: {error}: {output:?}"))
    }

    /// Sends SIGTERM and returns the exit code.
    fn stop(mut self) -> Option<i32> {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.process.wait().unwrap().code()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Both fail when it has ended, as it should have.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn wctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wctl"));
    for name in ["WCTL_ADDR", "WCTL_TOKEN", "WCTL_CA", "WCTL_NAMESPACE"] {
        command.env_remove(name);
    }
    command.env("XDG_CONFIG_HOME", "/nonexistent").stdin(Stdio::null());
    command
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> String {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn work_is_done_and_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let null = write(dir.path(), "null.wasm", NULL);
    let seven = write(dir.path(), "seven.wasm", EXIT_SEVEN);

    let dev = Dev::start(&data);
    assert_eq!(dev.json("cluster info")["totals"]["ready_nodes"], 1);
    let run = dev.json(&format!("deploy {null} --count 200"));
    assert_eq!((run["state"].as_str(), run["tasks"]["succeeded"].as_u64()), (Some("succeeded"), Some(200)), "{run}");
    assert!(run["usage"]["sum"]["fuel"].as_u64() > Some(0), "{run}");

    let output = dev.run(&format!("run {seven} --propagate-exit"));
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let output = dev.run("run seven");
    assert_eq!(output.status.code(), Some(11), "{output:?}");
    let task = dev.json("task inspect seven");
    assert_eq!((task["reason"].as_str(), task["exit_code"].as_i64()), (Some("exit_nonzero"), Some(7)), "{task}");

    let output = dev.run(&format!("deploy {null} --name lost --constraint arch=none --wait-timeout 100ms"));
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    assert_eq!(dev.stop(), Some(0));

    let dev = Dev::start(&data);
    let again = dev.json(&format!("status {}", run["id"].as_str().unwrap()));
    assert_eq!(again["tasks"], run["tasks"]);
    assert_eq!(dev.json("status lost")["state"], "pending", "accepted work is not forgotten");
    let output = dev.run("stop lost --wait");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(dev.stop(), Some(0));
}

#[test]
fn a_directory_belongs_to_one_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let dev = Dev::start(dir.path());
    let output = wctl()
        .args(["dev", "--listen", "127.0.0.1:0", "--link", "127.0.0.1:0", "--data-dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("already in use"), "{stderr}");
    assert_eq!(dev.stop(), Some(0));
}
