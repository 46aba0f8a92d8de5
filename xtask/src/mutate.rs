//! `cargo xtask mutate`: puts named faults into a copy of the code, and requires the simulator, or tests with real
//! processes, to find each of them.

mod catalogue;
mod copy;
mod processes;
mod suite;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::process::{cargo, print, program, run, wait_for};
use crate::workspace;
use catalogue::Mutation;
use copy::Copy;
use processes::Processes;
use suite::Suite;

/// How long the simulator may take with one fault.
const SIMULATION_MAX: Duration = Duration::from_secs(600);

/// Which faults, and how hard to look for them.
pub(crate) struct Search<'a> {
    /// Only the fault of this name.
    pub(crate) only: Option<&'a str>,
    /// Only those that continuous integration looks for.
    pub(crate) ci: bool,
    /// Those that tests with real processes have to find, in place of those for the simulator.
    pub(crate) processes: bool,
    /// Seeds for each fault.
    pub(crate) seeds: u64,
}

/// Builds the simulator with each fault and runs it until a property breaks.
///
/// # Errors
/// When a fault goes unnoticed or is seen as something else, its place in the code is not found, or the code without
/// faults breaks a property.
pub(crate) fn mutate(search: &Search<'_>) -> Result<()> {
    let root = workspace::root()?;
    let mut mutations = catalogue::read(&root)?;
    let folder = workspace::target_folder(&root)?.join("mutate");
    // Also those that are not looked for: their places must not move away unnoticed.
    for mutation in &mutations {
        mutation
            .changed(|file| Ok(std::fs::read_to_string(root.join(file))?))
            .with_context(|| mutation.name.clone())?;
    }
    mutations.retain(|mutation| search.only.is_none_or(|name| mutation.name == name));
    mutations.retain(|mutation| !search.ci || mutation.ci);
    mutations.retain(|mutation| (mutation.suite != Suite::Simulator) == search.processes);
    ensure!(!mutations.is_empty(), "there is no such fault");
    if search.processes {
        return with_processes(&root, &folder.join("processes"), &mutations);
    }
    let copy = Copy::new(&root, &folder)?;
    let bench = Bench { source: copy.folder().to_owned(), target: folder.join("target"), seeds: search.seeds };
    if let Some(found) = bench.simulate().context("the code without faults")? {
        bail!("the code without faults breaks a property: {found}");
    }
    let failed = try_all(&mutations, |mutation| {
        let found = with_fault(&copy, mutation, || bench.simulate())?.context("no property breaks")?;
        let code = code_of(&found).context("the simulator named no property")?;
        ensure!(mutation.expect.iter().any(|expected| expected == code), "seen as {found}");
        Ok(found)
    });
    print(format!("{} faults, {} found within {} seeds", mutations.len(), mutations.len() - failed.len(), bench.seeds));
    ensure!(failed.is_empty(), "not found: {}", failed.join(", "));
    Ok(())
}

/// Builds the programs and tests with each fault and runs those that have to find it.
fn with_processes(root: &Path, folder: &Path, mutations: &[Mutation]) -> Result<()> {
    let copy = Copy::whole(root, folder)?;
    let (source, target) = (copy.folder().to_owned(), folder.join("target"));
    let processes = Processes { source, target, guests: workspace::guest_target_folder(root)? };
    let mut suites: Vec<&Suite> = Vec::new();
    for mutation in mutations {
        if suites.contains(&&mutation.suite) {
            continue;
        }
        suites.push(&mutation.suite);
        if let Some(found) = processes.look(&mutation.suite).context("the code without faults")? {
            bail!("the code without faults fails in {:?}: {found}", mutation.suite);
        }
    }
    let failed = try_all(mutations, |mutation| {
        with_fault(&copy, mutation, || processes.look(&mutation.suite))?.context("no test fails")
    });
    print(format!("{} faults of processes, {} found", mutations.len(), mutations.len() - failed.len()));
    ensure!(failed.is_empty(), "not found: {}", failed.join(", "));
    Ok(())
}

