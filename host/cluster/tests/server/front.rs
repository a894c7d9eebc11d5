use std::net::SocketAddr;

use haptic_cluster::{Cluster, Options, StartError};
use hyper::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{CONFIG_MAPS, get, get_as, send, start};

#[tokio::test]
async fn only_loopback_is_served_unless_allowed() {
    let addr: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let refused = Cluster::start(Options {
        addr,
        ..Options::default()
    })
    .await
    .unwrap_err();
    assert!(
        matches!(refused, StartError::NotLoopback { .. }),
        "{refused}"
    );
    let allowed = Options {
        addr,
        allow_non_loopback: true,
        ..Options::default()
    };
    Cluster::start(allowed).await.unwrap().shutdown().await;
    let cluster = start().await;
    let taken = Options {
        addr: cluster.addr(),
        ..Options::default()
    };
    assert!(matches!(
        Cluster::start(taken).await,
        Err(StartError::Bind { .. })
    ));
}

#[tokio::test]
async fn browsers_of_other_sites_are_kept_out() {
    let cluster = start().await;
    for headers in [
        [("host", "evil.example")],
        [("origin", "http://evil.example")],
        [("origin", "null")],
    ] {
        let answer = send(&cluster, Method::GET, CONFIG_MAPS, &headers, "").await;
        assert_eq!(answer.code, 403, "{headers:?}");
    }
}

#[tokio::test]
async fn media_types_and_methods_are_checked() {
    let cluster = start().await;
    assert_eq!(get_as(&cluster, CONFIG_MAPS, "text/html").await.code, 406);
    assert_eq!(
        get_as(
            &cluster,
            CONFIG_MAPS,
            "application/vnd.kubernetes.protobuf,application/json"
        )
        .await
        .code,
        200
    );
    let header = [("content-type", "text/plain")];
    assert_eq!(
        send(&cluster, Method::POST, CONFIG_MAPS, &header, "{}")
            .await
            .code,
        415
    );
    assert_eq!(
        send(&cluster, Method::PUT, CONFIG_MAPS, &[], "{}")
            .await
            .code,
        405
    );
    assert_eq!(
        send(&cluster, Method::POST, "/version", &[], "{}")
            .await
            .code,
        405
    );
    assert_eq!(
        send(&cluster, Method::POST, CONFIG_MAPS, &[], "{")
            .await
            .code,
        400
    );
    assert_eq!(
        get(&cluster, "/elsewhere").await.bytes,
        "404 page not found\n"
    );
    assert_eq!(
        get(&cluster, "/api/v1/nothing").await.json()["reason"],
        "NotFound"
    );
    assert_eq!(
        get(&cluster, "/api/v1/namespaces/default/nodes").await.code,
        404
    );
}

#[tokio::test]
async fn bodies_have_a_limit() {
    let cluster = start().await;
    let huge = format!("{{\"data\":{{\"k\":\"{}\"}}}}", "x".repeat(3 * 1024 * 1024));
    let answer = send(&cluster, Method::POST, CONFIG_MAPS, &[], &huge).await;
    assert_eq!(
        (answer.code, answer.json()["reason"].clone()),
        (413, "RequestEntityTooLarge".into())
    );
}

#[tokio::test]
async fn deeply_nested_input_is_an_error_like_any_other() {
    let cluster = start().await;
    let deep = "[".repeat(100_000);
    assert_eq!(
        send(&cluster, Method::POST, CONFIG_MAPS, &[], &deep)
            .await
            .code,
        400
    );
    let header = [("content-type", "application/yaml")];
    assert_eq!(
        send(&cluster, Method::POST, CONFIG_MAPS, &header, &deep)
            .await
            .code,
        400
    );
}

#[tokio::test]
async fn a_connection_serves_request_after_request() {
    let cluster = start().await;
    let mut stream = TcpStream::connect(cluster.addr()).await.unwrap();
    for _ in 0..3 {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", cluster.addr());
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\nok") {
            seen.push(stream.read_u8().await.unwrap());
        }
    }
}

#[tokio::test]
async fn shutdown_closes_the_port_and_every_stream() {
    let cluster = start().await;
    let addr = cluster.addr();
    let mut events = crate::client::watch(&cluster, &format!("{CONFIG_MAPS}?watch=1")).await;
    let mut idle = TcpStream::connect(addr).await.unwrap();
    let reader = tokio::spawn(async move { idle.read(&mut [0]).await });
    let watcher = tokio::spawn(async move {
        tokio::time::timeout(std::time::Duration::from_secs(10), async {
            events.closed().await
        })
        .await
    });
    cluster.shutdown().await;
    assert!(TcpStream::connect(addr).await.is_err());
    watcher.await.unwrap().unwrap();
    let read = tokio::time::timeout(std::time::Duration::from_secs(10), reader)
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(read, Ok(0) | Err(_)));
}
