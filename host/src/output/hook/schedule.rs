//! When a hook is due. Pure: is told of commits, of ends and of the time.

use std::time::Duration;

use haptic_core::Time;

use crate::output::Debt;

/// After a first failure it is tried again after a second: most often the cause is
/// gone by then, such as files that were being replaced.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause: whoever repairs the cause does not wait for longer.
const LONGEST: Duration = Duration::from_secs(60);

/// What a hook owes, and what it does about it.
#[derive(Debug, Default)]
pub struct Schedule {
    state: State,
    failures: u32,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Due(Debt),
    Running {
        debt: Debt,
        /// Committed since the run began.
        more: Option<Debt>,
    },
    Waiting {
        debt: Debt,
        until: Time,
    },
}

/// How a hook stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing to do.
    Idle,
    /// It is to run.
    Due,
    /// It runs.
    Running,
    /// It failed, and is tried again later.
    Waiting,
}

impl Schedule {
    /// A commit owes a run. What is known already is no news.
    pub fn owe(&mut self, mut debt: Debt) {
        self.state = match std::mem::take(&mut self.state) {
            State::Idle => State::Due(debt),
            State::Due(earlier) => {
                debt.add(earlier);
                State::Due(debt)
            }
            State::Running {
                debt: running,
                more,
            } => {
                let is_news = running.token() != debt.token();
                let more = match more {
                    Some(earlier) => {
                        debt.add(earlier);
                        Some(debt)
                    }
                    None => is_news.then_some(debt),
                };
                State::Running {
                    debt: running,
                    more,
                }
            }
            State::Waiting {
                debt: earlier,
                until,
            } => {
                if earlier.token() == debt.token() {
                    debt.add(earlier);
                    State::Waiting { debt, until }
                } else {
                    debt.add(earlier);
                    State::Due(debt)
                }
            }
        };
    }

    /// The debt of a run that is to start now.
    pub fn start(&mut self, now: Time) -> Option<Debt> {
        match std::mem::take(&mut self.state) {
            State::Waiting { debt, until } if until <= now => self.begin(debt),
            State::Due(debt) => self.begin(debt),
            other @ (State::Idle | State::Running { .. } | State::Waiting { .. }) => {
                self.state = other;
                None
            }
        }
    }

    fn begin(&mut self, debt: Debt) -> Option<Debt> {
        self.state = State::Running {
            debt: debt.clone(),
            more: None,
        };
        Some(debt)
    }

    /// A run ended.
    pub fn finished(&mut self, now: Time, succeeded: bool) {
        let State::Running { debt, more } = std::mem::take(&mut self.state) else {
            return;
        };
        self.failures = match succeeded {
            true => 0,
            false => self.failures.saturating_add(1),
        };
        self.state = match (succeeded, more) {
            (true, None) => State::Idle,
            (true, Some(more)) => State::Due(more),
            (false, None) => State::Waiting {
                debt,
                until: now + self.pause(),
            },
            (false, Some(mut more)) => {
                more.add(debt);
                State::Due(more)
            }
        };
    }

    fn pause(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        FIRST
            .saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
            .min(LONGEST)
    }

    /// What has not begun is forgotten: somebody else leads, and finds it written down.
    pub fn forget(&mut self) {
        self.failures = 0;
        self.state = match std::mem::take(&mut self.state) {
            State::Running { debt, more: _ } => State::Running { debt, more: None },
            State::Idle | State::Due(_) | State::Waiting { .. } => State::Idle,
        };
    }

