use weir_api::{
    BatchRequest, BatchResult, Page, PageQuery, Run, RunQuery, RunRequest, StopRequest, TaskResult, WhyPending, routes,
};

use crate::{Client, Lines, Result, transport::Call};

impl Client {
    /// Starts a run of a job.
    ///
    /// # Errors
    /// Fails with `not_found` (job or blob), `back_pressure` or `idempotency_mismatch`, among others.
    pub async fn start_run(&self, namespace: &str, request: &RunRequest, idempotency_key: Option<&str>) -> Result<Run> {
        self.object(Call::post(routes::runs(namespace)).json(request)?.idempotency_key(idempotency_key)).await
    }

    /// Submits many runs in one request; each succeeds or fails on its own.
    ///
    /// # Errors
    /// Fails when the request as a whole does.
    pub async fn start_runs(
        &self,
        namespace: &str,
        request: &BatchRequest,
        idempotency_key: Option<&str>,
    ) -> Result<BatchResult> {
        self.object(Call::post(routes::runs_batch(namespace)).json(request)?.idempotency_key(idempotency_key)).await
    }

    /// Reads a run; blocks when the query says so.
    ///
    /// # Errors
    /// Fails with `not_found` when there is none.
    pub async fn run(&self, namespace: &str, run: &str, query: &RunQuery) -> Result<Run> {
        self.object(Call::get(routes::run(namespace, run)).query(query)).await
    }

    /// Lists the runs of a namespace, newest first.
    ///
    /// # Errors
    /// Fails when the cluster does.
    pub async fn runs(&self, namespace: &str, page: &PageQuery) -> Result<Page<Run>> {
        self.object(Call::get(routes::runs(namespace)).query(page)).await
    }

    /// Stops a run: what is pending is not started, what executes is ended.
    ///
    /// # Errors
    /// Fails with `not_found` when there is none.
    pub async fn stop_run(&self, namespace: &str, run: &str, request: &StopRequest) -> Result<Run> {
        self.object(Call::post(routes::run_stop(namespace, run)).json(request)?).await
    }

    /// Explains why tasks of a run are pending.
    ///
    /// # Errors
    /// Fails with `not_found` when there is no such run.
    pub async fn why(&self, namespace: &str, run: &str) -> Result<WhyPending> {
        self.object(Call::get(routes::run_why(namespace, run))).await
    }

    /// Opens the results of a run's ended tasks, in no order.
    ///
    /// # Errors
    /// Fails with `not_found` when there is no such run.
    pub async fn run_results(&self, namespace: &str, run: &str) -> Result<Lines<TaskResult>> {
        let (address, response) = self.send(Call::get(routes::run_results(namespace, run))).await?;
        Ok(Lines::new(address, response))
    }
}
