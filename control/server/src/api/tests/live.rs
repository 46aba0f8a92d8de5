//! Looks into running tasks.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::world::{Answer, Step, World, trap};
use crate::api::Auth;

/// A run of four tasks that go on.
async fn running(world: &World) -> String {
    world.deploy("j", 4).await;
    world.step(Step::Join(|_| None));
    let run = world.start(&json!({ "job": "j" })).await;
    world.get(&format!("{run}?wait=30s&until=running")).await;
    run
}

fn refused(answer: &Answer, status: StatusCode, part: &str) {
    let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
    assert!(answer.status == status && detail.contains(part), "{}: {detail}", answer.status);
}

#[tokio::test(start_paused = true)]
async fn a_running_task_is_looked_into_and_a_node_that_says_nothing_is_not_waited_for() {
    let world = World::new(Auth::Open);
    let run = running(&world).await;
    let live = world.get(&format!("{run}/tasks/0/live")).await.json();
    assert_eq!(
        (&live["fuel"], &live["backtrace"], &live["host_call"]),
        (&json!(7), &json!(["guest::work"]), &Value::Null)
    );
    refused(&world.get(&format!("{run}/tasks/1/live")).await, StatusCode::CONFLICT, "it has ended");
    refused(&world.get(&format!("{run}/tasks/2/live")).await, StatusCode::CONFLICT, "has not answered within 2 s");
    refused(&world.get(&format!("{run}/tasks/9/live")).await, StatusCode::NOT_FOUND, "4 tasks, so there is no task 9");
}

#[tokio::test]
async fn of_a_task_that_has_ended_it_is_told_how() {
    let world = World::new(Auth::Open);
    world.deploy("j", 1).await;
    world.step(Step::Join(|_| Some(trap())));
    let run = world.start(&json!({ "job": "j" })).await;
    world.get(&format!("{run}?wait=30s&until=terminal")).await;
    for what in ["live", "profile"] {
        let answer = world.get(&format!("{run}/tasks/0/{what}")).await;
        refused(&answer, StatusCode::CONFLICT, "it has ended as failed: trap");
    }
    refused(&world.get(&format!("{run}/tasks/7")).await, StatusCode::NOT_FOUND, "has 1 task, so there is no task 7");
}

#[tokio::test(start_paused = true)]
async fn a_profile_is_one_of_the_firefox_profiler() {
    let world = World::new(Auth::Open);
    let run = running(&world).await;
    let answer = world.get(&format!("{run}/tasks/0/profile?for_ms=100")).await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/json"));
    assert_eq!(answer.json()["threads"][0]["name"], "j task 0");
    for time in ["0", "60001"] {
        let answer = world.get(&format!("{run}/tasks/0/profile?for_ms={time}")).await;
        refused(&answer, StatusCode::BAD_REQUEST, "for_ms");
    }
    refused(&world.get(&format!("{run}/tasks/2/profile?for_ms=7000")).await, StatusCode::CONFLICT, "within 9 s");
}
