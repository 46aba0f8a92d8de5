//! From a job to its results.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::json;
use weir_api::TaskResult;
use weir_wire::{
    items,
    outcome::{BlobRef, Captured},
};

use super::world::{LARGE, Step, World, digest, module, success, trap};
use crate::api::Auth;

#[tokio::test]
async fn modules_are_stored_once_and_described() {
    let world = World::new(Auth::Open);
    let bytes = module();
    let path = format!("/v1/modules/{}", digest(&bytes));
    for status in [StatusCode::CREATED, StatusCode::OK] {
        let answer = world.send(Method::PUT, &path, bytes.clone()).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.json()["kind"], "wasi_p1_command");
    }
    let module = world.get(&path).await.json();
    assert_eq!(module["size"], bytes.len());
    assert_eq!(world.get("/v1/modules").await.json()["items"][0], {
        let mut expected = module.clone();
        expected.as_object_mut().unwrap().remove("api");
        expected
    });
}

#[tokio::test]
async fn jobs_get_a_version_when_their_spec_changes() {
    let world = World::new(Auth::Open);
    let module = world.deploy("j", 3).await;
    let path = "/v1/namespaces/default/jobs/j";
    let put = |count: u32, expected: Option<&str>| {
        let spec = json!({ "job": { "name": "j", "module": module.to_string(), "count": count } });
        let mut request = Request::put(path);
        if let Some(expected) = expected {
            request = request.header("if-match", expected);
        }
        world.call(request.body(Body::from(spec.to_string())).unwrap())
    };
    for (count, expected, status, version) in
        [(3, None, 200, 1), (4, Some("\"1\""), 201, 2), (4, Some("\"2\""), 200, 2)]
    {
        let answer = put(count, expected).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
        assert_eq!(answer.json()["version"], version);
        assert_eq!(answer.json()["changed"], status == 201);
        assert_eq!(answer.header("etag"), format!("\"{version}\""));
    }
    for expected in ["\"1\"", "\"0\""] {
        let answer = put(5, Some(expected)).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (409, &json!("conflict")));
    }
    assert_eq!(put(5, Some("x")).await.json()["code"], "invalid_request");
    let old = world.get(&format!("{path}?version=1")).await.json();
    assert_eq!(old["spec"]["job"]["count"], 3);
    let list = world.get("/v1/namespaces/default/jobs").await;
    assert_eq!(list.json()["items"][0]["version"], 2);
    assert_ne!(list.header("x-weir-revision"), "");
}

