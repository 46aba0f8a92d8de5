//! Paths and headers, written once for server and client.
//!
//! The constants are templates in the syntax of axum and OpenAPI; the functions fill them and escape what they fill in.

use std::fmt::Write as _;

/// The store revision that an answer reflects.
pub const REVISION_HEADER: &str = "x-weir-revision";
/// Makes a write repeatable: the same key and request give the first answer again. At most 128 bytes.
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";
/// The version of a job that a write expects, as a quoted number; `"0"` means that the job must not exist.
pub const IF_MATCH_HEADER: &str = "if-match";
/// The run behind an answer that is not an object, such as the result of a function.
pub const RUN_HEADER: &str = "x-weir-run";
/// The media type of errors.
pub const PROBLEM_TYPE: &str = "application/problem+json";
/// The media type of logs and of the results of a run.
pub const NDJSON_TYPE: &str = "application/x-ndjson";
/// The port of the HTTP API.
pub const HTTP_PORT: u16 = 4640;
/// The UDP port of the link between control plane and executors.
pub const LINK_PORT: u16 = 4641;
/// The namespace when none is named.
pub const NAMESPACE_DEFAULT: &str = "default";

macro_rules! routes {
    ($($(#[$doc:meta])+ $constant:ident, $builder:ident($($arg:ident),*) = $template:literal;)+) => {
        $($(#[$doc])+ pub const $constant: &str = $template;)+
        $($(#[$doc])+ pub fn $builder($($arg: &str),*) -> String {
            fill($template, &[$((stringify!($arg), $arg)),*])
        })+
        /// Every path of the API.
        pub const TEMPLATES: &[&str] = &[$($template),+];
    };
}

routes! {
    /// `GET`: the modules.
    MODULES, modules() = "/v1/modules";
    /// `PUT`: stores a module (create-only). `GET`: what it is.
    MODULE, module(digest) = "/v1/modules/{digest}";
    /// `PUT`: stores a payload or items file (create-only).
    BLOB, blob(digest) = "/v1/blobs/{digest}";
    /// `GET`: the jobs of a namespace.
    JOBS, jobs(ns) = "/v1/namespaces/{ns}/jobs";
    /// `PUT`: creates or updates a job from its spec. `GET`: its latest version, or `?version=`.
    JOB, job(ns, job) = "/v1/namespaces/{ns}/jobs/{job}";
    /// `GET`: the jobs of a namespace and what they wait for.
    JOBS_GRAPH, jobs_graph(ns) = "/v1/namespaces/{ns}/jobs:graph";
    /// `GET`: the versions of a job, newest first.
    JOB_VERSIONS, job_versions(ns, job) = "/v1/namespaces/{ns}/jobs/{job}/versions";
    /// `GET`: what differs between two versions of a job.
    JOB_DIFF, job_diff(ns, job) = "/v1/namespaces/{ns}/jobs/{job}/diff";
    /// `POST`: what putting a spec would change and where its tasks would go.
    JOB_PLAN, job_plan(ns, job) = "/v1/namespaces/{ns}/jobs/{job}/plan";
    /// `POST`: makes an earlier version the latest one.
    JOB_REVERT, job_revert(ns, job) = "/v1/namespaces/{ns}/jobs/{job}/revert";
    /// `POST`: keeps another number of tasks of a service running.
    JOB_SCALE, job_scale(ns, job) = "/v1/namespaces/{ns}/jobs/{job}/scale";
    /// `POST`: starts none of a job's tasks and does not fire it.
    JOB_PAUSE, job_pause(ns, job) = "/v1/namespaces/{ns}/jobs/{job}/pause";
    /// `POST`: ends a pause.
    JOB_RESUME, job_resume(ns, job) = "/v1/namespaces/{ns}/jobs/{job}/resume";
    /// `POST`: starts the tasks of a service or system job anew, a few at a time.
    JOB_RESTART, job_restart(ns, job) = "/v1/namespaces/{ns}/jobs/{job}/restart";
    /// `POST`: calls a function and waits for its result.
    JOB_DISPATCH, job_dispatch(ns, job) = "/v1/namespaces/{ns}/jobs/{job}/dispatch";
    /// `GET`: the runs of a namespace. `POST`: starts one.
    RUNS, runs(ns) = "/v1/namespaces/{ns}/runs";
    /// `POST`: many submissions in one request.
    RUNS_BATCH, runs_batch(ns) = "/v1/namespaces/{ns}/runs:batch";
    /// `GET`: one run; may block.
    RUN, run(ns, run) = "/v1/namespaces/{ns}/runs/{run}";
    /// `POST`: stops a run.
    RUN_STOP, run_stop(ns, run) = "/v1/namespaces/{ns}/runs/{run}/stop";
    /// `GET`: why tasks of a run are pending.
    RUN_WHY, run_why(ns, run) = "/v1/namespaces/{ns}/runs/{run}/why";
    /// `GET`: the results of a run's ended tasks as NDJSON.
    RUN_RESULTS, run_results(ns, run) = "/v1/namespaces/{ns}/runs/{run}/results";
    /// `GET`: the tasks of a run.
    TASKS, tasks(ns, run) = "/v1/namespaces/{ns}/runs/{run}/tasks";
    /// `GET`: one task.
    TASK, task(ns, run, index) = "/v1/namespaces/{ns}/runs/{run}/tasks/{index}";
    /// `GET`: the bytes of a task's result.
    TASK_RESULT, task_result(ns, run, index) = "/v1/namespaces/{ns}/runs/{run}/tasks/{index}/result";
    /// `GET`: a task's log as NDJSON.
    TASK_LOGS, task_logs(ns, run, index) = "/v1/namespaces/{ns}/runs/{run}/tasks/{index}/logs";
    /// `GET`: what a running task does at this moment.
    TASK_LIVE, task_live(ns, run, index) = "/v1/namespaces/{ns}/runs/{run}/tasks/{index}/live";
    /// `GET`: where the time of a running task goes, sampled over some time.
    TASK_PROFILE, task_profile(ns, run, index) = "/v1/namespaces/{ns}/runs/{run}/tasks/{index}/profile";
    /// `GET`: why a task is pending.
    TASK_WHY, task_why(ns, run, index) = "/v1/namespaces/{ns}/runs/{run}/tasks/{index}/why";
    /// `POST`: stops a task.
    TASK_STOP, task_stop(ns, run, index) = "/v1/namespaces/{ns}/runs/{run}/tasks/{index}/stop";
    /// `GET`: the nodes.
    NODES, nodes() = "/v1/nodes";
    /// `GET`: one node. `DELETE`: forgets one that is not connected.
    NODE, node(node) = "/v1/nodes/{node}";
    /// `POST`: gives a node no new work.
    NODE_CORDON, node_cordon(node) = "/v1/nodes/{node}/cordon";
    /// `POST`: gives a node new work again; ends a drain.
    NODE_UNCORDON, node_uncordon(node) = "/v1/nodes/{node}/uncordon";
    /// `POST`: cordons a node and empties it.
    NODE_DRAIN, node_drain(node) = "/v1/nodes/{node}/drain";
    /// `POST`: sets and removes labels of a node.
    NODE_LABELS, node_labels(node) = "/v1/nodes/{node}/labels";
    /// `GET`: the namespaces.
    NAMESPACES, namespaces() = "/v1/namespaces";
    /// `GET`: the quotas.
    QUOTAS, quotas() = "/v1/quotas";
    /// `PUT`: sets the quota and weight of a namespace. `GET`: what they are. `DELETE`: removes them.
    QUOTA, quota(ns) = "/v1/quotas/{ns}";
    /// `GET`: what the cluster is and how it is doing.
    CLUSTER, cluster() = "/v1/cluster";
    /// `POST`: starts the work of vanished nodes elsewhere although many vanished at once.
    RELEASE_BRAKE, release_brake() = "/v1/cluster/release-brake";
    /// `POST`: deletes objects of the blob store that nothing needs any more.
    GC, gc() = "/v1/cluster/gc";
    /// `GET`: everything that the cluster keeps, as one file.
    SNAPSHOT, snapshot() = "/v1/cluster/snapshot";
    /// `GET`: objects by the start of their id.
    SEARCH, search() = "/v1/search";
    /// `GET`: the OpenAPI document.
    OPENAPI, openapi() = "/v1/openapi.json";
    /// `GET`: 200 while the process serves.
    HEALTH, health() = "/healthz";
    /// `GET`: 200 on the leader, 503 elsewhere.
    HEALTH_LEADER, health_leader() = "/healthz/leader";
    /// `GET`: Prometheus metrics.
    METRICS, metrics() = "/metrics";
}

fn fill(template: &str, args: &[(&str, &str)]) -> String {
    args.iter().fold(template.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), &escape(value)))
}

/// Percent-encodes everything that is not unreserved, so that no value can leave its segment; `:` is allowed there.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    let dots = value.bytes().all(|c| c == b'.');
    for byte in value.bytes() {
        let plain =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~' | b':') || (byte == b'.' && !dots);
        if plain {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_in_their_segment() {
        assert_eq!(job("default", "a/../b?c#d e"), "/v1/namespaces/default/jobs/a%2F..%2Fb%3Fc%23d%20e");
        assert_eq!(job("default", ".."), "/v1/namespaces/default/jobs/%2E%2E");
        assert_eq!(module("sha256:ab"), "/v1/modules/sha256:ab");
        assert_eq!(task_logs("n", "r", "7"), "/v1/namespaces/n/runs/r/tasks/7/logs");
    }

    #[test]
    fn templates_are_distinct() {
        let mut templates = TEMPLATES.to_vec();
        templates.sort_unstable();
        templates.dedup();
        assert_eq!(templates.len(), TEMPLATES.len());
    }
}
