//! Owns one contender for one `coordination.k8s.io/v1` Lease, as a state machine without IO
//! (contract L1, L2): acquire, renew, lose, contend again, release. Knows neither how bytes
//! travel nor what leading is good for: it is told what happened ([`Input`]) and when
//! ([`Time`](crate::Time)), and says what to do ([`Action`]).
//!
//! It never sees a wall clock. Another holder's Lease has expired when it was seen unchanged for
//! the duration that stands in it, on this process's monotonic clock. One's own leadership ends
//! [`renew_deadline`](LeaseTimings::renew_deadline) after the last successful write was *sent*,
//! so that a slow answer never prolongs it. The difference of the two is what two monotonic
//! clocks may drift apart within, and what a commit that has begun may still take. The times that
//! stand in the Lease are written ([`Request::body`]), for people, and never read.
//!
//! Ownership is a write of one's own: a Lease that bears one's name, but that this machine did
//! not write, belongs to somebody else of that name and is waited for like any other.
//!
//! A shell performs it so:
//!
//! 1. feed [`Input::Start`]; perform the actions of each step in order;
//! 2. on [`Action::Send`], send; feed [`Input::Answer`] or [`Input::Failed`];
//! 3. feed [`Input::Tick`] at [`Machine::deadline`], which each step may move;
//! 4. feed [`Input::Release`] when what needs the leadership has ended, and go on until
//!    [`Action::Ended`].

mod config;
mod io;
mod machine;
mod object;
mod wall;

#[cfg(test)]
mod tests;

pub use config::{LeaseConfig, LeaseConfigError, LeaseConfigErrors, LeaseTimings};
pub use io::{Action, Input, LeaseState, Request, Verb};
pub use machine::Machine;
pub use wall::WallTime;
