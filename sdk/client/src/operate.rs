use weir_api::{
    ChangeRequest, ClusterInfo, DispatchRequest, DrainRequest, GcReport, GcRequest, Job, JobDiff, JobGraph, JobPlan,
    JobVersion, LabelsRequest, NamespaceInfo, Node, Page, PageQuery, Quota, QuotaLimits, RevertRequest, Run,
    ScaleRequest, SnapshotQuery, TaskWhy, Versioned, routes,
    spec::{Document, limits},
};

use crate::{Client, Download, Error, Result, transport::Call};

/// What came of a function that was called.
#[derive(Clone, Debug, PartialEq)]
pub enum Dispatched {
    /// It succeeded.
    Done {
        /// The run.
        run: String,
        /// Its result.
        result: Vec<u8>,
    },
    /// It goes on; reading its run waits for it.
    Going(Box<Run>),
}

impl Client {
    /// Lists the versions of a job, newest first.
    ///
    /// # Errors
    /// Fails with `not_found` when there is no such job.
    pub async fn job_versions(&self, namespace: &str, job: &str, page: &PageQuery) -> Result<Page<JobVersion>> {
        self.object(Call::get(routes::job_versions(namespace, job)).query(page)).await
    }

    /// Tells what differs between two versions of a job; by default, the latest and the one before.
    ///
    /// # Errors
    /// Fails with `not_found` when there is no such job or version.
    pub async fn job_diff(&self, namespace: &str, job: &str, from: Option<u32>, to: Option<u32>) -> Result<JobDiff> {
        let query = serde_json::json!({ "from": from, "to": to });
        self.object(Call::get(routes::job_diff(namespace, job)).query(&query)).await
    }

    /// Tells what putting a spec and starting a run of it would do; nothing is changed.
    ///
    /// # Errors
    /// Fails with `invalid_spec`.
    pub async fn plan_job(&self, namespace: &str, spec: &Document) -> Result<JobPlan> {
        self.object(Call::post(routes::job_plan(namespace, &spec.job.name)).json(spec)?.repeatable()).await
    }

    /// Makes an earlier version of a job its latest one, if that has the expected version.
    ///
    /// # Errors
    /// Fails with `not_found` or `conflict`.
    pub async fn revert_job(
        &self,
        namespace: &str,
        job: &str,
        request: &RevertRequest,
        expected_version: Option<u32>,
    ) -> Result<JobVersion> {
        let mut call = Call::post(routes::job_revert(namespace, job)).json(request)?;
        if let Some(version) = expected_version {
            call = call.header(routes::IF_MATCH_HEADER, format!("\"{version}\""));
        }
        self.object(call).await
    }

    /// Keeps another number of tasks of a service running.
    ///
    /// # Errors
    /// Fails with `not_found`, `conflict` or `quota_exceeded`.
    pub async fn scale_job(&self, namespace: &str, job: &str, request: &ScaleRequest) -> Result<Job> {
        self.object(Call::post(routes::job_scale(namespace, job)).json(request)?.repeatable()).await
    }

