//! The server without a socket, on a clock that does not move by itself.

use std::io::ErrorKind;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use haptic_cluster::{Body, Clock, Cluster, Fault, How, Moment, Options, Place, Rule, Verb, When};
use http_body_util::BodyExt;
use hyper::{Request, Response};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::client::{CONFIG_MAPS, fill};

const HOUR: Duration = Duration::from_secs(3600);

fn detached() -> Cluster {
    let options = Options {
        clock: Clock::Fixed(UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
        seed: Some(1),
        ..Options::default()
    };
    Cluster::detached(options).unwrap()
}

async fn call(cluster: &Cluster, path: &str) -> std::io::Result<Response<Body>> {
    let request = Request::get(path).body(Bytes::new()).unwrap();
    cluster.call(request).await
}

async fn frame(response: &mut Response<Body>) -> Option<std::io::Result<Bytes>> {
    let frame = response.body_mut().frame().await?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

fn add(cluster: &Cluster, at: Place, how: How) {
    let fault = Fault::Break { at, how };
    cluster.faults().add(Rule::new(When::any(), fault));
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_without_a_socket() {
    let cluster = detached();
    fill(&cluster, &["a"]);
    let answer = call(&cluster, CONFIG_MAPS).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let list: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(list["items"][0]["metadata"]["name"], "a");
    assert_eq!(cluster.requests()[0].verb, Verb::List);
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn bookmarks_and_timeouts_follow_the_paused_clock() {
    let cluster = detached();
    let start = Instant::now();
    let path = format!(
        "{CONFIG_MAPS}?watch=1&allowWatchBookmarks=true&timeoutSeconds=90&resourceVersion={}",
        cluster.resource_version()
    );
    let mut answer = call(&cluster, &path).await.unwrap();
    for seconds in [60, 90] {
        let bookmark = frame(&mut answer).await.unwrap().unwrap();
        assert!(bookmark.starts_with(b"{\"object\""), "{bookmark:?}");
        assert_eq!(start.elapsed(), Duration::from_secs(seconds));
    }
    assert!(frame(&mut answer).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_needs_a_socket_is_an_error() {
    for (how, kind) in [
        (How::Fin, ErrorKind::UnexpectedEof),
        (How::Reset, ErrorKind::ConnectionReset),
    ] {
        let cluster = detached();
        add(&cluster, Place::Bytes(5), how);
        let mut answer = call(&cluster, CONFIG_MAPS).await.unwrap();
        assert_eq!(frame(&mut answer).await.unwrap().unwrap(), "{\"kin");
        let error = frame(&mut answer).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), kind);
        cluster.faults().clear();
        add(&cluster, Place::Start, how);
        assert_eq!(call(&cluster, CONFIG_MAPS).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stall_lasts() {
    let cluster = detached();
    add(&cluster, Place::Start, How::Stall);
    assert!(timeout(HOUR, call(&cluster, CONFIG_MAPS)).await.is_err());
    cluster.faults().clear();
    add(&cluster, Place::Bytes(5), How::Stall);
    let mut answer = call(&cluster, CONFIG_MAPS).await.unwrap();
    assert!(frame(&mut answer).await.is_some());
    // What is broken stays broken.
    cluster.faults().clear();
    assert!(timeout(HOUR, frame(&mut answer)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn delays_trickles_and_late_breaks_take_their_time() {
    let second = Duration::from_secs(1);
    let cluster = detached();
    for at in [Moment::Arrival, Moment::Answered] {
        let fault = Fault::Delay { by: second, at };
        cluster.faults().add(Rule::new(When::any(), fault));
    }
    let start = Instant::now();
    call(&cluster, CONFIG_MAPS).await.unwrap();
    assert_eq!(start.elapsed(), 2 * second);
    cluster.faults().clear();
    add(&cluster, Place::Bytes(0), How::Trickle { every: second });
    let mut answer = call(&cluster, CONFIG_MAPS).await.unwrap();
    for _ in 0..3 {
        let start = Instant::now();
        assert_eq!(frame(&mut answer).await.unwrap().unwrap(), " ");
        assert_eq!(start.elapsed(), second);
    }
    cluster.faults().clear();
    add(&cluster, Place::Millis(90 * second), How::End);
    let start = Instant::now();
    let mut answer = call(&cluster, &format!("{CONFIG_MAPS}?watch=1"))
        .await
        .unwrap();
    assert!(frame(&mut answer).await.is_none());
    assert_eq!(start.elapsed(), 90 * second);
}

#[tokio::test(start_paused = true)]
async fn events_wait_for_others_only_so_long() {
    let cluster = detached();
    let wait = Duration::from_millis(100);
    let fault = Fault::Coalesce { events: 10, wait };
    cluster.faults().add(Rule::new(When::any(), fault));
    let path = format!(
        "{CONFIG_MAPS}?watch=1&resourceVersion={}",
        cluster.resource_version()
    );
    let mut answer = call(&cluster, &path).await.unwrap();
    fill(&cluster, &["a", "b"]);
    let start = Instant::now();
    let chunk = frame(&mut answer).await.unwrap().unwrap();
    assert_eq!(chunk.iter().filter(|byte| **byte == b'\n').count(), 2);
    assert_eq!(start.elapsed(), wait);
}
