//! The built program against a scripted server: what it asks, writes and returns.
#![cfg(test)]

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

const RUN: &str = "3f8k0000000aa";
const OTHER: &str = "3f8k0000000bb";
/// Where an answer breaks off the first time it is given.
const CUT: char = '\u{1}';

/// A server that answers each method and path, with or without a query, in one way and remembers what was asked.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

type Answers = BTreeMap<String, (u16, String)>;

impl Server {
    fn start(answers: &[(&str, u16, Value)]) -> Self {
        let answers: Answers =
            answers.iter().map(|(path, status, body)| ((*path).to_owned(), (*status, body_text(body)))).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(&mut stream.unwrap(), &answers, &log);
            }
        });
        Self { address, asked }
    }

    fn wctl(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_wctl"))
            .args(line.split_whitespace())
            .env("WCTL_ADDR", &self.address)
            .env_remove("WCTL_TOKEN")
            .env_remove("WCTL_CA")
            .env_remove("WCTL_NAMESPACE")
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A text stands for itself, everything else for its JSON.
fn body_text(body: &Value) -> String {
    body.as_str().map_or_else(|| body.to_string(), str::to_owned)
}

fn answer(stream: &mut TcpStream, answers: &Answers, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut len = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
            len = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).unwrap();
    let target = line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let path = target.split('?').next().unwrap().to_owned();
    let before = log.lock().unwrap().iter().filter(|asked| asked.starts_with(&target)).count();
    log.lock().unwrap().push(format!("{target} {}", String::from_utf8_lossy(&body)));
    let missing = (404, json!({ "code": "not_found", "detail": format!("nothing at {path}") }).to_string());
    let (status, body) = answers.get(&target).or_else(|| answers.get(&path)).cloned().unwrap_or(missing);
    let len = body.replace(CUT, "").len();
    let media_type = if status < 400 { "application/json" } else { "application/problem+json" };
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        len
    );
    // The first answer breaks off at the mark, the second is whole.
    let body = body.split(CUT).take(before + 1).collect::<String>();
    // A client that has gone away is its own affair.
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}

fn run(id: &str, state: &str, count: u32, tasks: Value) -> Value {
    json!({ "api": "v1", "id": id, "namespace": "default", "job": "count", "version": 1, "state": state, "count": count,
        "tasks": tasks, "created_ms": 1, "module": "sha256:ab", "revision": 5 })
}

fn task(index: u32, state: &str, more: Value) -> Value {
    let mut task = json!({ "api": "v1", "id": format!("{RUN}.{index}"), "run": RUN, "job": "count",
        "namespace": "default", "index": index, "state": state, "attempt": 1 });
    task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    task
}

fn found(items: &[(&str, &str)]) -> Value {
    let items: Vec<Value> = items.iter().map(|(kind, id)| json!({ "kind": kind, "id": id })).collect();
    json!({ "api": "v1", "items": items })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn errors_have_their_exit_codes() {
    for (status, code, exit) in [
        (401, "unauthenticated", 6),
        (403, "forbidden", 6),
        (404, "not_found", 4),
        (409, "conflict", 5),
        (422, "invalid_spec", 3),
        (429, "back_pressure", 9),
        (500, "internal", 1),
    ] {
        let server = Server::start(&[("GET /v1/cluster", status, json!({ "code": code, "detail": "because" }))]);
        let output = server.wctl("cluster info");
        assert_eq!(output.status.code(), Some(exit), "{code}");
        assert_eq!(text(&output.stdout), "", "{code}");
        assert!(text(&output.stderr).starts_with("error: because"), "{code}: {}", text(&output.stderr));
    }
}

#[test]
fn nobody_at_the_address_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let server = Server { address, asked: Arc::default() };
    let output = server.wctl("stop x");
    assert_eq!(output.status.code(), Some(7));
    assert!(text(&output.stderr).contains("wctl dev"), "{}", text(&output.stderr));
}

#[test]
fn ambiguous_prefixes_list_the_candidates() {
    let server = Server::start(&[("GET /v1/search", 200, found(&[("run", RUN), ("run", OTHER)]))]);
    let output = server.wctl("status 3f8k");
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    assert!(stderr.contains(&format!("run {RUN}, run {OTHER}")), "{stderr}");
}

