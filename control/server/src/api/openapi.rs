//! The OpenAPI document.

use axum::{body::Body, response::Response};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        self,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use weir_api::{FoundKind, LogRecord, Problem, Until, routes, spec::Document};

use super::{
    blobs, cluster, dispatch, gc, graph, health, jobs, live, logs, modules, namespaces, nodes, operate, plan, quotas,
    refusal::Refusal, reply::Reply, results, runs, search, snapshot, submit, tasks, versions,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Weir",
        description = "The HTTP API of a Weir cluster. Errors are RFC 9457 problems with a stable `code`. Every read \
            carries `X-Weir-Revision`."
    ),
    paths(
        modules::put, modules::list, modules::read, blobs::put,
        jobs::list, jobs::read, jobs::put, graph::read, versions::list, versions::diff, versions::revert,
        plan::plan,
        operate::scale, operate::pause, operate::resume, operate::restart, dispatch::dispatch,
        runs::list, submit::one, submit::batch, runs::read, runs::stop, runs::why, results::read,
        tasks::list, tasks::read, tasks::result, tasks::why, tasks::stop, logs::read, live::read, live::profile,
        nodes::list, nodes::read, nodes::cordon, nodes::uncordon, nodes::drain, nodes::labels, nodes::remove,
        namespaces::list, quotas::list, quotas::read, quotas::put, quotas::remove, cluster::read, cluster::release_brake, gc::collect, snapshot::read, search::read,
        read, health::alive, health::leader, health::metrics,
    ),
    components(schemas(Problem, LogRecord, Document, FoundKind, Until)),
    security(("token" = [])),
    modifiers(&Token),
)]
struct Api;

/// Adds the bearer token.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The token that `wctl cluster init` printed"))
            .build();
        document.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(token));
    }
}

/// Reads this document.
#[utoipa::path(get, path = routes::OPENAPI, tag = "cluster", security(()),
    responses((status = 200, description = "The OpenAPI document", content_type = "application/json", body = Object)))]
pub(super) async fn read() -> Result<Response, Refusal> {
    let document = Api::openapi().to_json().map_err(|error| Refusal::internal("write the OpenAPI document", &error))?;
    Ok(Reply::body(Body::from(document), "application/json").done())
}
