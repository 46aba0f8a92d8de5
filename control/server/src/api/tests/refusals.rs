//! Bad requests: each gets its code and status, and nothing happens.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::json;

use super::world::{Step, World, digest, module};
use crate::{api::Auth, status::Part};

/// Method, path and body; the status, the code, and a part of the detail. `RUNS`, `NO-RUN`, `MODULE`, `ABSENT`,
/// `NO-ITEMS` and `EMPTY` stand for what the test fills in.
const CASES: &str = r#"
GET /v1/nothing | | 404 not_found nothing at this path
DELETE /v1/nodes | | 405 invalid_request DELETE
GET /v1/namespaces/UPPER/jobs | | 400 invalid_request namespace
GET /v1/namespaces/default/jobs/a%ffb | | 400 invalid_request path
GET /v1/namespaces/default/jobs/knwon | | 404 not_found did you mean `known`
GET /v1/namespaces/default/jobs/known?version=9 | | 404 not_found its latest is 1
GET /v1/namespaces/default/jobs/known?version=x | | 400 invalid_request query
GET /v1/namespaces/default/jobs?limit=0 | | 400 invalid_request limit
GET /v1/namespaces/default/jobs?limit=10001 | | 400 invalid_request limit
GET RUNS?cursor=x | | 400 invalid_request cursor
GET RUNS?state=failed | | 400 invalid_request unknown field `state`
GET NO-RUN?untli=healthy | | 400 invalid_request unknown field
GET RUNS/zzz | | 400 invalid_request run
GET NO-RUN | | 404 not_found no run
GET NO-RUN/why | | 404 not_found no run
GET NO-RUN/results | | 404 not_found no run
GET NO-RUN/tasks | | 404 not_found no run
GET NO-RUN/tasks?state=x | | 400 invalid_request query
GET NO-RUN/tasks/0 | | 404 not_found no run
GET NO-RUN/tasks/x | | 400 invalid_request index
GET NO-RUN/tasks/0/logs | | 404 not_found no run
GET NO-RUN?wait=2h | | 400 invalid_request too long
GET NO-RUN?wait=5 | | 400 invalid_request wait
POST NO-RUN/stop | | 404 not_found no run
POST NO-RUN/stop | [ | 400 invalid_request body
GET /v1/nodes/n9 | | 404 not_found no node
GET /v1/modules/sha256:12 | | 400 invalid_request digest
GET /v1/modules/ABSENT | | 404 not_found no module
PUT /v1/modules/ABSENT | x | 422 digest_mismatch digest
PUT /v1/modules/NO-ITEMS | no items | 422 invalid_module not WebAssembly
PUT /v1/modules/EMPTY | | 422 invalid_module empty
PUT /v1/blobs/ABSENT | x | 422 digest_mismatch digest
PUT /v1/namespaces/default/jobs/j | { | 422 invalid_spec JSON
PUT /v1/namespaces/default/jobs/j | {"job": {"name": "k", "module": "MODULE"}} | 422 invalid_spec job.name
PUT /v1/namespaces/default/jobs/j | {"job": {"name": "j", "module": "a.wasm"}} | 422 invalid_spec job.module
PUT /v1/namespaces/default/jobs/j | {"job": {"name": "j", "module": "ABSENT"}} | 404 not_found not uploaded
PUT /v1/namespaces/default/jobs/j | {"job": {"name": "j", "module": "MODULE"}, "grants": {"net": [{"host": "db", "port": 5432}]}} | 422 invalid_spec preview 1
POST /v1/namespaces/default/jobs/j/plan | {"job": {"name": "j", "module": "MODULE"}, "grants": {"net": [{"host": "db", "port": 5432}]}} | 422 invalid_spec preview 1
PUT /v1/namespaces/default/jobs/j | {"job": {"name": "j", "module": "MODULE", "kind": "srevice"}} | 422 invalid_spec job.kind
PUT /v1/namespaces/default/jobs/j | {"job": {"name": "j", "module": "MODULE", "kind": "cron"}} | 422 invalid_spec cron
PUT /v1/namespaces/default/jobs/j | {"job": {"name": "j", "module": "MODULE", "after": ["j"]}} | 422 invalid_spec itself
PUT /v1/namespaces/default/jobs/j | {"job": {"name": "j", "module": "MODULE"}, "grants": {"net": [{"host": "a.b"}]}} | 422 invalid_spec grants.net[0].port
POST RUNS | {} | 400 invalid_request job
POST RUNS | {"job": "known", "cuont": 2} | 400 invalid_request cuont
POST RUNS | {"job": "unknown"} | 404 not_found no job
POST RUNS | {"job": "known", "count": 0} | 400 invalid_request count
POST RUNS | {"job": "known", "payload": {"base64": "?"}} | 400 invalid_request base64
POST RUNS | {"job": "known", "payload": {"blob": "ABSENT"}} | 404 not_found no blob
POST RUNS | {"job": "known", "items": "ABSENT"} | 404 not_found no blob
POST RUNS | {"job": "known", "items": "NO-ITEMS"} | 400 invalid_request items
POST RUNS | {"job": "known", "items": "NO-ITEMS", "payload": {"base64": ""}} | 400 invalid_request excludes
POST RUNS:batch | {"items": []} | 400 invalid_request 0 items
"#;

#[tokio::test]
async fn bad_requests_get_their_code() {
    let world = World::new(Auth::Open);
    let module = world.deploy("known", 3).await;
    let no_items = digest(b"no items");
    world.send(Method::PUT, &format!("/v1/blobs/{no_items}"), "no items").await;
    let runs = "/v1/namespaces/default/runs";
    let filled = CASES
        .replace("RUNS", runs)
        .replace("NO-RUN", &format!("{runs}/0000000000000"))
        .replace("MODULE", &module.to_string())
        .replace("ABSENT", &digest(b"absent").to_string())
        .replace("NO-ITEMS", &no_items.to_string())
        .replace("EMPTY", &digest(b"").to_string());
    for case in filled.lines().filter(|line| !line.is_empty()) {
        let [request, body, expected] = case.splitn(3, " |").collect::<Vec<_>>().try_into().unwrap();
        let (method, path) = request.split_once(' ').unwrap();
        let [status, code, detail] = expected.trim().splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
        let answer = world.send(method.parse().unwrap(), path, body.trim().to_owned()).await;
        assert_eq!(answer.status.as_str(), status, "{case}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json", "{case}");
        let problem = answer.json();
        assert_eq!((&problem["api"], &problem["code"]), (&json!("v1"), &json!(code)), "{case}: {problem}");
        assert_eq!(problem["status"].to_string(), status, "{case}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{case}: {problem}");
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
    let details = problem["details"].as_array().unwrap();
    let paths: Vec<&str> = details.iter().map(|detail| detail["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["job.cuont", "resources.memory"]);
    assert!(details[1]["allowed"].as_str().unwrap().contains("4GiB"), "{problem}");
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
    let spec = world.send(Method::PUT, "/v1/namespaces/default/jobs/j", " ".repeat((256 << 10) + 1)).await;
    assert_eq!(spec.json()["code"], "too_large");
    let prefix = world.get(&format!("/v1/search?prefix={}", "a".repeat(81))).await;
    assert_eq!(prefix.json()["details"][0]["path"], "prefix");
}

#[tokio::test]
async fn a_store_that_was_full_is_tried_again_where_nothing_waits_to_be_written() {
    let world = World::new(Auth::Open);
    // A candidate heard so, and nobody has written anything since.
    world.board.full();
    world.deploy("j", 1).await;
    world.start(&json!({ "job": "j" })).await;
    world.board.failed(Part::Commits, "no space");
    let refused = world.post("/v1/namespaces/default/runs", &json!({ "job": "j" }), None).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["code"]),
        (429, &json!("back_pressure")),
        "{}",
        refused.text()
    );
}

#[tokio::test(start_paused = true)]
async fn who_waits_while_the_store_gets_full_hears_the_same_as_those_behind() {
    let world = World::new(Auth::Open);
    world.deploy("j", 1).await;
    // The clock is advanced once nobody has anything to do.
    let idle = || tokio::time::timeout(Duration::from_secs(1), std::future::pending::<()>());
    world.step(Step::Hang);
    assert!(idle().await.is_err());
    let ask = || async { world.post("/v1/namespaces/default/runs", &json!({ "job": "j" }), None).await };
    let waits = ask();
    let fills = async {
        assert!(idle().await.is_err());
        world.board.full();
        world.board.failed(Part::Commits, "no space");
    };
    let (first, ()) = tokio::join!(waits, fills);
    for (answer, part) in [(first, "takes effect once there is room"), (ask().await, "nothing was done")] {
        let problem = answer.json();
        assert_eq!((answer.status.as_u16(), &problem["code"]), (429, &json!("back_pressure")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{problem}");
        assert!(answer.headers.contains_key("retry-after"));
    }
}
