//! The program that the sandboxes of the isolation suite start for themselves: the suite's own has a test harness in
//! place of a `main`.
//!
//! With `host DIR` it starts a sandbox of two worker processes, prints their ids, and waits until it is killed. With
//! `confined work|compile DIR` it confines itself as a helper and prints what it is refused.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    process::{Command, ExitCode},
    thread,
};

use weir_sandbox::{Helper, Isolation, Purpose, Sandbox, SandboxConfig};

fn main() -> ExitCode {
    let args = || std::env::args_os().skip(1);
    if let Some(code) = weir_sandbox::run_helper(args()) {
        return code;
    }
    let words: Vec<String> = args().filter_map(|arg| arg.into_string().ok()).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["host", dir] => host(dir),
        ["confined", purpose, dir] => confined(purpose, Path::new(dir)),
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

fn host(dir: &str) {
    let (sender, _events) = tokio::sync::mpsc::unbounded_channel();
    let config = SandboxConfig {
        workers: 2,
        lanes_per_worker: 1,
        cache_dir: dir.into(),
        cache_key: [1; 32],
        isolation: Isolation::Processes { number: 2 },
        helper: Helper::this_program(),
        ..SandboxConfig::default()
    };
    let sandbox = Sandbox::start(config, sender).expect("a sandbox");
    let pids: Vec<String> = sandbox.worker_pids().iter().map(u32::to_string).collect();
    writeln!(io::stdout(), "{}", pids.join(" ")).expect("printed");
    // Ends when the test does, if it does not kill this process before.
    let _end = io::stdin().read_to_end(&mut Vec::new());
}

/// Confines this process, tries things, and prints how each ended.
fn confined(purpose: &str, dir: &Path) {
    let (cache, published) = (dir.join("cache"), dir.join("published"));
    let open = [&cache, &published].map(|dir| File::open(dir).expect("a directory"));
    let purpose = match purpose {
        "compile" => Purpose::Compile,
        _ => Purpose::Work {
            cache: open[0].as_fd(),
            published: vec![open[1].as_fd()],
            writable: Vec::new(),
            network: purpose == "network",
        },
    };
    let missing = weir_sandbox::confine(&purpose).expect("confined");
    writeln!(io::stdout(), "missing: {}", missing.join("; ")).expect("printed");
    let say = |name: &str, result: io::Result<()>| {
        let end = match result.map_err(|error| error.raw_os_error()) {
            Ok(()) => "done".to_owned(),
            Err(Some(libc::EPERM)) => "EPERM".to_owned(),
            Err(Some(libc::EACCES)) => "EACCES".to_owned(),
            Err(other) => format!("{other:?}"),
        };
        writeln!(io::stdout(), "{name}: {end}").expect("printed");
    };
    for (name, number) in CALLS {
        say(name, call(number));
    }
    say("thread", thread::Builder::new().spawn(|| {}).map(|thread| thread.join().expect("no panic")));
    say("process", Command::new("/bin/true").spawn().map(drop));
    say("tcp", TcpStream::connect("127.0.0.1:9").map(drop));
    say("udp", UdpSocket::bind("127.0.0.1:0").map(drop));
    say("listen", TcpListener::bind("127.0.0.1:0").map(drop));
    say("unix socket", UnixStream::connect("/nowhere").map(drop));
    say("read published", fs::read(published.join("file")).map(drop));
    say("list published", fs::read_dir(&published).map(drop));
    say("write published", File::options().write(true).open(published.join("file")).map(drop));
    say("create published", File::create(published.join("new")).map(drop));
    say("read artefact", fs::read(cache.join("file")).map(drop));
    say("list artefacts", fs::read_dir(&cache).map(drop));
    say("unlink", fs::remove_file(published.join("file")));
    say("read /etc/passwd", fs::read("/etc/passwd").map(drop));
    say("list /", fs::read_dir("/").map(drop));
}

/// System calls that no helper needs. Without a filter each gives another error with arguments that are all zero, or
/// succeeds.
const CALLS: [(&str, i64); 10] = [
    ("execve", libc::SYS_execve),
    ("ptrace", libc::SYS_ptrace),
    ("mount", libc::SYS_mount),
    ("bpf", libc::SYS_bpf),
    ("unshare", libc::SYS_unshare),
    ("io_uring", libc::SYS_io_uring_setup),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("keyctl", libc::SYS_keyctl),
    ("kill", libc::SYS_kill),
    ("chdir", libc::SYS_chdir),
];

fn call(number: i64) -> io::Result<()> {
    #[expect(unsafe_code, reason = "no library offers calls that are to fail")]
    // SAFETY: with null pointers and zeros none of these reads or writes memory of this process.
    let result = unsafe { libc::syscall(number, 0, 0, 0, 0, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
