//! Leader election on a `coordination.k8s.io/v1` Lease (contract L1, L2): performs what
//! [`haptic_core::lease`] decides, over kube's client. Owns one request in flight, and the word
//! ([`Leadership`]) by which whoever acts as the leader is told that it may.
//!
//! ```no_run
//! use haptic_host::leader::{LeaderElector, LeaderEvent, LeaseConfig, default_identity};
//!
//! # async fn example(client: kube::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let config = LeaseConfig::new("shop", "my-controller", default_identity());
//! let elector = LeaderElector::new(client, config)?;
//! let leadership = elector.leadership();
//! let stop = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
//! tokio::spawn(elector.run(stop, |event| match event {
//!     LeaderEvent::Started => println!("leading"),
//!     LeaderEvent::Stopped => println!("not leading any more"),
//!     LeaderEvent::NewLeader(identity) => println!("{identity} leads"),
//! }));
//!
//! // What only the leader may do starts from what it knows as the leader …
//! if let Some(tenure) = leadership.tenure() {
//!     let report = "whatever takes long";
//!     // … and is made visible only if it still leads, and did so all the time.
//!     if let Some(_commit) = tenure.begin_commit() {
//!         println!("{report}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod clock;
mod identity;
mod leadership;

use std::{pin::Pin, time::Duration};

pub use haptic_core::lease::{
    LeaseConfig, LeaseConfigError, LeaseConfigErrors, LeaseState, LeaseTimings, Verb,
};
use haptic_core::{
    Time,
    lease::{Action, Input, Machine, Request, WallTime},
    watch::NoteLevel,
};
use http::header;
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use tokio::sync::watch;
use tracing::{debug, info, warn};

pub(crate) use self::identity::pod_name;
pub(crate) use self::leadership::Changes;
#[cfg(test)]
pub(crate) use self::leadership::tests;
pub use self::{
    identity::default_identity,
    leadership::{Commit, Leadership, Tenure},
};
use crate::{
    chain::{chain, printable},
    driver::retry_after,
};

/// How long a commit that has begun may hold up the release; the Lease then expires instead.
/// Renames take milliseconds, and the host has 5 s to exit (contract K5).
const COMMIT: Duration = Duration::from_millis(500);

/// What happens to a contender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaderEvent {
    /// This one leads from here on.
    Started,
    /// It does not any more. It is contended again, unless this came with the stop.
    Stopped,
    /// Somebody else than before leads; it may be this one.
    NewLeader(String),
}

/// How an election is, as this contender knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderStatus {
    /// How this contender is.
    pub state: LeaseState,
    /// Who holds the Lease; `None`: nobody, or not known.
    pub holder: Option<String>,
}

/// One contender for a Lease.
pub struct LeaderElector {
    client: Client,
    machine: Machine,
    lease: String,
    leadership: Leadership,
    /// The word was taken back for good.
    stopping: bool,
    status: watch::Sender<LeaderStatus>,
}

impl LeaderElector {
    /// A contender that does nothing before [`LeaderElector::run`].
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    pub fn new(client: Client, mut config: LeaseConfig) -> Result<Self, LeaseConfigErrors> {
        if config.seed == 0 {
            config.seed = identity::random();
        }
        let lease = format!("{}/{}", config.namespace, config.name);
        let machine = Machine::new(config)?;
        let (status, _) = watch::channel(LeaderStatus {
            state: machine.state().clone(),
            holder: None,
        });
        Ok(Self {
            client,
            machine,
            lease,
            leadership: Leadership::new(),
            stopping: false,
            status,
        })
    }

