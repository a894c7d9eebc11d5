//! HAProxy on what the example renders, as its README says to run it: endpoints change in
//! the cluster, the command reloads HAProxy, traffic moves, and no request fails meanwhile.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    stage::kubectl,
    support::{PATIENCE, Process, eventually, guest, host, serve},
};

/// Clients that ask one after another, half of them on connections of their own for each
/// request, half on one connection for as long as it is kept.
const CLIENTS: usize = 4;
/// For how long a connection that is kept waits for its next request, as those of browsers
/// do. Whoever reloads must not close it then: the request may be on its way.
const IDLE: Duration = Duration::from_millis(5);
/// How often the endpoints change.
const CHANGES: usize = 8;
/// Answers after a change until which its effect must have been seen by every client.
const SETTLED: usize = 50;

const NAMES: [&str; 4] = ["red", "green", "blue", "gray"];

/// An address of loopback for each backend, as pods have.
fn address(backend: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 11 + u8::try_from(backend).unwrap())
}

/// Serves each name on an address of its own and one port, to the end of the process: a pod
/// that is taken out goes on answering what it is asked.
fn serve_backends() -> u16 {
    let listeners = loop {
        let first = TcpListener::bind((address(0), 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let others = (1..NAMES.len()).map(|i| TcpListener::bind((address(i), port)));
        // Another process may have the port on one of the addresses.
        if let Ok(others) = others.collect::<Result<Vec<_>, _>>() {
            break std::iter::once(first).chain(others).collect::<Vec<_>>();
        }
    };
    let port = listeners[0].local_addr().unwrap().port();
    for (listener, name) in listeners.into_iter().zip(NAMES) {
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let connection = connection.unwrap();
                std::thread::spawn(move || answer(connection, name));
            }
        });
    }
    port
}

/// Answers one request with a name.
fn answer(mut connection: TcpStream, name: &str) {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        match connection.read(&mut chunk) {
            // A check that there is somebody, or one that went away.
            Ok(0) | Err(_) => return,
            Ok(read) => head.extend_from_slice(&chunk[..read]),
        }
    }
    let length = name.len();
    let text =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{name}");
    // Whoever asked may be gone.
    drop(connection.write_all(text.as_bytes()));
}

/// One request; the answer's body, and whether the connection goes on.
fn ask(connection: &mut TcpStream, close: bool) -> Result<(String, bool), String> {
    let header = if close { "close" } else { "keep-alive" };
    let request = format!("GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: {header}\r\n\r\n");
    let failed = |error: std::io::Error| format!("{:?}", error.kind());
    connection.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    let mut chunk = [0; 2048];
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|text| text.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                if !head.starts_with("http/1.1 200 ") {
                    return Err(head.lines().next().unwrap_or_default().to_owned());
                }
                return Ok((
                    body.to_owned(),
                    !close && !head.contains("connection: close"),
                ));
            }
        }
        match connection.read(&mut chunk).map_err(failed)? {
            0 => return Err(format!("closed after {} bytes", answer.len())),
            read => answer.extend_from_slice(&chunk[..read]),
        }
    }
}

fn connect(port: u16) -> Result<TcpStream, std::io::Error> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_nodelay(true)?;
    Ok(connection)
}

/// What the clients got.
#[derive(Default)]
struct Tally {
    /// Answers of each backend.
    answers: BTreeMap<String, usize>,
    failures: Vec<String>,
    /// The last answers of each client.
    last: [Vec<String>; CLIENTS],
    connections: usize,
}

/// Asks until it is told to stop.
fn client(id: usize, port: u16, tally: &Mutex<Tally>, stop: &AtomicBool) {
    let close = id.is_multiple_of(2);
    let mut kept: Option<TcpStream> = None;
    while !stop.load(Ordering::Relaxed) {
        let mut opened = 0;
        let asked = match kept.take().map_or_else(
            || {
                opened = 1;
                connect(port)
            },
            Ok,
        ) {
            Ok(mut connection) => ask(&mut connection, close).map(|(name, goes_on)| {
                kept = goes_on.then_some(connection);
                name
            }),
            Err(error) => Err(format!("cannot connect: {:?}", error.kind())),
        };
        if kept.is_some() {
            std::thread::park_timeout(IDLE);
        }
        let mut tally = tally.lock().unwrap();
        tally.connections += opened;
        match asked {
            Ok(name) => {
                *tally.answers.entry(name.clone()).or_default() += 1;
                let last = &mut tally.last[id];
                last.push(name);
                let excess = last.len().saturating_sub(SETTLED);
                last.drain(..excess);
            }
            Err(why) => tally.failures.push(format!("client {id}: {why}")),
        }
    }
}

fn manifests() -> &'static str {
    "apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: shop}
spec:
  ingressClassName: haproxy
  rules:
  - host: shop.example
    http:
      paths:
      - path: /
        pathType: Prefix
        backend: {service: {name: web, port: {name: http}}}
"
}