    /// Starts none of a job's tasks and does not fire it.
    ///
    /// # Errors
    /// Fails with `not_found` when there is no such job.
    pub async fn pause_job(&self, namespace: &str, job: &str, request: &ChangeRequest) -> Result<Job> {
        self.object(Call::post(routes::job_pause(namespace, job)).json(request)?.repeatable()).await
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// Fails with `not_found` when there is no such job.
    pub async fn resume_job(&self, namespace: &str, job: &str, request: &ChangeRequest) -> Result<Job> {
        self.object(Call::post(routes::job_resume(namespace, job)).json(request)?.repeatable()).await
    }

    /// Starts the tasks of a service or system job anew, a few at a time.
    ///
    /// # Errors
    /// Fails with `not_found` or `conflict`.
    pub async fn restart_job(&self, namespace: &str, job: &str, request: &ChangeRequest) -> Result<Job> {
        self.object(Call::post(routes::job_restart(namespace, job)).json(request)?).await
    }

    /// Calls a function and waits for its result, up to a minute.
    ///
    /// # Errors
    /// Fails with `not_found`, `conflict`, `back_pressure` or, when the function fails, `task_failed`.
    pub async fn dispatch(
        &self,
        namespace: &str,
        job: &str,
        request: &DispatchRequest,
        idempotency_key: Option<&str>,
        wait: Option<&str>,
    ) -> Result<Dispatched> {
        let call = Call::post(routes::job_dispatch(namespace, job)).json(request)?;
        let call = call.query(&serde_json::json!({ "wait": wait })).idempotency_key(idempotency_key);
        let len_max = usize::try_from(*limits::OUTPUT_BYTES.end()).unwrap_or(usize::MAX);
        let (address, whole) = self.whole(call, len_max).await?;
        if whole.status != reqwest::StatusCode::ACCEPTED {
            let run = whole.headers.get(routes::RUN_HEADER).and_then(|run| run.to_str().ok()).unwrap_or("");
            return Ok(Dispatched::Done { run: run.to_owned(), result: whole.body });
        }
        let run: Versioned<Run> = serde_json::from_slice(&whole.body)
            .map_err(|error| Error::Answer { address, reason: format!("not a run: {error}") })?;
        Ok(Dispatched::Going(Box::new(run.object)))
    }

    /// Reads the jobs of a namespace and what they wait for.
    ///
    /// # Errors
    /// Fails when the cluster does.
    pub async fn job_graph(&self, namespace: &str) -> Result<JobGraph> {
        self.object(Call::get(routes::jobs_graph(namespace))).await
    }

    /// Explains why a task is pending, or what it does instead.
    ///
    /// # Errors
    /// Fails with `not_found` when there is none.
    pub async fn task_why(&self, namespace: &str, run: &str, index: u32) -> Result<TaskWhy> {
        self.object(Call::get(routes::task_why(namespace, run, &index.to_string()))).await
    }

    /// Gives a node no new work.
    ///
    /// # Errors
    /// Fails with `not_found` when there is none.
    pub async fn cordon_node(&self, node: &str, request: &ChangeRequest) -> Result<Node> {
        self.object(Call::post(routes::node_cordon(node)).json(request)?.repeatable()).await
    }

    /// Gives a node new work again; ends a drain.
    ///
    /// # Errors
    /// Fails with `not_found` when there is none.
    pub async fn uncordon_node(&self, node: &str, request: &ChangeRequest) -> Result<Node> {
        self.object(Call::post(routes::node_uncordon(node)).json(request)?.repeatable()).await
    }

    /// Cordons a node and empties it.
    ///
    /// # Errors
    /// Fails with `not_found` when there is none.
    pub async fn drain_node(&self, node: &str, request: &DrainRequest) -> Result<Node> {
        self.object(Call::post(routes::node_drain(node)).json(request)?).await
    }

    /// Sets and removes labels of a node.
    ///
    /// # Errors
    /// Fails with `not_found` or `invalid_request`.
    pub async fn label_node(&self, node: &str, request: &LabelsRequest) -> Result<Node> {
        self.object(Call::post(routes::node_labels(node)).json(request)?.repeatable()).await
    }

    /// Forgets a node that is not connected.
    ///
    /// # Errors
    /// Fails with `not_found` or, while it is connected, `conflict`.
    pub async fn remove_node(&self, node: &str) -> Result<()> {
        self.send(Call::delete(routes::node(node))).await.map(drop)
    }

    /// Lists the namespaces.
    ///
    /// # Errors
    /// Fails when the cluster does.
    pub async fn namespaces(&self, page: &PageQuery) -> Result<Page<NamespaceInfo>> {
        self.object(Call::get(routes::namespaces()).query(page)).await
    }

    /// Starts the work of vanished nodes elsewhere although many vanished at once.
    ///
    /// # Errors
    /// Fails when the cluster does.
    pub async fn release_brake(&self, request: &ChangeRequest) -> Result<ClusterInfo> {
        self.object(Call::post(routes::release_brake()).json(request)?.repeatable()).await
    }

    /// Deletes objects of the blob store that nothing needs any more.
    ///
    /// # Errors
    /// Fails with `invalid_request`, or with `back_pressure` shortly after an election.
    pub async fn collect_garbage(&self, request: &GcRequest) -> Result<GcReport> {
        self.object(Call::post(routes::gc()).json(request)?.repeatable()).await
    }

    /// Takes a snapshot of the whole cluster.
    ///
    /// # Errors
    /// Fails with `back_pressure` while another one is taken or the blob store is cleaned.
    pub async fn snapshot(&self, query: &SnapshotQuery) -> Result<Download> {
        let (address, response) = self.send(Call::get(routes::snapshot()).query(query)).await?;
        Ok(Download::new(address, response))
    }

    /// Lists the quotas, with what is used of them.
    ///
    /// # Errors
    /// Fails when the cluster does.
    pub async fn quotas(&self, page: &PageQuery) -> Result<Page<Quota>> {
        self.object(Call::get(routes::quotas()).query(page)).await
    }

    /// Sets the quota and weight of a namespace.
    ///
    /// # Errors
    /// Fails with `invalid_request`.
    pub async fn set_quota(&self, namespace: &str, limits: &QuotaLimits) -> Result<Quota> {
        self.object(Call::put(routes::quota(namespace)).json(limits)?).await
    }

    /// Removes the quota and weight of a namespace.
    ///
    /// # Errors
    /// Fails with `not_found` when it has none.
    pub async fn remove_quota(&self, namespace: &str) -> Result<()> {
        self.send(Call::delete(routes::quota(namespace))).await.map(drop)
    }
}
