//! How a running haproxy routes with the rendered files: the rules of the Ingress API, asked over
//! loopback.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use haproxy_plugin::model::Model;
use haproxy_plugin::plan::plan;
use haproxy_plugin::render::render;
use haproxy_plugin::settings::{Settings, Tuning};
use haptic_guest::{Cache, cache::Key, resource::ObjectView};
use serde_json::{Value, json};
use tempfile::TempDir;

fn insert<T: ObjectView>(cache: &mut Cache<T>, name: &str, mut object: Value) {
    object["metadata"]["namespace"] = json!("shop");
    object["metadata"]["name"] = json!(name);
    cache.insert(
        Key::new("shop", name),
        T::from_json(&object.to_string()).unwrap(),
    );
}

/// Serves its own name, to one connection after the other, for the life of the test process.
fn serve(name: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 4096];
            let _read = connection.read(&mut request);
            let length = name.len();
            let _written = write!(
                connection,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{name}"
            );
        }
    });
    port
}

struct Proxy {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Proxy {
    /// Each rule is host, pathType, path and the name of the Service, which is also what it serves.
    fn start(rules: &[(&str, &str, &str, &str)], default: &str) -> Proxy {
        let mut model = Model {
            tuning: Some(BTreeMap::new()),
            ..Model::default()
        };
        let services: BTreeSet<&str> = rules.iter().map(|rule| rule.3).chain([default]).collect();
        for name in services {
            let port = serve(name.to_owned());
            insert(
                &mut model.services,
                name,
                json!({"spec": {"ports": [{"port": 80}]}}),
            );
            insert(
                &mut model.slices,
                name,
                json!({
                    "metadata": {"labels": {"kubernetes.io/service-name": name}},
                    "ports": [{"port": port}],
                    "endpoints": [{"addresses": ["127.0.0.1"]}],
                }),
            );
        }
        let backend = |name: &str| json!({"service": {"name": name, "port": {"number": 80}}});
        let rules: Vec<Value> = rules
            .iter()
            .map(|(host, path_type, path, service)| {
                json!({"host": host, "http": {"paths": [
                    {"path": path, "pathType": path_type, "backend": backend(service)},
                ]}})
            })
            .collect();
        insert(
            &mut model.ingresses,
            "all",
            json!({"spec": {"defaultBackend": backend(default), "rules": rules}}),
        );
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        };
        let settings = Settings {
            address: Some(Ipv4Addr::LOCALHOST.into()),
            http_port: port.try_into().unwrap(),
            ..Settings::default()
        };
        let (tuning, _) = Tuning::new(&settings, &BTreeMap::new());
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in render(&plan(&model), &settings, &tuning) {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let process = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(folder.path().join("haproxy.cfg"))
            .stdout(Stdio::null())
            .spawn()
            .expect("this test runs haproxy: install Debian's package `haproxy`, and have /usr/sbin on the PATH");
        let proxy = Proxy {
            process,
            port,
            _folder: folder,
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "haproxy does not listen");
            std::thread::yield_now();
        }
        proxy
    }

    /// The name of the Service that answers.
    fn ask(&self, host: &str, path: &str) -> String {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            connection,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        body.to_owned()
    }
}

#[test]
fn requests_are_routed_as_the_ingress_api_says() {
    let proxy = Proxy::start(
        &[
            ("shop.example", "Prefix", "/", "root"),
            ("shop.example", "Prefix", "/foo", "foo"),
            ("shop.example", "Prefix", "/foo/bar/", "foo-bar"),
            ("shop.example", "Exact", "/foo/exact", "exact"),
            ("shop.example", "Exact", "/foo", "foo-exact"),
            ("*.shop.example", "Prefix", "/", "wildcard"),
            ("one.shop.example", "Prefix", "/one", "one"),
            ("", "Prefix", "/any", "any"),
        ],
        "default",
    );
    for (host, path, service) in [
        ("shop.example", "/", "root"),
        ("shop.example", "/other?x=/foo", "root"),
        ("SHOP.example:8080", "/foo/", "foo"),
        ("shop.example", "/foo", "foo-exact"),
        ("shop.example", "/foo?x", "foo-exact"),
        ("shop.example", "/foo/x", "foo"),
        ("shop.example", "/foobar", "root"),
        ("shop.example", "/foo/bar", "foo-bar"),
        ("shop.example", "/foo/bar/x", "foo-bar"),
        ("shop.example", "/foo/barx", "foo"),
        ("shop.example", "/foo/exact", "exact"),
        ("shop.example", "/foo/exact/", "foo"),
        ("a.shop.example", "/foo", "wildcard"),
        ("a.b.shop.example", "/", "default"),
        ("one.shop.example", "/one", "one"),
        // Of a host without a match, the wildcard's rules are asked next.
        ("one.shop.example", "/two", "wildcard"),
        ("elsewhere.example", "/any/thing", "any"),
        ("elsewhere.example", "/anything", "default"),
        ("*", "/any", "any"),
    ] {
        assert_eq!(proxy.ask(host, path), service, "{host} {path}");
    }
}
