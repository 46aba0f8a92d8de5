//! `cargo xtask test`: everything that must pass before a change is taken, and the count of what was skipped.

mod summary;

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process::{cargo, print, run, say};
use crate::workspace::{self, COMMAND_TARGET, GUEST_FOLDER, GUEST_TARGET};
use crate::{mutate, setup, tidy};
use summary::Summary;

/// How many tests are skipped when everything is as it should be.
const SKIPPED: &str = include_str!("../skipped.txt");

/// Names the folder with the project's programs to tests and benchmarks.
pub(crate) const PROGRAM_VARIABLE: &str = "WEIR_BIN_DIR";
/// Names the guests' target folder to tests and benchmarks.
pub(crate) const GUEST_VARIABLE: &str = "WEIR_GUEST_TARGET_DIR";
/// Names the file to which a test that cannot run appends a line `SKIPPED: <name>: <why>`.
pub(crate) const SKIP_VARIABLE: &str = "WEIR_SKIP_LOG";

/// What runs again with a newer etcd: the conformance of the store, and whole clusters.
const NEWER_ETCD: [&[&str]; 2] =
    [&["--lib", "store::tests"], &["--test", "pipeline", "--test", "etcd_security", "--test", "full_etcd"]];

/// Seeds with which the simulator looks for each fault that is put into the code.
const FAULT_SEEDS: u64 = 200;

/// Sets up, checks the tidy rules, builds, runs the tests of both workspaces, compares the number of skipped ones, and
/// puts faults into a copy of the code that the simulator has to find.
///
/// # Errors
/// When anything failed, another number of tests than the committed one was skipped, or a fault went unnoticed.
pub(crate) fn test() -> Result<()> {
    let root = workspace::root()?;
    setup::setup().context("step 1 of 6, set-up, failed")?;
    tidy::tidy().context("step 2 of 6, tidy, failed")?;
    say("test: building the guests");
    build_guests(&root).context("step 3 of 6, building the guests, failed")?;
    say("test: building the programs and the tests");
    build_host(&root).context("step 4 of 6, building the programs and the tests, failed")?;
    let skip_log = SkipLog::new(&workspace::target_folder(&root)?)?;
    let mut summary = Summary::default();
    let mut failed = Vec::new();
    for folder in [root.as_path(), &root.join(GUEST_FOLDER)] {
        say(format!("test: running the tests of {}", folder.join("Cargo.toml").display()));
        if !run_tests(folder, &root, &skip_log, &mut summary)? {
            failed.push(folder.join("Cargo.toml").display().to_string());
        }
    }
    if !with_newer_etcd(&root, &skip_log, &mut summary)? {
        failed.push("Cargo.toml, with etcd 3.5".to_owned());
    }
    summary.skips.extend(skip_log.read()?);
    if failed.is_empty() {
        say("test: looking for faults put into the code");
        let search = mutate::Search { only: None, ci: true, processes: false, seeds: FAULT_SEEDS };
        mutate::mutate(&search).context("step 6 of 6, finding faults put into the code, failed")?;
    }
    for line in report(&summary) {
        print(line);
    }
    verdict(&summary, &failed)
}

/// Compiles all guests to components, and those that are plain commands to core modules as well.
///
/// # Errors
/// When one does not compile.
pub(crate) fn build_guests(root: &Path) -> Result<()> {
    for (target, which) in [(GUEST_TARGET, &["--workspace"][..]), (COMMAND_TARGET, &["--workspace", "--bins"])] {
        let mut command = cargo();
        command.current_dir(root.join(GUEST_FOLDER)).args(["build", "--quiet", "--release", "--target", target]);
        run(command.args(which))?;
    }
    Ok(())
}

/// One build for all: the tests start the programs, so these must be there before, and with the same features.
fn build_host(root: &Path) -> Result<()> {
    run(cargo().current_dir(root).args(["build", "--workspace", "--bins", "--tests"]))
}

/// Runs the tests of one workspace; `false` when cargo says that something failed.
fn run_tests(folder: &Path, root: &Path, skip_log: &SkipLog, summary: &mut Summary) -> Result<bool> {
    let mut command = tests_of(folder, root, skip_log)?;
    stream(&mut command, summary, |line| print(line))
}

fn tests_of(folder: &Path, root: &Path, skip_log: &SkipLog) -> Result<Command> {
    let mut command = cargo();
    command
        .current_dir(folder)
        .env(PROGRAM_VARIABLE, workspace::target_folder(root)?.join("debug"))
        .env(GUEST_VARIABLE, workspace::guest_target_folder(root)?)
        .env(SKIP_VARIABLE, &skip_log.path)
        .args(["test", "--workspace", "--no-fail-fast"]);
    Ok(command)
}

/// Runs what depends on etcd again with the newer one that the set-up fetched; `false` when cargo says that something failed.
/// Every test starts the first etcd in the path.
fn with_newer_etcd(root: &Path, skip_log: &SkipLog, summary: &mut Summary) -> Result<bool> {
    let folder = setup::newer_etcd::folder(&workspace::target_folder(root)?);
    if !folder.join("etcd").is_file() {
        summary.skips.push("the tests with etcd 3.5: it cannot be fetched".to_owned());
        return Ok(true);
    }
    say("test: running the tests of the store again, with etcd 3.5");
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([folder].into_iter().chain(env::split_paths(&path))).context("the path is unusable")?;
    let mut succeeded = true;
    for which in NEWER_ETCD {
        let mut command = tests_of(root, root, skip_log)?;
        command.env("PATH", &path).args(which);
        succeeded &= stream(&mut command, summary, |line| print(line))?;
    }
    Ok(succeeded)
}