#[test]
fn unknown_names_suggest_the_nearest() {
    let all = "GET /v1/search?kind=job&namespace=default&prefix=";
    let server = Server::start(&[("GET /v1/search", 200, found(&[])), (all, 200, found(&[("job", "count")]))]);
    let output = server.wctl("job inspect cuont");
    assert_eq!(output.status.code(), Some(4));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("there is no job `cuont`") && stderr.contains("did you mean `count`?"), "{stderr}");
}

#[test]
fn a_failed_run_is_explained() {
    let run_path = format!("GET /v1/namespaces/default/runs/{RUN}");
    let tasks_path = format!("{run_path}/tasks");
    let failed = task(1, "failed", json!({ "reason": "trap", "trap": { "message": "unreachable" } }));
    let page = json!({ "api": "v1", "items": [failed] });
    let server = Server::start(&[
        ("GET /v1/search", 200, found(&[("run", RUN)])),
        (&run_path, 200, run(RUN, "failed", 2, json!({ "succeeded": 1, "failed": 1 }))),
        (&tasks_path, 200, page),
    ]);
    let output = server.wctl(&format!("wait {RUN} -o name"));
    assert_eq!(output.status.code(), Some(11));
    assert_eq!(text(&output.stdout), format!("{RUN}\n"));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("1 of 2 tasks did not succeed"), "{stderr}");
    assert!(stderr.contains(&format!("task {RUN}.1 failed: trap: unreachable")), "{stderr}");

    let output = server.wctl(&format!("wait {RUN} --for terminal -o name"));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_passed_timeout_says_whether_the_work_goes_on() {
    let run_path = format!("GET /v1/namespaces/default/runs/{RUN}");
    let why_path = format!("{run_path}/why");
    for (fitting, exit) in [(1, 8), (0, 9)] {
        let why = json!({ "api": "v1", "run": RUN, "pending": 1, "nodes": 1, "fitting": fitting, "summary": "cpu" });
        let server = Server::start(&[
            ("GET /v1/search", 200, found(&[("run", RUN)])),
            (&run_path, 200, run(RUN, "pending", 1, json!({ "pending": 1 }))),
            (&why_path, 200, why),
        ]);
        let output = server.wctl(&format!("wait {RUN} --timeout 1ms"));
        assert_eq!(output.status.code(), Some(exit), "{}", text(&output.stderr));
    }
}

#[test]
fn lists_are_read_to_their_end() {
    let node = |id: &str| {
        json!({ "id": id, "state": "ready", "incarnation": 1, "attributes": {}, "running": 0, "last_seen_ms": 1,
            "capacity": { "cpu_milli": 2000, "memory_bytes": 1 << 30, "slots": 0 },
            "allocated": { "cpu_milli": 500, "memory_bytes": 0, "slots": 1 } })
    };
    let server = Server::start(&[("GET /v1/nodes", 200, json!({ "api": "v1", "items": [node("n1"), node("n2")] }))]);
    assert_eq!(text(&server.wctl("node list -o name").stdout), "n1\nn2\n");
    let table = text(&server.wctl("node list").stdout);
    assert!(table.starts_with("NODE  STATE  RUNNING  CPU    MEMORY"), "{table}");
    assert!(table.contains("n1    ready  0        0.5/2  0 B/1 GiB"), "{table}");
    let json: Value = serde_json::from_slice(&server.wctl("node list -o json").stdout).unwrap();
    assert_eq!((json["api"].as_str(), json["items"].as_array().map(Vec::len)), (Some("v1"), Some(2)));
}

#[test]
fn a_node_that_does_not_answer_is_told() {
    let mut node = json!({ "api": "v1", "id": "n1", "state": "ready", "incarnation": 1, "attributes": {}, "running": 1,
        "last_seen_ms": 1, "capacity": { "cpu_milli": 2000, "memory_bytes": 1 << 30, "slots": 8 },
        "allocated": { "cpu_milli": 500, "memory_bytes": 0, "slots": 1 }, "silent_ms": 7900 });
    let server = Server::start(&[("GET /v1/nodes", 200, json!({ "api": "v1", "items": [node.clone()] }))]);
    let table = text(&server.wctl("node list").stdout);
    assert!(table.contains("ready, silent for 7 s"), "{table}");
    node["state"] = json!("lost");
    let server = Server::start(&[("GET /v1/nodes", 200, json!({ "api": "v1", "items": [node] }))]);
    let table = text(&server.wctl("node list").stdout);
    assert!(!table.contains("silent for"), "{table}");

    let run_path = format!("GET /v1/namespaces/default/runs/{RUN}");
    let task_path = format!("{run_path}/tasks/0");
    let live_path = format!("{task_path}/live");
    let silent = json!({ "code": "conflict", "detail": "its node has not answered within 5 s" });
    for (state, exit) in [("running", 5), ("unknown", 5), ("succeeded", 0)] {
        let server = Server::start(&[
            ("GET /v1/search", 200, found(&[("run", RUN)])),
            (&run_path, 200, run(RUN, "running", 1, json!({}))),
            (&task_path, 200, task(0, state, json!({ "node": "n1" }))),
            (&live_path, 409, silent.clone()),
        ]);
        let output = server.wctl(&format!("task inspect {RUN}.0 -o json"));
        assert_eq!(output.status.code(), Some(exit), "{state}: {}", text(&output.stderr));
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(shown["state"], state, "what is known is shown all the same");
        let part = if state == "unknown" { "node n1 does not answer" } else { "has not answered" };
        assert_eq!(text(&output.stderr).contains(part), exit == 5);
    }
}

