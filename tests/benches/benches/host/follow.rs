//! What it costs to follow a collection over loopback HTTP: the first sync, a relist, updates, and
//! nothing at all. Each client is a process of its own, and each figure is read in that process.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use haptic_benches::{
    api::{Api, Options},
    data::Kind,
    process::{self, Memory},
    report::{
        Must::{AtMost, Times},
        Report, Row,
    },
};

use crate::{
    Effort, bytes,
    client::{Client, Running, Status},
    count, micros,
    whole::Host,
};

/// How long a client has to put away what it needed for a sync.
const SETTLE: Duration = Duration::from_secs(3);

/// Memory that a run may take, of what is available: kube's reflector needs most.
fn fits(kind: Kind, objects: usize) -> bool {
    let each = match kind {
        Kind::Ingress => 25_000,
        Kind::Pod => 120_000,
        Kind::Secret => 10_000,
    };
    let needed = u64::try_from(each * objects).unwrap_or(u64::MAX);
    let fits = needed < process::available();
    if !fits {
        eprintln!(
            "left out: {objects} {} need {} MB of memory",
            kind.plural(),
            needed >> 20
        );
    }
    fits
}

/// The first sync: CPU, and memory at its peak and afterwards.
pub(crate) fn sync(report: &mut Report, effort: Effort) {
    for (kind, objects) in [
        (Kind::Ingress, 10_000),
        (Kind::Pod, 10_000),
        (Kind::Ingress, 50_000),
        (Kind::Ingress, 100_000),
        (Kind::Pod, 100_000),
    ] {
        if objects > effort.most() || !fits(kind, objects) {
            continue;
        }
        for streaming in [true, false] {
            // Most in the way that servers of today have.
            if !streaming && (kind == Kind::Pod || objects == 50_000) {
                continue;
            }
            sync_of(report, effort, kind, objects, streaming);
        }
    }
}

fn sync_of(report: &mut Report, effort: Effort, kind: Kind, objects: usize, streaming: bool) {
    let how = if streaming {
        "streaming list"
    } else {
        "pages of 500"
    };
    let rounds = effort.rounds(if objects > 10_000 { 2 } else { 3 });
    let api = Api::start(
        kind,
        objects,
        Options {
            streaming,
            ..Options::default()
        },
    )
    .unwrap();
    let variant = |client: Client| {
        format!(
            "{} of {} B, {how}, {}",
            kind.plural(),
            api.object_bytes(),
            client.name()
        )
    };
    let measured = [
        Client::Kube,
        Client::KubeStripped,
        Client::Haptic,
        Client::HapticFields,
    ]
    .map(|client| {
        eprintln!("sync: {objects} × {}", variant(client));
        let synced: Vec<(Status, Memory)> = (0..rounds)
            .map(|_| synced(client, kind, &api, streaming))
            .collect();
        // Each the best of several, as what else runs on the machine only adds.
        let cpu = synced
            .iter()
            .filter_map(|(status, _)| status.synced)
            .min()
            .unwrap();
        let wall = synced
            .iter()
            .filter_map(|(status, _)| status.synced_after)
            .min()
            .unwrap();
        let steady = synced
            .iter()
            .map(|(_, memory)| memory.resident)
            .min()
            .unwrap();
        let peak = synced.iter().map(|(_, memory)| memory.peak).min().unwrap();
        (
            client,
            cpu.as_secs_f64(),
            wall.as_secs_f64(),
            bytes(steady),
            bytes(peak),
        )
    });
    let [_, kube, ..] = measured;
    for (client, cpu, wall, steady, peak) in measured {
        let row = |what: &str, value, unit| Row::new(what, &variant(client), objects, value, unit);
        let peer = Client::KubeStripped.name();
        let mut rows = vec![
            (row("sync, CPU", cpu, "s"), kube.1, 3.0),
            (
                row("sync, resident afterwards", steady / MIB, "MiB"),
                kube.3 / MIB,
                5.0,
            ),
        ];
        if !client.is_ours() {
            for (row, ..) in rows {
                report.add(row);
            }
            report.add(row("sync, peak / afterwards", peak / steady, ""));
            report.add(row("sync, time", wall, "s"));
            continue;
        }
        for (row, theirs, times) in rows.drain(..) {
            report.add(row.beside(peer, theirs).must(Times(times)));
        }
        let wish = WISHES.iter().find(|(count, ..)| *count == objects);
        if let Some((_, seconds, mib)) = wish.filter(|_| kind == Kind::Ingress) {
            report.add(row("sync, CPU, of what is wished", cpu, "s").must(AtMost(*seconds)));
            let resident = row("sync, resident, of what is wished", steady / MIB, "MiB");
            report.add(resident.must(AtMost(*mib)));
        }
        let ratio = row("sync, peak / afterwards", peak / steady, "");
        report.add(ratio.beside(peer, kube.4 / kube.3).must(AtMost(1.15)));
        report.add(row("sync, time", wall, "s").beside(peer, kube.2));
    }
}

