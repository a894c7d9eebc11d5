//! The word that says who may act as the leader, and until when.

use haptic_core::Time;
use tokio::sync::watch;

use super::clock;

/// Whether this process leads, for those who act on it. Cheap to clone and to ask.
///
/// It is an expiry date and no flag: a process that was paused and wakes after its time asks the
/// clock and gets no, before any timer has fired. Others wait for longer than that
/// ([`LeaseTimings`](super::LeaseTimings)), which leaves a commit that began in the last moment
/// some seconds to end.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Sender<Granted>);

#[derive(Debug, Default)]
struct Granted {
    until: Option<Time>,
    /// Counts the times that leadership has started.
    tenures: u64,
    /// Commits under way.
    commits: usize,
}

/// One time of leading, from its start to its end: what was begun in it ends with it, also when
/// the same process leads again.
#[derive(Clone, Debug)]
pub struct Tenure {
    leadership: Leadership,
    number: u64,
}

/// A commit that has begun: the Lease is not given back before this is dropped.
#[derive(Debug)]
pub struct Commit<'t>(&'t Leadership);

impl Leadership {
    pub(super) fn new() -> Self {
        Self(watch::Sender::default())
    }

    /// Whether this process leads at this moment.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.0.borrow().holds(clock::now())
    }

    /// The present time of leading; `None` while this process does not lead.
    #[must_use]
    pub fn tenure(&self) -> Option<Tenure> {
        let granted = self.0.borrow();
        granted.holds(clock::now()).then(|| Tenure {
            leadership: self.clone(),
            number: granted.tenures,
        })
    }

    /// Resolves when leadership may have started, ended or been prolonged since the last call on
    /// the same receiver.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.0.subscribe())
    }

    /// Gives, prolongs or takes back the word.
    pub(super) fn set(&self, until: Option<Time>) {
        self.0.send_modify(|granted| {
            if granted.until.is_none() && until.is_some() {
                granted.tenures += 1;
            }
            granted.until = until;
        });
    }

    /// Waits until no commit is under way.
    pub(super) async fn idle(&self) {
        let mut changes = self.0.subscribe();
        // The sender lives as long as this.
        drop(changes.wait_for(|granted| granted.commits == 0).await);
    }
}

impl Tenure {
    /// Whether it still lasts.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.leadership.0.borrow().lasts(self.number)
    }

    /// Begins something that only the leader may do; `None` when this time of leading is over.
    /// Ask right before the first step that others can see, after all that takes long.
    #[must_use]
    pub fn begin_commit(&self) -> Option<Commit<'_>> {
        // In one go: once the word is taken back, no commit begins.
        let begun = self.leadership.0.send_if_modified(|granted| {
            let lasts = granted.lasts(self.number);
            granted.commits += usize::from(lasts);
            lasts
        });
        // Lazily: a commit that is made counts down when it is dropped.
        begun.then(|| Commit(&self.leadership))
    }
}

impl PartialEq for Tenure {
    /// Of one process's leadership.
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Granted {
    fn holds(&self, now: Time) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    fn lasts(&self, tenure: u64) -> bool {
        self.tenures == tenure && self.holds(clock::now())
    }
}

impl Drop for Commit<'_> {
    fn drop(&mut self) {
        self.0
            .0
            .send_modify(|granted| granted.commits = granted.commits.saturating_sub(1));
    }
}

/// See [`Leadership::changes`].
pub(crate) struct Changes(watch::Receiver<Granted>);

impl Changes {
    /// Waits; for ever when the leadership is gone.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::{pin::pin, task::Poll, time::Duration};

    use super::*;

    /// A leadership, for an hour.
    pub(crate) fn leading() -> Leadership {
        let leadership = Leadership::new();
        leadership.set(Some(clock::now() + Duration::from_secs(3600)));
        leadership
    }

    /// Takes it away.
    pub(crate) fn lose(leadership: &Leadership) {
        leadership.set(None);
    }

    #[test]
    fn l3_the_word_ends_by_itself_with_no_timer_involved() {
        assert!(!Leadership::new().is_leading());
        assert!(Leadership::new().tenure().is_none());
        let leadership = leading();
        let tenure = leadership.tenure().unwrap();
        assert!(leadership.is_leading() && tenure.lasts());
        assert!(tenure.begin_commit().is_some());
        leadership.set(Some(clock::now()));
        assert!(!leadership.is_leading() && !tenure.lasts());
        assert!(tenure.begin_commit().is_none());
    }

    #[test]
    fn l3_what_was_begun_in_one_time_of_leading_is_not_committed_in_the_next() {
        let leadership = leading();
        let first = leadership.tenure().unwrap();
        let later = clock::now() + Duration::from_secs(7200);
        leadership.set(Some(later));
        assert!(first.begin_commit().is_some(), "prolonged");
        leadership.set(None);
        leadership.set(Some(later));
        assert!(leadership.tenure().unwrap().begin_commit().is_some());
        assert!(first.begin_commit().is_none());
    }

    #[tokio::test]
    async fn l3_a_word_that_is_taken_back_waits_for_the_commits_that_had_begun() {
        let leadership = leading();
        let tenure = leadership.tenure().unwrap();
        let commit = tenure.begin_commit().unwrap();
        leadership.set(None);
        assert!(tenure.begin_commit().is_none());
        let mut idle = pin!(leadership.idle());
        let waits =
            std::future::poll_fn(|context| Poll::Ready(idle.as_mut().poll(context).is_pending()));
        assert!(waits.await);
        drop(commit);
        idle.await;
    }
}
