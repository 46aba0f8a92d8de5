//! The side that starts the compiling process, waits for it and judges its end.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, PipeReader, Read},
    os::{fd::AsFd, unix::process::ExitStatusExt},
    path::PathBuf,
    process::{ChildStderr, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open},
};

use super::{
    CompileLimits, Compiler, Refusal,
    child::{self, ARTEFACT_LEN_MAX, NO_MEMORY, REFUSED},
};
use crate::{
    cache::Draft,
    helper::{Process, Role, Streams, signal_text},
    walls,
};

/// Bytes of the child's last words that are read.
const WORDS_MAX: u64 = 8 << 10;
/// Exit code of a program that panicked.
const PANICKED: i32 = 101;

/// How waiting for the child came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    Ended,
    TimeOver,
    Stopped,
}

/// Compiles a module in a process of its own; the artefact is then in the draft.
pub(super) fn compile(
    compiler: &Compiler,
    program: (&PathBuf, &[OsString]),
    wasm: File,
    draft: &Draft,
) -> Result<(), Refusal> {
    let machine = |error: io::Error| Refusal::Machine(format!("failed to run the compiling process: {error}"));
    let limits = &compiler.limits;
    let stdout = draft.file().try_clone().map_err(machine)?;
    let streams = Streams { stdin: wasm.into(), stdout: stdout.into(), stderr: Stdio::piped() };
    let arguments = child::arguments(limits.memory.0, limits.cpu.as_secs().max(1));
    let mut process = Process::spawn(program, Role::Compile, &arguments, streams).map_err(machine)?;
    match wait(&process, &compiler.stopped, limits.timeout).map_err(machine)? {
        Waited::Ended => {}
        Waited::TimeOver => return Err(Refusal::Module(exceeds(&text_of_time(limits.timeout), "compile_timeout"))),
        Waited::Stopped => return Err(Refusal::Machine("the executor stops".to_owned())),
    }
    let status = process.0.wait().map_err(machine)?;
    let words = process.0.stderr.take().map(last_words).unwrap_or_default();
    judge(status, words, limits)
}

fn wait(process: &Process, stopped: &PipeReader, timeout: Duration) -> io::Result<Waited> {
    let pid = Pid::from_child(&process.0);
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    let until = Instant::now() + timeout;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut waits = [PollFd::new(&ended, PollFlags::IN), PollFd::from_borrowed_fd(stopped.as_fd(), PollFlags::IN)];
        match poll(&mut waits, Some(&left)) {
            Ok(0) => return Ok(Waited::TimeOver),
            Ok(_) if !waits[0].revents().is_empty() => return Ok(Waited::Ended),
            Ok(_) => return Ok(Waited::Stopped),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn last_words(stderr: ChildStderr) -> String {
    let mut bytes = Vec::new();
    // What cannot be read is missing in the message and nowhere else.
    let _missing = stderr.take(WORDS_MAX).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// What the end of the child says about the module.
fn judge(status: ExitStatus, words: String, limits: &CompileLimits) -> Result<(), Refusal> {
    let no_memory = || exceeds(&format!("{} of memory", text_of_bytes(limits.memory.0)), "compile_memory");
    if let Some(number) = status.signal() {
        let is = |signal: Signal| signal.as_raw() == number;
        return Err(if is(Signal::ABORT) && words.contains("memory allocation of") {
            Refusal::Module(no_memory())
        } else if is(Signal::XCPU) {
            Refusal::Module(exceeds(&format!("{} of CPU time", text_of_time(limits.cpu)), "compile_cpu"))
        } else if is(Signal::XFSZ) {
            Refusal::Module(format!("the compiled module is larger than {}", text_of_bytes(ARTEFACT_LEN_MAX)))
        } else if is(Signal::KILL) || is(Signal::TERM) || is(Signal::BUS) {
            // Somebody sent it, or a page could not be had: the module is not to blame.
            Refusal::Machine(format!("the compiling process was ended by {}", signal_text(number)))
        } else if is(Signal::SEGV) {
            // Some allocators do this when their own records find no room.
            Refusal::Module(format!(
                "the compiler crashed on it, with {}; most likely {}",
                signal_text(number),
                no_memory()
            ))
        } else {
            Refusal::Module(format!("the compiler crashed on it, with {}", signal_text(number)))
        });
    }
    match status.code() {
        Some(0) => {
            let missing = (!words.is_empty()).then_some(words);
            walls::warn_once(missing.as_slice());
            Ok(())
        }
        Some(code) if code == i32::from(REFUSED) => Err(Refusal::Module(words)),
        Some(code) if code == i32::from(NO_MEMORY) => Err(Refusal::Module(no_memory())),
        Some(PANICKED) => Err(Refusal::Module(format!("the compiler crashed on it: {words}"))),
        _ => Err(Refusal::Machine(format!("the compiling process ended with {status}: {words}"))),
    }
}

fn exceeds(what: &str, setting: &str) -> String {
    format!("compiling needs more than the {what} that `{setting}` allows")
}

fn text_of_bytes(bytes: u64) -> String {
    let tenths = |unit: u64| (bytes / unit, bytes % unit * 10 / unit);
    let ((whole, tenth), unit) = if bytes >= 1 << 30 { (tenths(1 << 30), "GiB") } else { (tenths(1 << 20), "MiB") };
    format!("{whole}.{tenth} {unit}")
}

fn text_of_time(time: Duration) -> String {
    if time.subsec_nanos() == 0 { format!("{} s", time.as_secs()) } else { format!("{} ms", time.as_millis()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNAL: fn(Signal) -> ExitStatus = |signal| ExitStatus::from_raw(signal.as_raw());

    fn code(code: u8) -> ExitStatus {
        ExitStatus::from_raw(i32::from(code) << 8)
    }

    #[test]
    fn the_end_of_the_child_says_who_is_to_blame() {
        let limits = CompileLimits::default();
        let allocation = "memory allocation of 52613349376 bytes failed";
        let cases = [
            (SIGNAL(Signal::ABORT), allocation, Some("4.0 GiB of memory that `compile_memory` allows")),
            (code(NO_MEMORY), "", Some("compile_memory")),
            (SIGNAL(Signal::XCPU), "", Some("300 s of CPU time that `compile_cpu` allows")),
            (SIGNAL(Signal::XFSZ), "", Some("512.0 MiB")),
            (SIGNAL(Signal::SEGV), "", Some("SIGSEGV")),
            (SIGNAL(Signal::ABORT), "", Some("SIGABRT")),
            (code(REFUSED), "it imports nonsense", Some("it imports nonsense")),
            (code(101), "thread 'main' panicked", Some("panicked")),
            (SIGNAL(Signal::KILL), "", None),
            (code(1), "", None),
        ];
        for (status, words, expected) in cases {
            let refusal = judge(status, words.to_owned(), &limits).unwrap_err();
            match expected {
                Some(part) => assert!(matches!(&refusal, Refusal::Module(why) if why.contains(part)), "{refusal:?}"),
                None => assert!(matches!(refusal, Refusal::Machine(_)), "{refusal:?}"),
            }
        }
        assert_eq!(judge(code(0), String::new(), &limits), Ok(()));
    }

    #[test]
    fn sizes_and_times_are_text() {
        assert_eq!((text_of_bytes(4 << 30), text_of_bytes(300 << 19)), ("4.0 GiB".to_owned(), "150.0 MiB".to_owned()));
        let times = [Duration::from_mins(5), Duration::from_millis(1500)];
        assert_eq!(times.map(text_of_time), ["300 s", "1500 ms"]);
    }
}
