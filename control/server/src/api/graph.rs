//! What the jobs of a namespace wait for.

use axum::{extract::State, response::Response};
use weir_api::{GraphEdge, GraphJob, JobGraph, Problem, Versioned, routes};
use weir_scheduler::Scheduler;
use weir_wire::id::Namespace;

use super::{
    Api,
    asked::{self, Segments},
    refusal::Refusal,
    reply::Reply,
    show,
};

/// Most jobs in a graph: a person cannot read more, and the scheduler waits meanwhile.
const GRAPH_JOBS_MAX: usize = 10_000;

/// Reads the jobs of a namespace and what they wait for.
#[utoipa::path(get, path = routes::JOBS_GRAPH, tag = "jobs", params(("ns" = String, Path, description = "The namespace")),
    responses((status = 200, body = Versioned<JobGraph>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn read(State(api): State<Api>, Segments(ns): Segments<String>) -> Result<Response, Refusal> {
    let namespace = asked::namespace(&ns)?;
    let (revision, graph) = api.ask(move |scheduler, _| (scheduler.revision(), graph(scheduler, &namespace))).await?;
    let graph = graph.ok_or_else(|| Refusal::invalid(format!("there are more than {GRAPH_JOBS_MAX} jobs")))?;
    Ok(Reply::object(graph)?.revision(revision).done())
}

fn graph(scheduler: &Scheduler, namespace: &Namespace) -> Option<JobGraph> {
    let records = scheduler.jobs(namespace);
    if records.len() > GRAPH_JOBS_MAX {
        return None;
    }
    let mut graph = JobGraph { namespace: namespace.to_string(), ..JobGraph::default() };
    for record in records {
        let name = record.job.to_string();
        for after in &record.after {
            graph.edges.push(GraphEdge {
                from: after.job.to_string(),
                to: name.clone(),
                when: after.condition.as_str().to_owned(),
                input: record.input_from.as_ref() == Some(&after.job),
            });
        }
        let last = show::job::last_run(scheduler, record);
        let last_run_state = last.as_ref().map(show::run::state);
        graph.jobs.push(GraphJob { name, kind: record.kind.as_str().to_owned(), last_run_state });
    }
    Some(graph)
}
