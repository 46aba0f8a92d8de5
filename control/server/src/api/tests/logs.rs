//! Logs, stored and followed.

use axum::{
    body::{Body, BodyDataStream},
    http::{Request, StatusCode},
};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use weir_wire::{
    id::{RunId, TaskId},
    log::{Level, Record, Stream},
    message::Output,
    outcome::Captured,
};

use super::world::{Step, World, success};
use crate::api::Auth;

fn log(records: &[(Stream, &str)]) -> Captured {
    let mut log = Vec::new();
    for (stream, text) in records {
        Record { stream: *stream, at_ms: 3, bytes: text.as_bytes().into() }.append_to(&mut log);
    }
    Captured::inline(&log)
}

fn texts(answer: &str) -> Vec<String> {
    let lines = answer.lines().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_log_of_an_ended_task_is_filtered() {
    let world = World::new(Auth::Open);
    world.deploy("j", 1).await;
    world.step(Step::Join(|_| {
        let records = [(Stream::Stdout, "out\n"), (Stream::Stderr, "err\n"), (Stream::Log(Level::Warn), "careful")];
        let mut outcome = success(Captured::Empty, log(&records));
        outcome.usage.output_bytes = 15;
        Some(outcome)
    }));
    let run = world.start(&json!({ "job": "j" })).await;
    world.get(&format!("{run}?wait=30s&until=terminal")).await;
    for (query, expected) in [
        ("", vec!["out\n", "err\n", "careful"]),
        ("?follow=true", vec!["out\n", "err\n", "careful"]),
        ("?stdout=true", vec!["out\n"]),
        ("?stderr=true", vec!["err\n", "careful"]),
        ("?tail=1", vec!["careful"]),
    ] {
        let answer = world.get(&format!("{run}/tasks/0/logs{query}")).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("content-type"), "application/x-ndjson");
        assert_eq!(texts(&answer.text()), expected, "{query}");
    }
    let level = world.get(&format!("{run}/tasks/0/logs?tail=1")).await.json()["level"].clone();
    assert_eq!(level, "warn");
}

#[tokio::test]
async fn between_two_starts_of_a_service_the_last_log_is_read() {
    let world = World::new(Auth::Open);
    let module = world.deploy("j", 1).await;
    world.step(Step::Join(|_| {
        let mut outcome = success(Captured::Empty, log(&[(Stream::Stdout, "last words\n")]));
        outcome.usage.output_bytes = 11;
        Some(outcome)
    }));
    let spec = json!({ "job": { "name": "web", "kind": "service", "module": module.to_string() } });
    let put = world.send(axum::http::Method::PUT, "/v1/namespaces/default/jobs/web", spec.to_string()).await;
    assert!(put.status.is_success(), "{}", put.text());
    let run = world.start(&json!({ "job": "web" })).await;
    while world.get(&run).await.json()["retries"] == 0 {
        tokio::task::yield_now().await;
    }
    let task = world.get(&format!("{run}/tasks/0")).await.json();
    assert_eq!(task["state"], "pending", "it waits for its next start: {task}");
    assert_eq!(texts(&world.get(&format!("{run}/tasks/0/logs")).await.text()), ["last words\n"]);
}

/// The next line of a followed log that is not empty.
async fn next_line(data: &mut BodyDataStream) -> String {
    loop {
        let part = data.next().await.expect("the log goes on").expect("the log is whole");
        if let Some(text) = texts(std::str::from_utf8(&part).unwrap()).pop() {
            return text;
        }
    }
}

#[tokio::test]
async fn a_log_is_followed_from_pending_to_the_end() {
    let world = World::new(Auth::Open);
    world.deploy("j", 1).await;
    let run = world.start(&json!({ "job": "j" })).await;
    let request = Request::get(format!("{run}/tasks/0/logs?follow=true")).body(Body::empty()).unwrap();
    let response = world.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "it waits while the task is pending");
    let mut data = response.into_body().into_data_stream();
    world.step(Step::Join(|_| None));
    world.get(&format!("{run}?wait=30s&until=running")).await;

    let task = TaskId { run: run.rsplit('/').next().unwrap().parse::<RunId>().unwrap(), index: 0 };
    let piece = |text: &str| Output {
        run: task.run,
        index: 0,
        stream: Stream::Stdout,
        at_ms: 1,
        bytes: text.as_bytes().into(),
        last: false,
    };
    // What is written before the reader is there is lost to it here; a real executor sends it from the beginning.
    let mut offered = 0;
    let first = loop {
        world.step(Step::Output(piece("first")));
        offered += 1;
        tokio::select! {
            biased;
            line = next_line(&mut data) => break line,
            () = tokio::task::yield_now() => {}
        }
        assert!(offered < 1_000_000, "nothing comes");
    };
    assert_eq!(first, "first");
    world.step(Step::Output(Output { last: true, bytes: Box::default(), ..piece("") }));
    let mut outcome = success(Captured::Empty, log(&[(Stream::Stdout, "unrelated"), (Stream::Stderr, "rest")]));
    outcome.usage.output_bytes = 13;
    world.step(Step::End(task, outcome));
    let mut rest = String::new();
    while let Some(part) = data.next().await {
        rest += std::str::from_utf8(&part.unwrap()).unwrap();
    }
    assert!(texts(&rest).iter().any(|text| text == "rest"), "the stored log completes it: {rest}");
}