    /// The word by which whoever acts as the leader asks whether it may.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// The state, now and as it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<LeaderStatus> {
        self.status.subscribe()
    }

    /// Contends until `stop` resolves, again and again; then stops leading, waits for a commit that
    /// has begun, gives the Lease back if it is held, and returns: within 1.5 s, whatever the
    /// server does. `on_event` is called in between and should return at once.
    ///
    /// A dropped future stops leading too. The Lease is not given back then, and expires.
    pub async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        mut on_event: impl FnMut(LeaderEvent),
    ) {
        // However this future ends, nobody leads without it.
        let leadership = self.leadership.clone();
        let _revoked = Revoke(leadership.clone());
        let mut stop = std::pin::pin!(stop);
        let mut idle =
            std::pin::pin!(async { tokio::time::timeout(COMMIT, leadership.idle()).await });
        let mut flight = None;
        let mut releasing = false;
        let mut ended = self.step(Input::Start, &mut flight, &mut on_event);
        while !ended {
            let deadline = self.machine.deadline();
            tokio::select! {
                biased;
                answer = arrival(&mut flight) => {
                    flight = None;
                    ended = match answer {
                        Ok(answer) => self.step(
                            Input::Answer {
                                status: answer.status,
                                retry_after: answer.retry_after,
                                body: &answer.body,
                            },
                            &mut flight,
                            &mut on_event,
                        ),
                        Err(error) => {
                            self.step(Input::Failed(&error), &mut flight, &mut on_event)
                        }
                    };
                }
                () = &mut stop, if !self.stopping => {
                    // From here on no commit begins. One that runs must not meet another
                    // leader's.
                    self.stopping = true;
                    self.leadership.set(None);
                }
                idle = &mut idle, if self.stopping && !releasing => {
                    if idle.is_err() {
                        warn!("a commit is still under way: the lease is left to expire");
                        return;
                    }
                    releasing = true;
                    ended = self.step(Input::Release, &mut flight, &mut on_event);
                }
                () = clock::sleep_until(deadline) => {
                    ended = self.step(Input::Tick, &mut flight, &mut on_event);
                }
            }
        }
    }

    /// Tells the machine, and performs what it says. Answers whether that was all.
    fn step(
        &mut self,
        input: Input<'_>,
        flight: &mut Option<Flight>,
        on_event: &mut impl FnMut(LeaderEvent),
    ) -> bool {
        let mut actions = Vec::new();
        self.machine.step(clock::now(), input, &mut actions);
        let mut ended = false;
        let lease = self.lease.as_str();
        for action in actions {
            match action {
                Action::Send(request) => *flight = Some(send(&self.client, &request)),
                Action::Close => *flight = None,
                Action::Started { until } => {
                    self.grant(until);
                    info!(lease, "leading");
                    on_event(LeaderEvent::Started);
                }
                Action::Extended { until } => self.grant(until),
                Action::Stopped => {
                    self.leadership.set(None);
                    info!(lease, "not leading any more");
                    on_event(LeaderEvent::Stopped);
                }
                Action::NewLeader(identity) => {
                    info!(lease, leader = printable(&identity), "new leader");
                    on_event(LeaderEvent::NewLeader(identity));
                }
                Action::State(state) => {
                    let text = printable(&state.to_string());
                    match &state {
                        LeaseState::Failing { .. } | LeaseState::Forbidden { .. } => {
                            warn!(lease, "cannot contend, it is tried again: {text}");
                        }
                        LeaseState::Contending
                        | LeaseState::Following { .. }
                        | LeaseState::Leading
                        | LeaseState::Ended => debug!(lease, "{text}"),
                    }
                }
                Action::Note { level, message } => {
                    let message = printable(&message);
                    match level {
                        NoteLevel::Debug => debug!(lease, "{message}"),
                        NoteLevel::Info => info!(lease, "{message}"),
                        NoteLevel::Warn => warn!(lease, "{message}"),
                    }
                }
                Action::Ended => ended = true,
            }
        }
        let status = LeaderStatus {
            state: self.machine.state().clone(),
            holder: self.machine.holder().map(str::to_owned),
        };
        self.status.send_if_modified(|known| {
            let changed = *known != status;
            *known = status;
            changed
        });
        ended
    }

    fn grant(&self, until: Time) {
        if !self.stopping {
            self.leadership.set(Some(until));
        }
    }
}

/// Ends the leadership with the future that maintains it.
struct Revoke(Leadership);

impl Drop for Revoke {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

/// A whole response.
struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

type Flight = Pin<Box<dyn Future<Output = Result<Answer, String>> + Send>>;

async fn arrival(flight: &mut Option<Flight>) -> Result<Answer, String> {
    match flight {
        Some(flight) => flight.await,
        None => std::future::pending().await,
    }
}

/// The request on its way. It has no deadline of its own: the machine closes it.
fn send(client: &Client, request: &Request) -> Flight {
    let wall = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        // A clock before 1970 is one that was never set.
        .unwrap_or_default();
    let body = request.body(WallTime::from_unix(wall));
    let built = http::Request::builder()
        .method(request.verb.method())
        .uri(request.path_and_query.as_str())
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body));
    let client = client.clone();
    Box::pin(async move {
        let request = built.map_err(|error| error.to_string())?;
        let response = client.send(request).await.map_err(|error| chain(&error))?;
        let (parts, mut stream) = response.into_parts();
        let mut body = Vec::new();
        while let Some(frame) = stream.frame().await {
            let frame = frame.map_err(|error| chain(&error))?;
            // Trailers carry nothing for us.
            if let Ok(data) = frame.into_data() {
                body.extend_from_slice(&data);
            }
            if body.len() > Request::MAX_ANSWER {
                break;
            }
        }
        Ok(Answer {
            status: parts.status.as_u16(),
            retry_after: retry_after(&parts.headers),
            body,
        })
    })
}
