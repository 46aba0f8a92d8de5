//! Bad requests: each gets its code and status, and nothing happens.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::json;

use super::world::{World, digest, module};
use crate::api::Auth;

#[tokio::test]
async fn bad_requests_get_their_code() {
    let world = World::new(Auth::Open);
    let module = world.deploy("known", 3).await;
    let spec = |job: serde_json::Value| json!({ "job": job }).to_string();
    let absent = digest(b"absent");
    let runs = "/v1/namespaces/default/runs";
    let text_blob = digest(b"no items");
    world.send(Method::PUT, &format!("/v1/blobs/{text_blob}"), "no items").await;
    let cases: Vec<(Method, String, String, u16, &str, &str)> = vec![
        (Method::GET, "/v1/nothing".into(), String::new(), 404, "not_found", "nothing at this path"),
        (Method::DELETE, "/v1/nodes".into(), String::new(), 405, "invalid_request", "DELETE"),
        (Method::GET, "/v1/namespaces/UPPER/jobs".into(), String::new(), 400, "invalid_request", "namespace"),
        (Method::GET, "/v1/namespaces/default/jobs/a%ffb".into(), String::new(), 400, "invalid_request", "path"),
        (
            Method::GET,
            "/v1/namespaces/default/jobs/knwon".into(),
            String::new(),
            404,
            "not_found",
            "did you mean `known`",
        ),
        (
            Method::GET,
            "/v1/namespaces/default/jobs/known?version=9".into(),
            String::new(),
            404,
            "not_found",
            "latest is 1",
        ),
        (
            Method::GET,
            "/v1/namespaces/default/jobs/known?version=x".into(),
            String::new(),
            400,
            "invalid_request",
            "query",
        ),
        (Method::GET, "/v1/namespaces/default/jobs?limit=0".into(), String::new(), 400, "invalid_request", "limit"),
        (Method::GET, "/v1/namespaces/default/jobs?limit=10001".into(), String::new(), 400, "invalid_request", "limit"),
        (Method::GET, format!("{runs}?cursor=x"), String::new(), 400, "invalid_request", "cursor"),
        (Method::GET, format!("{runs}/zzz"), String::new(), 400, "invalid_request", "run"),
        (Method::GET, format!("{runs}/0000000000000"), String::new(), 404, "not_found", "no run"),
        (Method::GET, format!("{runs}/0000000000000/why"), String::new(), 404, "not_found", "no run"),
        (Method::GET, format!("{runs}/0000000000000/results"), String::new(), 404, "not_found", "no run"),
        (Method::GET, format!("{runs}/0000000000000/tasks"), String::new(), 404, "not_found", "no run"),
        (Method::GET, format!("{runs}/0000000000000/tasks/0"), String::new(), 404, "not_found", "no run"),
        (Method::GET, format!("{runs}/0000000000000/tasks/x"), String::new(), 400, "invalid_request", "index"),
        (Method::GET, format!("{runs}/0000000000000/tasks/0/logs"), String::new(), 404, "not_found", "no run"),
        (Method::GET, format!("{runs}/0000000000000?wait=2h"), String::new(), 400, "invalid_request", "too long"),
        (Method::GET, format!("{runs}/0000000000000?wait=5"), String::new(), 400, "invalid_request", "wait"),
        (Method::POST, format!("{runs}/0000000000000/stop"), String::new(), 404, "not_found", "no run"),
        (Method::POST, format!("{runs}/0000000000000/stop"), "[".into(), 400, "invalid_request", "body"),
        (Method::GET, "/v1/nodes/n9".into(), String::new(), 404, "not_found", "no node"),
        (Method::GET, "/v1/modules/sha256:12".into(), String::new(), 400, "invalid_request", "digest"),
        (Method::GET, format!("/v1/modules/{absent}"), String::new(), 404, "not_found", "no module"),
        (Method::PUT, format!("/v1/modules/{absent}"), "x".into(), 422, "digest_mismatch", "digest"),
        (
            Method::PUT,
            format!("/v1/modules/{}", digest(b"text")),
            "text".into(),
            422,
            "invalid_module",
            "not WebAssembly",
        ),
        (Method::PUT, format!("/v1/modules/{}", digest(b"")), String::new(), 422, "invalid_module", "empty"),
        (Method::PUT, format!("/v1/blobs/{absent}"), "x".into(), 422, "digest_mismatch", "digest"),
        (Method::PUT, "/v1/namespaces/default/jobs/j".into(), "{".into(), 422, "invalid_spec", "JSON"),
        (
            Method::PUT,
            "/v1/namespaces/default/jobs/j".into(),
            spec(json!({"name": "k", "module": module.to_string()})),
            422,
            "invalid_spec",
            "job.name",
        ),
        (
            Method::PUT,
            "/v1/namespaces/default/jobs/j".into(),
            spec(json!({"name": "j", "module": "a.wasm"})),
            422,
            "invalid_spec",
            "job.module",
        ),
        (
            Method::PUT,
            "/v1/namespaces/default/jobs/j".into(),
            spec(json!({"name": "j", "module": absent.to_string()})),
            404,
            "not_found",
            "not uploaded",
        ),
        (
            Method::PUT,
            "/v1/namespaces/default/jobs/j".into(),
            spec(json!({"name": "j", "module": module.to_string(), "kind": "service"})),
            422,
            "unsupported",
            "job.kind",
        ),
        (Method::PUT, "/v1/namespaces/default/jobs/j".into(), " ".repeat((256 << 10) + 1), 413, "too_large", "256KiB"),
        (Method::POST, runs.into(), "{}".into(), 400, "invalid_request", "job"),
        (Method::POST, runs.into(), r#"{"job": "known", "cuont": 2}"#.into(), 400, "invalid_request", "cuont"),
        (Method::POST, runs.into(), r#"{"job": "unknown"}"#.into(), 404, "not_found", "no job"),
        (Method::POST, runs.into(), r#"{"job": "known", "count": 0}"#.into(), 400, "invalid_request", "count"),
        (
            Method::POST,
            runs.into(),
            r#"{"job": "known", "payload": {"base64": "?"}}"#.into(),
            400,
            "invalid_request",
            "base64",
        ),
        (
            Method::POST,
            runs.into(),
            format!(r#"{{"job": "known", "payload": {{"blob": "{absent}"}}}}"#),
            404,
            "not_found",
            "no blob",
        ),
        (Method::POST, runs.into(), format!(r#"{{"job": "known", "items": "{absent}"}}"#), 404, "not_found", "no blob"),
        (
            Method::POST,
            runs.into(),
            format!(r#"{{"job": "known", "items": "{text_blob}"}}"#),
            400,
            "invalid_request",
            "items",
        ),
        (
            Method::POST,
            runs.into(),
            format!(r#"{{"job": "known", "items": "{text_blob}", "payload": {{"base64": ""}}}}"#),
            400,
            "invalid_request",
            "excludes",
        ),
        (Method::POST, format!("{runs}:batch"), r#"{"items": []}"#.into(), 400, "invalid_request", "0 items"),
        (Method::GET, format!("/v1/search?prefix={}", "a".repeat(81)), String::new(), 400, "invalid_request", "prefix"),
    ];
    for (method, path, body, status, code, detail) in cases {
        let answer = world.send(method.clone(), &path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{method} {path}: {problem}");
        assert_eq!(problem["status"], status, "{method} {path}: {problem}");
        assert_eq!(problem["api"], "v1");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{method} {path}: {problem}");
    }
    assert_eq!(world.get(runs).await.json()["items"], json!([]), "nothing was started");
}

#[tokio::test]
async fn unknown_imports_are_refused_by_name() {
    let world = World::new(Auth::Open);
    let text = r#"(module (import "env" "launch" (func)) (memory (export "memory") 1) (func (export "_start")))"#;
    let bytes = wat::parse_str(text).unwrap();
    let path = format!("/v1/modules/{}", digest(&bytes));
    let answer = world.send(Method::PUT, &path, bytes).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (422, &json!("invalid_module")));
    assert_eq!(answer.json()["details"][0]["path"], "env.launch");
    assert_eq!(world.get(&path).await.status, StatusCode::NOT_FOUND, "it was not stored");
}

#[tokio::test]
async fn a_spec_is_refused_with_the_paths_of_its_keys() {
    let world = World::new(Auth::Open);
    let spec = json!({ "job": { "name": "j", "module": digest(&module()).to_string(), "cuont": 1 },
        "resources": { "memory": "9TiB" } });
    let answer = world.send(Method::PUT, "/v1/namespaces/default/jobs/j", spec.to_string()).await;
    let problem = answer.json();
    assert_eq!(problem["code"], "invalid_spec");
    let paths: Vec<&str> =
        problem["details"].as_array().unwrap().iter().map(|detail| detail["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["job.cuont", "resources.memory"]);
    assert!(problem["details"][1]["allowed"].as_str().unwrap().contains("4GiB"), "{problem}");
}

#[tokio::test]
async fn announced_and_streamed_bodies_are_bounded() {
    let world = World::new(Auth::Open);
    let path = format!("/v1/modules/{}", digest(b""));
    let announced = Request::put(&path).header("content-length", u64::MAX.to_string()).body(Body::empty()).unwrap();
    assert_eq!(world.call(announced).await.json()["code"], "too_large");
    let part = axum::body::Bytes::from(vec![0; 1 << 20]);
    let parts = (0..200).map(move |_| Ok::<_, std::io::Error>(part.clone()));
    let streamed = Request::put(&path).body(Body::from_stream(futures_util::stream::iter(parts))).unwrap();
    let answer = world.call(streamed).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (413, &json!("too_large")));
}
