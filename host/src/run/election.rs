//! The contender of this process, for as long as a run lasts.

use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};

use super::RunError;
use crate::{
    access::Access,
    leader::{LeaderElector, LeaderStatus, Leadership, LeaseConfig},
};

/// The contender of this process. Dropping it stops leading, and leaves the Lease to
/// expire.
pub(super) struct Election {
    pub(super) leadership: Leadership,
    pub(super) identity: String,
    pub(super) status: watch::Receiver<LeaderStatus>,
    stop: oneshot::Sender<()>,
    ended: JoinSet<()>,
}

impl Election {
    pub(super) fn start(access: &Access, config: LeaseConfig) -> Result<Self, RunError> {
        let identity = config.identity.clone();
        let elector =
            LeaderElector::new(access.client.clone(), config).map_err(RunError::Election)?;
        let leadership = elector.leadership();
        let status = elector.status();
        let (stop, stopped) = oneshot::channel();
        let mut ended = JoinSet::new();
        // What it tells is in the log already, and in the leadership.
        ended.spawn(elector.run(async { drop(stopped.await) }, drop));
        Ok(Self {
            leadership,
            identity,
            status,
            stop,
            ended,
        })
    }

    /// Gives the Lease back.
    pub(super) async fn stop(mut self) {
        drop(self.stop);
        self.ended.join_next().await;
    }
}