/// Tries each fault and says what came of it; gives the names of those that were not found.
fn try_all(mutations: &[Mutation], mut look: impl FnMut(&Mutation) -> Result<String>) -> Vec<&str> {
    let mut failed = Vec::new();
    for mutation in mutations {
        let begun = Instant::now();
        let verdict = look(mutation);
        let (name, seconds) = (&mutation.name, begun.elapsed().as_secs());
        match verdict {
            Ok(found) => print(format!("{name}: {found} ({seconds} s)")),
            Err(error) => {
                print(format!("{name}: NOT FOUND: {error:#} ({seconds} s)"));
                failed.push(name.as_str());
            }
        }
    }
    failed
}

/// Puts a fault in, does something, and takes it out again.
fn with_fault<T>(copy: &Copy, mutation: &Mutation, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let files = mutation.applied(copy)?;
    for (file, text) in &files {
        copy.write(file, text)?;
    }
    let done = act();
    for (file, _) in &files {
        copy.restore(file)?;
    }
    done
}

/// Where the copy is built and run.
struct Bench {
    source: PathBuf,
    target: PathBuf,
    seeds: u64,
}

impl Bench {
    /// Builds the copy and runs its simulator; gives what it found.
    fn simulate(&self) -> Result<Option<String>> {
        // Without debug assertions, so that the properties have to find what the cores would check for themselves.
        run(cargo()
            .current_dir(&self.source)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_INCREMENTAL", "1")
            .env("RUSTFLAGS", "-Awarnings")
            .args(["build", "--quiet", "--offline", "--package", "weir-sim", "--bin", "weir-sim"])
            .args(["--config", "profile.dev.debug-assertions=false", "--config", "profile.dev.debug=false"]))?;
        self.explore(&self.target.join("debug/weir-sim"))
    }

    fn explore(&self, simulator: &Path) -> Result<Option<String>> {
        let output = self.target.join("found.txt");
        let file = std::fs::File::create(&output).context("cannot write what the simulator finds")?;
        let mut child = program(simulator)
            .args(["--seeds", &format!("0..{}", self.seeds), "--first"])
            .stdout(file)
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the simulator")?;
        if wait_for(&mut child, SIMULATION_MAX)?.is_none() {
            child.kill().context("cannot end the simulator")?;
            child.wait().context("cannot wait for the simulator")?;
            bail!("the simulator took longer than {} s", SIMULATION_MAX.as_secs());
        }
        let text = std::fs::read_to_string(&output).context("cannot read what the simulator found")?;
        let found = text.lines().find(|line| line.starts_with("seed "));
        if found.is_none() {
            ensure!(text.contains("\"worlds\""), "the simulator ended early");
        }
        Ok(found.map(str::to_owned))
    }
}

/// The property in a line such as `seed 3: S4 Accepted broken at …`.
fn code_of(line: &str) -> Option<&str> {
    line.split_once(": ")?.1.split_whitespace().next()
}

/// Checks that each fault has its place in the code; as one of the tests here does.
///
/// # Errors
/// Names the fault whose place is gone.
#[cfg(test)]
fn check(root: &Path) -> Result<()> {
    for mutation in catalogue::read(root)? {
        mutation
            .changed(|file| Ok(std::fs::read_to_string(root.join(file))?))
            .with_context(|| mutation.name.clone())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_place_in_the_code() {
        check(&workspace::root().unwrap()).unwrap();
    }

    #[test]
    fn at_least_twelve_faults_are_known_and_some_run_in_ci() {
        let mutations = catalogue::read(&workspace::root().unwrap()).unwrap();
        assert!(mutations.len() >= 12, "{}", mutations.len());
        assert!(mutations.iter().any(|mutation| mutation.ci));
    }

    #[test]
    fn the_property_is_read_from_what_the_simulator_prints() {
        assert_eq!(code_of("seed 3: S4 Accepted broken at 1.0 s: why"), Some("S4"));
        assert_eq!(code_of("nonsense"), None);
    }
}
