//! From what a submission names to what is recorded.

use std::{collections::BTreeMap, sync::Arc};

use weir_api::{
    Code, META_BYTES_MAX, META_MAX, PAYLOAD_INLINE_BYTES_MAX, Payload, RunRequest,
    spec::limits::{ARGS_AND_ENV_BYTES_MAX, ARGS_MAX},
};
use weir_wire::{
    id::{Digest, JobName, Namespace, RunId},
    kind::{Kind, Pairs, RunDependency, Upstream},
    limits,
    outcome::BlobRef,
    work::{Input, JobRecord, RunRecord},
};

use super::{Api, asked, items, jobs, leader::wall_ms, refusal::Refusal};

/// Resolves submissions of one request; what it has looked up once it does not look up again.
pub(super) struct Resolver<'a> {
    api: &'a Api,
    namespace: &'a Namespace,
    jobs: BTreeMap<(JobName, Option<u32>), Arc<JobRecord>>,
    /// The newest run of each job that another one waits for.
    newest: BTreeMap<JobName, Upstream>,
    blobs: BTreeMap<Digest, BlobRef>,
    items: BTreeMap<Digest, (BlobRef, u32)>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(api: &'a Api, namespace: &'a Namespace) -> Self {
        let (jobs, newest) = (BTreeMap::new(), BTreeMap::new());
        Self { api, namespace, jobs, newest, blobs: BTreeMap::new(), items: BTreeMap::new() }
    }

    /// The record of one submission, and the version of the job that it is of.
    pub(super) async fn record(&mut self, request: &RunRequest) -> Result<(RunRecord, Arc<JobRecord>), Refusal> {
        let name = asked::job_name(&request.job)?;
        let job = self.job(&name, request.version).await?;
        if job.kind.is_long_running() && request.version.is_some() {
            self.check_latest(&job).await?;
        }
        if job.input_from.is_some() && (request.payload.is_some() || request.items.is_some()) {
            let from = job.input_from.as_ref().map(ToString::to_string).unwrap_or_default();
            let reason = format!("the job takes its input from the results of `{from}`");
            return Err(Refusal::invalid_key("payload", reason, Some("nothing".to_owned())));
        }
        let (input, item_count) = self.input(request).await?;
        let kept = match (request.count, item_count) {
            (None, None) => self.kept_count(&job).await?,
            _ => None,
        };
        let count = match (request.count, item_count) {
            (Some(count), Some(items)) if count != items => {
                let allowed = Some(format!("{items}, the number of items, or nothing"));
                return Err(Refusal::invalid_key("count", format!("{count} is not the number of items"), allowed));
            }
            (_, Some(items)) => items,
            (Some(count), None) => count,
            (None, None) => kept.unwrap_or(job.count),
        };
        if kept.is_none() {
            check_count(&job, count)?;
        }
        let after = self.after(&job).await?;
        let place = job.input_from.as_ref().and_then(|from| job.after.iter().position(|after| after.job == *from));
        let record = RunRecord {
            namespace: self.namespace.clone(),
            job: name,
            version: job.version,
            count,
            args: args(request)?,
            input,
            meta: meta(request)?,
            after,
            input_from: place.and_then(|place| u32::try_from(place).ok()),
            scheduled_ms: None,
            submitted_ms: wall_ms(),
        };
        Ok((record, job))
    }

    /// Says that a job has a newer run: item `item` of the submission that is being put together.
    pub(super) fn submits(&mut self, job: &JobName, item: usize) {
        if let Ok(item) = u32::try_from(item) {
            self.newest.insert(job.clone(), Upstream::Item(item));
        }
    }

    /// Says what became of the items of a submission: `runs` are in their order, and none if it was refused.
    pub(super) fn submitted(&mut self, runs: &[RunId]) {
        self.newest.retain(|_, newest| match *newest {
            Upstream::Run(_) => true,
            Upstream::Item(item) => {
                let run = runs.get(item as usize);
                if let Some(run) = run {
                    *newest = Upstream::Run(*run);
                }
                run.is_some()
            }
        });
    }

    async fn job(&mut self, job: &JobName, version: Option<u32>) -> Result<Arc<JobRecord>, Refusal> {
        let key = (job.clone(), version);
        if let Some(found) = self.jobs.get(&key) {
            return Ok(Arc::clone(found));
        }
        let (_, record) = jobs::find(self.api, self.namespace.clone(), job.clone(), version).await?;
        let found = Arc::new(record);
        self.jobs.insert(key, Arc::clone(&found));
        Ok(found)
    }

    /// Tasks of a service that is updated must not go back to what was replaced meanwhile.
    async fn check_latest(&mut self, job: &JobRecord) -> Result<(), Refusal> {
        let latest = self.job(&job.job, None).await?.version;
        if latest == job.version {
            return Ok(());
        }
        let (name, version) = (&job.job, job.version.0);
        let detail = format!(
            "job `{name}` has version {} by now, so version {version} was not started; to go back to it, revert the job",
            latest.0
        );
        Err(Refusal::new(Code::Conflict, detail))
    }

    /// How many tasks of a service are kept on when a further run takes over.
    async fn kept_count(&self, job: &Arc<JobRecord>) -> Result<Option<u32>, Refusal> {
        if !matches!(job.kind, Kind::Service(_)) {
            return Ok(None);
        }
        let job = Arc::clone(job);
        let kept = self
            .api
            .ask(move |scheduler, _| scheduler.kept_run(&job.namespace, &job.job).map(|kept| kept.count_of(&job)));
        kept.await
    }

    /// The runs that have to end first: the newest one of each job that the job waits for.
    async fn after(&mut self, job: &JobRecord) -> Result<Vec<RunDependency>, Refusal> {
        let mut all = Vec::with_capacity(job.after.len());
        for dependency in &job.after {
            let upstream = match self.newest.get(&dependency.job) {
                Some(newest) => *newest,
                None => self.newest_run(&job.job, &dependency.job).await?,
            };
            all.push(RunDependency { upstream, condition: dependency.condition });
        }
        Ok(all)
    }

    async fn newest_run(&mut self, job: &JobName, upstream: &JobName) -> Result<Upstream, Refusal> {
        let (namespace, name) = (self.namespace.clone(), upstream.clone());
        let newest = self.api.ask(move |scheduler, _| scheduler.newest_run(&namespace, &name).map(Upstream::Run));
        let none = || {
            let detail = format!("job `{job}` runs after `{upstream}`, which has no run yet; start one first");
            Refusal::new(Code::Conflict, detail)
        };
        let newest = newest.await?.ok_or_else(none)?;
        self.newest.insert(upstream.clone(), newest);
        Ok(newest)
    }

    async fn input(&mut self, request: &RunRequest) -> Result<(Input, Option<u32>), Refusal> {
        match (&request.payload, &request.items) {
            (Some(_), Some(_)) => {
                Err(Refusal::invalid_key("items", "excludes `payload`", Some("one of the two".to_owned())))
            }
            (None, None) => Ok((Input::None, None)),
            (Some(Payload::Base64(text)), None) => Ok((inline(text)?, None)),
            (Some(Payload::Blob(digest)), None) => Ok((Input::Blob(self.blob(asked::digest(digest)?).await?), None)),
            (None, Some(digest)) => {
                let (blob, count) = self.items(asked::digest(digest)?).await?;
                Ok((Input::Items(blob), Some(count)))
            }
        }
    }

    async fn blob(&mut self, digest: Digest) -> Result<BlobRef, Refusal> {
        if let Some(blob) = self.blobs.get(&digest) {
            return Ok(*blob);
        }
        let Some(len) = self.api.handle.blobs().hold(&digest).await? else {
            return Err(Refusal::not_found(format!("no blob {digest} is stored; upload the payload first")));
        };
        let blob = BlobRef { digest, len };
        self.blobs.insert(digest, blob);
        Ok(blob)
    }

    async fn items(&mut self, digest: Digest) -> Result<(BlobRef, u32), Refusal> {
        if let Some(found) = self.items.get(&digest) {
            return Ok(*found);
        }
        let found = items::check(self.api, &digest).await?;
        self.items.insert(digest, found);
        Ok(found)
    }
}

