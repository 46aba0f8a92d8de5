//! From what a submission names to what is recorded.

use std::collections::BTreeMap;

use weir_api::{
    PAYLOAD_INLINE_BYTES_MAX, Payload, RunRequest,
    spec::limits::{ARGS_AND_ENV_BYTES_MAX, ARGS_MAX},
};
use weir_wire::{
    id::{Digest, JobName, JobVersion, Namespace},
    limits,
    outcome::BlobRef,
    work::{Input, RunRecord},
};

use super::{Api, asked, items, jobs, leader::wall_ms, refusal::Refusal};

/// Resolves submissions of one request; what it has looked up once it does not look up again.
pub(super) struct Resolver<'a> {
    api: &'a Api,
    namespace: &'a Namespace,
    jobs: BTreeMap<(JobName, Option<u32>), Found>,
    blobs: BTreeMap<Digest, BlobRef>,
    items: BTreeMap<Digest, (BlobRef, u32)>,
}

#[derive(Clone, Copy)]
struct Found {
    version: JobVersion,
    count: u32,
}

impl<'a> Resolver<'a> {
    pub(super) const fn new(api: &'a Api, namespace: &'a Namespace) -> Self {
        Self { api, namespace, jobs: BTreeMap::new(), blobs: BTreeMap::new(), items: BTreeMap::new() }
    }

    /// The record of one submission.
    pub(super) async fn record(&mut self, request: &RunRequest) -> Result<RunRecord, Refusal> {
        let job = asked::job_name(&request.job)?;
        let found = self.job(&job, request.version).await?;
        let (input, item_count) = self.input(request).await?;
        let count = match (request.count, item_count) {
            (Some(count), Some(items)) if count != items => {
                let allowed = Some(format!("{items}, the number of items, or nothing"));
                return Err(Refusal::invalid_key("count", format!("{count} is not the number of items"), allowed));
            }
            (_, Some(items)) => items,
            (Some(count), None) => count,
            (None, None) => found.count,
        };
        if !(1..=limits::TASKS_PER_RUN_MAX).contains(&count) {
            let allowed = Some(format!("1 to {}", limits::TASKS_PER_RUN_MAX));
            return Err(Refusal::invalid_key("count", format!("{count} tasks"), allowed));
        }
        Ok(RunRecord {
            meta: Vec::new(),
            after: Vec::new(),
            input_from: None,
            scheduled_ms: None,
            namespace: self.namespace.clone(),
            job,
            version: found.version,
            count,
            args: args(request)?,
            input,
            submitted_ms: wall_ms(),
        })
    }

    async fn job(&mut self, job: &JobName, version: Option<u32>) -> Result<Found, Refusal> {
        let key = (job.clone(), version);
        if let Some(found) = self.jobs.get(&key) {
            return Ok(*found);
        }
        let (_, record) = jobs::find(self.api, self.namespace.clone(), job.clone(), version).await?;
        let found = Found { version: record.version, count: record.count };
        self.jobs.insert(key, found);
        Ok(found)
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
        let Some(len) = self.api.handle.blobs().len(&digest).await? else {
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

const _: () = assert!(PAYLOAD_INLINE_BYTES_MAX <= limits::INLINE_PAYLOAD_MAX);
