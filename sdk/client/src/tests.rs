//! Against a listener that answers from a script.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread::JoinHandle,
    time::Duration,
};

use weir_api::{Code, DispatchRequest, LogsQuery, RunQuery, RunRequest};

use crate::{Client, Dispatched, Error, Options};

/// Serves the answers one connection each and returns the requests' heads and bodies.
fn serve(answers: Vec<String>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || answers.into_iter().map(|answer| answer_one(&listener, &answer)).collect());
    (address, server)
}

/// Answers one request; questions whether somebody is there do not count.
fn answer_one(listener: &TcpListener, answer: &str) -> String {
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let request = read_request(&mut stream);
        if !request.starts_with("GET /healthz ") {
            stream.write_all(answer.as_bytes()).unwrap();
            return request;
        }
        stream.write_all(response("200 OK", "text/plain", "ok\n").as_bytes()).unwrap();
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let len = stream.read(&mut chunk).unwrap();
        request.extend_from_slice(&chunk[..len]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let expected = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |len| len.parse::<usize>().unwrap());
            if body.len() >= expected {
                break;
            }
        }
        assert!(len > 0, "the client hung up");
    }
    String::from_utf8(request).unwrap()
}

fn response(status: &str, media_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn client(address: &str) -> Client {
    Client::new(Options { addresses: vec![address.to_owned()], token: Some("t0ken".to_owned()), ca_pem: None }).unwrap()
}

#[tokio::test]
async fn a_problem_becomes_a_typed_error() {
    let body = r#"{"api":"v1","type":"about:blank","title":"not found","status":404,"detail":"no run `x`","code":"not_found"}"#;
    let (address, server) = serve(vec![response("404 Not Found", "application/problem+json", body)]);
    let error = client(&address).run("default", "x", &RunQuery::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::NotFound));
    assert_eq!(error.to_string(), "no run `x`");
    let request = server.join().unwrap().remove(0);
    assert!(request.starts_with("GET /v1/namespaces/default/runs/x HTTP/1.1\r\n"), "{request}");
    assert!(request.to_lowercase().contains("authorization: bearer t0ken"), "{request}");
}

#[tokio::test]
async fn only_repeatable_calls_are_repeated() {
    let no_leader = r#"{"code":"no_leader","detail":"an election is under way"}"#;
    let busy = || response("503 Service Unavailable", "application/problem+json", no_leader);
    let info = r#"{"api":"v1","cluster":"c","version":"0.1.0","term":1,"store":{"kind":"embedded","status":"ok"},"revision":1}"#;
    let (address, server) =
        serve([busy(), busy(), busy(), busy(), busy(), busy(), response("200 OK", "application/json", info)].into());
    assert_eq!(client(&address).cluster().await.unwrap().cluster, "c");
    assert_eq!(server.join().unwrap().len(), 7, "as long as a failover may take");

    let (address, server) = serve(vec![busy()]);
    let error = client(&address).start_run("n", &RunRequest::default(), None).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::NoLeader));
    assert_eq!(server.join().unwrap().len(), 1);
}

#[tokio::test]
async fn a_leader_without_its_store_is_asked_once_and_then_the_others() {
    let cut_off = || {
        let problem = r#"{"code":"store_unavailable","detail":"the store has not answered for 12 s"}"#;
        response("503 Service Unavailable", "application/problem+json", problem)
    };
    let info = r#"{"api":"v1","cluster":"c","version":"0.1.0","term":1,"store":{"kind":"embedded","status":"ok"},"revision":1}"#;
    let (first, old) = serve(vec![cut_off()]);
    let (second, new) = serve(vec![response("200 OK", "application/json", info)]);
    let mut client = Client::new(Options { addresses: vec![first, second], ..Options::default() }).unwrap();
    client.head_start = Duration::from_secs(60);
    assert_eq!(client.cluster().await.unwrap().cluster, "c");
    assert_eq!((old.join().unwrap().len(), new.join().unwrap().len()), (1, 1));

    let (first, one) = serve(vec![cut_off()]);
    let (second, other) = serve(vec![cut_off()]);
    let third = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = vec![first, second, format!("http://{}", third.local_addr().unwrap())];
    let mut client = Client::new(Options { addresses, ..Options::default() }).unwrap();
    client.head_start = Duration::from_secs(60);
    assert_eq!(client.cluster().await.unwrap_err().code(), Some(Code::StoreUnavailable), "two say so: it is the store");
    assert_eq!((one.join().unwrap().len(), other.join().unwrap().len()), (1, 1));

    let (only, server) = serve(vec![cut_off()]);
    let client = Client::new(Options { addresses: vec![only], ..Options::default() }).unwrap();
    assert_eq!(client.cluster().await.unwrap_err().code(), Some(Code::StoreUnavailable));
    assert_eq!(server.join().unwrap().len(), 1);
}