/// Only batches, cron jobs and services have as many tasks as somebody says.
fn check_count(job: &JobRecord, count: u32) -> Result<(), Refusal> {
    let fixed = match job.kind {
        Kind::Batch | Kind::Cron(_) | Kind::Service(_) => !(1..=limits::TASKS_PER_RUN_MAX).contains(&count),
        Kind::System | Kind::Function => count != job.count,
    };
    if !fixed {
        return Ok(());
    }
    let allowed = match job.kind {
        Kind::Batch | Kind::Cron(_) | Kind::Service(_) => format!("1 to {}", limits::TASKS_PER_RUN_MAX),
        Kind::System | Kind::Function => format!("nothing: the job is of kind {}", job.kind.as_str()),
    };
    Err(Refusal::invalid_key("count", format!("{count} tasks"), Some(allowed)))
}

/// Names and values for the tasks, within their limits.
fn meta(request: &RunRequest) -> Result<Pairs, Refusal> {
    let bytes: usize = request.meta.iter().map(|(name, value)| name.len() + value.len()).sum();
    if request.meta.len() > META_MAX || bytes > META_BYTES_MAX {
        let allowed = Some(format!("at most {META_MAX} of {META_BYTES_MAX} bytes together"));
        return Err(Refusal::invalid_key("meta", format!("{} of {bytes} bytes", request.meta.len()), allowed));
    }
    let named = |name: &str| !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
    if let Some((name, _)) = request.meta.iter().find(|(name, value)| !named(name) || value.contains('\0')) {
        let allowed = Some("names of letters, digits and `_`; values without NUL".to_owned());
        return Err(Refusal::invalid_key(&format!("meta.{name}"), "cannot be in an environment", allowed));
    }
    Ok(request.meta.clone().into_iter().collect())
}

