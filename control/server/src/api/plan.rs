//! What a deploy would do, without doing it.

use axum::{body::Body, extract::State, http::HeaderMap, response::Response};
use weir_api::{
    JobPlan, JobSpec, PlannedPlace, PlannedQuota, PlannedVictim, Problem, Versioned, routes,
    spec::{Document, limits},
};
use weir_scheduler::{PlanView, Scheduler};
use weir_wire::{
    id::TaskId,
    kind::{Kind, Tier},
    units::Now,
    work::JobRecord,
};

use super::{
    Api,
    asked::{self, Segments},
    jobs, leader, quotas, record,
    refusal::Refusal,
    reply::Reply,
    show,
};

/// Tells what putting a spec and starting a run of it would do at this moment. The module need not be stored yet.
#[utoipa::path(post, path = routes::JOB_PLAN, tag = "jobs", request_body = Document,
    params(("ns" = String, Path, description = "The namespace"), ("job" = String, Path, description = "The job")),
    responses((status = 200, body = Versioned<JobPlan>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn plan(
    State(api): State<Api>,
    Segments((ns, job)): Segments<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let (namespace, job) = (asked::namespace(&ns)?, asked::job_name(&job)?);
    let body = asked::bytes(&headers, body, limits::SPEC_BYTES_MAX).await?;
    let spec = JobSpec::from_json(&body)?;
    jobs::check_name(&spec, &job)?;
    let module = asked::digest(spec.module_digest()?)?;
    jobs::check_network(&api, &module, &spec).await?;
    let record = record::record(namespace, job, module, &spec, leader::wall_ms())?;
    let document = spec.to_document();
    let (revision, plan) =
        api.ask(move |scheduler, now| (scheduler.revision(), planned(scheduler, now, &record, &document))).await?;
    Ok(Reply::object(plan)?.revision(revision).done())
}

fn planned(scheduler: &Scheduler, now: Now, record: &JobRecord, document: &Document) -> JobPlan {
    let latest = scheduler.job(&record.namespace, &record.job, None);
    let version = latest.map_or(0, |latest| show::version(latest.version));
    let changes = match latest {
        Some(latest) => show::job::version(latest, false).spec.changes(document),
        None => document.all(),
    };
    let next_version = if changes.is_empty() { version } else { version.saturating_add(1) };
    let kept = scheduler.kept_run(&record.namespace, &record.job);
    let count = kept.map_or(record.count, |kept| kept.count_of(record));
    // What runs in this version goes on, and nothing is placed.
    let goes_on = kept.filter(|kept| changes.is_empty() && latest.is_some_and(|latest| latest.version == kept.version));
    let view =
        if goes_on.is_some() { PlanView::default() } else { scheduler.plan(now, record, count).unwrap_or_default() };
    // One on each node that matches, whatever the spec says.
    let count = if record.kind == Kind::System && goes_on.is_none() { view.tried } else { count };
    let waiting = view.tried.saturating_sub(view.placed).saturating_sub(view.placed_by_eviction);
    JobPlan {
        namespace: record.namespace.to_string(),
        job: record.job.to_string(),
        version,
        next_version,
        changes,
        count,
        specified: record.count,
        kept: kept.and_then(|kept| kept.target),
        goes_on: goes_on.map(|kept| kept.run.to_string()),
        tried: view.tried,
        placed: view.nodes.iter().map(|(node, tasks)| PlannedPlace { node: node.to_string(), tasks: *tasks }).collect(),
        nodes_unnamed: view.nodes_unnamed,
        by_eviction: view.placed_by_eviction,
        victims: victims(&view),
        victims_unnamed: view.victims_unnamed,
        waiting,
        why: (waiting > 0).then(|| show::why::summary_of(&view.why)),
        refused: view.refused.as_ref().map(ToString::to_string),
        quota: quota(scheduler, record, &view),
    }
}

fn victims(view: &PlanView) -> Vec<PlannedVictim> {
    let victim = |victim: &weir_scheduler::VictimView| PlannedVictim {
        task: TaskId { run: victim.run, index: victim.index }.to_string(),
        namespace: victim.namespace.to_string(),
        job: victim.job.to_string(),
        node: victim.node.to_string(),
    };
    view.victims.iter().map(victim).collect()
}

/// What a run would do to the quota of its namespace. Runs that are open stay, unless it takes over from them.
fn quota(scheduler: &Scheduler, record: &JobRecord, plan: &PlanView) -> Option<PlannedQuota> {
    let quota = scheduler.quotas().into_iter().find(|quota| quota.namespace == record.namespace)?;
    if record.tier != Tier::Production {
        return None;
    }
    let limits = quotas::limits(quota);
    let before = quotas::used(scheduler, &record.namespace);
    let changed = |used: u64, less: u64, more: u64| used.saturating_sub(less).saturating_add(more);
    let (less, more) = (&plan.replaced, &plan.demand);
    let after = weir_api::QuotaUse {
        cpu_milli: changed(before.cpu_milli, less.cpu_millis, more.cpu_millis),
        memory_bytes: changed(before.memory_bytes, less.memory_bytes, more.memory_bytes),
        running: changed(before.running, less.tasks, more.tasks),
    };
    // What asks for no more is not refused, also where a quota was lowered below what is used.
    let over = |limit: Option<u64>, used: u64, after: u64| after > used && limit.is_some_and(|limit| after > limit);
    let exceeded = over(limits.cpu_milli.map(u64::from), before.cpu_milli, after.cpu_milli)
        || over(limits.memory_bytes, before.memory_bytes, after.memory_bytes)
        || over(limits.running.map(u64::from), before.running, after.running);
    Some(PlannedQuota { limits, before, after, exceeded })
}
