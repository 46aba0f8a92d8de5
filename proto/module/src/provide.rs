//! What executors provide to guests, by name.

use std::fmt;

use crate::report::{Import, ItemKind, Report};

/// The module of WASI preview 1.
const PREVIEW_1: &str = "wasi_snapshot_preview1";

/// The newest WASI 0.2 that is provided; every older 0.2 is compatible.
const WASI_0_2_PATCH_MAX: u32 = 12;

/// The functions of WASI preview 1.
const PREVIEW_1_FUNCTIONS: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// The interfaces of WASI 0.2.
const WASI_0_2: [&str; 27] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// The interface of the SDK that a task imports.
const TASK_HOST: &str = "weir:task/host@0.1.0";
/// The interface of the SDK that a task exports.
const TASK_RUN: &str = "weir:task/run@0.1.0";
/// The interface that a command exports.
const COMMAND_RUN: &str = "wasi:cli/run";

/// An import that nobody provides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownImport {
    /// The import.
    pub import: Import,
    /// What the developer may have meant, or where such imports come from.
    pub hint: Option<String>,
}

/// Returns every import of a report that nobody provides.
pub(crate) fn unknown_imports(report: &Report) -> Vec<UnknownImport> {
    let unknown = report.imports.iter().filter(|import| !is_provided(import));
    unknown.map(|import| UnknownImport { import: import.clone(), hint: hint(import) }).collect()
}

/// Tells whether an export is the entry of a command.
pub(crate) fn is_command_run(name: &str) -> bool {
    split_0_2(name) == Some(COMMAND_RUN)
}

/// Tells whether an export is the entry of a task.
pub(crate) fn is_task_run(name: &str) -> bool {
    name == TASK_RUN
}

fn is_provided(import: &Import) -> bool {
    match import.kind {
        ItemKind::Function => import.interface == PREVIEW_1 && PREVIEW_1_FUNCTIONS.contains(&import.item.as_str()),
        ItemKind::Interface => {
            import.interface == TASK_HOST || split_0_2(&import.interface).is_some_and(|name| WASI_0_2.contains(&name))
        }
        ItemKind::Memory
        | ItemKind::Table
        | ItemKind::Global
        | ItemKind::Tag
        | ItemKind::Type
        | ItemKind::Module
        | ItemKind::Component
        | ItemKind::Value => false,
    }
}

/// Returns the name of an interface of WASI 0.2.0 to 0.2.12 without its version.
fn split_0_2(name: &str) -> Option<&str> {
    let (name, version) = name.split_once('@')?;
    let patch: u32 = version.strip_prefix("0.2.")?.parse().ok()?;
    // The text form decides: `0.2.07` is not a version.
    (name.starts_with("wasi:") && patch <= WASI_0_2_PATCH_MAX && version == format!("0.2.{patch}")).then_some(name)
}

fn hint(import: &Import) -> Option<String> {
    let interface = import.interface.as_str();
    if interface == PREVIEW_1 {
        let near = nearest(&import.item, &PREVIEW_1_FUNCTIONS);
        return near.map(|near| format!("did you mean {PREVIEW_1}.{near}?"));
    }
    let (name, version) = interface.split_once('@').unwrap_or((interface, ""));
    let known: &'static str = match name {
        "wasi_unstable" => "wasi_unstable is WASI from before preview 1: build with a current toolchain",
        "env" if import.kind == ItemKind::Memory => {
            "an imported memory (env.memory) comes from threads or a JavaScript host: let the module define its own"
        }
        "env" | "a" => {
            "imports from env are functions of a JavaScript host, or symbols that the linker did not find: \
             build for wasm32-wasip1 or wasm32-wasip2 and link every library"
        }
        "wbg" | "__wbindgen_placeholder__" | "__wbindgen_externref_xform__" => {
            "the module was made with wasm-bindgen for a browser: build for wasm32-wasip2 without it"
        }
        "go" | "gojs" => "the module was made by Go for a browser: build with GOOS=wasip1 GOARCH=wasm",
        "wasi" if import.item == "thread-spawn" => "threads are not supported: build without them",
        "weir:task/host" => "the SDK is of another version than this cluster's: weir:task/host@0.1.0",
        _ if name.starts_with("wasi:http/") => "HTTP for guests is not supported yet",
        _ if name.starts_with("wasi:") && version.starts_with("0.3") => {
            "WASI 0.3 is not supported yet: build for WASI 0.2"
        }
        _ if WASI_0_2.contains(&name) => "of WASI, versions 0.2.0 to 0.2.12 are provided",
        _ => return nearest(name, &WASI_0_2).map(|near| format!("did you mean {near}?")),
    };
    Some(known.to_owned())
}

/// Returns the candidate that differs from `name` in at most two letters.
fn nearest<'c>(name: &str, candidates: &[&'c str]) -> Option<&'c str> {
    const EDITS_MAX: usize = 2;
    const LEN_MAX: usize = 64;
    if name.len() > LEN_MAX {
        return None;
    }
    let near = candidates.iter().map(|candidate| (edits(name.as_bytes(), candidate.as_bytes()), *candidate));
    near.filter(|(edits, _)| *edits <= EDITS_MAX).min().map(|(_, candidate)| candidate)
}

/// Returns how many letters must be added, removed or changed to make `a` into `b`.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

impl fmt::Display for UnknownImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.import, self.import.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_no_duplicates() {
        for list in [&PREVIEW_1_FUNCTIONS[..], &WASI_0_2[..]] {
            assert!(list.is_sorted_by(|a, b| a < b), "{list:?}");
        }
    }

    #[test]
    fn versions_of_wasi_are_read_strictly() {
        for good in ["wasi:cli/stdin@0.2.0", "wasi:cli/stdin@0.2.12"] {
            assert_eq!(split_0_2(good), Some("wasi:cli/stdin"), "{good}");
        }
        for bad in [
            "wasi:cli/stdin",
            "wasi:cli/stdin@0.2",
            "wasi:cli/stdin@0.2.13",
            "wasi:cli/stdin@0.2.07",
            "wasi:cli/stdin@0.2.+1",
            "wasi:cli/stdin@0.3.0",
            "wasi:cli/stdin@0.2.0-rc",
            "weir:cli/stdin@0.2.0",
            "wasi:cli/stdin@0.2.99999999999",
        ] {
            assert_eq!(split_0_2(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_near_miss_is_found() {
        assert_eq!(nearest("fd_wriet", &PREVIEW_1_FUNCTIONS), Some("fd_write"));
        assert_eq!(nearest("wasi:cli/stdn", &WASI_0_2), Some("wasi:cli/stdin"));
        assert_eq!(nearest("nothing_like_it", &PREVIEW_1_FUNCTIONS), None);
        assert_eq!(nearest("", &WASI_0_2), None);
        assert_eq!(nearest(&"x".repeat(1000), &WASI_0_2), None);
    }
}
