//! How much a host asks of a server.

use std::time::Duration;

use haptic_cluster::{Logged, Verb};

const MINUTE: Duration = Duration::from_secs(60);

/// Requests in the worst minute, for each stream.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Not counted are pages of a list that goes on, since each brings objects, and GETs,
    /// which callbacks ask for.
    pub worst_minute: f64,
    /// Requests a minute over the whole time.
    pub mean: f64,
}

/// Those of `streams` streams, from the log of the server.
pub fn rates(requests: &[Logged], streams: usize) -> Rates {
    let moments: Vec<_> = requests
        .iter()
        .filter(|request| request.verb != Verb::Get)
        .filter(|request| request.continue_token.is_none() || request.code != Some(200))
        .map(|request| request.moment)
        .collect();
    let mut worst = 0;
    let mut first = 0;
    for (last, moment) in moments.iter().enumerate() {
        while *moment - moments[first] >= MINUTE {
            first += 1;
        }
        worst = worst.max(last + 1 - first);
    }
    let time = match (moments.first(), moments.last()) {
        (Some(first), Some(last)) => (*last - *first).max(MINUTE),
        _ => MINUTE,
    };
    let minutes = time.as_secs_f64() / 60.0;
    let streams = streams.max(1) as f64;
    Rates {
        worst_minute: worst as f64 / streams,
        mean: moments.len() as f64 / minutes / streams,
    }
}
