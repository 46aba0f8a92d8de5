//! What holds for the API as a whole: who may call it, its document, health, and a store that does not answer.

use std::collections::BTreeSet;

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use weir_api::routes;

use super::world::{Step, World};
use crate::{api::Auth, status::Part};

#[tokio::test]
async fn only_the_token_opens_the_api() {
    let world = World::new(Auth::Token { sha256: Sha256::digest(b"t0ken").into() });
    for (path, token, status) in [
        ("/v1/cluster", None, 401),
        ("/v1/cluster", Some("wrong"), 401),
        ("/v1/cluster", Some("t0ken"), 200),
        ("/v1/nothing", None, 401),
        ("/metrics", None, 401),
        ("/metrics", Some("t0ken"), 200),
        ("/healthz", None, 200),
        ("/healthz/leader", None, 200),
        ("/v1/openapi.json", None, 200),
        ("/healthz/", None, 401),
        ("//healthz", None, 401),
    ] {
        let mut request = Request::get(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = world.call(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {token:?}");
        if status == 401 {
            assert_eq!(answer.json()["code"], "unauthenticated");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"weir\"");
        }
    }
}

#[tokio::test]
async fn an_open_api_answers_to_the_loopback_device_only() {
    let world = World::new(Auth::Open);
    for (name, value, status) in
        [("host", "127.0.0.1:4640", 200), ("host", "rebound.example", 403), ("origin", "https://page.example", 403)]
    {
        let request = Request::get("/v1/cluster").header(name, value).body(Body::empty()).unwrap();
        assert_eq!(world.call(request).await.status.as_u16(), status, "{name}: {value}");
    }
}

#[tokio::test]
async fn the_document_has_every_route_and_no_loose_end() {
    let world = World::new(Auth::Open);
    let document = world.get("/v1/openapi.json").await.json();
    let paths: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(paths, routes::TEMPLATES.iter().copied().collect());
    let mut references = BTreeSet::new();
    collect_references(&document, &mut references);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for reference in &references {
        let name = reference.strip_prefix("#/components/schemas/").unwrap();
        assert!(schemas.contains_key(name), "{name} is not described");
    }
    assert!(references.len() > 20, "{references:?}");
    assert!(document["components"]["securitySchemes"]["token"].is_object());
}

fn collect_references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| collect_references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The router takes every method that the document has.
#[tokio::test]
async fn every_documented_operation_is_served() {
    let world = World::new(Auth::Open);
    let document = world.get("/v1/openapi.json").await.json();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let path = path
            .replace("{ns}", "default")
            .replace("{run}", "0000000000000")
            .replace("{index}", "0")
            .replace("{digest}", &super::world::digest(b"x").to_string())
            .replace("{job}", "j")
            .replace("{node}", "n");
        for method in operations.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = world.send(method.clone(), &path, Body::empty()).await;
            assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{method} {path}: {}", answer.text());
            assert!(!answer.text().contains("nothing at this path"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn health_tells_leaders_apart() {
    let world = World::new(Auth::Open);
    assert_eq!(world.get("/healthz/leader").await.status, StatusCode::OK);
    world.board.leading(None);
    assert_eq!(world.get("/healthz").await.status, StatusCode::OK);
    let answer = world.get("/healthz/leader").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (503, &json!("no_leader")));
    assert!(world.get("/metrics").await.text().contains("weir_leading"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_waited_for_and_named() {
    let world = World::new(Auth::Open);
    world.deploy("j", 1).await;
    world.step(Step::Hang);
    world.board.failed(Part::Store, "connection refused");
    let answer = world.post("/v1/namespaces/default/runs", &json!({ "job": "j" }), Some("k")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let problem = answer.json();
    assert_eq!(problem["code"], "store_unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("connection refused"), "{problem}");
    assert_eq!(answer.header("retry-after"), "5");
    let cluster = world.get("/v1/cluster").await.json();
    assert_eq!(cluster["store"]["status"], "retrying");
    assert_eq!(cluster["store"]["error"], "connection refused");

    // Without leadership even questions wait, and are told why.
    world.board.leading(None);
    let answer = world.get("/v1/namespaces/default/jobs").await;
    assert_eq!(answer.json()["code"], "store_unavailable");
}
