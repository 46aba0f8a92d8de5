//! The jobs of the workload: one of each kind, and one for each promise.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use weir_client::{
    JobWrite,
    api::{
        DispatchRequest, Payload, RunRequest,
        spec::{Document, JobSpec},
    },
};

use super::{
    EXECUTORS,
    clients::Clients,
    history::{Expected, Submission},
    marks::Marks,
};
use crate::guests;

/// Where everything is.
pub(super) const NAMESPACE: &str = "default";
/// Under which name a run says which submission it is of.
pub(super) const KEY: &str = "key";

/// Jobs whose runs end: the name, and what becomes of their tasks.
pub(super) const BATCHES: [(&str, Expected); 4] =
    [("echo", Expected::Echo), ("flaky", Expected::Echo), ("fail", Expected::Failure), ("once", Expected::Once)];
/// The function.
pub(super) const FUNCTION: &str = "call";
/// The cron job, and the milliseconds between two instants.
pub(super) const CRON: &str = "tick";
pub(super) const CRON_PERIOD_MS: u64 = 2_000;
/// The service that is scaled, and how many tasks it has in the beginning.
pub(super) const SERVICE: &str = "web";
pub(super) const SERVICE_TASKS: u32 = 3;
/// Services of one task that is fenced; the names of their marks as well. As many as there are executors, so that whichever
/// is cut off or put to sleep is likely to have one.
pub(super) const KEEPERS: [&str; EXECUTORS] = ["keeper-1", "keeper-2", "keeper-3", "keeper-4", "keeper-5"];
/// The system job.
pub(super) const SYSTEM: &str = "agent";

/// How many bytes of its mark a task reads that is executed once at most: it takes a second.
const ONCE_BYTES: u32 = 20;

/// Stores modules and jobs, and starts what keeps running.
pub(super) async fn start(clients: &Clients, marks: &Marks) -> Result<()> {
    for Plan { name, kind, guest, more } in plans() {
        let module = wat::parse_str(guest)?;
        let digest = digest(&module);
        clients.insist("store a module", async |client| client.put_module(&digest, module.clone()).await).await?;
        let spec = spec(name, kind, &digest, more)?;
        let write = JobWrite::default();
        clients.insist("store a job", async |client| client.put_job(NAMESPACE, &spec, &write).await).await?;
    }
    let keepers = KEEPERS.map(|keeper| (keeper, Some(payload(keeper))));
    for (job, payload) in [(SERVICE, None), (SYSTEM, None)].into_iter().chain(keepers) {
        marks.make(job)?;
        let request = RunRequest { job: job.to_owned(), payload, ..RunRequest::default() };
        clients.insist(job, async |client| client.start_run(NAMESPACE, &request, Some(job)).await).await?;
    }
    Ok(())
}

/// A job, its guest, and the rest of its spec.
struct Plan {
    name: &'static str,
    kind: &'static str,
    guest: String,
    more: Value,
}

fn plans() -> Vec<Plan> {
    let marks = json!({ "dir": [{ "host": "marks", "guest": "/marks" }] });
    // Pauses are no reason to fail: only what is promised ends attempts.
    let patient = json!({ "timeout": "10m" });
    let often = json!({ "attempts": 100, "backoff": "10ms..200ms" });
    let twice = json!({ "attempts": 2, "backoff": "10ms..20ms" });
    let plan = |name, kind, guest: &str, more| Plan { name, kind, guest: guest.to_owned(), more };
    let once = json!({ "resources": patient, "grants": marks, "execution": { "mode": "at_most_once" } });
    let service = json!({ "job": { "count": SERVICE_TASKS }, "update": { "healthy_after": "200ms" } });
    let fenced = json!({ "grants": marks, "execution": { "fenced": true }, "retry": { "backoff": "100ms..1s" } });
    let mut plans = vec![
        plan("echo", "batch", guests::CAT, json!({ "resources": patient })),
        plan("flaky", "batch", guests::FLAKY, json!({ "resources": patient, "retry": often })),
        plan("fail", "batch", guests::FAIL, json!({ "resources": patient, "retry": twice })),
        plan("once", "batch", &guests::marking(ONCE_BYTES), once),
        plan(FUNCTION, "function", guests::CAT, json!({})),
        plan(CRON, "cron", guests::CAT, json!({ "cron": { "schedule": "*/2 * * * * *", "overlap": "allow" } })),
        plan(SERVICE, "service", guests::SLEEP, service),
        plan(SYSTEM, "system", guests::SLEEP, json!({})),
    ];
    let unending = guests::marking(u32::MAX);
    plans.extend(KEEPERS.map(|keeper| plan(keeper, "service", &unending, fenced.clone())));
    plans
}

/// A batch of which every task has its own input.
pub(super) async fn batch(clients: &Clients, key: &str, submission: &Submission) -> Result<RunRequest> {
    let inputs: Vec<String> = (0..submission.count).map(|index| super::history::input(key, index)).collect();
    let (job, items) = (submission.job.clone(), Some(upload(clients, &inputs).await?));
    Ok(RunRequest { job, items, meta: meta(key), ..RunRequest::default() })
}

/// A call of the function.
pub(super) fn call(key: &str) -> DispatchRequest {
    let input = super::history::input(key, 0);
    DispatchRequest { payload: Some(payload(&input)), meta: meta(key), ..DispatchRequest::default() }
}

fn payload(text: &str) -> Payload {
    Payload::Base64(STANDARD.encode(text))
}

/// What a run says of its submission.
fn meta(key: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(KEY.to_owned(), key.to_owned())])
}

async fn upload(clients: &Clients, inputs: &[String]) -> Result<String> {
    let blob = weir_wire::items::encode(inputs.iter().map(String::as_bytes)).context("pack inputs")?;
    let digest = digest(&blob);
    clients.insist("store inputs", async |client| client.put_blob(&digest, blob.clone()).await).await?;
    Ok(digest)
}

fn spec(name: &str, kind: &str, module: &str, mut more: Value) -> Result<Document> {
    for (key, value) in [("name", name), ("kind", kind), ("module", module)] {
        more["job"][key] = value.into();
    }
    Ok(JobSpec::from_value(&more).with_context(|| format!("the spec of {name}"))?.to_document())
}

/// The digest of bytes as the API writes it.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}
