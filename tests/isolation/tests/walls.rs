//! What a helper process can still ask of the kernel, tried by one that confines itself as they do.

use std::{collections::BTreeMap, fs, process::Command};

use weir_isolation::helper;
use weir_sandbox::Helper;

/// What each attempt of a confined program comes to: "done", or the name of the error.
fn attempts(purpose: &str) -> BTreeMap<String, String> {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["cache", "published"] {
        fs::create_dir(dir.path().join(name)).expect("a directory");
        fs::write(dir.path().join(name).join("file"), "content").expect("written");
    }
    let Helper::Program { path, .. } = helper() else { panic!("the suite has a helper") };
    let output = Command::new(path).arg("confined").arg(purpose).arg(dir.path()).output().expect("started");
    let lines = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{lines}{}", String::from_utf8_lossy(&output.stderr));
    lines.lines().filter_map(|line| line.split_once(": ")).map(|(name, end)| (name.into(), end.into())).collect()
}

#[test]
fn a_confined_process_is_refused_what_it_does_not_need() {
    for purpose in ["work", "compile"] {
        let attempts = attempts(purpose);
        let refused = [
            "execve",
            "ptrace",
            "mount",
            "bpf",
            "unshare",
            "io_uring",
            "userfaultfd",
            "keyctl",
            "kill",
            "chdir",
            "process",
            "tcp",
            "unix socket",
            "unlink",
        ];
        for name in refused {
            assert_eq!(attempts[name], "EPERM", "{purpose}: {name}");
        }
    }
}

#[test]
fn a_worker_process_has_threads_and_its_directories() {
    let attempts = attempts("work");
    for name in ["thread", "read published", "list published", "read artefact"] {
        assert_eq!(attempts[name], "done", "{name}");
    }
    if attempts["missing"].contains("Landlock") {
        weir_isolation::skip("a_worker_process_has_threads_and_its_directories", &attempts["missing"]);
        return;
    }
    for name in ["list artefacts", "write published", "create published", "read /etc/passwd", "list /"] {
        assert_eq!(attempts[name], "EACCES", "{name}");
    }
}

#[test]
fn a_worker_process_for_the_network_connects_over_tcp_and_by_no_other_way() {
    let attempts = attempts("network");
    // Nobody listens there.
    assert_eq!(attempts["tcp"], "Some(111)", "{attempts:?}");
    for name in ["unix socket", "udp", "listen", "execve", "process", "kill"] {
        assert!(attempts[name] == "EPERM" || (name == "listen" && attempts[name] == "EACCES"), "{name}: {attempts:?}");
    }
}

#[test]
fn a_compiling_process_opens_nothing() {
    let attempts = attempts("compile");
    for name in ["thread", "read published", "read artefact", "read /etc/passwd", "list /"] {
        assert_eq!(attempts[name], "EPERM", "{name}");
    }
}