#[test]
fn a_log_that_a_silent_node_has_is_not_taken_for_an_empty_one() {
    let run_path = format!("GET /v1/namespaces/default/runs/{RUN}");
    let items = |tasks: &[Value]| json!({ "api": "v1", "items": tasks });
    let (silent, ended) = (task(0, "unknown", json!({ "node": "n1" })), task(1, "succeeded", json!({})));
    let answers = [
        ("GET /v1/search", 200, found(&[("run", RUN)])),
        (&format!("{run_path}/tasks"), 200, items(&[silent.clone(), ended])),
        (&format!("{run_path}/tasks/0"), 200, silent),
        (&format!("{run_path}/tasks/0/logs"), 200, json!("")),
        (&format!("{run_path}/tasks/1/logs"), 200, json!("{\"at_ms\":1,\"stream\":\"stdout\",\"text\":\"one\\n\"}\n")),
    ];
    for (command, shown, told) in [
        (format!("logs {RUN} --index 0"), "", "node n1 does not answer"),
        (format!("logs {RUN}"), "[1] one\n", "what 1 task of run"),
    ] {
        let output = Server::start(&answers).wctl(&command);
        let stderr = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(5), shown), "{stderr}");
        assert!(stderr.contains(told), "{stderr}");
    }
}

#[test]
fn logs_go_to_stdout_as_they_were_written() {
    let log = concat!(
        "{\"at_ms\":1,\"stream\":\"stdout\",\"text\":\"one\\ntwo\"}\n",
        "{\"at_ms\":2,\"stream\":\"log\",\"level\":\"warn\",\"text\":\"careful\"}\n",
    );
    let path = format!("GET /v1/namespaces/default/runs/{RUN}/tasks/0/logs");
    let task_path = path.replace("/logs", "");
    let answers = [
        ("GET /v1/search", 200, found(&[("run", RUN)])),
        (&task_path, 200, task(0, "succeeded", json!({}))),
        (&path, 200, json!(log)),
    ];
    let server = Server::start(&answers);
    let output = server.wctl(&format!("logs {RUN} --index 0"));
    assert_eq!(text(&output.stdout), "one\ntwo\nwarn  careful\n", "{}", text(&output.stderr));
    let output = server.wctl(&format!("logs {RUN} --index 0 -o jsonl"));
    assert_eq!(text(&output.stdout).lines().count(), 2);
}