#[tokio::test]
async fn a_followed_log_is_sent_once_while_its_end_is_not_yet_committed() {
    let world = World::new(Auth::Open);
    world.deploy("j", 1).await;
    let run = world.start(&json!({ "job": "j" })).await;
    world.step(Step::Join(|_| None));
    world.get(&format!("{run}?wait=30s&until=running")).await;
    let request = Request::get(format!("{run}/tasks/0/logs?follow=true")).body(Body::empty()).unwrap();
    let mut data = world.router.clone().oneshot(request).await.unwrap().into_body().into_data_stream();
    let task = TaskId { run: run.rsplit('/').next().unwrap().parse::<RunId>().unwrap(), index: 0 };
    let piece = |text: String, last: bool| Output {
        run: task.run,
        index: 0,
        stream: Stream::Stdout,
        at_ms: 1,
        bytes: text.into_bytes().into(),
        last,
    };
    let mut offered = 0;
    let first = loop {
        world.step(Step::Output(piece(format!("tick {offered}"), false)));
        offered += 1;
        tokio::select! {
            biased;
            part = data.next() => break part.unwrap().unwrap(),
            () = tokio::task::yield_now() => {}
        }
        assert!(offered < 1_000_000, "nothing comes");
    };
    let mut shown = texts(std::str::from_utf8(&first).unwrap());
    let last = format!("tick {}", offered - 1);
    while shown.last() != Some(&last) {
        shown.extend(texts(std::str::from_utf8(&data.next().await.unwrap().unwrap()).unwrap()));
    }
    world.step(Step::Output(piece(String::new(), true)));
    // Whoever follows again meanwhile is told that the node holds the task no more.
    for _ in 0..6 {
        let other = world.start(&json!({ "job": "j" })).await;
        world.get(&format!("{other}?wait=30s&until=running")).await;
        world.step(Step::Output(piece(String::new(), true)));
    }
    let text = shown.concat();
    let mut outcome = success(Captured::Empty, log(&[(Stream::Stdout, &text)]));
    outcome.usage.output_bytes = text.len() as u64;
    world.step(Step::End(task, outcome));
    world.get(&format!("{run}?wait=30s&until=terminal")).await;
    world.step(Step::Output(piece(String::new(), true)));
    let mut rest = String::new();
    while let Some(part) = data.next().await {
        rest += std::str::from_utf8(&part.unwrap()).unwrap();
    }
    assert_eq!(texts(&rest), Vec::<String>::new(), "all of it was sent already");
}

#[tokio::test(start_paused = true)]
async fn a_silent_log_is_kept_alive() {
    let world = World::new(Auth::Open);
    world.deploy("j", 1).await;
    let run = world.start(&json!({ "job": "j" })).await;
    let request = Request::get(format!("{run}/tasks/0/logs?follow=true")).body(Body::empty()).unwrap();
    let mut data = world.router.clone().oneshot(request).await.unwrap().into_body().into_data_stream();
    assert_eq!(data.next().await.unwrap().unwrap(), "\n");
    let once = world.get(&format!("{run}/tasks/0/logs")).await;
    assert_eq!((once.status, once.body.len()), (StatusCode::OK, 0), "without follow there is nothing yet");
}

#[tokio::test(start_paused = true)]
async fn a_followed_log_ends_although_its_last_piece_never_comes() {
    let world = World::new(Auth::Open);
    world.deploy("j", 1).await;
    world.step(Step::Join(|_| None));
    let run = world.start(&json!({ "job": "j" })).await;
    world.get(&format!("{run}?wait=30s&until=running")).await;
    let request = Request::get(format!("{run}/tasks/0/logs?follow=true")).body(Body::empty()).unwrap();
    let mut data = world.router.clone().oneshot(request).await.unwrap().into_body().into_data_stream();
    assert_eq!(data.next().await.unwrap().unwrap(), "\n", "it is followed");
    assert_eq!(data.next().await.unwrap().unwrap(), "\n", "and goes on for as long as the task does");
    let task = TaskId { run: run.rsplit('/').next().unwrap().parse::<RunId>().unwrap(), index: 0 };
    let mut outcome = success(Captured::Empty, log(&[(Stream::Stdout, "all of it")]));
    outcome.usage.output_bytes = 9;
    world.step(Step::End(task, outcome));
    let (mut rest, mut parts) = (String::new(), 0);
    while let Some(part) = data.next().await {
        rest += std::str::from_utf8(&part.unwrap()).unwrap();
        parts += 1;
        assert!(parts < 10, "the end of the task is not noticed: {rest:?}");
    }
    assert_eq!(texts(&rest), ["all of it"]);
}

#[tokio::test]
async fn streams_and_waits_end_when_the_process_stops() {
    let world = World::new(Auth::Open);
    world.deploy("j", 1).await;
    let run = world.start(&json!({ "job": "j" })).await;
    let request = Request::get(format!("{run}/tasks/0/logs?follow=true")).body(Body::empty()).unwrap();
    let mut data = world.router.clone().oneshot(request).await.unwrap().into_body().into_data_stream();
    let path = format!("{run}?wait=60s&until=terminal");
    let (answer, ()) = tokio::join!(world.get(&path), async { world.closing.cancel() });
    assert_eq!(answer.json()["state"], "pending");
    assert!(data.next().await.unwrap().is_err(), "the reader is told that this is not the end of the log");
}
