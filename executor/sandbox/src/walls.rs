//! The walls around a helper process: Landlock for what it can name, seccomp for what it can ask of the kernel.
//!
//! Both are best effort: a kernel without one leaves the rest standing, and the daemon's log says so once. The lists of
//! system calls are what the isolation suite needs, as a trace of it shows, and what an allocator or a C library may need
//! in its place; whatever else is asked for is denied with `EPERM`.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Once,
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::scratch::Root;

/// What a process is there for, and so what it needs.
#[derive(Debug)]
pub enum Purpose<'a> {
    /// Compiling one module from stdin to stdout.
    Compile,
    /// Running guests.
    Work {
        /// The directory of the artefacts, whose files it may read but not list.
        cache: BorrowedFd<'a>,
        /// Published directories, which it may list and read.
        published: Vec<BorrowedFd<'a>>,
        /// Those that it may also change.
        writable: Vec<BorrowedFd<'a>>,
        /// It may connect over TCP.
        network: bool,
    },
}

/// The newest interface that is asked for: it adds signals and abstract sockets to files and TCP.
const LANDLOCK: ABI = ABI::V6;
/// What a worker may do in a published directory.
const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
/// What `prctl` is needed for: names of threads and of mappings, which show in tools, and the auxiliary vector.
const PRCTL: [u64; 3] = [15, 0x5356_4d41, 0x4155_5856];

/// Confines this thread and all that it starts; the walls that the kernel cannot give, for people.
///
/// # Errors
/// Privileges cannot be given up, or a filter cannot be built for this machine.
pub fn confine(purpose: &Purpose<'_>) -> io::Result<Vec<String>> {
    rustix::thread::set_no_new_privs(true)?;
    let mut missing = Vec::new();
    match files(purpose) {
        Ok(RulesetStatus::FullyEnforced) => {}
        Ok(RulesetStatus::PartiallyEnforced) => {
            missing.push("part of Landlock: the kernel is older than 6.12".to_owned())
        }
        Ok(RulesetStatus::NotEnforced) => missing.push("Landlock: the kernel has none".to_owned()),
        Err(error) => missing.push(format!("Landlock: {error}")),
    }
    if let Err(error) = calls(purpose)? {
        missing.push(format!("seccomp: {error}"));
    }
    Ok(missing)
}

/// Says in the log which walls the kernel cannot give, once for this process.
pub(crate) fn warn_once(missing: &[String]) {
    static SAID: Once = Once::new();
    if !missing.is_empty() {
        let missing = missing.join("; ");
        SAID.call_once(|| tracing::warn!(missing, "guests and compiler run with fewer walls around them"));
    }
}

/// Where guests may connect, what they may connect to is the sandbox's to say; nobody listens.
fn denied_network(purpose: &Purpose<'_>) -> BitFlags<AccessNet> {
    match purpose {
        Purpose::Work { network: true, .. } => AccessNet::BindTcp.into(),
        Purpose::Work { .. } | Purpose::Compile => AccessNet::from_all(LANDLOCK),
    }
}

fn files(purpose: &Purpose<'_>) -> Result<RulesetStatus, landlock::RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(denied_network(purpose))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?;
    let rules = match purpose {
        Purpose::Compile => Vec::new(),
        Purpose::Work { cache, published, writable, .. } => {
            let published = published.iter().map(|dir| PathBeneath::new(*dir, READ));
            let writable = writable.iter().map(|dir| PathBeneath::new(*dir, READ | change()));
            published.chain(writable).chain([PathBeneath::new(*cache, AccessFs::ReadFile)]).collect()
        }
    };
    let rules = rules.into_iter().map(Ok::<_, landlock::RulesetError>);
    Ok(ruleset.add_rules(rules)?.restrict_self()?.ruleset)
}

