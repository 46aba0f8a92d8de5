//! Namespaces.

use axum::{extract::State, response::Response};
use weir_api::{NamespaceInfo, Page, PageQuery, Problem, Versioned, routes};
use weir_scheduler::Scheduler;
use weir_wire::id::Namespace;

use super::{
    Api,
    asked::{self, Asked},
    quotas,
    refusal::Refusal,
    reply::Reply,
};

/// Lists the namespaces that have jobs, by name.
#[utoipa::path(get, path = routes::NAMESPACES, tag = "namespaces", params(PageQuery),
    responses((status = 200, body = Versioned<Page<NamespaceInfo>>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(State(api): State<Api>, Asked(query): Asked<PageQuery>) -> Result<Response, Refusal> {
    let limit = asked::limit(query.limit)?;
    let after = query.cursor.as_deref().map(asked::namespace).transpose()?;
    let (revision, page) = api
        .ask(move |scheduler, _| {
            let mut namespaces = scheduler.namespaces();
            namespaces.retain(|namespace| after.as_ref().is_none_or(|after| namespace > after));
            let more = namespaces.len() > limit;
            namespaces.truncate(limit);
            let next = namespaces.last().filter(|_| more).map(ToString::to_string);
            let items = namespaces.iter().map(|namespace| info(scheduler, namespace)).collect();
            (scheduler.revision(), Page { items, next })
        })
        .await?;
    Ok(Reply::object(page)?.revision(revision).done())
}

fn info(scheduler: &Scheduler, namespace: &Namespace) -> NamespaceInfo {
    NamespaceInfo {
        name: namespace.to_string(),
        jobs: scheduler.jobs(namespace).len() as u64,
        quota: scheduler.quotas().into_iter().find(|quota| quota.namespace == *namespace).map(quotas::limits),
    }
}
