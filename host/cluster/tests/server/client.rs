//! A small HTTP client: one connection a request.

use std::time::Duration;

use haptic_cluster::{Clock, Cluster, Options};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// Nothing on loopback takes this long unless it is stuck.
const DEADLINE: Duration = Duration::from_secs(20);

pub struct Answer {
    pub code: u16,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.bytes))
    }
}

pub async fn start() -> Cluster {
    start_with(|_| {}).await
}

pub async fn start_with(change: impl FnOnce(&mut Options)) -> Cluster {
    let mut options = Options {
        clock: Clock::Fixed(std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
        seed: Some(1),
        fresh_wait: Duration::from_millis(50),
        ..Options::default()
    };
    change(&mut options);
    Cluster::start(options).await.unwrap()
}

async fn open(cluster: &Cluster, request: Request<Full<Bytes>>) -> hyper::Response<Incoming> {
    let stream = TcpStream::connect(cluster.addr()).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

pub fn request(
    cluster: &Cluster,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Full<Bytes>> {
    let mut builder = Request::builder().method(method).uri(path);
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        builder = builder.header("host", cluster.addr().to_string());
    }
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap()
}

pub async fn send(
    cluster: &Cluster,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let work = async {
        let response = open(cluster, request(cluster, method, path, headers, body)).await;
        let (parts, body) = response.into_parts();
        Answer {
            code: parts.status.as_u16(),
            headers: parts.headers,
            bytes: body.collect().await.unwrap().to_bytes(),
        }
    };
    tokio::time::timeout(DEADLINE, work).await.unwrap()
}

pub async fn get(cluster: &Cluster, path: &str) -> Answer {
    send(cluster, Method::GET, path, &[], "").await
}

pub async fn get_as(cluster: &Cluster, path: &str, accept: &str) -> Answer {
    send(cluster, Method::GET, path, &[("accept", accept)], "").await
}

pub async fn post(cluster: &Cluster, path: &str, body: &Value) -> Answer {
    send(cluster, Method::POST, path, &[], &body.to_string()).await
}

pub async fn put(cluster: &Cluster, path: &str, body: &Value) -> Answer {
    send(cluster, Method::PUT, path, &[], &body.to_string()).await
}

pub async fn delete(cluster: &Cluster, path: &str) -> Answer {
    send(cluster, Method::DELETE, path, &[], "").await
}

pub async fn patch(cluster: &Cluster, path: &str, kind: &str, body: &Value) -> Answer {
    let content_type = match kind {
        "apply" => "application/apply-patch+yaml".to_owned(),
        other => format!("application/{other}-patch+json"),
    };
    send(
        cluster,
        Method::PATCH,
        path,
        &[("content-type", &content_type)],
        &body.to_string(),
    )
    .await
}

/// A watch that is read line by line.
pub struct Watch {
    pub code: u16,
    body: Incoming,
    rest: Vec<u8>,
}

pub async fn watch(cluster: &Cluster, path: &str) -> Watch {
    watch_as(cluster, path, "application/json").await
}

pub async fn watch_as(cluster: &Cluster, path: &str, accept: &str) -> Watch {
    let work = open(
        cluster,
        request(cluster, Method::GET, path, &[("accept", accept)], ""),
    );
    let response = tokio::time::timeout(DEADLINE, work).await.unwrap();
    Watch {
        code: response.status().as_u16(),
        body: response.into_body(),
        rest: Vec::new(),
    }
}

impl Watch {
    /// The next event; `None` when the server ended the stream.
    pub async fn next(&mut self) -> Option<Value> {
        tokio::time::timeout(DEADLINE, self.read()).await.unwrap()
    }

    async fn read(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            if let Some(data) = frame.data_ref() {
                self.rest.extend_from_slice(data);
            }
        }
    }

    /// Waits for the connection to end, cleanly or not.
    pub async fn closed(&mut self) {
        while let Some(Ok(_)) = self.body.frame().await {}
    }

    /// Type and name of the next event, as `ADDED a`.
    pub async fn next_name(&mut self) -> String {
        let event = self.next().await.unwrap_or_else(|| json!({"type": "END"}));
        let name = event["object"]["metadata"]["name"]
            .as_str()
            .unwrap_or_default();
        format!("{} {name}", event["type"].as_str().unwrap_or_default())
            .trim()
            .to_owned()
    }

    pub async fn next_names(&mut self, count: usize) -> Vec<String> {
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(self.next_name().await);
        }
        names
    }
}

pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

pub fn config_map(name: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": data,
    })
}

/// Makes ConfigMaps in `default`, and says the version after the last.
pub fn fill(cluster: &Cluster, names: &[&str]) -> u64 {
    for name in names {
        cluster.apply(&config_map(name, &json!({}))).unwrap();
    }
    cluster.resource_version()
}

/// The names of a list's items, in their order.
pub fn names(list: &Value) -> Vec<String> {
    list["items"]
        .as_array()
        .unwrap_or_else(|| panic!("no list: {list}"))
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}
