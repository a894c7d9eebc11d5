#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::Range;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::{sleep, timeout},
};

use super::*;

const WINDOW: Duration = Duration::from_millis(50);

/// How long it rests each time, when so many bytes have come `gap` after it was read empty, or
/// after it had rested.
fn rests(bytes: usize, gap: Duration, times: usize) -> Vec<Option<Duration>> {
    let mut now = Instant::now();
    let mut rhythm = Rhythm::new(now);
    let mut apart = false;
    let rests = (0..times).map(|_| {
        now += gap;
        rhythm.read(now, bytes);
        let rest = match apart {
            true => rhythm.rest(now, WINDOW),
            false => rhythm.first_rest(now, WINDOW),
        };
        apart = rest.is_some();
        now += rest.unwrap_or_default();
        rest
    });
    rests.collect()
}

#[test]
fn what_comes_seldom_is_waited_for() {
    let none = [None; 20];
    assert_eq!(rests(2_600, Duration::from_millis(60), 20), none);
    assert_eq!(rests(2_600, Duration::from_secs(3_600), 20), none);
}

#[test]
fn what_comes_often_is_read_a_few_times_a_second() {
    let mut now = Instant::now();
    let mut rhythm = Rhythm::new(now);
    // An event every 5 ms, after a silence.
    now += Duration::from_secs(1);
    let mut total = Duration::ZERO;
    let mut rests = Vec::new();
    let mut apart = false;
    for _ in 0..20 {
        let rested = rests.last().copied().flatten().unwrap_or(Duration::ZERO);
        let waited = rested.max(Duration::from_millis(5));
        now += waited;
        total += waited;
        rhythm.read(
            now,
            2_600 * usize::try_from(waited.as_millis() / 5).unwrap(),
        );
        let rest = match apart {
            true => rhythm.rest(now, WINDOW),
            false => rhythm.first_rest(now, WINDOW),
        };
        apart = rest.is_some();
        rests.push(rest);
    }
    assert_eq!(rests[..2], [None, Some(WINDOW / FIRST)]);
    assert!(
        rests[2..].iter().all(|rest| *rest == Some(WINDOW)),
        "{rests:?}"
    );
    assert!(total > Duration::from_millis(850), "{total:?}");
}

#[test]
fn what_comes_without_end_is_held_up_for_a_moment_only() {
    // As much as the system's buffer holds, each time.
    let rests = rests(128 << 10, Duration::from_micros(100), 50);
    let total: Duration = rests.iter().flatten().sum();
    assert!(total < Duration::from_millis(30), "{rests:?}");
    assert!(rests[10..].iter().all(Option::is_none), "{rests:?}");
}

/// A connection that may rest for so long, and its other end.
async fn pair(window: Duration) -> (PacedStream, MayRest, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(near, listener.accept());
    let stream = PacedStream::new(near.unwrap(), Reader::HandsOver);
    let rest = MayRest::new(&stream.pace, window);
    (stream, rest, far.unwrap().0)
}

