//! Jobs of all kinds, and what people do to jobs, nodes and namespaces.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::{Value, json};
use weir_wire::outcome::Captured;

use super::world::{Answer, Step, World, digest, module, success, trap};
use crate::api::Auth;

const JOBS: &str = "/v1/namespaces/default/jobs";

/// Makes a job of a kind from a spec's sections.
async fn put(world: &World, name: &str, kind: &str, more: Value) -> Answer {
    let module = module();
    let digest = digest(&module);
    world.send(Method::PUT, &format!("/v1/modules/{digest}"), module).await;
    let mut spec = json!({ "job": { "name": name, "kind": kind, "module": digest.to_string() } });
    for (section, fields) in more.as_object().unwrap() {
        for (key, value) in fields.as_object().unwrap() {
            spec[section][key] = value.clone();
        }
    }
    world.send(Method::PUT, &format!("{JOBS}/{name}"), spec.to_string()).await
}

async fn change(world: &World, path: &str, body: Value) -> Answer {
    world.post(path, &body, None).await
}

fn code(answer: &Answer) -> (u16, Value) {
    (answer.status.as_u16(), answer.json()["code"].clone())
}

#[tokio::test(start_paused = true)]
async fn a_function_is_called_and_answers_with_bytes() {
    let world = World::new(Auth::Open);
    for name in ["f", "g"] {
        assert!(put(&world, name, "function", json!({})).await.status.is_success());
    }
    let call = |body: Value, key: Option<&'static str>| {
        let path = format!("{JOBS}/f/dispatch?wait=100ms");
        let world = &world;
        async move { world.post(&path, &body, key).await }
    };
    let going = call(json!({ "meta": { "a": "1" } }), Some("k")).await;
    assert_eq!(going.status, StatusCode::ACCEPTED, "{}", going.text());
    assert_eq!(going.json()["meta"], json!({ "a": "1" }));
    assert_eq!(going.json()["id"], going.header("x-weir-run"));
    world.step(Step::Join(|_| Some(success(Captured::inline(b"bytes"), Captured::Empty))));
    let done = call(json!({ "meta": { "a": "1" } }), Some("k")).await;
    assert_eq!((done.status, done.text().as_str()), (StatusCode::OK, "bytes"));
    assert_eq!(done.header("x-weir-run"), going.header("x-weir-run"), "the same key is the same call");
    assert_eq!(code(&call(json!({}), Some("k")).await), (409, json!("idempotency_mismatch")));
    assert_eq!(code(&call(json!({ "meta": { "a b": "1" } }), None).await), (400, json!("invalid_request")));
    world.deploy("batch", 1).await;
    assert_eq!(code(&change(&world, &format!("{JOBS}/batch/dispatch"), json!({})).await), (409, json!("conflict")));
    let missing = change(&world, &format!("{JOBS}/ff/dispatch"), json!({})).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_function_that_fails_says_how() {
    let world = World::new(Auth::Open);
    assert!(put(&world, "f", "function", json!({ "retry": { "attempts": 1 } })).await.status.is_success());
    world.step(Step::Join(|_| Some(trap())));
    let failed = change(&world, &format!("{JOBS}/f/dispatch"), json!({})).await;
    assert_eq!(code(&failed), (424, json!("task_failed")));
    assert!(failed.json()["detail"].as_str().unwrap().contains("trap: unreachable"), "{}", failed.text());
    assert!(!failed.header("x-weir-run").is_empty());
}

