use weir_api::{Code, Job, JobVersion, Page, PageQuery, Problem, routes, spec::Document};

use crate::{Client, Error, Result, transport::Call};

/// The conditions of a write to a job.
#[derive(Clone, Debug, Default)]
pub struct JobWrite {
    /// The version that the job must have; 0 means that it must not exist. Unchecked by default.
    pub expected_version: Option<u32>,
    /// Makes the write repeatable with the same answer.
    pub idempotency_key: Option<String>,
    /// Refuse the write also where a run of so many tasks would be refused: for want of a quota, or of a run that it
    /// has to come after. Unchecked by default.
    pub for_tasks: Option<u32>,
}

impl Client {
    /// Creates a job, or adds a version to it when the spec differs from its latest.
    ///
    /// # Errors
    /// Fails with `invalid_spec`, `unsupported`, `not_found` (the module) or `conflict` (the version).
    pub async fn put_job(&self, namespace: &str, spec: &Document, write: &JobWrite) -> Result<JobVersion> {
        let mut call = Call::put(routes::job(namespace, &spec.job.name)).json(spec)?;
        if let Some(tasks) = write.for_tasks {
            call = call.query(&serde_json::json!({ "for_tasks": tasks }));
        }
        if let Some(version) = write.expected_version {
            call = call.header(routes::IF_MATCH_HEADER, format!("\"{version}\""));
        }
        self.object(call.idempotency_key(write.idempotency_key.as_deref())).await
    }

    /// Reads a job: its latest version, or the one that is named.
    ///
    /// # Errors
    /// Fails with `not_found` when there is none.
    pub async fn job(&self, namespace: &str, name: &str, version: Option<u32>) -> Result<JobVersion> {
        let query = serde_json::json!({ "version": version });
        self.object(Call::get(routes::job(namespace, name)).query(&query)).await
    }

    /// Lists the jobs of a namespace.
    ///
    /// # Errors
    /// Fails when the cluster does.
    pub async fn jobs(&self, namespace: &str, page: &PageQuery) -> Result<Page<Job>> {
        self.object(Call::get(routes::jobs(namespace)).query(page)).await
    }

    /// Reads a job as lists show it.
    ///
    /// # Errors
    /// Fails with `not_found` when there is none.
    pub async fn job_summary(&self, namespace: &str, name: &str) -> Result<Job> {
        let page = PageQuery { job: Some(name.to_owned()), ..PageQuery::default() };
        let found = self.jobs(namespace, &page).await?.items.into_iter().next();
        let missing = || Problem::new(Code::NotFound, format!("there is no job `{name}` in namespace `{namespace}`"));
        found.ok_or_else(|| Error::Api(Box::new(missing())))
    }
}