const MIB: f64 = 1_048_576.0;

/// So many Ingresses are to take so many seconds of CPU and MiB of memory, on a real server.
const WISHES: [(usize, f64, f64); 2] = [(10_000, 0.15, 40.0), (50_000, 0.75, 115.0)];

fn synced(client: Client, kind: Kind, api: &Api, streaming: bool) -> (Status, Memory) {
    let mut running = Running::start(client, kind, &api.url(), streaming);
    let status = running.wait_for_sync();
    sleep(SETTLE);
    (status, running.memory())
}

/// The version is forgotten, everything is listed again, and nothing has changed.
pub(crate) fn relist(report: &mut Report, effort: Effort) {
    for (objects, streaming) in [(10_000, true), (100_000, true), (100_000, false)] {
        if objects > effort.most() || !fits(Kind::Ingress, objects) {
            continue;
        }
        let options = Options {
            streaming,
            ..Options::default()
        };
        let api = Api::start(Kind::Ingress, objects, options).unwrap();
        let how = if streaming {
            "streaming list"
        } else {
            "pages of 500"
        };
        let page = count(500 * api.object_bytes()) / MIB;
        let measured = [Client::KubeStripped, Client::Haptic].map(|client| {
            eprintln!("relist: {objects}, {how}, {}", client.name());
            let mut running = Running::start(client, Kind::Ingress, &api.url(), streaming);
            running.wait_for_sync();
            sleep(SETTLE);
            running.reset_peak();
            let (before, began) = (running.memory(), running.status(0));
            let lists = api.lists();
            api.expire();
            let limit = Instant::now() + Duration::from_secs(300);
            while api.lists() == lists {
                assert!(
                    Instant::now() < limit,
                    "{} does not list again",
                    client.name()
                );
                sleep(Duration::from_millis(20));
            }
            // It has its list in the socket, and may still be at it.
            sleep(SETTLE);
            let (after, ended) = (running.memory(), running.status(0));
            let growth = bytes(after.peak.saturating_sub(before.resident)) / MIB;
            let left = (bytes(after.resident) - bytes(before.resident)) / MIB;
            let changes = ended.changes - began.changes;
            (
                growth,
                left,
                count(changes),
                (ended.cpu - began.cpu).as_secs_f64(),
            )
        });
        let [kube, ours] = measured;
        let peer = Client::KubeStripped.name();
        let row = |what: &str, value, unit| Row::new(what, how, objects, value, unit);
        report.add(
            row("relist, memory on top", ours.0, "MiB")
                .beside(peer, kube.0)
                .must(AtMost(page)),
        );
        report.add(row("relist, memory left of it", ours.1, "MiB").beside(peer, kube.1));
        report.add(
            row("relist, changes reported", ours.2, "")
                .beside(peer, kube.2)
                .must(AtMost(0.0)),
        );
        report.add(row("relist, CPU", ours.3, "s").beside(peer, kube.3));
    }
}

/// Updates of single objects, as many as go, and 200 a second.
pub(crate) fn updates(report: &mut Report, effort: Effort) {
    for objects in [10_000, 100_000] {
        if objects > effort.most() || !fits(Kind::Ingress, objects) {
            continue;
        }
        let api = Api::start(Kind::Ingress, objects, Options::default()).unwrap();
        let clients = [
            Client::Kube,
            Client::KubeStripped,
            Client::Haptic,
            Client::HapticFields,
        ];
        for pace in [None, Some(200)] {
            let measured = clients.map(|client| {
                eprintln!("updates: {objects}, {pace:?} a second, {}", client.name());
                let rounds = effort.rounds(if pace.is_some() { 1 } else { 3 });
                let mut running = Running::start(client, Kind::Ingress, &api.url(), true);
                running.wait_for_sync();
                sleep(SETTLE);
                let rounds = (0..rounds).map(|_| burst(&api, &mut running, objects, pace));
                rounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap()
            });
            let peer = Client::KubeStripped.name();
            let [_, kube, ..] = measured;
            for (client, (cpu, rate)) in clients.into_iter().zip(measured) {
                let how = match pace {
                    None => format!("as fast as they come, {}", client.name()),
                    Some(pace) => format!("{pace} a second, {}", client.name()),
                };
                let row = |what: &str, value, unit| Row::new(what, &how, objects, value, unit);
                let (mut cpu, mut rate) = (
                    row("update, CPU", cpu, "µs"),
                    row("updates taken in", rate, "/s"),
                );
                if client.is_ours() {
                    report.add(
                        row("update, CPU, of what is wished", cpu.value, "µs").must(AtMost(15.0)),
                    );
                    cpu = cpu.beside(peer, kube.0).must(Times(3.0));
                    rate = rate.beside(peer, kube.1);
                    // Of a rate more is better.
                    rate.ratio = rate.ratio.map(f64::recip);
                }
                report.add(cpu);
                if pace.is_none() {
                    report.add(rate);
                }
            }
        }
    }
}

