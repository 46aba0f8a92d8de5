//! A child process whose log is watched.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, UdpSocket},
    ops::Range,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Lines of its log that are kept.
const LINES_MAX: usize = 4000;

/// A running child process; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: Arc<Log>,
}

#[derive(Debug, Default)]
struct Log {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<String>,
    /// Lines ever read.
    total: usize,
    ended: bool,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Daemon {
    /// Starts a process; what it writes to stderr and stdout becomes its log.
    ///
    /// # Errors
    /// A program that cannot be started.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        Self::start_logged(name, command, None)
    }

    /// Starts a process whose log is also appended to the file of its name in a directory.
    ///
    /// # Errors
    /// A program that cannot be started, or a file that cannot be written.
    pub fn start_logged(name: &str, command: &mut Command, logs: Option<&Path>) -> Result<Self> {
        let file = logs.map(|dir| File::options().create(true).append(true).open(dir.join(format!("{name}.log"))));
        let file = file.transpose().with_context(|| format!("open the log of {name}"))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {name}: {command:?}"))?;
        let log = Arc::<Log>::default();
        for pipe in [
            child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn std::io::Read + Send>),
            child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn std::io::Read + Send>),
        ]
        .into_iter()
        .flatten()
        {
            let log = Arc::clone(&log);
            let file = file.as_ref().map(File::try_clone).transpose().context("share the file of a log")?;
            thread::spawn(move || read_lines(pipe, &log, file));
        }
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Waits until its log has a line that contains one of these texts, and gives that line.
    ///
    /// # Errors
    /// The process ended, or said nothing of the kind in time.
    pub fn wait_for_line(&mut self, any_of: &[&str], limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        let mut seen = 0;
        loop {
            let state = self.log.lock();
            let fresh = state.total - seen.min(state.total);
            let lines = state.lines.iter().skip(state.lines.len().saturating_sub(fresh));
            if let Some(line) = lines.clone().find(|line| any_of.iter().any(|text| line.contains(text))) {
                return Ok(line.clone());
            }
            seen = state.total;
            let ended = state.ended;
            let left = deadline.saturating_duration_since(Instant::now());
            if ended || left.is_zero() {
                drop(state);
                let why = if ended { "ended" } else { "took too long" };
                bail!("{} {why} before it said one of {any_of:?}; its log:\n{}", self.name, self.tail(40));
            }
            drop(self.log.grown.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// The last lines of its log.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        let state = self.log.lock();
        let from = state.lines.len().saturating_sub(lines);
        state.lines.iter().skip(from).map(|line| format!("  {line}\n")).collect()
    }

    /// Whether a line of its log contains a text.
    #[must_use]
    pub fn has_said(&self, text: &str) -> bool {
        self.log.lock().lines.iter().any(|line| line.contains(text))
    }

    /// Whether it has closed its log, which it does when it ends.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.log.lock().ended
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGKILL and waits for the end.
    ///
    /// # Errors
    /// A process that cannot be waited for.
    pub fn kill9(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("kill {}", self.name))?;
        self.child.wait().with_context(|| format!("wait for {}", self.name))?;
        Ok(())
    }

    /// Sends a signal by name, for instance `TERM`, `STOP` or `CONT`.
    ///
    /// # Errors
    /// A signal that cannot be sent.
    pub fn signal(&self, signal: &str) -> Result<()> {
        self::signal(self.child.id(), signal)
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// It did not end in time.
    pub fn wait_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        let mut state = self.log.lock();
        while !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(state);
                bail!("{} did not end in time; its log:\n{}", self.name, self.tail(40));
            }
            state = self.log.grown.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        self.child.wait().with_context(|| format!("wait for {}", self.name))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The process may have ended already; there is nothing to do about a failure here.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn read_lines(pipe: Box<dyn std::io::Read + Send>, log: &Log, mut file: Option<File>) {
    for line in BufReader::new(pipe).split(b'\n') {
        let Ok(mut line) = line else { break };
        if let Some(file) = &mut file {
            line.push(b'\n');
            // A full disk costs the copy, and not the test.
            let _copied = file.write_all(&line);
            line.pop();
        }
        let mut state = log.lock();
        if state.lines.len() == LINES_MAX {
            state.lines.pop_front();
        }
        state.lines.push_back(String::from_utf8_lossy(&line).into_owned());
        state.total += 1;
        log.grown.notify_all();
    }
    log.lock().ended = true;
    log.grown.notify_all();
}

/// Where ports come from: below those that the kernel gives to outgoing connections, any of which could otherwise take a
/// port between now and its use.
const PORTS: Range<u16> = 20_000..32_000;

/// A port on loopback that is free for TCP and UDP, and that this process is given once.
///
/// # Errors
/// No port is free.
pub fn free_port() -> Result<u16> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let count = u32::from(PORTS.end - PORTS.start);
    // Test programs that run at the same time begin far from each other.
    let first = std::process::id().wrapping_mul(97);
    for _ in 0..count {
        let place = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % count;
        let port = PORTS.start + u16::try_from(place).context("a port")?;
        let address = ("127.0.0.1", port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}

/// The processes that this one has started with an argument.
///
/// # Errors
/// The machine's processes cannot be listed.
pub fn children(parent: u32, argument: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("list the processes")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        // A process may end while it is looked at.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let of = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse::<u32>().ok());
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if of == Some(parent) && line.split('\0').any(|given| given == argument) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Sends a signal by name to a process.
///
/// # Errors
/// There is no such process, or it may not be sent any.
pub fn signal(pid: u32, signal: &str) -> Result<()> {
    let status = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().context("run kill")?;
    anyhow::ensure!(status.success(), "kill -{signal} {pid} failed");
    Ok(())
}

/// CPU seconds that a process has used, from the kernel's accounting.
///
/// # Errors
/// A process that does not exist.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = Path::new("/proc").join(pid.to_string()).join("stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / 100.0)
}
