//! Running other programs, and the only two places where this tool prints.

use std::env;
use std::fmt::Display;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Pause between two looks at a condition of another process.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Tells the user what happens: standard error, so that data on standard output stays clean.
pub(crate) fn say(message: impl Display) {
    // A closed terminal is no reason to stop the work.
    let _ = writeln!(std::io::stderr(), "{message}");
}

/// Prints one line of data on standard output.
pub(crate) fn print(line: impl Display) {
    // As above: a reader that has gone away, such as `head`, is not an error.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The cargo that runs this tool, else the one in the path; never reads standard input.
pub(crate) fn cargo() -> Command {
    let mut command = program(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_about_this_crate) {
            command.env_remove(name);
        }
    }
    command
}

/// Whether `cargo run` has set the variable to describe this tool. Some build scripts (that of ring) run again when such
/// a variable changes, so that each turn from cargo to this tool and back would build everything above them again.
fn is_about_this_crate(variable: &str) -> bool {
    const PREFIXES: [&str; 2] = ["CARGO_PKG_", "CARGO_MANIFEST_"];
    const NAMES: [&str; 4] = ["CARGO_CRATE_NAME", "CARGO_BIN_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"];
    PREFIXES.iter().any(|prefix| variable.starts_with(prefix)) || NAMES.contains(&variable)
}

/// A program that never reads standard input.
pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(name);
    command.stdin(Stdio::null());
    command
}

/// Runs a command with its output shown.
///
/// # Errors
/// Names the command line and how it ended.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", line_of(command)))?;
    expect_success(command, status)
}

/// Runs a command with its output shown and ends it when it takes longer than `limit`.
///
/// # Errors
/// As [`run`], and when the limit has passed.
pub(crate) fn run_for(command: &mut Command, limit: Duration) -> Result<()> {
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", line_of(command)))?;
    match wait_for(&mut child, limit)? {
        Some(status) => expect_success(command, status),
        None => {
            child.kill().context("cannot end the command")?;
            child.wait().context("cannot reap the command")?;
            bail!("`{}` took longer than {} s", line_of(command), limit.as_secs())
        }
    }
}

/// Runs a command and returns its standard output; standard error is shown.
///
/// # Errors
/// As [`run`], and when the output is not UTF-8.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{}`", line_of(command)))?;
    let mut output = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut output).with_context(|| format!("cannot read from `{}`", line_of(command)))?;
    }
    let status = child.wait().context("cannot wait for the command")?;
    expect_success(command, status)?;
    Ok(output)
}

/// Waits until the child has ended; `None` when the limit passes first.
///
/// # Errors
/// When the operating system cannot say how the child is.
pub(crate) fn wait_for(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let give_up = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for a process")? {
            return Ok(Some(status));
        }
        if Instant::now() >= give_up {
            return Ok(None);
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Where a program is: the path, then the folders for system programs that a user's path often lacks.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn expect_success(command: &Command, status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    bail!("`{}` failed ({status})", line_of(command))
}

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_describes_this_crate_is_kept_from_cargo() {
        for name in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "OUT_DIR"] {
            assert!(is_about_this_crate(name), "{name}");
        }
        for name in ["CARGO_TARGET_DIR", "CARGO_HOME", "CARGO_INCREMENTAL", "CARGO", "PATH"] {
            assert!(!is_about_this_crate(name), "{name}");
        }
    }

    #[test]
    fn a_failed_command_is_named_with_its_status() {
        let error = run(&mut program("false")).unwrap_err();
        assert_eq!(error.to_string(), "`false` failed (exit status: 1)");
    }

    #[test]
    fn a_command_past_its_limit_is_ended() {
        let error = run_for(program("sleep").arg("600"), Duration::ZERO).unwrap_err();
        assert_eq!(error.to_string(), "`sleep 600` took longer than 0 s");
    }

    #[test]
    fn output_is_captured_and_programs_are_found() {
        assert_eq!(capture(program("echo").arg("yes")).unwrap(), "yes\n");
        assert!(find_program("sh").is_some());
        assert_eq!(find_program("no-such-program-anywhere"), None);
    }
}
