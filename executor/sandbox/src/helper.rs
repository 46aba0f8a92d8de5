//! How the sandbox starts processes of its own, and what such a process does first.
//!
//! A helper is the same program started once more, so that both sides of each conversation come from one build.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
};

use rustix::process::Signal;

use crate::{compile, confine, process};

/// The first argument of a process that compiles one module.
const COMPILE: &str = "internal-compile";
/// The first argument of a process that runs guests.
const WORK: &str = "internal-work";

/// How to start the program that works for a sandbox in processes of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Helper {
    /// There is none: what could run apart runs in this process.
    #[default]
    InProcess,
    /// A program that calls [`run_helper`] before anything else.
    Program {
        /// Its path.
        path: PathBuf,
        /// Arguments in front of those that the sandbox gives; the program passes on only what follows them.
        args: Vec<OsString>,
    },
}

impl Helper {
    /// The program of this process, whatever its file has become since it was started. It has to call [`run_helper`].
    #[must_use]
    pub fn this_program() -> Self {
        Self::Program { path: "/proc/self/exe".into(), args: Vec::new() }
    }
}

/// What a helper is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Compiles one module.
    Compile,
    /// Runs guests.
    Work,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Compile => COMPILE,
            Self::Work => WORK,
        }
    }
}

/// A helper process; dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process(pub(crate) Child);

/// Where a helper's standard streams lead.
pub(crate) struct Streams {
    pub(crate) stdin: Stdio,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
}

impl Process {
    /// Starts a helper. It dies with the thread that called this.
    ///
    /// # Errors
    /// The program cannot be started, for one because the machine has no room for another process.
    pub(crate) fn spawn(
        (path, first): (&PathBuf, &[OsString]),
        role: Role,
        args: &[String],
        streams: Streams,
    ) -> std::io::Result<Self> {
        let mut command = Command::new(path);
        command.args(first).arg(role.name()).arg(std::process::id().to_string()).args(args);
        // Nothing of the daemon's surroundings is its business.
        command.env_clear().current_dir("/");
        command.stdin(streams.stdin).stdout(streams.stdout).stderr(streams.stderr).spawn().map(Self)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A process that has ended already needs no killing, and both calls then say so.
        let _ended = (self.0.kill(), self.0.wait());
    }
}

/// Does the work of a helper, if this process was started as one, and returns the code with which to exit.
///
/// `args` are the arguments of the process without its name. A program that is named in [`Helper::Program`] calls this
/// at the start of `main`, before it starts a thread, opens a file or reads its configuration.
#[must_use]
pub fn run_helper(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter();
    let role = args.next()?;
    let role = [Role::Compile, Role::Work].into_iter().find(|known| role == OsStr::new(known.name()))?;
    let args: Vec<String> = args.filter_map(|arg| arg.into_string().ok()).collect();
    let parent = args.first().and_then(|parent| parent.parse().ok())?;
    if confine::die_with(parent).is_err() {
        return Some(ExitCode::FAILURE);
    }
    Some(match role {
        Role::Compile => compile::child(&args[1..]),
        Role::Work => process::child(),
    })
}

/// A signal as people know it.
pub(crate) fn signal_text(number: i32) -> String {
    let name = [
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::ILL, "SIGILL"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::SYS, "SIGSYS"),
        (Signal::TERM, "SIGTERM"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::XFSZ, "SIGXFSZ"),
    ]
    .into_iter()
    .find_map(|(signal, name)| (signal.as_raw() == number).then_some(name));
    name.map_or_else(|| format!("signal {number}"), |name| format!("signal {number} ({name})"))
}