/// Sends so many numbered lines, one a millisecond.
async fn send(far: &mut TcpStream, lines: Range<u32>) {
    for line in lines {
        far.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
}

fn text(lines: Range<u32>) -> String {
    lines.map(|line| format!("{line}\n")).collect()
}

/// Reads until the text ends so; how often the connection was seen to have rested.
async fn read_until(stream: &mut PacedStream, end: &str) -> (String, usize) {
    let (mut text, mut rested) = (String::new(), 0);
    let mut buffer = [0; 1_024];
    while !text.ends_with(end) {
        let bytes = stream.read(&mut buffer).await.unwrap();
        assert_ne!(bytes, 0, "it ended after {text:?}");
        text += str::from_utf8(&buffer[..bytes]).unwrap();
        rested += usize::from(stream.pace.phase() == Phase::Reading);
    }
    (text, rested)
}

#[tokio::test]
async fn nothing_is_lost_by_resting() {
    let (mut near, _rest, mut far) = pair(WINDOW).await;
    let sending = tokio::spawn(async move {
        send(&mut far, 0..500).await;
        far
    });
    let (read, rested) = read_until(&mut near, "\n499\n").await;
    assert_eq!(read, text(0..500));
    assert!(rested > 2, "{rested}");
    // After a silence it listens again, and hears of the next at once.
    let mut far = sending.await.unwrap();
    let quiet = timeout(Duration::from_millis(300), near.read_u8()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    assert_eq!(near.pace.phase(), Phase::Listening);
    far.write_all(b"!").await.unwrap();
    assert_eq!(near.read_u8().await.unwrap(), b'!');
}

#[tokio::test]
async fn it_rests_only_while_it_may() {
    let (mut near, rest, mut far) = pair(WINDOW).await;
    drop(rest);
    tokio::spawn(async move { send(&mut far, 0..50).await });
    assert_eq!(read_until(&mut near, "\n49\n").await, (text(0..50), 0));
}

#[tokio::test]
async fn the_end_comes_after_a_rest_with_everything_before_it() {
    let (mut near, _rest, mut far) = pair(WINDOW).await;
    tokio::spawn(async move { send(&mut far, 0..200).await });
    let mut read = String::new();
    near.read_to_string(&mut read).await.unwrap();
    assert_eq!(read, text(0..200));
}

/// Reads as rustls does: until nothing is left.
async fn read_on(stream: &mut PacedStream) -> Vec<u8> {
    let mut all = Vec::new();
    std::future::poll_fn(|cx| {
        loop {
            let mut bytes = [0; 256];
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Pending if all.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(std::mem::take(&mut all)),
                Poll::Ready(read) => {
                    read.unwrap();
                    assert!(!buffer.filled().is_empty(), "it ended");
                    all.extend_from_slice(buffer.filled());
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_reader_that_reads_on_hands_over_before_the_rest() {
    let (mut near, _rest, mut far) = pair(WINDOW).await;
    near.kind = Reader::ReadsOn;
    tokio::spawn(async move {
        send(&mut far, 0..300).await;
        std::future::pending::<()>().await;
    });
    let (mut read, mut rested) = (String::new(), 0);
    while !read.ends_with("\n299\n") {
        read += str::from_utf8(&read_on(&mut near).await).unwrap();
        let phase = near.pace.phase();
        assert_ne!(phase, Phase::Resting, "with {read:?} in hand");
        rested += usize::from(phase == Phase::Reading);
    }
    assert_eq!(read, text(0..300));
    assert!(rested > 2, "{rested}");
}

#[tokio::test]
async fn only_who_allowed_a_rest_last_takes_that_back() {
    let (near, first, _far) = pair(WINDOW).await;
    let second = MayRest::new(&near.pace, WINDOW / 2);
    first.allow(WINDOW);
    drop(first);
    assert_eq!(near.pace.window(), WINDOW / 2);
    second.allow(WINDOW);
    assert_eq!(near.pace.window(), WINDOW);
    drop(second);
    assert_eq!(near.pace.window(), Duration::ZERO);
}

#[tokio::test]
async fn writing_ends_a_rest() {
    let (near, rest, mut far) = pair(Duration::from_secs(600)).await;
    let pace = Arc::clone(&near.pace);
    let (mut reader, mut writer) = tokio::io::split(near);
    let reading = tokio::spawn(async move {
        let mut text = String::new();
        reader.read_to_string(&mut text).await.unwrap();
        text
    });
    send(&mut far, 0..20).await;
    while pace.phase() != Phase::Resting {
        sleep(Duration::from_millis(1)).await;
    }
    // By itself it would rest for a quarter of a minute at least.
    drop(rest);
    // In another task than the one that reads.
    writer.write_all(b"enough").await.unwrap();
    let mut heard = [0; 6];
    far.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"enough");
    drop(far);
    let read = timeout(Duration::from_secs(10), reading).await.unwrap();
    assert_eq!(read.unwrap(), text(0..20));
}