#[test]
fn a_followed_log_goes_on_after_a_broken_connection() {
    let log = concat!(
        "{\"at_ms\":1,\"stream\":\"stdout\",\"text\":\"one\\n\"}\n\u{1}",
        "{\"at_ms\":2,\"stream\":\"stdout\",\"text\":\"two\\n\"}\n",
    );
    let path = format!("GET /v1/namespaces/default/runs/{RUN}/tasks/0/logs");
    let task_path = path.replace("/logs", "");
    let answers = [
        ("GET /v1/search", 200, found(&[("run", RUN)])),
        (&task_path, 200, task(0, "running", json!({}))),
        (&path, 200, json!(log)),
    ];
    let output = Server::start(&answers).wctl(&format!("logs {RUN} --index 0 -f"));
    assert_eq!(text(&output.stdout), "one\ntwo\n", "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("trying again"), "{}", text(&output.stderr));

    let output = Server::start(&answers).wctl(&format!("logs {RUN} --index 0"));
    assert_eq!(output.status.code(), Some(7));
    assert!(text(&output.stderr).contains(&format!("`wctl logs {RUN}.0`")), "{}", text(&output.stderr));
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_sent() {
    let module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x0a\x01\x06_start\0\0\x0a\x04\x01\x02\0\x0b";
    let dir = tempfile::tempdir().unwrap();
    let (file, lines) = (dir.path().join("m.wasm"), dir.path().join("lines"));
    std::fs::write(&file, module).unwrap();
    std::fs::write(&lines, "a\nb\n").unwrap();
    let (file, lines) = (file.display(), lines.display());
    for (flags, message) in [
        ("--count 2 --propagate-exit".to_owned(), "one task"),
        (format!("--items {lines} --propagate-exit"), "one task"),
        (format!("--count 5 --items {lines}"), "which is 2"),
        ("--output /nonexistent/x".to_owned(), "/nonexistent/x"),
    ] {
        let server = Server::start(&[]);
        let output = server.wctl(&format!("run {file} {flags}"));
        assert_eq!(output.status.code(), Some(2), "{flags}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(message), "{flags}: {}", text(&output.stderr));
        assert_eq!(server.asked(), Vec::<String>::new(), "{flags}");
    }
}

#[test]
fn a_job_is_run_with_arguments() {
    let server = Server::start(&[
        ("GET /v1/search", 200, found(&[("job", "count")])),
        ("POST /v1/namespaces/default/runs", 201, run(RUN, "pending", 1, json!({ "pending": 1 }))),
    ]);
    let output = server.wctl("run count --detach -o name -- 3 --x");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(server.asked().last().unwrap().contains(r#""args":["3","--x"]"#), "{:?}", server.asked());
}

#[test]
fn deploy_uploads_what_is_missing_and_starts_a_run() {
    let module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x0a\x01\x06_start\0\0\x0a\x04\x01\x02\0\x0b";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("count.wasm");
    std::fs::write(&file, module).unwrap();
    let digest = "sha256:5647c39a1d25d8728350f9619025292a62e78a602068a2ad9b6f075751c93d99";
    let stored = json!({ "api": "v1", "digest": digest, "size": 36, "kind": "wasi_p1_command" });
    let spec = json!({
        "job": { "name": "count", "kind": "batch", "count": 3, "priority": 50, "tier": "preemptible", "module": digest,
            "args": [], "env": {} },
        "resources": { "cpu": 0.1, "memory": "64MiB", "fuel": 1, "timeout": "30s", "output": "1MiB" },
        "grants": { "dir": [] },
        "execution": { "mode": "at_least_once", "on_disconnect": "keep", "fenced": false },
        "retry": { "attempts": 3, "backoff": "1s..30s" }, "placement": { "constraints": [] },
    });
    let job = json!({ "api": "v1", "namespace": "default", "name": "count", "version": 1, "created_ms": 1,
        "changed": true, "spec": spec });
    let server = Server::start(&[
        (&format!("PUT /v1/modules/{digest}"), 201, stored),
        ("PUT /v1/namespaces/default/jobs/count", 201, job),
        ("POST /v1/namespaces/default/runs", 201, run(RUN, "pending", 3, json!({ "pending": 3 }))),
    ]);
    let output = server.wctl(&format!("deploy {} --count 3 --input hi --detach -o name", file.display()));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), format!("{RUN}\n"));
    let asked = server.asked();
    let methods: Vec<&str> = asked.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(methods, ["GET", "PUT", "PUT", "POST"], "{asked:?}");
    assert!(asked[2].contains("\"count\":3") && asked[2].contains(digest), "{}", asked[2]);
    assert!(asked[3].contains("\"payload\":{\"base64\":\"aGk=\"}"), "{}", asked[3]);
}

#[test]
fn a_run_shows_its_result_and_returns_the_guests_code() {
    let run_path = format!("GET /v1/namespaces/default/runs/{RUN}");
    let posts = |state: &str, counts: Value| run(RUN, state, 1, counts);
    let base = |state: &str, counts: Value, task: Value| {
        Server::start(&[
            ("GET /v1/search", 200, found(&[("job", "count")])),
            ("POST /v1/namespaces/default/runs", 201, posts("pending", json!({ "pending": 1 }))),
            (
                "GET /v1/modules/sha256:ab",
                200,
                json!({ "api": "v1", "digest": "sha256:ab", "size": 1, "kind": "wasi_p1_command" }),
            ),
            (&run_path, 200, posts(state, counts)),
            (&format!("{run_path}/tasks/0"), 200, task.clone()),
            (&format!("{run_path}/tasks"), 200, json!({ "api": "v1", "items": [task] })),
            (&format!("{run_path}/tasks/0/logs"), 200, json!("{\"at_ms\":1,\"stream\":\"stdout\",\"text\":\"he\"}\n")),
            (&format!("{run_path}/tasks/0/result"), 200, json!("hello")),
        ])
    };
    let server = base("succeeded", json!({ "succeeded": 1 }), task(0, "succeeded", json!({ "exit_code": 0 })));
    let output = server.wctl("run count");
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "hello"), "{}", text(&output.stderr));

    let failed = task(0, "failed", json!({ "reason": "exit_nonzero", "exit_code": 42 }));
    let server = base("failed", json!({ "failed": 1 }), failed);
    assert_eq!(server.wctl("run count").status.code(), Some(11));
    assert_eq!(server.wctl("run count --propagate-exit").status.code(), Some(42));
}

#[test]
fn an_unchanged_service_is_left_alone() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let folder = std::env::temp_dir().join(format!("wctl-unchanged-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("web.toml");
    std::fs::write(&file, format!("[job]\nname = \"web\"\nkind = \"service\"\nmodule = \"{digest}\"\n")).unwrap();
    let spec = json!({ "job": { "name": "web", "kind": "service", "module": digest } }).to_string();
    let spec = weir_api::JobSpec::from_json(spec.as_bytes()).unwrap().to_document();
    let version = json!({ "api": "v1", "namespace": "default", "name": "web", "version": 1, "created_ms": 1, "message": "",
        "changed": false, "spec": spec });
    let summary = json!({ "namespace": "default", "name": "web", "kind": "service", "version": 1, "module": digest,
        "count": 4, "updated_ms": 1, "last_run": RUN, "last_run_state": "running" });
    let mut kept = run(RUN, "running", 4, json!({ "running": 4 }));
    kept["kind"] = json!("service");
    kept["target"] = json!(4);
    kept["healthy"] = json!(4);
    let server = Server::start(&[
        ("PUT /v1/namespaces/default/jobs/web", 200, version),
        ("GET /v1/namespaces/default/jobs", 200, json!({ "api": "v1", "items": [summary] })),
        (&format!("GET /v1/namespaces/default/runs/{RUN}"), 200, kept),
    ]);
    let output = server.wctl(&format!("deploy {} -o name", file.display()));
    std::fs::remove_dir_all(&folder).unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(text(&output.stdout), format!("{RUN}\n"));
    assert!(stderr.contains("nothing was started") && stderr.contains("wctl job restart web"), "{stderr}");
    assert!(!server.asked().iter().any(|asked| asked.starts_with("POST")), "{:?}", server.asked());
}

#[test]
fn what_goes_on_is_not_shown_with_the_end_of_what_was_before() {
    let run_path = format!("GET /v1/namespaces/default/runs/{RUN}");
    let tasks = [
        task(0, "running", json!({ "reason": "trap", "attempt": 2, "message": "unreachable" })),
        task(1, "pending", json!({ "dormant": "its node is gone" })),
        task(2, "killed", json!({ "reason": "cancelled", "attempt": 0 })),
    ];
    let server = Server::start(&[
        ("GET /v1/search", 200, found(&[("run", RUN)])),
        (&format!("{run_path}/tasks"), 200, json!({ "api": "v1", "items": tasks })),
    ]);
    let list = text(&server.wctl(&format!("task list {RUN}")).stdout);
    let rows: Vec<Vec<&str>> = list.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][1..], ["running", "2"], "{list}");
    assert_eq!(rows[1][1..], ["dormant"], "{list}");
    assert_eq!(rows[2][1..], ["killed", "cancelled"], "{list}");
}

#[test]
fn a_log_that_is_not_kept_yet_is_explained() {
    let run_path = format!("GET /v1/namespaces/default/runs/{RUN}");
    let waits = task(0, "pending", json!({ "reason": "trap", "attempt": 2 }));
    let server = Server::start(&[
        ("GET /v1/search", 200, found(&[("run", RUN)])),
        (&format!("{run_path}/tasks"), 200, json!({ "api": "v1", "items": [waits.clone()] })),
        (&format!("{run_path}/tasks/0"), 200, waits),
        (&format!("{run_path}/tasks/0/logs"), 200, json!("")),
    ]);
    let output = server.wctl(&format!("logs {RUN}"));
    let stderr = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), String::new()), "{stderr}");
    assert!(stderr.contains("waits for its next attempt"), "{stderr}");
}
