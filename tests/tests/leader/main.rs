//! Contenders for one Lease, over the wire, against the embedded cluster and its faults. What they
//! decide is tested on a virtual clock in `haptic-core`; here it is that requests, conflicts and
//! deadlines are what the machine takes them for. Time is real, and nothing is asserted about how
//! long anything takes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use haptic_cluster::{Cluster, Fault, How, Moment, Options, Place, Rule, Verb as Asked, When};
use haptic_host::{
    access,
    leader::{
        LeaderElector, LeaderEvent, LeaderStatus, Leadership, LeaseConfig, LeaseState,
        LeaseTimings, Verb,
    },
};
use serde_json::Value;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

const SHORT: LeaseTimings = LeaseTimings {
    lease_duration: Duration::from_secs(2),
    renew_deadline: Duration::from_secs(1),
    retry_period: Duration::from_millis(100),
};

/// Who takes over did not wait for this to expire.
const NEVER_EXPIRES: LeaseTimings = LeaseTimings {
    lease_duration: Duration::from_secs(3600),
    renew_deadline: Duration::from_secs(3000),
    retry_period: Duration::from_millis(100),
};

struct Contender {
    leadership: Leadership,
    status: watch::Receiver<LeaderStatus>,
    events: Arc<Mutex<Vec<LeaderEvent>>>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Contender {
    fn start(cluster: &Cluster, identity: &str, timings: LeaseTimings) -> Self {
        let client = access::connect_url(&cluster.url(), "shop").unwrap().client;
        let mut config = LeaseConfig::new("default", "x", identity);
        config.timings = timings;
        let elector = LeaderElector::new(client, config).unwrap();
        let (leadership, status) = (elector.leadership(), elector.status());
        let (stop, stopped) = oneshot::channel::<()>();
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&events);
        let task = tokio::spawn(elector.run(async { drop(stopped.await) }, move |event| {
            told.lock().unwrap().push(event)
        }));
        Self {
            leadership,
            status,
            events,
            stop: Some(stop),
            task,
        }
    }

    fn leads(&self) -> bool {
        self.leadership.is_leading()
    }

    fn state(&self) -> LeaseState {
        self.status.borrow().state.clone()
    }

    fn started(&self) -> usize {
        let events = self.events.lock().unwrap();
        let started = |event: &&LeaderEvent| **event == LeaderEvent::Started;
        events.iter().filter(started).count()
    }

    /// Stops it, and waits until it has ended.
    async fn stop(&mut self) {
        drop(self.stop.take());
        (&mut self.task).await.unwrap();
    }
}

