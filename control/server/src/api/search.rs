//! Objects by the start of their id.

use axum::{extract::State, response::Response};
use weir_api::{Found, FoundKind, LIMIT_DEFAULT, Problem, SearchQuery, SearchResult, Versioned, routes};
use weir_scheduler::Scheduler;
use weir_wire::{id::Namespace, units::Now};

use super::{
    Api,
    asked::{self, Asked},
    modules,
    refusal::Refusal,
    reply::Reply,
};

/// Longest prefix, bytes: a digest.
const PREFIX_LEN_MAX: usize = 80;

/// Finds jobs, runs, nodes and modules by the start of their name or id.
#[utoipa::path(get, path = routes::SEARCH, tag = "cluster", params(SearchQuery),
    responses((status = 200, body = Versioned<SearchResult>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn read(State(api): State<Api>, Asked(query): Asked<SearchQuery>) -> Result<Response, Refusal> {
    let limit = asked::limit(Some(query.limit.unwrap_or(LIMIT_DEFAULT)))?;
    if query.prefix.len() > PREFIX_LEN_MAX {
        let allowed = Some(format!("at most {PREFIX_LEN_MAX} bytes"));
        return Err(Refusal::invalid_key("prefix", "too long", allowed));
    }
    let namespace = query.namespace.as_deref().map(asked::namespace).transpose()?;
    let (kind, prefix) = (query.kind, query.prefix.to_ascii_lowercase());
    let wants = move |wanted: FoundKind| kind.is_none_or(|kind| kind == wanted);
    let asked_for = prefix.clone();
    let (revision, mut items) = api
        .ask(move |scheduler, now| {
            let search = Search { scheduler, prefix: &asked_for, limit: limit + 1 };
            let mut items = Vec::new();
            if wants(FoundKind::Job) {
                items.extend(search.jobs(namespace.as_ref()));
            }
            if wants(FoundKind::Run) {
                items.extend(search.runs(namespace.as_ref()));
            }
            if wants(FoundKind::Node) {
                items.extend(search.nodes(now));
            }
            (scheduler.revision(), items)
        })
        .await?;
    if wants(FoundKind::Module) {
        items.extend(search_modules(&api, &prefix, limit + 1).await?);
    }
    items.sort_by_key(|found| found.id != prefix);
    let truncated = items.len() > limit;
    items.truncate(limit);
    Ok(Reply::object(SearchResult { items, truncated })?.revision(revision).done())
}

struct Search<'a> {
    scheduler: &'a Scheduler,
    prefix: &'a str,
    limit: usize,
}

impl Search<'_> {
    fn jobs(&self, namespace: Option<&Namespace>) -> Vec<Found> {
        let namespaces = match namespace {
            Some(namespace) => vec![namespace.clone()],
            None => self.scheduler.namespaces(),
        };
        let jobs = namespaces.iter().flat_map(|namespace| self.scheduler.jobs(namespace));
        jobs.filter(|job| job.job.as_str().starts_with(self.prefix))
            .take(self.limit)
            .map(|job| Found {
                kind: FoundKind::Job,
                id: job.job.to_string(),
                namespace: Some(job.namespace.to_string()),
                job: None,
            })
            .collect()
    }

    fn runs(&self, namespace: Option<&Namespace>) -> Vec<Found> {
        let ids = self.scheduler.runs_by_prefix(self.prefix, self.limit);
        let records = ids.into_iter().filter_map(|id| Some((id, self.scheduler.run_record(id)?)));
        records
            .filter(|(_, record)| namespace.is_none_or(|namespace| record.namespace == *namespace))
            .map(|(id, record)| Found {
                kind: FoundKind::Run,
                id: id.to_string(),
                namespace: Some(record.namespace.to_string()),
                job: Some(record.job.to_string()),
            })
            .collect()
    }

    fn nodes(&self, now: Now) -> Vec<Found> {
        let nodes = self.scheduler.nodes(now).into_iter();
        nodes
            .filter(|view| view.node.as_str().starts_with(self.prefix))
            .take(self.limit)
            .map(|view| found(FoundKind::Node, view.node.to_string()))
            .collect()
    }
}

async fn search_modules(api: &Api, prefix: &str, limit: usize) -> Result<Vec<Found>, Refusal> {
    let digests = modules::digests(api).await?.into_iter().map(|digest| digest.to_string());
    let matches = |digest: &String| {
        digest.starts_with(prefix) || digest.strip_prefix("sha256:").is_some_and(|hex| hex.starts_with(prefix))
    };
    Ok(digests.filter(matches).take(limit).map(|digest| found(FoundKind::Module, digest)).collect())
}

fn found(kind: FoundKind, id: String) -> Found {
    Found { kind, id, namespace: None, job: None }
}
