//! Nodes.

use std::time::Duration;

use axum::{body::Body, extract::State, http::HeaderMap, response::Response};
use weir_api::{
    ChangeRequest, DrainRequest, LabelsRequest, Node, Page, PageQuery, Problem, Versioned, nearest, routes, units,
};
use weir_scheduler::Request;
use weir_wire::{id::NodeId, limits::MESSAGE_LEN_MAX, node::Drain};

use super::{
    Api,
    asked::{self, Asked, CHANGE_BYTES_MAX, Segments},
    leader,
    refusal::Refusal,
    reply::Reply,
    show,
};

/// The longest deadline of a drain, milliseconds.
const DRAIN_MS_MAX: u64 = 30 * 86_400_000;

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
    let (revision, node) = find(&api, asked::node_id(&node)?).await?;
    Ok(Reply::object(node)?.revision(revision).done())
}

/// Finds a node, or says what was perhaps meant.
async fn find(api: &Api, node: NodeId) -> Result<(u64, Node), Refusal> {
    let (revision, found) = api
        .ask(move |scheduler, now| {
            let found = scheduler.node(now, &node).map(|view| show::node::node(now, &view)).ok_or_else(|| {
                let nodes = scheduler.nodes(now);
                let near = nearest::nearest(node.as_str(), nodes.iter().map(|view| view.node.as_str()));
                let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                format!("there is no node `{node}`{hint}")
            });
            (scheduler.revision(), found)
        })
        .await?;
    found.map(|node| (revision, node)).map_err(Refusal::not_found)
}

/// Gives a node no new work. What runs goes on.
#[utoipa::path(post, path = routes::NODE_CORDON, tag = "nodes", request_body = ChangeRequest, params(("node" = String, Path, description = "The node")),
    responses((status = 200, body = Versioned<Node>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn cordon(
    State(api): State<Api>,
    Segments(node): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let node = asked::node_id(&node)?;
    let request: ChangeRequest = asked::json_or_default(&headers, body, CHANGE_BYTES_MAX).await?;
    let cordon = Request::Cordon { node: node.clone(), on: true };
    change(&api, node, cordon, "a node is cordoned", request.message.as_deref()).await
}

/// Gives a node new work again; ends a drain.
#[utoipa::path(post, path = routes::NODE_UNCORDON, tag = "nodes", request_body = ChangeRequest, params(("node" = String, Path, description = "The node")),
    responses((status = 200, body = Versioned<Node>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn uncordon(
    State(api): State<Api>,
    Segments(node): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let node = asked::node_id(&node)?;
    let request: ChangeRequest = asked::json_or_default(&headers, body, CHANGE_BYTES_MAX).await?;
    let uncordon = Request::Cordon { node: node.clone(), on: false };
    change(&api, node, uncordon, "a node is uncordoned", request.message.as_deref()).await
}

/// Cordons a node and empties it: services move at once, what ends by itself may do so until the deadline.
#[utoipa::path(post, path = routes::NODE_DRAIN, tag = "nodes", request_body = DrainRequest, params(("node" = String, Path, description = "The node")),
    responses((status = 200, body = Versioned<Node>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn drain(
    State(api): State<Api>,
    Segments(node): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let node = asked::node_id(&node)?;
    let request: DrainRequest = asked::json_or_default(&headers, body, CHANGE_BYTES_MAX).await?;
    let deadline = request.deadline.as_deref().map(|text| {
        let ms = units::parse_duration_ms(text).ok().filter(|ms| *ms <= DRAIN_MS_MAX);
        let allowed = Some("a duration of at most 30 days, such as `5m`".to_owned());
        ms.map(Duration::from_millis).ok_or_else(|| Refusal::invalid_key("deadline", format!("`{text}`"), allowed))
    });
    let message = request.message.clone().unwrap_or_default();
    if message.len() > MESSAGE_LEN_MAX {
        let allowed = Some(format!("at most {MESSAGE_LEN_MAX} bytes"));
        return Err(Refusal::invalid_key("message", format!("{} bytes", message.len()), allowed));
    }
    let drain = Drain {
        since_ms: leader::wall_ms(),
        deadline: deadline.transpose()?,
        ignore_system: request.ignore_system,
        message,
    };
    let drain = Request::Drain { node: node.clone(), drain };
    change(&api, node, drain, "a node is drained", request.message.as_deref()).await
}

/// Sets and removes labels of a node.
#[utoipa::path(post, path = routes::NODE_LABELS, tag = "nodes", request_body = LabelsRequest, params(("node" = String, Path, description = "The node")),
    responses((status = 200, body = Versioned<Node>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn labels(
    State(api): State<Api>,
    Segments(node): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let node = asked::node_id(&node)?;
    let request: LabelsRequest = asked::json(&headers, body, CHANGE_BYTES_MAX).await?;
    let labels: Vec<(String, Option<String>)> = request.labels.into_iter().collect();
    let label = Request::Label { node: node.clone(), labels };
    change(&api, node, label, "a node is labelled", None).await
}

/// Forgets a node that is not connected.
#[utoipa::path(delete, path = routes::NODE, tag = "nodes", params(("node" = String, Path, description = "The node")),
    responses((status = 204, description = "It is forgotten"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn remove(State(api): State<Api>, Segments(node): Segments<String>) -> Result<Response, Refusal> {
    let node = asked::node_id(&node)?;
    find(&api, node.clone()).await?;
    api.change(Request::RemoveNode { node: node.clone() }).await?;
    tracing::info!(node.id = %node, "a node is forgotten");
    Ok(Reply::empty())
}

/// Makes a change, and answers with the node.
async fn change(
    api: &Api,
    node: NodeId,
    request: Request,
    what: &'static str,
    message: Option<&str>,
) -> Result<Response, Refusal> {
    // Of an unknown node, this says which one was perhaps meant.
    find(api, node.clone()).await?;
    api.change(request).await?;
    tracing::info!(node.id = %node, message, "{what}");
    let (revision, node) = find(api, node).await?;
    Ok(Reply::object(node)?.revision(revision).done())
}
