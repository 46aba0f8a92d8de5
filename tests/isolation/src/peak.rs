//! What processes hold of the machine's memory, as the kernel counts it.

use std::fs;

/// The memory of some processes, from a moment on.
#[derive(Debug)]
pub struct Peak {
    /// Each with what it held at first, bytes.
    processes: Vec<(u32, u64)>,
}

impl Peak {
    /// Starts to watch.
    ///
    /// # Panics
    /// One of the processes has ended.
    #[must_use]
    pub fn watch(pids: &[u32]) -> Self {
        let process = |pid: &u32| {
            // Sets the peak back to what is held now. Where that is not allowed, the peak of the whole life counts.
            let _allowed = fs::write(format!("/proc/{pid}/clear_refs"), "5");
            (*pid, field(*pid, "VmRSS:"))
        };
        Self { processes: pids.iter().map(process).collect() }
    }

    /// By how much they have been larger since, bytes.
    ///
    /// # Panics
    /// One of the processes has ended.
    #[must_use]
    pub fn growth(&self) -> u64 {
        self.processes.iter().map(|(pid, before)| field(*pid, "VmHWM:").saturating_sub(*before)).sum()
    }
}

/// What processes hold of the machine at one moment, as the kernel counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Resident memory, bytes.
    pub memory: u64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

impl Held {
    /// What these processes hold together.
    ///
    /// # Panics
    /// One of them has ended.
    #[must_use]
    pub fn by(pids: &[u32]) -> Self {
        pids.iter().fold(Self::default(), |sum, pid| {
            let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("a process that lives").count();
            Self {
                memory: sum.memory + field(*pid, "VmRSS:"),
                threads: sum.threads + count(*pid, "Threads:"),
                descriptors: sum.descriptors + open as u64,
            }
        })
    }
}

/// A field in kilobytes, in bytes.
fn field(pid: u32, name: &str) -> u64 {
    count(pid, name) * 1024
}

fn count(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process that lives");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