/// Installs the filters; the inner error is the kernel's.
fn calls(purpose: &Purpose<'_>) -> io::Result<Result<(), seccompiler::Error>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BASE.iter().map(|call| (*call, Vec::new())).collect();
    let only = |argument: u8, value: u64| rule(argument, SeccompCmpOp::Eq, value);
    rules.insert(libc::SYS_prctl, PRCTL.map(|what| only(0, what)).into_iter().collect::<io::Result<_>>()?);
    // Its own limits and its own threads, by which a C library finds its stack and ends a process that gave up.
    rules.insert(libc::SYS_prlimit64, vec![only(0, 0)?]);
    rules.insert(libc::SYS_tgkill, vec![only(0, u64::from(std::process::id()))?]);
    let mut programs = Vec::new();
    if let Purpose::Work { writable, network, .. } = purpose {
        rules.extend(WORK.iter().map(|call| (*call, Vec::new())));
        if !writable.is_empty() {
            rules.extend(CHANGE.iter().map(|call| (*call, Vec::new())));
        }
        if *network {
            rules.extend(CONNECT.iter().map(|call| (*call, Vec::new())));
            // The runtime's own: two ends that lead to each other.
            rules.insert(libc::SYS_socketpair, vec![only(0, u64::from(libc::AF_UNIX.cast_unsigned()))?]);
            rules.insert(
                libc::SYS_socket,
                [libc::AF_INET, libc::AF_INET6].map(stream).into_iter().collect::<io::Result<_>>()?,
            );
        }
        let thread = libc::CLONE_THREAD.cast_unsigned().into();
        rules.insert(libc::SYS_clone, vec![rule(0, SeccompCmpOp::MaskedEq(thread), thread)?]);
        // Its flags are behind a pointer, where no filter sees them; a C library then takes the call whose flags are seen.
        rules.insert(libc::SYS_clone3, Vec::new());
        programs.push(filter([(libc::SYS_clone3, Vec::new())].into(), SeccompAction::Allow, errno(libc::ENOSYS))?);
    }
    programs.push(filter(rules, errno(libc::EPERM), SeccompAction::Allow)?);
    Ok(programs.iter().try_for_each(|program| seccompiler::apply_filter(program)))
}

/// Files and directories, but no devices, sockets and pipes.
fn change() -> BitFlags<AccessFs> {
    AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSym
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer
}

const fn errno(number: i32) -> SeccompAction {
    SeccompAction::Errno(number.cast_unsigned())
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> io::Result<SeccompRule> {
    let condition =
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).map_err(io::Error::other)?;
    SeccompRule::new(vec![condition]).map_err(io::Error::other)
}

/// A socket of a family for TCP, whatever its flags.
fn stream(family: i32) -> io::Result<SeccompRule> {
    // The flags are above the kind.
    const KIND: u64 = 0xf;
    let condition = |argument, operator, value: i32| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, u64::from(value.cast_unsigned()))
    };
    let conditions = vec![
        condition(0, SeccompCmpOp::Eq, family).map_err(io::Error::other)?,
        condition(1, SeccompCmpOp::MaskedEq(KIND), libc::SOCK_STREAM).map_err(io::Error::other)?,
    ];
    SeccompRule::new(conditions).map_err(io::Error::other)
}

fn filter(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    others: SeccompAction,
    these: SeccompAction,
) -> io::Result<BpfProgram> {
    let arch = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, others, these, arch).map_err(io::Error::other)?;
    filter.try_into().map_err(|error: seccompiler::BackendError| io::Error::other(error))
}

/// What both need: memory, the streams that are open, the clock, signals of their own, and an end.
const BASE: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

/// What guests need besides: threads, the socket to the daemon, and files in directories that are open.
const WORK: &[i64] = &[
    libc::SYS_fadvise64,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getdents64,
    libc::SYS_getsockopt,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pwrite64,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_rseq,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_shutdown,
    libc::SYS_statx,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
];

/// What guests need besides where they may change directories.
const CHANGE: &[i64] = &[
    libc::SYS_fallocate,
    libc::SYS_linkat,
    libc::SYS_mkdirat,
    libc::SYS_pwritev,
    // Appending.
    libc::SYS_pwritev2,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_symlinkat,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
];

/// What guests need besides to connect over TCP, and to wait for more than one connection.
const CONNECT: &[i64] = &[
    libc::SYS_connect,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_setsockopt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
];

/// As [`Purpose::Work`] with directories that are open, and whether they may be changed.
pub(crate) fn around_worker<'a>(
    cache: &'a impl AsFd,
    published: impl Iterator<Item = (BorrowedFd<'a>, bool)>,
    scratch: Option<&'a Root>,
    network: bool,
) -> Purpose<'a> {
    let (writable, published): (Vec<_>, Vec<_>) = published.partition(|(_, writable)| *writable);
    let plain = |dirs: Vec<(BorrowedFd<'a>, bool)>| dirs.into_iter().map(|(dir, _)| dir);
    let writable = plain(writable).chain(scratch.map(AsFd::as_fd)).collect();
    Purpose::Work { cache: cache.as_fd(), published: plain(published).collect(), writable, network }
}
