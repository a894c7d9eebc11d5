//! Bodies of a cached store, from a server that takes 10 ms for each.

use std::time::{Duration, Instant};

use haptic_benches::{
    api::{Api, Options},
    data::{Kind, name, namespace},
    report::{Must::AtMost, Report, Row},
};
use haptic_host::{Watch, Watcher};

pub(crate) fn measure(report: &mut Report) {
    let objects = 100;
    let options = Options {
        get_delay: Duration::from_millis(10),
        ..Options::default()
    };
    let api = Api::start(Kind::Secret, objects, options).unwrap();
    let threads = tokio::runtime::Runtime::new().unwrap();
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let together = (0..5)
        .map(|_| threads.block_on(fetch(&api, objects, true)))
        .min()
        .unwrap();
    let in_turn = threads.block_on(fetch(&api, objects, false));
    let row = Row::new(
        "100 cold objects of a cached store",
        "10 ms a GET",
        objects,
        millis(together),
        "ms",
    );
    report.add(
        row.beside("one after another", millis(in_turn))
            .must(AtMost(50.0)),
    );
}

/// How long it takes a new watcher, which has no bodies, to read all.
async fn fetch(api: &Api, objects: usize, together: bool) -> Duration {
    let access = haptic_host::access::connect_url(&api.url(), "default").unwrap();
    let watch = Watch::new("v1", "secrets").cached();
    let watcher = Watcher::builder(&access, watch).start().unwrap();
    watcher.wait_for_sync().await.unwrap();
    let store = watcher.store();
    let began = Instant::now();
    let read = if together {
        store.fetch_all().await.unwrap().len()
    } else {
        let mut read = 0;
        for number in 0..objects {
            let object = store
                .fetch_object(&namespace(number), &name(number))
                .await
                .unwrap();
            read += usize::from(object.is_some_and(|object| object.has_body()));
        }
        read
    };
    let taken = began.elapsed();
    assert_eq!(read, objects);
    taken
}