#[tokio::test]
async fn an_idempotency_key_makes_a_write_repeatable() {
    let no_leader = response("503 Service Unavailable", "application/problem+json", r#"{"code":"no_leader"}"#);
    let problem = response("409 Conflict", "application/problem+json", r#"{"code":"idempotency_mismatch"}"#);
    let (address, server) = serve(vec![no_leader, problem]);
    let error = client(&address).start_run("n", &RunRequest::default(), Some("key-1")).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::IdempotencyMismatch));
    let requests = server.join().unwrap();
    assert!(requests.iter().all(|request| request.to_lowercase().contains("idempotency-key: key-1")));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again() {
    let whole = response("200 OK\r\nx-weir-run: r0", "application/octet-stream", "all of it");
    let broken = whole.replace("all of it", "all");
    let (address, server) = serve(vec![broken.clone(), whole]);
    let done = client(&address).dispatch("n", "f", &DispatchRequest::default(), Some("k"), None).await.unwrap();
    assert_eq!(done, Dispatched::Done { run: "r0".to_owned(), result: b"all of it".to_vec() });
    assert_eq!(server.join().unwrap().len(), 2);

    let (address, server) = serve(vec![broken]);
    let error = client(&address).dispatch("n", "f", &DispatchRequest::default(), None, None).await.unwrap_err();
    assert!(matches!(error, Error::Exchange { .. }), "{error:?}");
    assert_eq!(server.join().unwrap().len(), 1, "without a key it is not repeated");
}

#[tokio::test]
async fn a_function_gives_bytes_or_the_run_that_goes_on() {
    let run = r#"{"api":"v1","id":"r1","namespace":"n","job":"f","version":1,"state":"running","count":1,"tasks":{},"created_ms":1,"module":"m"}"#;
    let failed = r#"{"code":"task_failed","detail":"task r1.0 failed: trap"}"#;
    let (address, server) = serve(vec![
        response("200 OK\r\nx-weir-run: r0", "application/octet-stream", "{\"bytes\""),
        response("202 Accepted", "application/json", run),
        response("424 Failed Dependency", "application/problem+json", failed),
    ]);
    let (client, request) = (client(&address), DispatchRequest::default());
    let call = || client.dispatch("n", "f", &request, Some("k"), Some("5s"));
    let done = Dispatched::Done { run: "r0".to_owned(), result: b"{\"bytes\"".to_vec() };
    assert_eq!(call().await.unwrap(), done);
    assert!(matches!(call().await.unwrap(), Dispatched::Going(run) if run.id == "r1"));
    assert_eq!(call().await.unwrap_err().code(), Some(Code::TaskFailed));
    let request = server.join().unwrap().remove(0);
    assert!(request.starts_with("POST /v1/namespaces/n/jobs/f/dispatch?wait=5s HTTP/1.1\r\n"), "{request}");
}

#[tokio::test]
async fn log_records_are_read_line_by_line() {
    let body = "{\"at_ms\":1,\"stream\":\"stdout\",\"text\":\"a\\n\"}\n\n{\"at_ms\":2,\"stream\":\"log\",\"level\":\"warn\",\"text\":\"b\"}";
    let (address, _server) = serve(vec![response("200 OK", "application/x-ndjson", body)]);
    let mut lines =
        client(&address).task_logs("n", "r", 0, &LogsQuery { follow: true, ..LogsQuery::default() }).await.unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap().bytes(), b"a\n");
    assert_eq!(lines.next().await.unwrap().unwrap().bytes(), b"b");
    assert!(lines.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_silent_address_holds_up_nothing_and_nothing_is_sent_twice() {
    // Connections to it are opened by the kernel, as with a process that is frozen.
    let frozen = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", frozen.local_addr().unwrap());
    let run = r#"{"api":"v1","id":"r1","namespace":"n","job":"f","version":1,"state":"running","count":1,"tasks":{},"created_ms":1,"module":"m"}"#;
    let once = || serve(vec![response("200 OK", "application/json", run)]);
    let ((first, left), (second, right)) = (once(), once());
    for addresses in [vec![silent.clone(), first], vec![second, silent]] {
        let client = Client::new(Options { addresses, ..Options::default() }).unwrap();
        let run = client.start_run("n", &RunRequest::default(), None).await.unwrap();
        assert_eq!(run.id, "r1");
    }
    assert_eq!((left.join().unwrap().len(), right.join().unwrap().len()), (1, 1));
    frozen.set_nonblocking(true).unwrap();
    while let Ok((mut stream, _)) = frozen.accept() {
        let mut asked = String::new();
        stream.set_nonblocking(false).unwrap();
        drop(stream.read_to_string(&mut asked));
        assert!(asked.is_empty() || asked.starts_with("GET /healthz "), "{asked}");
    }
}

#[tokio::test]
async fn nobody_there_is_a_connection_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = client(&address).start_run("n", &RunRequest::default(), None).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
}

#[tokio::test]
async fn another_server_is_told_apart() {
    for answer in [response("200 OK", "text/html", "<html>"), response("404 Not Found", "text/html", "<html>")] {
        let (address, _server) = serve(vec![answer]);
        let error = client(&address).cluster().await.unwrap_err();
        assert!(matches!(error, Error::Answer { .. }), "{error:?}");
    }
}

#[test]
fn options_are_checked() {
    for (address, ca) in [
        ("127.0.0.1:4640", None),
        ("ftp://x", None),
        ("https://x:4640", None),
        ("https://x:4640", Some("no certificate")),
        ("https://x:4640", Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")),
    ] {
        let ca_pem = ca.map(|text| text.as_bytes().to_vec());
        let options = Options { addresses: vec![address.to_owned()], token: None, ca_pem };
        assert!(matches!(Client::new(options), Err(Error::Options(_))), "{address} {ca:?}");
    }
    assert!(matches!(Client::new(Options::default()), Err(Error::Options(_))));
}