/// CPU time an event in microseconds, and events a second.
fn burst(api: &Api, client: &mut Running, objects: usize, pace: Option<u32>) -> (f64, f64) {
    let events: usize = if pace.is_some() { 2_000 } else { 50_000 };
    // In no order that a tree would like; 7,919 shares no factor with the counts used here.
    let numbers = (0..events).map(|i| i * 7_919 % objects);
    let last = (events - 1) * 7_919 % objects;
    let mut updates = api.prepare(numbers);
    let before = client.status(last);
    let began = Instant::now();
    let version = match pace {
        None => api.publish(updates),
        Some(pace) => {
            let mut version = 0;
            for i in 0..count_u32(events) {
                let due = began + Duration::from_secs(1) / pace * i;
                sleep(due.saturating_duration_since(Instant::now()));
                version = api.publish(updates.drain(..1).collect());
            }
            version
        }
    };
    let after = client.wait_for(last, version);
    let taken = began.elapsed();
    (
        micros(after.cpu - before.cpu) / count(events),
        count(events) / taken.as_secs_f64(),
    )
}

fn count_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Nothing happens, but for bookmarks.
pub(crate) fn idle(report: &mut Report, effort: Effort, minutes: u32) {
    let objects = effort.most();
    let bookmarks = Duration::from_secs(10);
    let api = Api::start(
        Kind::Ingress,
        objects,
        Options {
            bookmarks,
            ..Options::default()
        },
    )
    .unwrap();
    let clients = [Client::KubeStripped, Client::Haptic];
    let mut running = clients.map(|client| Running::start(client, Kind::Ingress, &api.url(), true));
    for client in &mut running {
        client.wait_for_sync();
    }
    let host = Host::start(&api, r#"{"work": "nothing"}"#);
    host.rest();
    sleep(SETTLE * 3);
    let of_host = (host.cpu(), host.memory());
    let before = running
        .each_mut()
        .map(|client| (client.status(0).cpu, client.memory()));
    let sent = api.bookmarks();
    eprintln!("idle: {objects} objects for {minutes} minutes");
    let began = Instant::now();
    sleep(Duration::from_secs(60) * minutes);
    let taken = began.elapsed();
    let [kube, ours] = [0, 1].map(|i| {
        let (cpu, memory) = before[i];
        let after = running[i].memory();
        let share = (running[i].status(0).cpu - cpu).as_secs_f64() / taken.as_secs_f64();
        (
            share * 100.0,
            (bytes(after.resident) - bytes(memory.resident)) / 1024.0,
        )
    });
    // The two clients, and the host.
    let variant = format!(
        "{minutes} min, {} bookmarks",
        (api.bookmarks() - sent) / (clients.len() + 1)
    );
    let peer = Client::KubeStripped.name();
    let row = |what: &str, value, unit| Row::new(what, &variant, objects, value, unit);
    report.add(
        row("idle, of one core", ours.0, "%")
            .beside(peer, kube.0)
            .must(AtMost(0.5)),
    );
    report.add(
        row("idle, memory grown by", ours.1, "KiB")
            .beside(peer, kube.1)
            .must(AtMost(1024.0)),
    );
    let (cpu, memory) = of_host;
    let share = (host.cpu() - cpu).as_secs_f64() / taken.as_secs_f64() * 100.0;
    report.add(row("idle, whole host with a plugin, of one core", share, "%").must(AtMost(0.5)));
    let grown = (bytes(host.memory().resident) - bytes(memory.resident)) / 1024.0;
    report.add(row("idle, whole host, memory grown by", grown, "KiB").must(AtMost(1024.0)));
}
