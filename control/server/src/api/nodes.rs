//! Nodes.

use axum::{extract::State, response::Response};
use weir_api::{Node, Page, PageQuery, Problem, Versioned, nearest, routes};

use super::{
    Api,
    asked::{self, Asked, Segments},
    refusal::Refusal,
    reply::Reply,
    show,
};

/// Lists the nodes by name.
#[utoipa::path(get, path = routes::NODES, tag = "nodes", params(PageQuery),
    responses((status = 200, body = Versioned<Page<Node>>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(State(api): State<Api>, Asked(query): Asked<PageQuery>) -> Result<Response, Refusal> {
    let limit = asked::limit(query.limit)?;
    let after = query.cursor.as_deref().map(asked::node_id).transpose()?;
    let (revision, items, more) = api
        .ask(move |scheduler, now| {
            let mut nodes = scheduler.nodes(now);
            nodes.sort_by(|left, right| left.node.cmp(&right.node));
            nodes.retain(|view| after.as_ref().is_none_or(|after| view.node > *after));
            let items: Vec<Node> = nodes.iter().take(limit).map(|view| show::node::node(now, view)).collect();
            (scheduler.revision(), items, nodes.len() > limit)
        })
        .await?;
    let next = items.last().filter(|_| more).map(|node| node.id.clone());
    Ok(Reply::object(Page { items, next })?.revision(revision).done())
}

/// Reads one node.
#[utoipa::path(get, path = routes::NODE, tag = "nodes", params(("node" = String, Path, description = "The node")),
    responses((status = 200, body = Versioned<Node>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn read(State(api): State<Api>, Segments(node): Segments<String>) -> Result<Response, Refusal> {
    let node = asked::node_id(&node)?;
    let (revision, found) = api
        .ask(move |scheduler, now| {
            let nodes = scheduler.nodes(now);
            let found = nodes.iter().find(|view| view.node == node);
            let found = found.map(|view| show::node::node(now, view)).ok_or_else(|| {
                let near = nearest::nearest(node.as_str(), nodes.iter().map(|view| view.node.as_str()));
                let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                format!("there is no node `{node}`{hint}")
            });
            (scheduler.revision(), found)
        })
        .await?;
    let node = found.map_err(Refusal::not_found)?;
    Ok(Reply::object(node)?.revision(revision).done())
}
