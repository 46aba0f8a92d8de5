use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The jobs of a namespace and what they wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobGraph {
    /// The namespace.
    pub namespace: String,
    /// The jobs, by name.
    pub jobs: Vec<GraphJob>,
    /// What they wait for.
    pub edges: Vec<GraphEdge>,
}

/// A job in a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GraphJob {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The state of its latest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_state: Option<super::RunState>,
}

/// One job that waits for another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GraphEdge {
    /// What has to end first.
    pub from: String,
    /// What waits.
    pub to: String,
    /// How the first has to end: `success`, `failure` or `any`.
    pub when: String,
    /// Its results are the input.
    #[serde(default)]
    pub input: bool,
}

impl JobGraph {
    /// Writes the graph in the DOT language of Graphviz.
    #[must_use]
    pub fn to_dot(&self) -> String {
        let mut dot = format!("digraph {} {{\n  rankdir = LR;\n", quoted(&self.namespace));
        for job in &self.jobs {
            let label = match job.last_run_state {
                Some(state) => format!("{}\\n{}, {state}", job.name, job.kind),
                None => format!("{}\\n{}", job.name, job.kind),
            };
            // Names of jobs, kinds and states have no characters that a quoted string would not take.
            write(&mut dot, format_args!("  {} [label = \"{label}\"];\n", quoted(&job.name)));
        }
        for edge in &self.edges {
            let style = if edge.input { ", style = bold" } else { "" };
            let ends = (quoted(&edge.from), quoted(&edge.to));
            write(&mut dot, format_args!("  {} -> {} [label = \"{}\"{style}];\n", ends.0, ends.1, edge.when));
        }
        dot.push_str("}\n");
        dot
    }
}

fn write(dot: &mut String, line: std::fmt::Arguments<'_>) {
    dot.write_fmt(line).expect("writing to a string cannot fail");
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_is_written_as_dot() {
        let job = |name: &str| GraphJob { name: name.to_owned(), kind: "batch".to_owned(), last_run_state: None };
        let edge = GraphEdge { from: "a".to_owned(), to: "b".to_owned(), when: "success".to_owned(), input: true };
        let graph = JobGraph { namespace: "n".to_owned(), jobs: vec![job("a"), job("b")], edges: vec![edge] };
        let expected = "digraph \"n\" {\n  rankdir = LR;\n  \"a\" [label = \"a\\nbatch\"];\n  \"b\" [label = \"b\\nbatch\"];\n  \
                        \"a\" -> \"b\" [label = \"success\", style = bold];\n}\n";
        assert_eq!(graph.to_dot(), expected);
    }
}