/// The file in which tests say that they did not run. What a test prints would not do: the harness hides it.
struct SkipLog {
    path: PathBuf,
}

impl SkipLog {
    fn new(folder: &Path) -> Result<Self> {
        let path = folder.join("skipped.log");
        fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path })
    }

    fn read(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        let lines = text.lines().filter(|line| !line.is_empty());
        Ok(lines.map(|line| line.strip_prefix("SKIPPED: ").unwrap_or(line).to_owned()).collect())
    }
}

fn stream(command: &mut Command, summary: &mut Summary, mut show: impl FnMut(&str)) -> Result<bool> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    if let Some(pipe) = child.stdout.take() {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).context("cannot read what the tests print")? > 0 {
            // A test may print bytes that are no text.
            let text = String::from_utf8_lossy(&line);
            if summary.take(text.trim_end()) {
                show(text.trim_end());
            }
            line.clear();
        }
    }
    Ok(child.wait().context("cannot wait for cargo")?.success())
}

/// The last lines of the run: what failed, what was skipped, and the sum.
fn report(summary: &Summary) -> Vec<String> {
    let failures = summary.failures.iter().map(|name| format!("FAILED: {name}"));
    let skips = summary.skips.iter().map(|reason| format!("SKIPPED: {reason}"));
    let sum = format!("{} passed, {} failed, {} skipped", summary.passed, summary.failed, summary.skipped());
    failures.chain(skips).chain([sum]).collect()
}

fn verdict(summary: &Summary, failed: &[String]) -> Result<()> {
    let expected = expected_skips(SKIPPED)?;
    if !failed.is_empty() || summary.failed > 0 {
        bail!("tests failed in {} (above; one that crashed or did not compile is in no count)", failed.join(" and "));
    }
    if summary.passed == 0 {
        bail!("not one test ran");
    }
    // A registry that does not answer is nothing that a change could mend: those are said and counted, and stop nobody.
    if summary.skipped() - summary.out_of_reach() != expected {
        bail!(
            "{} tests were skipped and xtask/skipped.txt says {expected}: mend the tests, or commit the new number",
            summary.skipped()
        );
    }
    Ok(())
}

fn expected_skips(committed: &str) -> Result<usize> {
    let line = committed.lines().find(|line| !line.starts_with('#')).context("xtask/skipped.txt has no number")?;
    line.trim().parse().context("xtask/skipped.txt has no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: &[&str]) -> Summary {
        let mut summary = Summary::default();
        for line in lines {
            summary.take(line);
        }
        summary
    }

    const PASSED: &str =
        "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";

    #[test]
    fn the_committed_number_is_read() {
        assert_eq!(expected_skips("# why\n3\n").unwrap(), 3);
        assert!(expected_skips("# why\n").is_err());
        assert!(expected_skips("many\n").is_err());
        expected_skips(SKIPPED).unwrap();
    }

    #[test]
    fn another_number_of_skipped_tests_is_a_failure() {
        let expected = expected_skips(SKIPPED).unwrap();
        let mut summary = after(&[PASSED]);
        summary.skips = vec!["x".to_owned(); expected];
        verdict(&summary, &[]).unwrap();
        summary.skips.push("a program: cannot be fetched: no route".to_owned());
        verdict(&summary, &[]).unwrap();
        summary.skips.push("one: too many".to_owned());
        assert!(verdict(&summary, &[]).unwrap_err().to_string().contains("skipped"));
    }

    #[test]
    fn no_tests_and_a_failed_cargo_are_failures() {
        assert!(verdict(&after(&[]), &[]).is_err());
        assert!(verdict(&after(&[PASSED]), &["Cargo.toml".to_owned()]).is_err());
    }

    #[test]
    fn what_a_program_prints_is_counted() {
        let mut summary = Summary::default();
        let script = format!("echo '{PASSED}'; exit 3");
        let mut shown = Vec::new();
        let mut command = Command::new("sh");
        let succeeded = stream(command.args(["-c", &script]), &mut summary, |line| shown.push(line.to_owned()));
        assert!(!succeeded.unwrap());
        assert_eq!(shown, [PASSED]);
        assert_eq!(report(&summary), ["2 passed, 0 failed, 0 skipped"]);
    }

    #[test]
    fn skipped_tests_are_read_from_their_file() {
        let folder = std::env::temp_dir().join(format!("weir-skips-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let log = SkipLog::new(&folder).unwrap();
        assert_eq!(log.read().unwrap(), Vec::<String>::new());
        fs::write(&log.path, "SKIPPED: a: no etcd\nSKIPPED: b: no etcd\n").unwrap();
        let summary = Summary { skips: log.read().unwrap(), ..after(&[PASSED]) };
        let last = ["SKIPPED: a: no etcd", "SKIPPED: b: no etcd", "2 passed, 0 failed, 2 skipped"];
        assert_eq!(report(&summary), last);
        fs::remove_dir_all(&folder).unwrap();
    }
}