    /// When something is to start that is not to start now.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        match &self.state {
            State::Waiting { until, .. } => Some(*until),
            State::Idle | State::Due(_) | State::Running { .. } => None,
        }
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match &self.state {
            State::Idle => Standing::Idle,
            State::Due(_) => Standing::Due,
            State::Running { .. } => Standing::Running,
            State::Waiting { .. } => Standing::Waiting,
        }
    }

    /// Failures since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::plugin::OutputName;

    fn debt(token: &str, names: &[&str]) -> Debt {
        let names = names.iter().map(|name| OutputName::parse(name).unwrap());
        Debt::new(token, names.collect())
    }

    fn at(seconds: u64) -> Time {
        Time::from_origin(Duration::from_secs(seconds))
    }

    enum Step {
        Owe(&'static str, &'static [&'static str]),
        /// Asks for a run at this second; one starts with these names, or none does.
        Start(u64, Option<(&'static str, &'static [&'static str])>),
        Succeeds(u64),
        Fails(u64),
        Forget,
    }
    use Step::{Fails, Forget, Owe, Start, Succeeds};

    fn check(steps: &[Step]) -> Schedule {
        let mut schedule = Schedule::default();
        for (i, step) in steps.iter().enumerate() {
            match step {
                Owe(token, names) => schedule.owe(debt(token, names)),
                Start(second, expected) => {
                    let started = schedule.start(at(*second));
                    let expected = expected.map(|(token, names)| debt(token, names));
                    assert_eq!(started, expected, "step {i}");
                }
                Succeeds(second) => schedule.finished(at(*second), true),
                Fails(second) => schedule.finished(at(*second), false),
                Forget => schedule.forget(),
            }
        }
        schedule
    }

    #[test]
    fn o2_a_commit_is_followed_by_one_run() {
        let end = check(&[
            Start(0, None),
            Owe("1", &["a"]),
            Start(0, Some(("1", &["a"]))),
            Start(0, None),
            Succeeds(1),
            Start(1, None),
        ]);
        assert_eq!(end.standing(), Standing::Idle);
    }

    #[test]
    fn o2_commits_during_a_run_lead_to_one_more() {
        let end = check(&[
            Owe("1", &["a"]),
            Start(0, Some(("1", &["a"]))),
            Owe("2", &["b"]),
            Owe("3", &["c"]),
            Start(0, None),
            Succeeds(1),
            Start(1, Some(("3", &["b", "c"]))),
            Succeeds(2),
            Start(2, None),
        ]);
        assert_eq!(end.standing(), Standing::Idle);
    }

    #[test]
    fn o2_an_unchanged_commit_that_finds_the_mark_of_a_run_under_way_is_no_news() {
        check(&[
            Owe("1", &["a"]),
            Start(0, Some(("1", &["a"]))),
            Owe("1", &["a", "b"]),
            Succeeds(1),
            Start(1, None),
        ]);
    }

    #[test]
    fn o2_a_run_that_fails_is_repeated_later_and_later_until_one_succeeds() {
        let mut steps = vec![Owe("1", &["a"])];
        let mut now = 0;
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            steps.extend([Start(now, Some(("1", &["a"]))), Fails(now)]);
            steps.push(Start(now + pause - 1, None));
            now += pause;
        }
        steps.extend([Start(now, Some(("1", &["a"]))), Succeeds(now)]);
        let end = check(&steps);
        assert_eq!((end.standing(), end.failures()), (Standing::Idle, 0));
        assert_eq!(end.next(), None);
    }

    #[test]
    fn o2_a_newer_commit_does_not_wait_and_brings_what_failed() {
        check(&[
            Owe("1", &["a"]),
            Start(0, Some(("1", &["a"]))),
            Fails(0),
            Owe("2", &["b"]),
            Start(0, Some(("2", &["a", "b"]))),
            Owe("3", &["c"]),
            Fails(0),
            Start(0, Some(("3", &["a", "b", "c"]))),
        ]);
        // The mark of what failed is no newer commit.
        let end = check(&[
            Owe("1", &["a"]),
            Start(0, Some(("1", &["a"]))),
            Fails(0),
            Owe("1", &["a"]),
            Start(0, None),
        ]);
        assert_eq!(end.standing(), Standing::Waiting);
        assert_eq!(end.next(), Some(at(1)));
    }

    #[test]
    fn l3_who_does_not_lead_any_more_starts_nothing() {
        for steps in [
            vec![Owe("1", &["a"]), Forget],
            vec![
                Owe("1", &["a"]),
                Start(0, Some(("1", &["a"]))),
                Fails(0),
                Forget,
            ],
            vec![
                Owe("1", &["a"]),
                Start(0, Some(("1", &["a"]))),
                Owe("2", &["b"]),
                Forget,
                Succeeds(0),
            ],
        ] {
            let mut end = check(&steps);
            assert_eq!(end.start(at(100)), None);
            assert_eq!(end.standing(), Standing::Idle);
        }
        // What fails after the end of leadership is not tried again either.
        let mut end = check(&[
            Owe("1", &["a"]),
            Start(0, Some(("1", &["a"]))),
            Forget,
            Fails(0),
        ]);
        end.forget();
        assert_eq!(end.standing(), Standing::Idle);
    }
}
