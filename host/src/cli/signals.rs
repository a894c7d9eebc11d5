//! SIGTERM and SIGINT (contract K5): the first stops what runs in order, the second ends the
//! process at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use tracing::info;

/// The code of a process that was told twice to end.
const INSISTED: i32 = 130;

/// Signals are heard from [`Signals::listen`] on: the first process of a container gets those
/// that it has a handler for, and no others.
pub(super) struct Signals {
    first: oneshot::Receiver<()>,
    runs: Arc<AtomicBool>,
}

impl Signals {
    /// Until [`Signals::stop`] is called there is nothing to stop in order, nothing is written
    /// and no Lease is held: a signal ends the process at once, with `code`.
    pub(super) fn listen(code: u8) -> std::io::Result<Self> {
        let mut both = [
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ];
        let (stop, first) = oneshot::channel();
        let runs = Arc::new(AtomicBool::new(false));
        let signals = Self {
            first,
            runs: Arc::clone(&runs),
        };
        tokio::spawn(async move {
            either(&mut both).await;
            if !runs.load(Ordering::Acquire) {
                info!("stopped before anything ran");
                std::process::exit(i32::from(code));
            }
            // Nobody waits when what ran has ended by itself.
            let _nobody_waits = stop.send(());
            either(&mut both).await;
            std::process::exit(INSISTED);
        });
        Ok(signals)
    }

    /// Resolves at the first signal.
    pub(super) fn stop(self) -> impl Future<Output = ()> + Send + 'static {
        self.runs.store(true, Ordering::Release);
        async move {
            if self.first.await.is_err() {
                // The task ends with the process only.
                std::future::pending::<()>().await;
            }
        }
    }
}

async fn either([terminate, interrupt]: &mut [Signal; 2]) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