/// Waits, and looks all the time that no two of them lead.
async fn eventually(what: &str, all: &[Contender], met: impl Fn() -> bool) {
    let began = Instant::now();
    loop {
        assert!(all.iter().filter(|c| c.leads()).count() <= 1, "two lead");
        if met() {
            return;
        }
        let states: Vec<LeaseState> = all.iter().map(Contender::state).collect();
        assert!(began.elapsed() < PATIENCE, "no {what}: {states:?}");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

fn lease(cluster: &Cluster) -> Value {
    let api_version = "coordination.k8s.io/v1";
    let lease = cluster.get(api_version, "Lease", Some("default"), "x");
    lease.unwrap()["spec"].clone()
}

fn leases(verbs: impl IntoIterator<Item = Asked>) -> When {
    When::verbs(verbs).resource("leases")
}

async fn start(timings: LeaseTimings, names: &[&str]) -> (Cluster, Vec<Contender>) {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let contend = |name: &&str| Contender::start(&cluster, name, timings);
    let all: Vec<Contender> = names.iter().map(contend).collect();
    (cluster, all)
}

#[tokio::test]
async fn l1_of_three_that_race_for_a_new_lease_one_leads_and_the_others_follow() {
    let (cluster, all) = start(NEVER_EXPIRES, &["a", "b", "c"]).await;
    let settled = || {
        let is =
            |wanted: fn(&LeaseState) -> bool| all.iter().filter(|c| wanted(&c.state())).count();
        is(|state| *state == LeaseState::Leading) == 1
            && is(|state| matches!(state, LeaseState::Following { .. })) == 2
    };
    eventually("order", &all, settled).await;
    let spec = lease(&cluster);
    assert_eq!(spec["leaseTransitions"], 0);
    assert_eq!(spec["leaseDurationSeconds"], 3600);
    let holder = spec["holderIdentity"].as_str().unwrap();
    for contender in &all {
        let events = contender.events.lock().unwrap().clone();
        let leader = LeaderEvent::NewLeader(holder.to_owned());
        match contender.leads() {
            true => assert_eq!(events, [leader, LeaderEvent::Started]),
            false => {
                assert_eq!(events, [leader]);
                let holder = holder.to_owned();
                assert_eq!(contender.state(), LeaseState::Following { holder });
            }
        }
        let status = contender.status.borrow();
        assert_eq!(status.holder.as_deref(), Some(holder));
    }
}

#[tokio::test]
async fn l1_a_release_hands_the_lease_over_again_and_again() {
    let (cluster, mut all) = start(NEVER_EXPIRES, &["a", "b", "c"]).await;
    for handed in 0..3 {
        eventually("leader", &all, || all.iter().any(Contender::leads)).await;
        assert_eq!(lease(&cluster)["leaseTransitions"], handed);
        let leader = all.iter().position(Contender::leads).unwrap();
        let mut leader = all.remove(leader);
        let tenure = leader.leadership.tenure().unwrap();
        leader.stop().await;
        assert!(!leader.leads() && tenure.begin_commit().is_none());
        assert_eq!(leader.state(), LeaseState::Ended);
        let events = leader.events.lock().unwrap().clone();
        assert_eq!(events.last(), Some(&LeaderEvent::Stopped));
    }
    let spec = lease(&cluster);
    assert_eq!(spec["holderIdentity"], "");
    assert_eq!(spec["leaseDurationSeconds"], 1);
}

#[tokio::test]
async fn l3_a_commit_that_has_begun_is_waited_for_before_the_lease_is_given_back() {
    let (cluster, mut all) = start(NEVER_EXPIRES, &["a", "b"]).await;
    eventually("leader", &all, || all.iter().any(Contender::leads)).await;
    let leader = all.iter().position(Contender::leads).unwrap();
    let mut leader = all.remove(leader);
    let tenure = leader.leadership.tenure().unwrap();
    let commit = tenure.begin_commit().unwrap();
    // It does not end: the Lease is left to expire, and nobody else leads.
    leader.stop().await;
    assert_ne!(lease(&cluster)["holderIdentity"], "");
    assert!(tenure.begin_commit().is_none());
    drop(commit);
    assert!(!all.iter().any(Contender::leads));
}

#[tokio::test]
async fn l2_a_server_that_is_lost_ends_leadership_and_the_lease_is_contended_again() {
    for names in [&["a", "b"][..], &["a", "b", "c"]] {
        lose_the_server(names).await;
    }
}

async fn lose_the_server(names: &[&str]) {
    let (cluster, all) = start(SHORT, names).await;
    for (round, how) in [(1, How::Stall), (2, How::Reset), (3, How::Fin)] {
        eventually("leader", &all, || all.iter().any(Contender::leads)).await;
        let fault = Fault::Break {
            at: Place::Start,
            how,
        };
        cluster.faults().add(Rule::new(leases([]), fault));
        eventually("end", &all, || !all.iter().any(Contender::leads)).await;
        cluster.faults().clear();
        let started = || all.iter().map(Contender::started).sum::<usize>();
        eventually("new start", &all, || started() > round).await;
    }
}

#[tokio::test]
async fn l2_a_renewal_whose_answer_comes_too_late_does_not_prolong_leadership() {
    let (cluster, all) = start(SHORT, &["a", "b"]).await;
    eventually("leader", &all, || all.iter().any(Contender::leads)).await;
    let leader = all.iter().find(|c| c.leads()).unwrap();
    let tenure = leader.leadership.tenure().unwrap();
    // The server does what it is asked for, and says so when it is too late.
    let fault = Fault::Hold {
        at: Moment::Answered,
    };
    let rule = cluster
        .faults()
        .add(Rule::new(leases([Asked::Update]), fault));
    eventually("end", &all, || !tenure.lasts()).await;
    cluster.faults().remove(rule);
    eventually("leader", &all, || all.iter().any(Contender::leads)).await;
    assert!(tenure.begin_commit().is_none());
}

#[tokio::test]
async fn l2_a_lease_that_was_deleted_or_taken_by_hand_costs_leadership_at_once() {
    let (cluster, all) = start(NEVER_EXPIRES, &["a"]).await;
    let kind = ("coordination.k8s.io/v1", "Lease", Some("default"), "x");
    for round in 1..3 {
        eventually("leader", &all, || all[0].leads()).await;
        cluster.delete(kind.0, kind.1, kind.2, kind.3).unwrap();
        eventually("new start", &all, || all[0].started() > round).await;
    }
    let mut taken = cluster.get(kind.0, kind.1, kind.2, kind.3).unwrap();
    taken["spec"]["holderIdentity"] = "admin".into();
    cluster.apply(&taken).unwrap();
    let holder = "admin".to_owned();
    let following = LeaseState::Following { holder };
    eventually("follower", &all, || all[0].state() == following).await;
    assert!(!all[0].leads());
}

#[tokio::test]
async fn l1_a_right_that_is_missing_is_named_and_waited_for() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let verbs = [
        (Asked::Get, Verb::Get),
        (Asked::Create, Verb::Create),
        (Asked::Update, Verb::Update),
    ];
    let refuse = |asked| {
        let fault = Fault::Forbidden { end_streams: false };
        cluster.faults().add(Rule::new(leases([asked]), fault))
    };
    let rules: Vec<_> = verbs.iter().map(|(asked, _)| refuse(*asked)).collect();
    let all = [Contender::start(&cluster, "a", SHORT)];
    for ((_, verb), rule) in verbs.into_iter().zip(rules) {
        let namespace = "default".to_owned();
        let forbidden = LeaseState::Forbidden { verb, namespace };
        eventually("refusal", &all, || all[0].state() == forbidden).await;
        cluster.faults().remove(rule);
    }
    eventually("leader", &all, || all[0].leads()).await;
}

#[tokio::test]
async fn l1_a_contender_whose_future_is_dropped_does_not_lead() {
    let (_cluster, all) = start(NEVER_EXPIRES, &["a"]).await;
    eventually("leader", &all, || all[0].leads()).await;
    all[0].task.abort();
    eventually("end", &all, || !all[0].leads()).await;
}