/// A slice of these backends; the others of the last one are there, and not ready, as pods
/// that end.
fn slice(port: u16, ready: &[usize]) -> String {
    let mut text = format!(
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-1
  namespace: shop
  labels: {{kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{{name: http, port: {port}, protocol: TCP}}]
endpoints:
"
    );
    for backend in 0..NAMES.len() {
        let is_ready = ready.contains(&backend);
        let terminating = !is_ready;
        text += &format!(
            "- addresses: [{}]\n  conditions: {{ready: {is_ready}, serving: true, terminating: {terminating}}}\n",
            address(backend)
        );
    }
    text
}

struct Stage {
    dir: tempfile::TempDir,
}

impl Stage {
    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn apply(&self, name: &str, text: &str) {
        let file = self.at(name);
        fs::write(&file, text).unwrap();
        let (applied, said) = kubectl(
            &self.at("kubeconfig"),
            &["apply", "--server-side", "-f", file.to_str().unwrap()],
        );
        assert!(applied, "{said}");
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn haproxy() -> PathBuf {
    let found = [
        "/usr/sbin/haproxy",
        "/usr/local/sbin/haproxy",
        "/usr/bin/haproxy",
    ];
    let found = found.iter().map(Path::new).find(|path| path.is_file());
    found
        .expect("haproxy is missing: run `make deps`")
        .to_owned()
}

#[test]
fn o2_haproxy_follows_the_endpoints_and_no_request_fails() {
    let stage = Stage {
        dir: tempfile::tempdir().unwrap(),
    };
    let backends = serve_backends();
    let port = free_port();
    fs::create_dir(stage.at("cluster")).unwrap();
    fs::write(stage.at("cluster/shop.yaml"), manifests()).unwrap();
    let _cluster = serve(&stage.at("cluster"), &stage.at("kubeconfig"));
    stage.apply("slice.yaml", &slice(backends, &[0, 1]));
    let haproxy = haproxy();
    let (cfg, pid) = (stage.at("out/haproxy.cfg"), stage.at("haproxy.pid"));
    // The command of the README.
    let command = format!(
        "{} -c -q -f {} && kill -USR2 \"$(cat {})\"",
        haproxy.display(),
        cfg.display(),
        pid.display()
    );
    let config = format!(
        "plugins:\n  haproxy:\n    file: {}\n    output: out\n    allow: [declared, secrets]\n    onOutput: '{command}'\n    settings: {{address: 127.0.0.1, httpPort: {port}}}\n",
        guest("haproxy_plugin").display()
    );
    fs::write(stage.at("config.yaml"), config).unwrap();
    let mut running = Process::start(
        host()
            .arg("--config")
            .arg(stage.at("config.yaml"))
            .arg("--kubeconfig")
            .arg(stage.at("kubeconfig")),
    );
    eventually("haproxy.cfg", || match cfg.is_file() {
        true => Ok(()),
        false => Err(running.log()),
    });
    let mut proxy = Process::start(
        Command::new(&haproxy)
            .arg("-W")
            .arg("-p")
            .arg(&pid)
            .arg("-f")
            .arg(&cfg),
    );
    eventually("answer", || {
        let mut connection = connect(port).map_err(|error| error.to_string())?;
        ask(&mut connection, true).map(drop)
    });
    // It did not run when the host first rendered: the command fails until it does.
    running.logs(" hook plugin=", 1);

    let (tally, stop) = (
        Arc::new(Mutex::new(Tally::default())),
        Arc::new(AtomicBool::new(false)),
    );
    let clients: Vec<_> = (0..CLIENTS)
        .map(|id| {
            let (tally, stop) = (Arc::clone(&tally), Arc::clone(&stop));
            std::thread::spawn(move || client(id, port, &tally, &stop))
        })
        .collect();
    let settles_on = |ready: [usize; 2]| {
        let expected = ready.map(|backend| NAMES[backend]);
        eventually(&format!("traffic on {expected:?}"), || {
            let tally = tally.lock().unwrap();
            let settled = tally.last.iter().all(|last| {
                last.len() == SETTLED && last.iter().all(|name| expected.contains(&name.as_str()))
            });
            // Both of them, together.
            let both = expected
                .iter()
                .all(|name| tally.last.iter().flatten().any(|answer| answer == name));
            match settled && both {
                true => Ok(()),
                false => Err(format!(
                    "{:?}\n{}\n{}",
                    tally.answers,
                    running.log(),
                    proxy.log()
                )),
            }
        });
    };
    settles_on([0, 1]);
    for change in 1..=CHANGES {
        // One goes and another comes.
        let ready = [change, change + 1].map(|backend| backend % NAMES.len());
        stage.apply("slice.yaml", &slice(backends, &ready));
        settles_on(ready);
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    let reloads = proxy.log().matches("Reloading HAProxy").count();
    let tally = tally.lock().unwrap();
    let answered: usize = tally.answers.values().sum();
    println!(
        "{answered} requests over {} connections during {CHANGES} changes and {reloads} reloads: {:?}; {} failed",
        tally.connections,
        tally.answers,
        tally.failures.len()
    );
    assert_eq!(tally.failures, [""; 0], "{}", proxy.log());
    assert!(reloads >= CHANGES, "{}", proxy.log());
    assert_eq!(tally.answers.len(), NAMES.len());
    assert_eq!(running.stop(), Some(0), "{}", running.log());
    // It answers on without the host.
    let mut connection = connect(port).unwrap();
    assert!(ask(&mut connection, true).is_ok());
    // Which code it has differs from version to version.
    proxy.stop();
}
