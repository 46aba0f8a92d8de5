//! The process that compiles one module: the module is its stdin, the artefact its stdout.

use std::{
    fs,
    io::{self, Read, Write},
    process::ExitCode,
};

use rustix::process::Resource;
use weir_wire::limits::{MESSAGE_LEN_MAX, MODULE_LEN_MAX};

use super::compiler;
use crate::{
    confine, engine,
    walls::{self, Purpose},
};

/// Exit code of a process whose stderr says why the module cannot be run.
pub(super) const REFUSED: u8 = 10;
/// Exit code of a process that was denied memory.
pub(super) const NO_MEMORY: u8 = 11;
/// Exit code of a process that cannot work on this machine, as its stderr says.
pub(super) const CANNOT_WORK: u8 = 12;
/// Bytes of an artefact: four times the largest module, which is about what native code comes to.
pub(super) const ARTEFACT_LEN_MAX: u64 = 4 * MODULE_LEN_MAX;
/// Open files: the three streams and what the program opened before.
const OPEN_FILES_MAX: u64 = 16;

/// How the child is told its limits.
pub(super) fn arguments(memory: u64, cpu_s: u64) -> Vec<String> {
    vec![memory.to_string(), cpu_s.to_string()]
}

/// Compiles the module; on success stderr says which walls the kernel could not give. The limits are in `args`.
pub(crate) fn main(args: &[String]) -> ExitCode {
    let (code, message) = match confined(args) {
        Ok(missing) => match compile() {
            (0, _) => (0, missing.join("; ")),
            failed => failed,
        },
        Err(error) => (CANNOT_WORK, format!("the compiling process cannot set its limits: {error}")),
    };
    // The parent goes by the code if the message is lost.
    let _lost = io::stderr().write_all(&message.as_bytes()[..message.floor_char_boundary(MESSAGE_LEN_MAX)]);
    ExitCode::from(code)
}

fn confined(args: &[String]) -> io::Result<Vec<String>> {
    let [memory, cpu_s] = args else { return Err(io::Error::other("they are not given")) };
    let number = |text: &String| text.parse::<u64>().map_err(io::Error::other);
    confine::give_up_privileges()?;
    // An allocator may have reserved a gigabyte before anything began, which is no part of what compiling takes.
    confine::limit(Resource::As, number(memory)?.saturating_add(address_space()?))?;
    confine::limit(Resource::Cpu, number(cpu_s)?)?;
    confine::limit(Resource::Fsize, ARTEFACT_LEN_MAX)?;
    confine::limit(Resource::Nofile, OPEN_FILES_MAX)?;
    // Whatever fills the machine's memory, this is what should go first; without /proc the kernel's own choice stands.
    let _stands = fs::write("/proc/self/oom_score_adj", "1000");
    walls::confine(&Purpose::Compile)
}

/// The address space of this process, bytes.
fn address_space() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.and_then(|kib| kib.checked_mul(1024)).ok_or_else(|| io::Error::other("the address space is not known"))
}

fn compile() -> (u8, String) {
    let mut wasm = Vec::new();
    if let Err(error) = io::stdin().lock().take(MODULE_LEN_MAX).read_to_end(&mut wasm) {
        let code = if error.kind() == io::ErrorKind::OutOfMemory { NO_MEMORY } else { CANNOT_WORK };
        return (code, format!("the module cannot be read: {error}"));
    }
    let engine = match engine::compiling() {
        Ok(engine) => engine,
        Err(error) => return failed(CANNOT_WORK, format!("the compiler cannot be set up: {error:#}")),
    };
    let artefact = match compiler::compile(&engine, &wasm) {
        Ok(artefact) => artefact,
        Err(why) => return failed(REFUSED, why),
    };
    match io::stdout().lock().write_all(&artefact) {
        Ok(()) => (0, String::new()),
        Err(error) => (CANNOT_WORK, format!("the compiled module cannot be written: {error}")),
    }
}

/// A code and its message, unless the message says that memory was denied.
fn failed(code: u8, message: String) -> (u8, String) {
    // Only the text is left of the error by then.
    let code = if message.contains("Cannot allocate memory") { NO_MEMORY } else { code };
    (code, message)
}
