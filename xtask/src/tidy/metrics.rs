//! A metric that is declared but never set is a promise to operators that nobody keeps.

use super::{File, Finding};

/// The files that declare metrics, and the folder in which each must be used.
const DECLARATIONS: [(&str, &str); 2] = [
    ("control/server/src/metrics.rs", "control/server/src/"),
    ("executor/daemon/src/metrics.rs", "executor/daemon/src/"),
];

/// Refuses metrics that nothing sets; describing one is not using it.
pub(super) fn unused(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (declaring, folder) in DECLARATIONS {
        let Some(file) = files.iter().find(|file| file.path == declaring) else {
            continue;
        };
        let users: Vec<&File> = files.iter().filter(|file| file.path.starts_with(folder)).collect();
        for (number, name) in constants(&file.text) {
            let used = users.iter().any(|user| uses(&user.text, name));
            if !used {
                findings.push(Finding {
                    rule: "metrics",
                    place: format!("{declaring}:{number}"),
                    what: format!("the metric {name} is never set"),
                });
            }
        }
    }
    findings
}

fn constants(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, constant(line)?)))
}

fn constant(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("const ")?;
    let is_item = ["", "pub ", "pub(crate) ", "pub(super) "].contains(&before.trim_start());
    let (name, _) = after.split_once(':')?;
    let is_constant =
        name.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_');
    (is_item && is_constant).then_some(name)
}

fn uses(text: &str, name: &str) -> bool {
    text.lines().any(|line| constant(line) != Some(name) && !line.contains("describe_") && has_word(line, name))
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_metric_that_nothing_sets_is_refused() {
        let text = "pub(crate) const TASKS_TOTAL: &str = \"weir_tasks_total\";\n\
                    pub(crate) fn describe() {\n    describe_counter!(TASKS_TOTAL, \"Tasks\");\n}\n";
        let declared = || sample("control/server/src/metrics.rs", text);
        let findings = unused(&[declared(), sample("control/server/src/a.rs", "counter!(OTHER_TASKS_TOTAL);")]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].place, "control/server/src/metrics.rs:1");
        let used = sample("control/server/src/a.rs", "counter!(metrics::TASKS_TOTAL).increment(1);");
        assert_eq!(unused(&[declared(), used]), []);
    }
}
