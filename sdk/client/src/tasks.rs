use weir_api::{
    LogRecord, LogsQuery, Page, ProfileQuery, StopRequest, Task, TaskLive, TasksQuery, routes, spec::limits,
};

use crate::{Client, Lines, Result, transport::Call};

/// Bytes of the largest profile: the rows of its tables are some dozens of bytes each.
const PROFILE_BYTES_MAX: usize = 16 << 20;

impl Client {
    /// Lists the tasks of a run by index.
    ///
    /// # Errors
    /// Fails with `not_found` when there is no such run.
    pub async fn tasks(&self, namespace: &str, run: &str, query: &TasksQuery) -> Result<Page<Task>> {
        self.object(Call::get(routes::tasks(namespace, run)).query(query)).await
    }

    /// Reads one task.
    ///
    /// # Errors
    /// Fails with `not_found` when there is none.
    pub async fn task(&self, namespace: &str, run: &str, index: u32) -> Result<Task> {
        self.object(Call::get(routes::task(namespace, run, &index.to_string()))).await
    }

    /// Looks at what a running task does at this moment.
    ///
    /// # Errors
    /// Fails with `not_found` when there is no such task, and `conflict` when it does not execute or its node cannot say.
    pub async fn task_live(&self, namespace: &str, run: &str, index: u32) -> Result<TaskLive> {
        self.object(Call::get(routes::task_live(namespace, run, &index.to_string()))).await
    }

    /// Samples a running task, and returns a profile for the Firefox profiler.
    ///
    /// # Errors
    /// As for [`Client::task_live`].
    pub async fn task_profile(&self, namespace: &str, run: &str, index: u32, query: &ProfileQuery) -> Result<Vec<u8>> {
        let call = Call::get(routes::task_profile(namespace, run, &index.to_string())).query(query);
        Ok(self.bytes(call, PROFILE_BYTES_MAX).await?.1)
    }

    /// Reads the result of a task that succeeded.
    ///
    /// # Errors
    /// Fails with `not_found` when there is no such task, and `conflict` when it has no result.
    pub async fn task_result(&self, namespace: &str, run: &str, index: u32) -> Result<Vec<u8>> {
        let len_max = usize::try_from(*limits::OUTPUT_BYTES.end()).unwrap_or(usize::MAX);
        let call = Call::get(routes::task_result(namespace, run, &index.to_string()));
        Ok(self.bytes(call, len_max).await?.1)
    }

    /// Opens the log of a task.
    ///
    /// # Errors
    /// Fails with `not_found` when there is no such task.
    pub async fn task_logs(
        &self,
        namespace: &str,
        run: &str,
        index: u32,
        query: &LogsQuery,
    ) -> Result<Lines<LogRecord>> {
        let call = Call::get(routes::task_logs(namespace, run, &index.to_string())).query(query);
        let (address, response) = self.send(call).await?;
        Ok(Lines::new(address, response))
    }

    /// Stops a task.
    ///
    /// # Errors
    /// Fails with `not_found` when there is none.
    pub async fn stop_task(&self, namespace: &str, run: &str, index: u32, request: &StopRequest) -> Result<Task> {
        self.object(Call::post(routes::task_stop(namespace, run, &index.to_string())).json(request)?).await
    }
}