/// Arguments in place of the job's, within the limits of a spec.
fn args(request: &RunRequest) -> Result<Option<Vec<String>>, Refusal> {
    let Some(args) = &request.args else { return Ok(None) };
    let bytes: usize = args.iter().map(String::len).sum();
    if args.len() > ARGS_MAX || bytes > ARGS_AND_ENV_BYTES_MAX {
        let allowed = Some(format!("at most {ARGS_MAX} of {ARGS_AND_ENV_BYTES_MAX} bytes together"));
        return Err(Refusal::invalid_key("args", format!("{} of {bytes} bytes", args.len()), allowed));
    }
    if let Some(at) = args.iter().position(|arg| arg.contains('\0')) {
        return Err(Refusal::invalid_key("args", format!("argument {at} contains a NUL"), None));
    }
    Ok(Some(args.clone()))
}

fn inline(base64: &str) -> Result<Input, Refusal> {
    let bytes = Payload::decode(base64).map_err(|reason| Refusal::invalid_key("payload.base64", reason, None))?;
    if bytes.len() > PAYLOAD_INLINE_BYTES_MAX {
        let allowed = Some(format!("at most {PAYLOAD_INLINE_BYTES_MAX} bytes; upload more as a blob"));
        return Err(Refusal::invalid_key("payload.base64", format!("{} bytes", bytes.len()), allowed));
    }
    Ok(if bytes.is_empty() { Input::None } else { Input::Inline(bytes.into_boxed_slice()) })
}

const _: () = assert!(PAYLOAD_INLINE_BYTES_MAX <= limits::INLINE_PAYLOAD_MAX && META_MAX <= limits::META_MAX);
