//! What a process gives up before it touches anything that a guest made.

use std::io;

use rustix::process::{Pid, Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};

/// Has this process killed when the thread that started it ends.
///
/// # Errors
/// The parent is gone already.
pub(crate) fn die_with(parent: i32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Only after the call above can the parent not end unnoticed.
    if getppid().map(Pid::as_raw_pid) == Some(parent) {
        return Ok(());
    }
    Err(io::Error::other("the parent process is gone"))
}

/// Rules out what no helper ever needs: privileges from programs that it starts, and core dumps, which hold guests' data.
pub(crate) fn give_up_privileges() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    limit(Resource::Core, 0)
}

/// Sets a limit of this process, below what it was.
pub(crate) fn limit(resource: Resource, value: u64) -> io::Result<()> {
    let most = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    // At the higher limit of CPU time the kernel kills with a signal that anybody may have sent, at the lower one not.
    let maximum = if matches!(resource, Resource::Cpu) { value.saturating_add(1) } else { value };
    Ok(setrlimit(resource, Rlimit { current: Some(value.min(most)), maximum: Some(maximum.min(most)) })?)
}