#[tokio::test]
async fn a_run_ends_and_can_be_read_back() {
    let world = World::new(Auth::Open);
    world.deploy("j", 5).await;
    world.step(Step::Join(|index| {
        Some(match index {
            3 => trap(),
            4 => success(Captured::inline(&[0xff]), Captured::Empty),
            _ => success(Captured::inline(format!("r{index}").as_bytes()), Captured::Empty),
        })
    }));
    let run = world.start(&json!({ "job": "j" })).await;
    let answer = world.get(&format!("{run}?wait=30s&until=terminal")).await;
    let view = answer.json();
    assert_eq!(
        (&view["state"], &view["tasks"]["succeeded"], &view["tasks"]["failed"]),
        (&json!("failed"), &json!(4), &json!(1))
    );
    assert_eq!(view["revision"].to_string(), answer.header("x-weir-revision"));

    let task = world.get(&format!("{run}/tasks/1")).await.json();
    assert_eq!((&task["state"], &task["exit_code"]), (&json!("succeeded"), &json!(0)));
    assert_eq!((&task["usage"]["fuel"], &task["result_size"]), (&json!(7), &json!(2)));
    let failed = world.get(&format!("{run}/tasks/3")).await.json();
    assert_eq!((&failed["reason"], &failed["source"]), (&json!("trap"), &json!("guest")));
    assert_eq!(failed["trap"]["backtrace"][0], "guest::boom");
    let page = world.get(&format!("{run}/tasks?limit=2&cursor=1")).await.json();
    assert_eq!((&page["items"][0]["index"], &page["next"]), (&json!(1), &json!("3")));
    let page = world.get(&format!("{run}/tasks?state=failed")).await.json();
    assert_eq!((page["items"].as_array().unwrap().len(), &page["items"][0]["index"]), (1, &json!(3)));

    assert_eq!(world.get(&format!("{run}/tasks/2/result")).await.body, b"r2");
    assert_eq!(world.get(&format!("{run}/tasks/5/result")).await.status, StatusCode::NOT_FOUND);
    let mut results: Vec<TaskResult> = world
        .get(&format!("{run}/results"))
        .await
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    results.sort_by_key(|result| result.index);
    let bytes: Vec<Vec<u8>> = results.iter().map(|result| result.bytes().unwrap()).collect();
    assert_eq!(bytes, [&b"r0"[..], b"r1", b"r2", b"", &[0xff]]);

    let found = world.get(&format!("/v1/search?prefix={}", &view["id"].as_str().unwrap()[..9])).await.json();
    assert_eq!((&found["items"][0]["kind"], &found["items"][0]["id"]), (&json!("run"), &view["id"]));
    let jobs = world.get("/v1/namespaces/default/jobs").await.json();
    assert_eq!(jobs["items"][0]["last_run_state"], "failed");
    let nodes = world.get("/v1/nodes").await.json();
    assert_eq!((&nodes["items"][0]["id"], &nodes["items"][0]["state"]), (&json!("n1"), &json!("ready")));
    assert_eq!(world.get("/v1/nodes/n1").await.json()["attributes"]["arch"], "x86_64");
    let cluster = world.get("/v1/cluster").await.json();
    assert_eq!((&cluster["totals"]["jobs"], &cluster["totals"]["ready_nodes"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn results_come_from_segments_and_blobs_too() {
    const TASKS: u32 = 3000;
    let world = World::new(Auth::Open);
    world.deploy("j", TASKS).await;
    let large = vec![b'x'; 5000];
    let blob = BlobRef { digest: digest(&large), len: 5000 };
    world.send(Method::PUT, &format!("/v1/blobs/{}", blob.digest), large.clone()).await;
    *LARGE.lock().unwrap() = Some(blob);
    world.step(Step::Join(|index| {
        let result = match index {
            7 => Captured::Blob(LARGE.lock().unwrap().unwrap()),
            _ => Captured::inline(format!("result of task {index}").as_bytes()),
        };
        Some(success(result, Captured::Empty))
    }));
    let run = world.start(&json!({ "job": "j" })).await;
    let view = world.get(&format!("{run}?wait=60s&until=terminal")).await.json();
    assert_eq!(view["state"], "succeeded", "{view}");
    let answer = world.get(&format!("{run}/results")).await;
    let mut results: Vec<TaskResult> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    results.sort_by_key(|result| result.index);
    assert_eq!(results.len(), TASKS as usize);
    for (index, result) in results.iter().enumerate() {
        match index {
            7 => assert_eq!((result.size, result.blob.clone()), (5000, Some(blob.digest.to_string()))),
            _ => assert_eq!(result.text, Some(format!("result of task {index}"))),
        }
    }
    assert_eq!(world.get(&format!("{run}/tasks/7/result")).await.body, large);
    let last = world.get(&format!("{run}/tasks/{}/result", TASKS - 1)).await;
    assert_eq!(last.text(), format!("result of task {}", TASKS - 1));
    assert!(world.blobs.list("segments", 10).await.unwrap().len() > 1, "the test wants segments");
}

#[tokio::test]
async fn items_decide_the_number_of_tasks() {
    let world = World::new(Auth::Open);
    world.deploy("j", 9).await;
    let blob = items::encode([&b"a"[..], b"b", b""].into_iter()).unwrap();
    let items = digest(&blob).to_string();
    world.send(Method::PUT, &format!("/v1/blobs/{items}"), blob).await;
    let run = world.start(&json!({ "job": "j", "items": items })).await;
    assert_eq!(world.get(&run).await.json()["count"], 3);
    let answer =
        world.post("/v1/namespaces/default/runs", &json!({ "job": "j", "items": items, "count": 4 }), None).await;
    assert_eq!(answer.json()["details"][0]["path"], "count");
}

#[tokio::test]
async fn a_key_makes_a_submission_repeatable() {
    let world = World::new(Auth::Open);
    world.deploy("j", 1).await;
    let path = "/v1/namespaces/default/runs";
    let first = world.post(path, &json!({ "job": "j", "count": 2 }), Some("k1")).await;
    let again = world.post(path, &json!({ "count": 2, "job": "j" }), Some("k1")).await;
    assert_eq!((first.status.as_u16(), again.status.as_u16()), (201, 200));
    assert_eq!(first.json()["id"], again.json()["id"]);
    let other = world.post(path, &json!({ "job": "j", "count": 3 }), Some("k1")).await;
    assert_eq!((other.status.as_u16(), &other.json()["code"]), (409, &json!("idempotency_mismatch")));
    let long = world.post(path, &json!({ "job": "j" }), Some(&"k".repeat(129))).await;
    assert_eq!(long.json()["details"][0]["path"], "idempotency-key");
    assert_eq!(world.get(path).await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_batch_has_a_result_for_each_item() {
    let world = World::new(Auth::Open);
    world.deploy("j", 1).await;
    let path = "/v1/namespaces/default/runs:batch";
    let items: Vec<_> = (0..2500)
        .map(|at| json!({ "job": if at % 1000 == 7 { "nobody" } else { "j" }, "count": at % 5 + 1 }))
        .collect();
    let batch = json!({ "items": items });
    let first = world.post(path, &batch, Some("k")).await.json();
    let outcomes = first["items"].as_array().unwrap();
    assert_eq!(outcomes.len(), 2500);
    for (at, outcome) in outcomes.iter().enumerate() {
        if at % 1000 == 7 {
            assert_eq!(outcome["error"]["code"], "not_found", "{at}");
        } else {
            assert_eq!(outcome["run"]["count"], at % 5 + 1, "{at}");
        }
    }
    let again = world.post(path, &batch, Some("k")).await.json();
    assert_eq!(first["items"][2499]["run"]["id"], again["items"][2499]["run"]["id"]);
    let refused = world.post(path, &json!({ "items": [{ "job": "nobody" }] }), None).await.json();
    assert_eq!(refused["items"][0]["error"]["code"], "not_found");

    let mut seen = 0;
    let mut next = String::new();
    loop {
        let page = world.get(&format!("/v1/namespaces/default/runs?limit=1000{next}")).await.json();
        seen += page["items"].as_array().unwrap().len();
        let Some(cursor) = page["next"].as_str() else { break };
        next = format!("&cursor={cursor}");
    }
    assert_eq!(seen, 2497);
}

#[tokio::test]
async fn what_is_stopped_ends() {
    let world = World::new(Auth::Open);
    world.deploy("j", 2).await;
    world.step(Step::Join(|_| None));
    let run = world.start(&json!({ "job": "j" })).await;
    let running = world.get(&format!("{run}?wait=30s&until=running")).await.json();
    assert_eq!(running["state"], "running");
    assert_eq!(world.get(&format!("{run}/tasks/0/result")).await.json()["code"], "conflict");
    let task = world.send(Method::POST, &format!("{run}/tasks/0/stop"), r#"{"message": "enough"}"#).await;
    assert_eq!(task.status, StatusCode::OK, "{}", task.text());
    let answer = world.send(Method::POST, &format!("{run}/stop"), Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let view = world.get(&format!("{run}?wait=30s&until=terminal")).await.json();
    assert_eq!((&view["state"], &view["tasks"]["killed"]), (&json!("killed"), &json!(2)));
    assert_eq!(world.get(&format!("{run}/tasks/1")).await.json()["reason"], "cancelled");
}

#[tokio::test]
async fn why_names_what_is_missing() {
    let world = World::new(Auth::Open);
    world.deploy("j", 2).await;
    let run = world.start(&json!({ "job": "j" })).await;
    let why = world.get(&format!("{run}/why")).await.json();
    assert_eq!(why["pending"], 2);
    assert!(why["summary"].as_str().unwrap().contains("no node has joined"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_what_is_true_then() {
    let world = World::new(Auth::Open);
    world.deploy("j", 1).await;
    let run = world.start(&json!({ "job": "j" })).await;
    let view = world.get(&format!("{run}?wait=30s&until=terminal")).await.json();
    assert_eq!(view["state"], "pending");
    let revision = view["revision"].as_u64().unwrap();
    let view = world.get(&format!("{run}?wait=30s&min_revision={}", revision + 1)).await.json();
    assert_eq!(view["revision"], revision);
}
