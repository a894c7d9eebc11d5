//! From a plan to files. Pure: equal plans give equal bytes.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use crate::plan::{BackendId, Plan, Route};
use crate::settings::{Settings, Tuning};

/// Where requests go that nothing matches. Not the name of a planned backend: those have `_`.
const NOT_FOUND: &str = "not-found";

/// The files of a plan, by name.
pub fn render(plan: &Plan, settings: &Settings, tuning: &Tuning) -> BTreeMap<String, String> {
    let mut files = BTreeMap::from([
        (
            "haproxy.cfg".to_owned(),
            configuration(plan, settings, tuning),
        ),
        ("maps/exact.map".to_owned(), map(&plan.exact)),
        ("maps/prefix.map".to_owned(), map(&plan.prefix)),
    ]);
    if !plan.certificates.is_empty() {
        files.insert("certs.list".to_owned(), certificate_list(plan));
    }
    for ((namespace, name), certificate) in &plan.certificates {
        files.insert(
            format!("certs/{namespace}_{name}.pem"),
            certificate.pem.clone(),
        );
    }
    files
}

fn configuration(plan: &Plan, settings: &Settings, tuning: &Tuning) -> String {
    let Tuning {
        maxconn,
        timeout_connect,
        timeout_client,
        timeout_server,
    } = tuning;
    let stats_socket = match &settings.stats_socket {
        Some(path) => {
            format!("    stats socket {path} mode 600 level admin expose-fd listeners\n")
        }
        None => String::new(),
    };
    let https = if plan.certificates.is_empty() {
        String::new()
    } else {
        format!(
            "    bind {} ssl crt-list certs.list alpn h2,http/1.1\n",
            binding(settings.address, settings.https_port)
        )
    };
    let http = binding(settings.address, settings.http_port);
    let default = match &plan.default {
        Some(backend) => backend.to_string(),
        None => NOT_FOUND.to_owned(),
    };
    let mut text = format!(
        "# Rendered by the haproxy plugin. Changes made here are lost.

global
    # Files are named relative to this one.
    default-path config
    maxconn {maxconn}
{stats_socket}    ssl-default-bind-options ssl-min-ver TLSv1.2
    # A reload leaves the connections that are open to the process before it, for so long.
    hard-stop-after 30m

defaults
    mode http
    option forwardfor
    # It answers one more request on a connection that waits for one, and does not cut it off.
    option idle-close-on-response
    timeout connect {timeout_connect}
    timeout client {timeout_client}
    timeout server {timeout_server}
    timeout http-request 10s

frontend ingress
    bind {http}
{https}    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
    # A host's own rules come first, then those of its wildcard, then those of any host. In each, an
    # equal path comes before a prefix, and of prefixes map_beg finds the longest. Prefixes end with
    # a slash, and so does what they are compared to: /foo/ begins /foo/bar/ but not /foobar/.
    http-request set-var(txn.host) req.hdr(host),host_only,lower
    http-request set-var(txn.path) path
    http-request set-var(txn.wildcard) var(txn.host),regsub(^[^.]*,*)
    http-request set-var(txn.any) str(*)
"
    );
    for host in ["host", "wildcard", "any"] {
        for (path, lookup) in [
            ("concat(,txn.path)", "map(maps/exact.map)"),
            ("concat(,txn.path,/)", "map_beg(maps/prefix.map)"),
        ] {
            let _infallible = writeln!(
                text,
                "    http-request set-var(txn.backend) var(txn.{host}),{path},{lookup} if !{{ var(txn.backend) -m found }}"
            );
        }
    }
    text += "    use_backend %[var(txn.backend)] if { var(txn.backend) -m found }\n";
    text += &format!("    default_backend {default}\n");
    for (backend, servers) in &plan.backends {
        text += &format!("\nbackend {backend}\n    balance leastconn\n");
        for server in servers {
            // haproxy takes `::1:80` as a server's name, not `[::1]:80`.
            text += &format!("    server {}:{} {server}\n", server.ip(), server.port());
        }
    }
    text += &format!(
        "\nbackend {NOT_FOUND}\n    http-request return status 404 content-type text/plain string \"not found\\n\"\n"
    );
    text
}

/// Where a port is bound.
fn binding(address: Option<IpAddr>, port: NonZeroU16) -> String {
    match address {
        Some(address) => SocketAddr::new(address, port.get()).to_string(),
        None => format!(":{port}"),
    }
}

/// A map file, the longest path of each host first.
fn map(routes: &BTreeMap<Route, BackendId>) -> String {
    let mut routes: Vec<_> = routes.iter().collect();
    routes.sort_by_key(|(route, _)| (route.host.is_none(), &route.host, Reverse(route.path.len())));
    let mut text = String::new();
    for (Route { host, path }, backend) in routes {
        text += &match host {
            Some(host) => format!("{host}{path} {backend}\n"),
            None => format!("*{path} {backend}\n"),
        };
    }
    text
}

fn certificate_list(plan: &Plan) -> String {
    let mut text = String::new();
    for ((namespace, name), certificate) in &plan.certificates {
        text += &format!("certs/{namespace}_{name}.pem");
        for host in &certificate.hosts {
            text += &format!(" {host}");
        }
        text.push('\n');
    }
    text
}
