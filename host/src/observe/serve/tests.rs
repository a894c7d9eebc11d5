#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::observe::{PluginState, PluginStatus};

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server that closes on what it has not read may reset the connection.
    drop(stream.read_to_end(&mut answer).await);
    String::from_utf8(answer).unwrap()
}

fn get(path: &str) -> String {
    request("GET", path, "localhost", "")
}

fn request(method: &str, path: &str, host: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n")
}

/// A server on a loop that answers; `plugin` is how its only plugin is.
async fn served(plugin: PluginState) -> (SocketAddr, JoinSet<()>) {
    let (address, mut questions, mut tasks) = unanswered().await;
    tasks.spawn(async move {
        while let Some(ask) = questions.recv().await {
            ask.answer(HostState {
                version: "1.2.3".to_owned(),
                plugins: vec![PluginStatus {
                    name: "render".to_owned(),
                    detail: "as told".to_owned(),
                    synced: plugin == PluginState::Running,
                    state: plugin,
                    ..PluginStatus::default()
                }],
                ..HostState::default()
            });
        }
    });
    (address, tasks)
}

async fn unanswered() -> (SocketAddr, mpsc::Receiver<Ask>, JoinSet<()>) {
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.address();
    let (questions, loop_side) = mpsc::channel(4);
    let mut tasks = JoinSet::new();
    tasks.spawn(server.run(questions));
    (address, loop_side, tasks)
}

#[tokio::test]
async fn v1_each_endpoint_answers_from_the_state_of_the_moment() {
    let (address, _tasks) = served(PluginState::Waiting).await;
    for (path, code, part) in [
        ("/healthz", "200 OK", "ok\n"),
        ("/livez", "200 OK", "ok\n"),
        (
            "/readyz",
            "503 Service Unavailable",
            "[-]plugin render: as told",
        ),
        (
            "/readyz?verbose",
            "503 Service Unavailable",
            "[-]plugin render",
        ),
        ("/metrics", "200 OK", "haptic_ready 0\n"),
        ("/debug/state", "200 OK", "\"version\": \"1.2.3\""),
        ("/", "200 OK", "<!doctype html>"),
        ("/page.css", "200 OK", "prefers-color-scheme"),
        ("/page.js", "200 OK", "use strict"),
        ("/nothing", "404 Not Found", "/debug/state"),
        ("/../etc/passwd", "404 Not Found", "/debug/state"),
    ] {
        let answer = ask(address, &get(path)).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {code}\r\n")),
            "{path}: {answer}"
        );
        assert!(answer.contains(part), "{path}: {answer}");
        for header in [
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "cross-origin-resource-policy: same-origin",
            "content-security-policy: default-src 'none'; script-src 'self';",
        ] {
            assert!(answer.contains(header), "{path}: {header}: {answer}");
        }
        assert!(!answer.contains("access-control"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn v1_a_ready_host_says_so_in_a_word_or_in_lines() {
    let (address, _tasks) = served(PluginState::Running).await;
    let answer = ask(address, &get("/readyz")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n"));
    let answer = ask(address, &get("/readyz?verbose=1")).await;
    assert!(answer.ends_with("[+]plugin render: as told\nreadyz check passed\n"));
}

#[tokio::test]
async fn v1_who_asks_otherwise_is_refused() {
    let (address, _tasks) = served(PluginState::Running).await;
    let long = "x".repeat(1 << 20);
    let many = "a: b\r\n".repeat(1_000);
    for (request, code) in [
        (request("POST", "/metrics", "localhost", ""), "405"),
        (request("OPTIONS", "/debug/state", "localhost", ""), "405"),
        (request("GET", "/debug/state", "evil.example", ""), "403"),
        (request("GET", "/", "evil.example:80", ""), "403"),
        (request("GET", "/", "localhost.evil.example", ""), "403"),
        (request("GET", "/healthz", "127.0.0.1:1", ""), "200"),
        (request("GET", "/healthz", "[::1]:1", ""), "200"),
        (request("GET", "/healthz", "LOCALHOST:9", ""), "200"),
        (request("GET", "/healthz", "", ""), "200"),
        (request("GET", &format!("/{long}"), "localhost", ""), "431"),
        (
            request("GET", "/", "localhost", &format!("a: {long}\r\n")),
            "431",
        ),
        (request("GET", "/", "localhost", &many), "431"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: \u{1}\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = ask(address, &request).await;
        let first: String = request.chars().take(60).collect();
        // What is too large may be cut off before its sender has read why.
        let cut_off = code == "431" && answer.is_empty();
        assert!(
            cut_off || answer.starts_with(&format!("HTTP/1.1 {code} ")),
            "{first}: {answer}"
        );
        if code == "405" {
            assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
        }
    }
    let answer = ask(address, &get("/healthz")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn v1_head_is_get_without_its_body() {
    let (address, _tasks) = served(PluginState::Running).await;
    for path in ["/", "/metrics", "/readyz", "/debug/state"] {
        let answer = ask(address, &request("HEAD", path, "localhost", "")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(!answer.contains("content-length: 0"), "{answer}");
    }
}

#[tokio::test]
async fn v1_silent_clients_do_not_keep_a_probe_out() {
    let (address, _tasks) = served(PluginState::Running).await;
    let mut silent = Vec::new();
    for n in 0..3 * CONNECTIONS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A third says nothing, a third half a request, a third does not read its answer.
        let said = ["", "GET /metrics HTTP/1.1\r\nHost:", &get("/metrics")][n % 3].to_owned();
        stream.write_all(said.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    let answer = ask(address, &get("/healthz")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn v1_a_loop_that_is_gone_fails_the_health_check() {
    let (address, questions, _tasks) = unanswered().await;
    drop(questions);
    let answer = ask(address, &get("/healthz")).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[tokio::test]
async fn v1_a_loop_that_is_stuck_fails_the_health_check_and_the_page_is_served() {
    let (address, _questions, _tasks) = unanswered().await;
    let answer = ask(address, &get("/healthz")).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let answer = ask(address, &get("/")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn v1_the_loop_is_asked_no_more_often_than_somebody_can_look() {
    let (address, mut questions, mut tasks) = unanswered().await;
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tasks.spawn(async move {
        while let Some(ask) = questions.recv().await {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            ask.answer(HostState::default());
        }
    });
    let began = Instant::now();
    for _ in 0..50 {
        ask(address, &get("/debug/state")).await;
    }
    let most = began.elapsed().as_millis() / FRESH.as_millis() + 1;
    let asked = asked.load(std::sync::atomic::Ordering::Relaxed);
    assert!(u128::try_from(asked).unwrap() <= most, "{asked} > {most}");
}
