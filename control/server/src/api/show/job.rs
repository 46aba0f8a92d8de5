use weir_api::{Job, JobVersion};
use weir_scheduler::RunView;
use weir_wire::work::JobRecord;

use crate::api::record;

/// A job as lists show it.
pub(crate) fn summary(record: &JobRecord, last: Option<&RunView>) -> Job {
    Job {
        namespace: record.namespace.to_string(),
        name: record.job.to_string(),
        kind: record.kind.as_str().to_owned(),
        version: super::version(record.version),
        module: record.module.to_string(),
        count: record.count,
        updated_ms: record.created_ms,
        last_run: last.map(|view| view.run.to_string()),
        last_run_state: last.map(super::run::state),
    }
}

/// One version of a job.
pub(crate) fn version(record: &JobRecord, changed: bool) -> JobVersion {
    JobVersion {
        namespace: record.namespace.to_string(),
        name: record.job.to_string(),
        version: super::version(record.version),
        created_ms: record.created_ms,
        changed,
        spec: record::spec(record).to_document(),
    }
}
