//! Quotas and weights of namespaces.

use axum::{body::Body, extract::State, http::HeaderMap, response::Response};
use weir_api::{Page, PageQuery, Problem, Quota, QuotaLimits, QuotaUse, Versioned, routes};
use weir_scheduler::{Request, Scheduler};
use weir_wire::{
    id::Namespace,
    record,
    units::{CpuMillis, MemBytes},
};

use super::{
    Api,
    asked::{self, Asked, CHANGE_BYTES_MAX, Segments},
    refusal::Refusal,
    reply::Reply,
};

/// The largest weight.
const WEIGHT_MAX: u32 = 1_000;

/// Lists the quotas by namespace, with what is used of them.
#[utoipa::path(get, path = routes::QUOTAS, tag = "namespaces", params(PageQuery),
    responses((status = 200, body = Versioned<Page<Quota>>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(State(api): State<Api>, Asked(query): Asked<PageQuery>) -> Result<Response, Refusal> {
    let limit = asked::limit(query.limit)?;
    let after = query.cursor.as_deref().map(asked::namespace).transpose()?;
    let (revision, page) = api
        .ask(move |scheduler, _| {
            let mut quotas = scheduler.quotas();
            quotas.retain(|quota| after.as_ref().is_none_or(|after| quota.namespace > *after));
            let more = quotas.len() > limit;
            quotas.truncate(limit);
            let next = quotas.last().filter(|_| more).map(|quota| quota.namespace.to_string());
            let items = quotas.into_iter().map(|quota| show(scheduler, quota)).collect();
            (scheduler.revision(), Page { items, next })
        })
        .await?;
    Ok(Reply::object(page)?.revision(revision).done())
}

/// Reads the quota of a namespace.
#[utoipa::path(get, path = routes::QUOTA, tag = "namespaces", params(("ns" = String, Path, description = "The namespace")),
    responses((status = 200, body = Versioned<Quota>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn read(State(api): State<Api>, Segments(ns): Segments<String>) -> Result<Response, Refusal> {
    reply(&api, asked::namespace(&ns)?).await
}

/// Sets the quota and weight of a namespace; what is not given is not limited.
#[utoipa::path(put, path = routes::QUOTA, tag = "namespaces", request_body = QuotaLimits, params(("ns" = String, Path, description = "The namespace")),
    responses((status = 200, body = Versioned<Quota>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn put(
    State(api): State<Api>,
    Segments(ns): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let namespace = asked::namespace(&ns)?;
    let limits: QuotaLimits = asked::json(&headers, body, CHANGE_BYTES_MAX).await?;
    if !(1..=WEIGHT_MAX).contains(&limits.weight) {
        let allowed = Some(format!("1 to {WEIGHT_MAX}"));
        return Err(Refusal::invalid_key("weight", format!("{} is out of range", limits.weight), allowed));
    }
    let quota = record::Quota {
        namespace: namespace.clone(),
        weight: limits.weight,
        cpu: limits.cpu_milli.map(CpuMillis),
        memory: limits.memory_bytes.map(MemBytes),
        running: limits.running,
    };
    api.change(Request::SetQuota(quota)).await?;
    tracing::info!(job.namespace = %namespace, "a quota is set");
    reply(&api, namespace).await
}

/// Removes the quota and weight of a namespace.
#[utoipa::path(delete, path = routes::QUOTA, tag = "namespaces", params(("ns" = String, Path, description = "The namespace")),
    responses((status = 204, description = "It is removed"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn remove(State(api): State<Api>, Segments(ns): Segments<String>) -> Result<Response, Refusal> {
    let namespace = asked::namespace(&ns)?;
    find(&api, namespace.clone()).await?;
    api.change(Request::RemoveQuota(namespace.clone())).await?;
    tracing::info!(job.namespace = %namespace, "a quota is removed");
    Ok(Reply::empty())
}

async fn reply(api: &Api, namespace: Namespace) -> Result<Response, Refusal> {
    let (revision, quota) = find(api, namespace).await?;
    Ok(Reply::object(quota)?.revision(revision).done())
}

async fn find(api: &Api, namespace: Namespace) -> Result<(u64, Quota), Refusal> {
    let missing = Refusal::not_found(format!("namespace `{namespace}` has no quota"));
    let (revision, found) = api
        .ask(move |scheduler, _| {
            let found = scheduler.quotas().into_iter().find(|quota| quota.namespace == namespace);
            (scheduler.revision(), found.map(|quota| show(scheduler, quota)))
        })
        .await?;
    found.map(|quota| (revision, quota)).ok_or(missing)
}

fn show(scheduler: &Scheduler, quota: &record::Quota) -> Quota {
    let used = used(scheduler, &quota.namespace);
    Quota { namespace: quota.namespace.to_string(), limits: limits(quota), used }
}

/// The limits and weight of a quota.
pub(super) fn limits(quota: &record::Quota) -> QuotaLimits {
    QuotaLimits {
        cpu_milli: quota.cpu.map(|cpu| cpu.0),
        memory_bytes: quota.memory.map(|memory| memory.0),
        running: quota.running,
        weight: quota.weight,
    }
}

/// What the open production runs of a namespace ask for.
pub(super) fn used(scheduler: &Scheduler, namespace: &Namespace) -> QuotaUse {
    let usage = scheduler.quota_usage(namespace);
    QuotaUse { cpu_milli: usage.cpu_millis, memory_bytes: usage.memory_bytes, running: usage.tasks }
}
