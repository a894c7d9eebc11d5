//! What a guest sees of time and chance.

use std::{
    collections::HashSet,
    hint::black_box,
    time::{Duration, Instant, SystemTime},
};

/// Reads every clock, sleeps in between, and draws random numbers.
pub(crate) fn look() -> String {
    let date = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        since.map_or_else(|error| error.to_string(), |since| format!("{since:?}"))
    };
    let began = Instant::now();
    let mut text = format!("it is {}\n", date(SystemTime::now()));
    std::thread::sleep(Duration::from_millis(1_500));
    text += &format!("after a sleep it is {}\n", date(SystemTime::now()));
    text += &format!("for the SDK it is {}\n", date(haptic_guest::time::now()));
    text += &format!("the sleep took {:?}\n", began.elapsed());
    #[cfg(target_arch = "wasm32")]
    {
        text += &polls();
    }
    let set: HashSet<u32> = (0..10).collect();
    text += &format!("a set's order is {:?}\n", set.iter().collect::<Vec<_>>());
    text
}

#[cfg(target_arch = "wasm32")]
fn polls() -> String {
    use wasi::{
        clocks::monotonic_clock::{now, subscribe_duration, subscribe_instant},
        io::poll::poll,
        random::{insecure, random},
    };
    let began = now();
    let at = |seconds: u64| seconds * 1_000_000_000;
    let late = subscribe_duration(at(5));
    let early = subscribe_instant(began + at(1));
    let too = subscribe_duration(at(1));
    let never = subscribe_duration(u64::MAX);
    let mut text = format!("ready before: {} {}\n", late.ready(), early.ready());
    let ready = poll(&[&late, &early, &never, &too]);
    text += &format!("of four timers {ready:?} after {} ns\n", now() - began);
    let ready = poll(&[&late, &never, &subscribe_duration(0)]);
    text += &format!("of three {ready:?} after {} ns\n", now() - began);
    late.block();
    text += &format!("ready after {} ns: {}\n", now() - began, late.ready());
    text += &format!(
        "random: {:?} {} {:?} {}\n",
        random::get_random_bytes(5),
        random::get_random_u64(),
        insecure::get_insecure_random_bytes(5),
        insecure::get_insecure_random_u64(),
    );
    text
}

/// Waits for a second without letting go.
pub(crate) fn wait_busily() {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        black_box(began);
    }
}
