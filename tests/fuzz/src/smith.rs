//! From bytes to a guest by wasm-smith: a module of any shape that the look at it lets through, and that may call all of
//! WASI preview 1.

use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};
use wasm_smith::{Config, Module};

/// The functions of WASI preview 1 with their parameters; all but one return a number.
const CALLS: [(&str, &str); 45] = [
    ("args_get", "i32 i32"),
    ("args_sizes_get", "i32 i32"),
    ("clock_res_get", "i32 i32"),
    ("clock_time_get", "i32 i64 i32"),
    ("environ_get", "i32 i32"),
    ("environ_sizes_get", "i32 i32"),
    ("fd_advise", "i32 i64 i64 i32"),
    ("fd_allocate", "i32 i64 i64"),
    ("fd_close", "i32"),
    ("fd_datasync", "i32"),
    ("fd_fdstat_get", "i32 i32"),
    ("fd_fdstat_set_flags", "i32 i32"),
    ("fd_fdstat_set_rights", "i32 i64 i64"),
    ("fd_filestat_get", "i32 i32"),
    ("fd_filestat_set_size", "i32 i64"),
    ("fd_filestat_set_times", "i32 i64 i64 i32"),
    ("fd_pread", "i32 i32 i32 i64 i32"),
    ("fd_prestat_dir_name", "i32 i32 i32"),
    ("fd_prestat_get", "i32 i32"),
    ("fd_pwrite", "i32 i32 i32 i64 i32"),
    ("fd_read", "i32 i32 i32 i32"),
    ("fd_readdir", "i32 i32 i32 i64 i32"),
    ("fd_renumber", "i32 i32"),
    ("fd_seek", "i32 i64 i32 i32"),
    ("fd_sync", "i32"),
    ("fd_tell", "i32 i32"),
    ("fd_write", "i32 i32 i32 i32"),
    ("path_create_directory", "i32 i32 i32"),
    ("path_filestat_get", "i32 i32 i32 i32 i32"),
    ("path_filestat_set_times", "i32 i32 i32 i32 i64 i64 i32"),
    ("path_link", "i32 i32 i32 i32 i32 i32 i32"),
    ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
    ("path_readlink", "i32 i32 i32 i32 i32 i32"),
    ("path_remove_directory", "i32 i32 i32"),
    ("path_rename", "i32 i32 i32 i32 i32 i32"),
    ("path_symlink", "i32 i32 i32 i32 i32"),
    ("path_unlink_file", "i32 i32 i32"),
    ("poll_oneoff", "i32 i32 i32 i32"),
    ("proc_raise", "i32"),
    ("random_get", "i32 i32"),
    ("sched_yield", ""),
    ("sock_accept", "i32 i32 i32"),
    ("sock_recv", "i32 i32 i32 i32 i32 i32"),
    ("sock_send", "i32 i32 i32 i32 i32"),
    ("sock_shutdown", "i32 i32"),
];
/// Most pages that a memory begins with: some more than the limit of the guests.
const PAGES_MAX: u32 = 20;

/// A module that imports all that one may.
static IMPORTS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let import =
        |name: &str, signature: &str| format!("(import \"wasi_snapshot_preview1\" \"{name}\" (func {signature}))");
    let calls = CALLS.map(|(name, parameters)| import(name, &format!("(param {parameters}) (result i32)")));
    let text = format!("(module {} {})", calls.concat(), import("proc_exit", "(param i32)"));
    wat::parse_str(text).expect("a module of imports")
});

/// The module that an input stands for, unless it is too short for one.
pub(crate) fn module(input: &[u8]) -> Option<Vec<u8>> {
    let mut input = Unstructured::new(input);
    let config = config(&mut input).ok()?;
    Module::new(config, &mut input).ok().map(|module| module.to_bytes())
}

/// What is on is what a node's engine has on, and the maxima are those of the look at a module, where it has some.
fn config(input: &mut Unstructured<'_>) -> Result<Config> {
    let pages = input.int_in_range(0..=PAGES_MAX)?;
    let most =
        if input.arbitrary()? { (pages + input.int_in_range(0..=PAGES_MAX)?).to_string() } else { String::new() };
    let exports = format!("(module (memory (export \"memory\") {pages} {most}) (func (export \"_start\")))");
    Ok(Config {
        available_imports: Some(IMPORTS.clone()),
        exports: Some(wat::parse_str(exports).expect("a module of exports")),
        // Where nothing traps, a guest gets further.
        disallow_traps: input.arbitrary()?,
        allow_floats: input.arbitrary()?,
        max_instructions: 400,
        // Besides the one that is exported.
        max_memories: 0,
        max_tables: 4,
        max_table_elements: 200_000,
        gc_enabled: false,
        memory64_enabled: false,
        threads_enabled: false,
        relaxed_simd_enabled: false,
        wide_arithmetic_enabled: false,
        custom_page_sizes_enabled: false,
        compact_imports_enabled: false,
        ..Config::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn nearly_every_input_is_a_module_that_would_be_taken() {
        let (mut taken, mut calling) = (0, 0);
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let input: Vec<u8> = (0..random.below(4_000)).map(|_| random.byte()).collect();
            let Some(wasm) = module(&input) else { continue };
            match weir_module::validate(&wasm, &weir_module::Limits::default()) {
                Ok(report) => {
                    taken += 1;
                    calling += usize::from(!report.imports.is_empty());
                }
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
        assert!(taken > 250 && calling > 200, "{taken} of 300 are taken, {calling} of them call the host");
    }
}