#[tokio::test]
async fn versions_are_listed_compared_and_gone_back_to() {
    let world = World::new(Auth::Open);
    for count in 1..=3 {
        world.deploy("j", count).await;
    }
    let versions = world.get(&format!("{JOBS}/j/versions?limit=2")).await.json();
    let numbers = |page: &Value| -> Vec<u64> {
        page["items"].as_array().unwrap().iter().map(|item| item["version"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(&versions), [3, 2]);
    let rest = world.get(&format!("{JOBS}/j/versions?cursor={}", versions["next"].as_str().unwrap())).await.json();
    assert_eq!((numbers(&rest), &rest["next"]), (vec![1], &Value::Null));

    let diff = world.get(&format!("{JOBS}/j/diff?from=1")).await.json();
    assert_eq!(diff["changes"], json!([{ "path": "job.count", "from": 1, "to": 3 }]));
    assert_eq!(world.get(&format!("{JOBS}/j/diff?to=1")).await.status, StatusCode::BAD_REQUEST);

    let reverted = change(&world, &format!("{JOBS}/j/revert"), json!({ "version": 1 })).await;
    assert_eq!(reverted.status, StatusCode::CREATED, "{}", reverted.text());
    assert_eq!((&reverted.json()["version"], &reverted.json()["spec"]["job"]["count"]), (&json!(4), &json!(1)));
    let stale = Request::post(format!("{JOBS}/j/revert")).header("if-match", "\"3\"").body(Body::empty()).unwrap();
    assert_eq!(code(&world.call(stale).await), (409, json!("conflict")));
    let unknown = change(&world, &format!("{JOBS}/j/revert"), json!({ "version": 9 })).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_service_is_scaled_paused_restarted_and_reverted() {
    let world = World::new(Auth::Open);
    world.step(Step::Join(|_| None));
    let update = json!({ "job": { "count": 2 }, "update": { "healthy_after": "20ms" } });
    assert_eq!(put(&world, "web", "service", update).await.status, StatusCode::CREATED);
    let run = world.start(&json!({ "job": "web" })).await;
    let healthy = world.get(&format!("{run}?until=healthy&wait=30s")).await.json();
    assert_eq!((&healthy["healthy"], &healthy["target"]), (&json!(2), &json!(2)), "{healthy}");
    assert_eq!(code(&change(&world, &format!("{JOBS}/web/scale"), json!({})).await).0, 400);
    let scaled = change(&world, &format!("{JOBS}/web/scale"), json!({ "count": 3 })).await;
    assert_eq!((scaled.status, &scaled.json()["count"]), (StatusCode::OK, &json!(3)), "{}", scaled.text());
    let healthy = world.get(&format!("{run}?until=healthy&wait=30s")).await.json();
    assert_eq!((&healthy["healthy"], &healthy["tasks"]["running"]), (&json!(3), &json!(3)), "{healthy}");

    let update = json!({ "job": { "count": 2, "env": { "A": "1" } }, "update": { "healthy_after": "20ms" } });
    assert_eq!(put(&world, "web", "service", update).await.json()["version"], 2);
    let late = world.post("/v1/namespaces/default/runs", &json!({ "job": "web", "version": 1 }), None).await;
    assert_eq!(code(&late), (409, json!("conflict")), "an older version does not take over: {}", late.text());

    let paused = change(&world, &format!("{JOBS}/web/pause"), json!({ "message": "why" })).await;
    assert_eq!(paused.json()["paused"], true, "{}", paused.text());
    let resumed = change(&world, &format!("{JOBS}/web/resume"), json!({})).await;
    assert_eq!(resumed.json()["paused"], false);
    let restarted = change(&world, &format!("{JOBS}/web/restart"), json!({})).await;
    assert_eq!(restarted.status, StatusCode::OK, "{}", restarted.text());
    assert_ne!(restarted.json()["last_run"].as_str().unwrap(), run.rsplit('/').next().unwrap());
    world.deploy("batch", 1).await;
    for (operation, body) in [("scale", json!({ "count": 1 })), ("restart", json!({}))] {
        let refused = change(&world, &format!("{JOBS}/batch/{operation}"), body).await;
        assert_eq!(code(&refused), (409, json!("conflict")), "{operation}: {}", refused.text());
    }
    assert_eq!(change(&world, &format!("{JOBS}/wbe/pause"), json!({})).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_scaled_service_keeps_its_number_until_the_spec_says_another() {
    let world = World::new(Auth::Open);
    world.step(Step::Join(|_| None));
    let spec = |count: u32, word: &str| json!({ "job": { "count": count, "args": [word] }, "update": { "healthy_after": "20ms" } });
    let planned = async |count: u32, word: &str| {
        let mut body = spec(count, word);
        body["job"]["name"] = json!("web");
        body["job"]["kind"] = json!("service");
        body["job"]["module"] = json!(digest(&module()).to_string());
        let plan = change(&world, &format!("{JOBS}/web/plan"), body).await;
        assert_eq!(plan.status, StatusCode::OK, "{}", plan.text());
        plan.json()
    };
    let target = async |run: &str| world.get(run).await.json()["target"].clone();
    assert_eq!(put(&world, "web", "service", spec(2, "a")).await.status, StatusCode::CREATED);
    let first = world.start(&json!({ "job": "web" })).await;
    world.get(&format!("{first}?until=healthy&wait=30s")).await;
    assert_eq!(change(&world, &format!("{JOBS}/web/scale"), json!({ "count": 4 })).await.status, StatusCode::OK);

    let same = planned(2, "a").await;
    assert_eq!(same["goes_on"].as_str().unwrap(), first.rsplit('/').next().unwrap());
    assert_eq!((&same["count"], &same["specified"], &same["kept"]), (&json!(4), &json!(2), &json!(4)), "{same}");
    assert_eq!((&same["placed"], &same["waiting"]), (&json!([]), &json!(0)), "{same}");

    let other = planned(2, "b").await;
    assert_eq!((&other["count"], &other["goes_on"]), (&json!(4), &Value::Null), "{other}");
    put(&world, "web", "service", spec(2, "b")).await;
    let second = world.start(&json!({ "job": "web" })).await;
    assert_eq!(target(&second).await, 4, "the number is kept");

    let less = planned(3, "b").await;
    assert_eq!((&less["count"], &less["kept"]), (&json!(3), &json!(4)), "{less}");
    put(&world, "web", "service", spec(3, "b")).await;
    let third = world.start(&json!({ "job": "web" })).await;
    assert_eq!(target(&third).await, 3, "the spec says another number than before");

    let reverted = change(&world, &format!("{JOBS}/web/revert"), json!({ "version": 1 })).await;
    assert_eq!(reverted.status, StatusCode::CREATED, "{}", reverted.text());
    let jobs = world.get(&format!("{JOBS}?job=web")).await.json();
    assert_eq!(jobs["items"][0]["count"], 2, "{jobs}");
}

#[tokio::test]
async fn a_revert_whose_run_would_be_refused_makes_no_version() {
    let world = World::new(Auth::Open);
    let spec = |count: u32| json!({ "job": { "count": count, "tier": "production" } });
    assert!(put(&world, "web", "service", spec(3)).await.status.is_success());
    assert!(put(&world, "web", "service", spec(1)).await.status.is_success());
    world.start(&json!({ "job": "web" })).await;
    let set = world.send(Method::PUT, "/v1/quotas/default", json!({ "running": 2 }).to_string()).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text());
    let refused = change(&world, &format!("{JOBS}/web/revert"), json!({ "version": 1 })).await;
    assert_eq!(code(&refused), (429, json!("quota_exceeded")), "{}", refused.text());
    assert_eq!(world.get(&format!("{JOBS}/web")).await.json()["version"], 2);
}

#[tokio::test]
async fn a_run_of_a_system_job_says_how_many_nodes_it_is_for() {
    let world = World::new(Auth::Open);
    assert_eq!(put(&world, "agent", "system", json!({})).await.status, StatusCode::CREATED);
    let run = world.start(&json!({ "job": "agent" })).await;
    let nowhere = world.get(&run).await.json();
    assert_eq!((&nowhere["target"], &nowhere["healthy"]), (&json!(0), &json!(0)), "{nowhere}");
    world.step(Step::Join(|_| None));
    while world.get(&run).await.json()["target"] != 1 {
        tokio::task::yield_now().await;
    }
    let found: weir_api::Run = serde_json::from_value(world.get(&run).await.json()).unwrap();
    assert!(!found.is_healthy(), "it is not before its task has run for a while: {found:?}");
}

#[tokio::test]
async fn a_job_waits_for_the_newest_run_of_another() {
    let world = World::new(Auth::Open);
    world.deploy("first", 1).await;
    assert!(
        put(&world, "then", "batch", json!({ "job": { "after": ["first"], "input_from": "first" } }))
            .await
            .status
            .is_success()
    );
    let none = world.post("/v1/namespaces/default/runs", &json!({ "job": "then" }), None).await;
    assert_eq!(code(&none), (409, json!("conflict")));
    let payload = json!({ "job": "then", "payload": { "base64": "eA==" } });
    assert_eq!(world.post("/v1/namespaces/default/runs", &payload, None).await.status, StatusCode::BAD_REQUEST);
    let items = json!({ "items": [{ "job": "first" }, { "job": "then" }] });
    let both = world.post("/v1/namespaces/default/runs:batch", &items, None).await.json();
    let first = both["items"][0]["run"]["id"].as_str().unwrap().to_owned();
    assert_eq!(both["items"][1]["run"]["waiting_for"][0]["run"], first, "{both}");
    let run = format!("/v1/namespaces/default/runs/{}", both["items"][1]["run"]["id"].as_str().unwrap());
    let why = world.get(&format!("{run}/why")).await.json();
    assert!(why["summary"].as_str().unwrap().contains(&first), "{why}");
    let why = world.get(&format!("{run}/tasks/0/why")).await.json();
    assert!(why["summary"].as_str().unwrap().contains("to succeed"), "{why}");
    let graph = world.get(&format!("{JOBS}:graph")).await.json();
    assert_eq!(graph["edges"], json!([{ "from": "first", "to": "then", "when": "success", "input": true }]));
    let cycle = put(&world, "first", "batch", json!({ "job": { "after": ["then"] } })).await;
    assert!(cycle.status.is_client_error() && cycle.text().contains("then"), "{}", cycle.text());
}

#[tokio::test(start_paused = true)]
async fn nodes_are_cordoned_labelled_drained_and_kept_while_they_are_connected() {
    let world = World::new(Auth::Open);
    world.step(Step::Join(|_| None));
    let node = "/v1/nodes/n1";
    while world.get(node).await.status != StatusCode::OK {
        tokio::task::yield_now().await;
    }
    assert_eq!(change(&world, &format!("{node}/cordon"), json!({})).await.json()["cordoned"], true);
    assert_eq!(change(&world, &format!("{node}/uncordon"), json!({})).await.json()["cordoned"], false);
    let labelled = change(&world, &format!("{node}/labels"), json!({ "labels": { "zone": "a" } })).await.json();
    assert_eq!((&labelled["labels"]["zone"], &labelled["attributes"]["zone"]), (&json!("a"), &json!("a")));
    let removed = change(&world, &format!("{node}/labels"), json!({ "labels": { "zone": null } })).await.json();
    assert_eq!(removed["labels"], Value::Null);
    let drained = change(&world, &format!("{node}/drain"), json!({ "deadline": "5m", "message": "disk" })).await.json();
    assert_eq!((&drained["drain"]["done"], &drained["drain"]["message"]), (&json!(true), &json!("disk")), "{drained}");
    assert_eq!(change(&world, &format!("{node}/drain"), json!({ "deadline": "soon" })).await.status.as_u16(), 400);
    assert_eq!(code(&world.send(Method::DELETE, node, Body::empty()).await), (409, json!("conflict")));
    let missing = change(&world, "/v1/nodes/n2/cordon", json!({})).await;
    assert!(missing.status == StatusCode::NOT_FOUND && missing.text().contains("`n1`"), "{}", missing.text());
    let off = change(&world, "/v1/cluster/release-brake", json!({})).await;
    assert_eq!(code(&off), (409, json!("conflict")), "the brake is not on: {}", off.text());
}

#[tokio::test]
async fn a_quota_is_set_enforced_and_removed() {
    let world = World::new(Auth::Open);
    let quota = "/v1/quotas/default";
    assert_eq!(world.get(quota).await.status, StatusCode::NOT_FOUND);
    let set = world.send(Method::PUT, quota, json!({ "running": 2 }).to_string()).await;
    assert_eq!((set.status, &set.json()["weight"]), (StatusCode::OK, &json!(100)), "{}", set.text());
    assert_eq!(world.send(Method::PUT, quota, json!({ "weight": 0 }).to_string()).await.status.as_u16(), 400);
    let job = json!({ "job": { "count": 2, "tier": "production" } });
    assert!(put(&world, "p", "batch", job).await.status.is_success());
    world.start(&json!({ "job": "p" })).await;
    let refused = world.post("/v1/namespaces/default/runs", &json!({ "job": "p" }), None).await;
    assert_eq!(code(&refused), (429, json!("quota_exceeded")));
    // What could not be run is not stored either, if it is said what it is for.
    let spec = json!({ "job": { "name": "q", "module": world.deploy("d", 1).await.to_string(), "count": 3, "tier": "production" } });
    let (path, body) = (format!("{JOBS}/q"), spec.to_string());
    let refused = world.send(Method::PUT, &format!("{path}?for_tasks=3"), body.clone()).await;
    assert_eq!(code(&refused), (429, json!("quota_exceeded")), "{}", refused.text());
    assert_eq!(world.get(&path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.send(Method::PUT, &path, body.clone()).await.status, StatusCode::CREATED);
    // A repeated deploy stores nothing, and its run may be the one that fills the quota.
    let repeated = world.send(Method::PUT, &format!("{path}?for_tasks=3"), body).await;
    assert_eq!(repeated.status, StatusCode::OK, "{}", repeated.text());
    let list = world.get("/v1/quotas").await.json();
    assert_eq!((&list["items"][0]["namespace"], &list["items"][0]["used"]["running"]), (&json!("default"), &json!(2)));
    assert_eq!(world.get("/v1/namespaces").await.json()["items"][0]["quota"]["running"], 2);
    assert_eq!(world.send(Method::DELETE, quota, Body::empty()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.get(quota).await.status, StatusCode::NOT_FOUND);
}
