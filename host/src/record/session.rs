//! Recording alone: watches what plugins want to watch, and runs none of them.

use std::time::Duration;

use haptic_core::engine::Engine;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{RecordError, RecordOptions, Recorder, Written};
use crate::{
    access::Access,
    cached::Bodies,
    driver::Clock,
    plugin::Limits,
    run::Described,
    watches::{News, Watches},
    worker::QUEUE,
};

/// A plugin whose watches are recorded.
pub(crate) struct Session {
    pub(crate) name: String,
    pub(crate) sha256: String,
    pub(crate) limits: Limits,
    pub(crate) described: Described,
}

/// Records until `stop` resolves, or for so long.
///
/// # Errors
/// [`RecordError`].
pub(crate) async fn record(
    access: &Access,
    plugins: Vec<Session>,
    options: &RecordOptions,
    length: Option<Duration>,
    stop: impl Future<Output = ()>,
) -> Result<Written, RecordError> {
    let clock = Clock::start();
    let own = access.own_namespace.as_deref();
    let mut recorder = Recorder::create(options, own)?;
    // It owns the stores that the streams are for, and gives no callback, as nobody asks.
    let mut engine = Engine::new();
    for plugin in &plugins {
        recorder.add_plugin(
            &plugin.name,
            &plugin.sha256,
            &plugin.limits,
            &plugin.described.specs,
        );
        engine.add_plugin(
            &plugin.name,
            &plugin.described.plans,
            own.unwrap_or_default(),
        );
    }
    drop(plugins);
    let (events, mut queue) = mpsc::channel::<News>(QUEUE);
    let mut watches = Watches::new(access, clock, &Bodies::of(access, clock, 0));
    watches.record(recorder);
    watches.follow(&engine, &events);
    info!("recording into {}", options.path.display());
    let mut stop = std::pin::pin!(stop);
    let mut over = std::pin::pin!(async {
        match length {
            Some(length) => tokio::time::sleep(length).await,
            None => std::future::pending().await,
        }
    });
    while !watches.has_stopped_recording() {
        tokio::select! {
            biased;
            () = &mut stop => break,
            () = &mut over => break,
            Some(news) = queue.recv() => watches.take_in(&mut engine, clock.now(), news),
        }
    }
    for watch in watches.not_synced(&engine) {
        warn!("not everything of it is recorded: {watch}");
    }
    match watches.end_recording(clock.now()) {
        Some(written) if !written.failed => Ok(written),
        Some(_) | None => Err(RecordError::BreaksOff(options.path.clone())),
    }
}
