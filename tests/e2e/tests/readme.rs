//! The commands in the READMEs do what they say.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use weir_e2e::{Answer, Cluster, Options, binaries};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The lines of all `sh` blocks of a text.
fn commands(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut commands = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside && !line.trim().is_empty() {
            commands.push(line.to_owned());
        }
    }
    commands
}

fn examples() -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for parent in [root().join("examples"), root().join("examples/hostile")] {
        for entry in std::fs::read_dir(&parent).with_context(|| format!("list {}", parent.display()))? {
            let readme = entry?.path().join("README.md");
            if readme.exists() {
                folders.push(readme);
            }
        }
    }
    folders.sort();
    Ok(folders)
}

/// Runs one line of a README from the root of the repository.
fn run_line(cluster: &Cluster, line: &str) -> Result<Answer> {
    let mut words = line.split_whitespace();
    ensure!(words.next() == Some("wctl"), "only wctl is run here: {line}");
    let built = std::env::var_os("WEIR_GUEST_TARGET_DIR").map(PathBuf::from);
    let arguments: Result<Vec<String>> = words
        .map(|word| match (&built, word.strip_prefix("examples/target/")) {
            (Some(built), Some(rest)) => Ok(built.join(rest).display().to_string()),
            (Some(built), None) if word.ends_with(".toml") => spec(cluster, word, built),
            (None, Some(_)) | (_, None) => Ok(word.to_owned()),
        })
        .collect();
    let mut command: Command = cluster.wctl_command(arguments?)?;
    Answer::of(command.current_dir(root()), b"")
}

/// A job spec whose module is where the guests were built.
fn spec(cluster: &Cluster, path: &str, built: &Path) -> Result<String> {
    let text = std::fs::read_to_string(root().join(path)).with_context(|| format!("read {path}"))?;
    let file = cluster.dir().join(path.replace('/', "-"));
    std::fs::write(&file, text.replace("../target", &built.display().to_string()))?;
    Ok(file.display().to_string())
}

#[test]
fn the_readmes_of_the_examples_run() {
    let run = || -> Result<()> {
        binaries::guest("wasm32-wasip2", "hello")?;
        let corpus = tempfile::tempdir()?;
        std::fs::write(corpus.path().join("text.txt"), "the weir holds the river back\n".repeat(100))?;
        let publish = vec![("corpus".to_owned(), corpus.path().to_owned())];
        let cluster = Cluster::start(&Options { executors: 1, publish, ..Options::default() })?;
        let mut lines = 0;
        for readme in examples()? {
            let hostile = readme.components().any(|part| part.as_os_str() == "hostile");
            let text = std::fs::read_to_string(&readme)?;
            for line in commands(&text) {
                let answer = run_line(&cluster, &line)?;
                let expected = if hostile { 11 } else { 0 };
                answer.expect(expected).with_context(|| format!("{}: {line}", readme.display()))?;
                lines += 1;
            }
        }
        ensure!(lines >= 8, "only {lines} commands were found");
        Ok(())
    };
    run().expect("the test passes");
}

#[test]
fn the_first_readme_has_the_two_set_up_commands_and_nothing_before_them() {
    let text = std::fs::read_to_string(root().join("README.md")).expect("the README");
    assert_eq!(commands(&text), ["cargo xtask demo", "cargo xtask test"]);
}
