//! P3: versions that take over.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use haptic_cluster::Cluster;
use haptic_host::plugin::Limits;

use crate::host::{self, Host, Plugin, version};

/// Versions that take over one after another, unless `HAPTIC_VERSIONS` says how many: each is
/// compiled, so a hundred take a minute of two cores.
const VERSIONS: u32 = 20;

fn versions() -> u32 {
    std::env::var("HAPTIC_VERSIONS").map_or(VERSIONS, |text| text.parse().unwrap())
}

/// Changes objects until it is told to stop, and answers what there is then. One of them only
/// ever counts up.
fn change(cluster: Arc<Cluster>, stop: Arc<AtomicBool>) -> BTreeMap<String, u32> {
    let mut truth = BTreeMap::new();
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let name = format!("m{:02}", n % 20);
        if n % 7 == 0 {
            if truth.remove(&name).is_some() {
                cluster
                    .delete("v1", "ConfigMap", Some("default"), &name)
                    .unwrap();
            }
        } else {
            host::apply(&cluster, &name, n);
            truth.insert(name, n);
        }
        host::apply(&cluster, "clock", n);
        truth.insert("clock".to_owned(), n);
        std::thread::park_timeout(std::time::Duration::from_millis(2));
    }
    truth
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_versions_take_over_while_objects_change_and_nothing_is_lost_or_doubled() {
    let host = Host::start(vec![Plugin::new("p", "well")], Limits::default()).await;
    host.until("sync", async |host| host.known("p")).await;
    let stop = Arc::new(AtomicBool::new(false));
    let changer = std::thread::spawn({
        let (cluster, stop) = (Arc::clone(&host.cluster), Arc::clone(&stop));
        move || change(cluster, stop)
    });
    let (mut seen, mut clock) = (0, 0);
    let versions = versions();
    for number in 1..=versions {
        // The last ones read other fields, through a store and a stream of their own.
        let same = number <= versions / 5 * 4;
        let behaviour = match same || number % 2 == 0 {
            true => "well",
            false => "filters",
        };
        host.replace("p", &version(number, behaviour));
        host.until(&format!("version {number}"), async |host| {
            let known = host.known("p")?;
            assert!(known.version >= seen, "{} after {seen}", known.version);
            seen = known.version;
            if same {
                let now = known.objects.get("clock").copied().unwrap_or(0);
                assert!(now >= clock, "outputs went back: {now} after {clock}");
                clock = now;
            }
            (known.version == number).then_some(())
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    let truth = changer.join().unwrap();
    host.until("truth", async |host| {
        (host.known("p")?.objects == truth).then_some(())
    })
    .await;
    for fault in ["contradiction", "lost"] {
        assert_eq!(host.output("p", fault), None, "{fault}");
    }
    let plugin = host.takes("p", versions).await;
    assert_eq!(plugin["reload"]["refused"], 0);
    assert_eq!(plugin["failed"], 0);
    let state = host.state().await;
    assert_eq!(state["watches"].as_array().unwrap().len(), 1, "{state:#}");
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_watches_that_only_the_new_version_has_are_started_and_those_of_the_old_one_end() {
    let plugins = vec![Plugin::new("p", "services"), Plugin::new("q", "well")];
    let host = Host::start(plugins, Limits::default()).await;
    host.until("sync", async |host| host.known("p")).await;
    let lists = |host: &Host, resource: &str| {
        let requests = host.cluster.requests();
        requests.iter().filter(|r| r.resource == resource).count()
    };
    let asked = lists(&host, "configmaps");
    host.replace("p", &version(1, "well"));
    let names = async |host: &Host| -> Vec<String> {
        let state = host.state().await;
        let watches = state["watches"].as_array().unwrap().iter();
        watches
            .map(|w| w["name"].as_str().unwrap().to_owned())
            .collect()
    };
    host.until("end of the old watch", async |host| {
        (names(host).await == ["configmaps"]).then_some(())
    })
    .await;
    host.replace("p", &version(2, "services"));
    host.until("new watch", async |host| {
        (names(host).await.len() == 2 && host.known("p")?.version == 2).then_some(())
    })
    .await;
    host.apply("a", 1);
    host.knows("p", "a", 1).await;
    host.knows("q", "a", 1).await;
    assert_eq!(
        lists(&host, "configmaps"),
        asked,
        "the shared one went on untouched"
    );
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_a_plugin_in_a_mounted_configmap_is_replaced_when_the_mount_is_updated() {
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("mount");
    let put = |number: u32, bytes: &[u8]| {
        let folder = format!("..{number}");
        fs::create_dir_all(mount.join(&folder)).unwrap();
        fs::write(mount.join(&folder).join("p.wasm"), bytes).unwrap();
        symlink(folder, mount.join("..data_tmp")).unwrap();
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    };
    let plugin = Plugin::new("p", "well");
    put(0, &plugin.bytes);
    symlink("..data/p.wasm", mount.join("p.wasm")).unwrap();
    let files = vec![mount.join("p.wasm")];
    let host = Host::start_from(dir, vec![plugin], files, Limits::default()).await;
    host.until("sync", async |host| host.known("p")).await;
    for number in 1..=3 {
        put(number, &version(number, "well"));
        host.until("new version", async |host| {
            (host.known("p")?.version == number).then_some(())
        })
        .await;
    }
    host.stop().await.unwrap();
}
