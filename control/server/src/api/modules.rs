//! Modules: verified and validated before they are stored, described by an object beside the blob.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use weir_api::{Code, Detail, Module, Page, PageQuery, Problem, Versioned, routes};
use weir_module::Limits;
use weir_wire::{id::Digest, limits};

use super::{
    Api,
    asked::{self, Asked, Segments},
    refusal::Refusal,
    reply::Reply,
};
use crate::garbage::MODULE_DIRECTORY;

/// Longest description, bytes: imports and exports of a module are limited in number, and their names by its size.
const DESCRIPTION_LEN_MAX: u64 = 16 << 20;
/// Most modules that are listed.
pub(super) const MODULES_LISTED_MAX: usize = 10_000;
/// Most unknown imports that a refusal lists.
const DETAILS_MAX: usize = 100;

/// Stores a module, once its bytes proved to have the digest and to be something that runs.
#[utoipa::path(put, path = routes::MODULE, tag = "modules", params(("digest" = String, Path, description = "`sha256:` and 64 hexadecimal digits")),
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 200, description = "It was there", body = Versioned<Module>), (status = 201, description = "It was stored", body = Versioned<Module>),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn put(
    State(api): State<Api>,
    Segments(digest): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let digest = asked::digest(&digest)?;
    let len_max = usize::try_from(limits::MODULE_LEN_MAX).unwrap_or(usize::MAX);
    asked::check_length(&headers, limits::MODULE_LEN_MAX)?;
    let permit = api.module_uploads.acquire().await;
    let _permit = permit.map_err(|error| Refusal::internal("receive a module", &error))?;
    let bytes = Bytes::from(asked::bytes(&headers, body, len_max).await?);
    let module = examine(digest, bytes.clone()).await?;
    let stored = api.handle.blobs().put_bytes(&digest, bytes).await?;
    let description = serde_json::to_vec(&module).map_err(|error| Refusal::internal("describe a module", &error))?;
    api.handle.blobs().write_object(&object_name(&digest), Bytes::from(description)).await?;
    tracing::info!(module.digest = %digest, module.bytes = stored.len, created = stored.created, "a module was put");
    let status = if stored.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(Reply::object(module)?.status(status).done())
}

/// Lists the stored modules by digest.
#[utoipa::path(get, path = routes::MODULES, tag = "modules", params(PageQuery),
    responses((status = 200, body = Versioned<Page<Module>>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(State(api): State<Api>, Asked(query): Asked<PageQuery>) -> Result<Response, Refusal> {
    let limit = asked::limit(query.limit)?;
    let after = query.cursor.as_deref().map(asked::digest).transpose()?;
    let mut digests = digests(&api).await?;
    digests.retain(|digest| after.is_none_or(|after| *digest > after));
    let more = digests.len() > limit;
    digests.truncate(limit);
    let mut items = Vec::with_capacity(digests.len());
    for digest in &digests {
        items.extend(describe(&api, digest).await?);
    }
    let next = digests.last().filter(|_| more).map(ToString::to_string);
    Ok(Reply::object(Page { items, next })?.done())
}

/// Reads what a module is.
#[utoipa::path(get, path = routes::MODULE, tag = "modules", params(("digest" = String, Path, description = "`sha256:` and 64 hexadecimal digits")),
    responses((status = 200, body = Versioned<Module>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn read(State(api): State<Api>, Segments(digest): Segments<String>) -> Result<Response, Refusal> {
    let digest = asked::digest(&digest)?;
    let module = describe(&api, &digest).await?;
    let module = module.ok_or_else(|| Refusal::not_found(format!("no module {digest} is stored")))?;
    Ok(Reply::object(module)?.done())
}

/// The digests of stored modules, in order.
pub(super) async fn digests(api: &Api) -> Result<Vec<Digest>, Refusal> {
    let names = api.handle.blobs().list(MODULE_DIRECTORY, MODULES_LISTED_MAX).await?;
    let digest = |name: &String| format!("sha256:{}", name.rsplit('/').next()?).parse().ok();
    let mut digests: Vec<Digest> = names.iter().filter_map(digest).collect();
    digests.sort_unstable();
    Ok(digests)
}

/// What a stored module is, if that was put down.
pub(super) async fn describe(api: &Api, digest: &Digest) -> Result<Option<Module>, Refusal> {
    let found = api.handle.blobs().read_object(&object_name(digest), DESCRIPTION_LEN_MAX).await?;
    let parse = |bytes: Bytes| {
        serde_json::from_slice(&bytes).map_err(|error| Refusal::internal("read a module's description", &error))
    };
    found.map(parse).transpose()
}

fn object_name(digest: &Digest) -> String {
    format!("{MODULE_DIRECTORY}/{}", digest.to_hex())
}

/// Hashes and validates on a thread of its own: it takes milliseconds for each megabyte.
async fn examine(digest: Digest, bytes: Bytes) -> Result<Module, Refusal> {
    let work = tokio::task::spawn_blocking(move || {
        let found = Digest(Sha256::digest(&bytes).into());
        if found != digest {
            let detail = format!("the content has the digest {found}, not {digest}");
            return Err(Refusal::new(Code::DigestMismatch, detail));
        }
        let report = weir_module::validate(&bytes, &Limits::default()).map_err(|error| refuse(&error))?;
        Ok(Module::described(digest.to_string(), &report))
    });
    work.await.map_err(|error| Refusal::internal("validate a module", &error))?
}

fn refuse(error: &weir_module::Error) -> Refusal {
    let mut refusal = Refusal::new(Code::InvalidModule, error.to_string());
    if let weir_module::Error::UnknownImports(unknown) = error {
        let detail = |unknown: &weir_module::UnknownImport| Detail {
            path: unknown.import.to_string(),
            reason: "nobody provides this import".to_owned(),
            allowed: unknown.hint.clone(),
        };
        refusal.problem.details = unknown.iter().take(DETAILS_MAX).map(detail).collect();
    }
    refusal
}
