//! The program that the sandboxes of the isolation suite start for themselves: the suite's own has a test harness in
//! place of a `main`.
//!
//! With `host DIR` it starts a sandbox of two worker processes, prints their ids, and waits until it is killed.

use std::{
    io::{Read, Write},
    process::ExitCode,
};

use weir_sandbox::{Helper, Isolation, Sandbox, SandboxConfig};

fn main() -> ExitCode {
    let args = || std::env::args_os().skip(1);
    if let Some(code) = weir_sandbox::run_helper(args()) {
        return code;
    }
    let words: Vec<String> = args().filter_map(|arg| arg.into_string().ok()).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["host", dir] => host(dir),
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
    writeln!(std::io::stdout(), "{}", pids.join(" ")).expect("printed");
    // Ends when the test does, if it does not kill this process before.
    let _end = std::io::stdin().read_to_end(&mut Vec::new());
}
