//! The README's commands, which the tests run so that they cannot rot.

use super::{File, Finding, text_of};

const README: &str = "README.md";

/// The two commands that a newcomer types; they run the tests, so the tests do not run them.
const START_COMMANDS: [&str; 2] = ["cargo xtask demo", "cargo xtask test"];

/// What a test that runs the other commands asks this tool for.
const EXTRACTION: &str = "readme-commands";

/// The commands in the README's ```` ```sh ```` blocks, without the two start commands.
pub(crate) fn commands(readme: &str) -> Vec<&str> {
    all_commands(readme).filter(|command| !START_COMMANDS.contains(command)).collect()
}

/// Refuses a README that does not begin with the start commands, or has commands that no test runs.
pub(super) fn rules(files: &[File]) -> Vec<Finding> {
    let text = text_of(files, README).unwrap_or_default();
    let mut findings = Vec::new();
    if !all_commands(text).take(START_COMMANDS.len()).eq(START_COMMANDS) {
        findings.push(broken(format!("must begin with the commands `{}`", START_COMMANDS.join("` and `"))));
    }
    let others = commands(text);
    let tested = files.iter().any(|file| file.path.starts_with("tests/") && file.text.contains(EXTRACTION));
    if let (Some(first), false) = (others.first(), tested) {
        findings.push(broken(format!(
            "no test runs `{first}`: one in tests/ must run what `cargo xtask {EXTRACTION}` prints"
        )));
    }
    findings
}

fn all_commands(readme: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    readme.lines().map(str::trim).filter(move |line| {
        if line.starts_with("```") {
            inside = *line == "```sh";
            return false;
        }
        inside && !line.is_empty() && !line.starts_with('#')
    })
}

fn broken(what: String) -> Finding {
    Finding { rule: "readme", place: README.to_owned(), what }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    const GOOD: &str =
        "# A\n```sh\ncargo xtask demo\n```\n```text\nnot this\n```\n```sh\n# why\ncargo xtask test\n```\n";

    #[test]
    fn commands_are_taken_from_shell_blocks_only() {
        assert_eq!(commands(GOOD), Vec::<&str>::new());
        assert_eq!(commands(&format!("{GOOD}\n```sh\nwctl status\n```\n")), ["wctl status"]);
    }

    #[test]
    fn something_before_the_start_commands_is_refused() {
        assert_eq!(rules(&[sample(README, GOOD)]), []);
        assert_eq!(rules(&[sample(README, &format!("```sh\nmake\n```\n{GOOD}"))]).len(), 2);
        assert_eq!(rules(&[]).len(), 1);
    }

    #[test]
    fn a_command_that_no_test_runs_is_refused() {
        let readme = format!("{GOOD}```sh\nwctl status\n```\n");
        assert_eq!(rules(&[sample(README, &readme)]).len(), 1);
        let test = sample("tests/e2e/tests/readme.rs", &format!("cargo().arg(\"{EXTRACTION}\")"));
        assert_eq!(rules(&[sample(README, &readme), test]), []);
    }
}
