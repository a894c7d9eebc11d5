//! A plugin that is to take another one's place (contract P3). It is told everything
//! beside the old one, which goes on; what it writes is kept. When it has been told
//! everything, the old one is called no more, the candidate is told what changed
//! meanwhile, and what it wrote is committed: then it is the plugin. So the two never
//! commit in turns, outputs never go back in time, and no change falls between them.

use std::{collections::BTreeSet, sync::Arc};

use super::{Disposal, Engine, Outcome, PluginEntry, PluginId, Subscription, backoff};
use crate::{Time, spec::WatchPlan};

/// How far a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateState {
    /// Its required watches do not hold everything, or this process follows.
    Waiting,
    /// It is told everything.
    Rehearsing,
    /// The old one is called no more; what the candidate wrote is about to be committed.
    TakingOver,
    /// It failed: it is to be removed.
    Refused,
}

pub(super) struct Candidacy {
    of: PluginId,
    stage: Stage,
    /// The old one has not been called in this time of leading, and waits.
    first: bool,
    /// It was given a callback in this try.
    begun: bool,
    /// It succeeded with one.
    told: bool,
    refused: bool,
    /// Commits of its outputs that failed, in a row.
    failed_commits: u32,
}

/// The sets are of watches that it is still to be told of, by index.
pub(super) enum Stage {
    Waiting,
    Rehearsing(BTreeSet<usize>),
    CatchingUp(BTreeSet<usize>),
    TakingOver {
        /// Whoever commits was told.
        asked: bool,
    },
}

impl Candidacy {
    pub(super) fn is_to_be_told(&self, watch: usize) -> bool {
        match &self.stage {
            Stage::Waiting | Stage::TakingOver { .. } => false,
            Stage::Rehearsing(left) | Stage::CatchingUp(left) => {
                !self.refused && left.contains(&watch)
            }
        }
    }

    /// A callback starts.
    pub(super) fn started(&mut self) -> Disposal {
        let first = !self.begun;
        self.begun = true;
        Disposal::Keep { first }
    }

    pub(super) fn finished(&mut self, watch: usize, outcome: Outcome, broken: bool) {
        match outcome {
            Outcome::Ok => {
                self.told = true;
                match &mut self.stage {
                    Stage::Rehearsing(left) | Stage::CatchingUp(left) => {
                        left.remove(&watch);
                    }
                    // It was interrupted meanwhile.
                    Stage::Waiting | Stage::TakingOver { .. } => {}
                }
            }
            Outcome::NotLeading => {}
            Outcome::Failed => {
                self.first = false;
                self.refused |= broken;
                // The old one does not wait until it is tried again.
                if let Stage::CatchingUp(left) = &mut self.stage {
                    self.stage = Stage::Rehearsing(std::mem::take(left));
                }
            }
            Outcome::Died => self.refused = true,
        }
    }

    /// What it was told is worth nothing any more. Outputs that are being committed
    /// are another matter.
    pub(super) fn interrupt(&mut self) {
        self.first = false;
        match self.stage {
            Stage::TakingOver { asked: true } => {}
            Stage::Waiting
            | Stage::Rehearsing(_)
            | Stage::CatchingUp(_)
            | Stage::TakingOver { asked: false } => self.stage = Stage::Waiting,
        }
    }

    fn begin(&mut self, watches: BTreeSet<usize>) {
        self.stage = Stage::Rehearsing(watches);
        self.begun = false;
        self.told = false;
    }

    fn state(&self) -> CandidateState {
        match &self.stage {
            _ if self.refused => CandidateState::Refused,
            Stage::Waiting => CandidateState::Waiting,
            Stage::Rehearsing(_) => CandidateState::Rehearsing,
            Stage::CatchingUp(_) | Stage::TakingOver { .. } => CandidateState::TakingOver,
        }
    }

    /// Whether the old one is called no more.
    fn holds(&self) -> bool {
        match &self.stage {
            _ if self.refused => false,
            Stage::Waiting => false,
            Stage::Rehearsing(_) => self.first,
            Stage::CatchingUp(_) | Stage::TakingOver { .. } => true,
        }
    }
}

impl Engine {
    /// Adds a plugin that is to take the place of `of`. It shares stores with it, as
    /// plugins do.
    pub fn add_candidate(
        &mut self,
        of: PluginId,
        plans: &[Arc<WatchPlan>],
        own_namespace: &str,
    ) -> PluginId {
        let name = self.plugin_name(of).to_owned();
        let candidate = self.add_plugin(&name, plans, own_namespace);
        if let Some(entry) = self.plugins.get_mut(&candidate) {
            entry.candidacy = Some(Candidacy {
                of,
                stage: Stage::Waiting,
                first: false,
                begun: false,
                told: false,
                refused: false,
                failed_commits: 0,
            });
        }
        candidate
    }

    /// How far a candidate is; `None` of other plugins.
    #[must_use]
    pub fn candidate_state(&self, candidate: PluginId) -> Option<CandidateState> {
        let entry = self.plugins.get(&candidate)?;
        entry.candidacy.as_ref().map(Candidacy::state)
    }

    /// Whether the candidate was named by [`Engine::takeovers`], and how that ended is not
    /// known.
    #[must_use]
    pub fn is_committing(&self, candidate: PluginId) -> bool {
        let candidacy = self
            .plugins
            .get(&candidate)
            .and_then(|entry| entry.candidacy.as_ref());
        candidacy
            .is_some_and(|candidacy| matches!(candidacy.stage, Stage::TakingOver { asked: true }))
    }

    /// The candidates whose outputs are to be committed now: all that they wrote, in one
    /// go, and [`Engine::took_over`] with what came of it. Each is named once.
    pub fn takeovers(&mut self) -> Vec<PluginId> {
        if self.following {
            return Vec::new();
        }
        let candidates = self.plugins.iter_mut().filter_map(|(id, entry)| {
            match &mut entry.candidacy.as_mut()?.stage {
                Stage::TakingOver { asked } => (!std::mem::replace(asked, true)).then_some(*id),
                Stage::Waiting | Stage::Rehearsing(_) | Stage::CatchingUp(_) => None,
            }
        });
        candidates.collect()
    }

    /// Takes in how the commit of a candidate's outputs ended. After [`Outcome::Ok`] it is
    /// the plugin, and the old one is removed; its id is answered. Otherwise the old one
    /// goes on, and the candidate is told everything anew: after a while, if the commit
    /// failed.
    pub fn took_over(
        &mut self,
        now: Time,
        candidate: PluginId,
        outcome: Outcome,
    ) -> Option<PluginId> {
        let entry = self.plugins.get_mut(&candidate)?;
        let candidacy = entry.candidacy.as_mut()?;
        let old = candidacy.of;
        match outcome {
            Outcome::Ok => {
                entry.candidacy = None;
                entry.forget_failures();
                self.remove(old);
                Some(old)
            }
            Outcome::Failed | Outcome::NotLeading | Outcome::Died => {
                candidacy.stage = Stage::Waiting;
                candidacy.first = false;
                if outcome != Outcome::NotLeading {
                    // No fault of the plugin's: it is not refused for it.
                    candidacy.failed_commits += 1;
                    entry.not_before = now + backoff(candidacy.failed_commits);
                }
                entry.tell_everything(&self.stores);
                None
            }
        }
    }

    /// Whether a plugin is not called because a candidate takes its place.
    pub(super) fn is_held(&self, plugin: PluginId) -> bool {
        let mut candidacies = self.candidacies();
        candidacies.any(|(_, _, candidacy)| candidacy.of == plugin && candidacy.holds())
    }

    fn candidacies(&self) -> impl Iterator<Item = (PluginId, &PluginEntry, &Candidacy)> {
        self.plugins
            .iter()
            .filter_map(|(id, entry)| Some((*id, entry, entry.candidacy.as_ref()?)))
    }

    /// Leading begins: what is ready goes before the plugin whose place it is to take.
    pub(super) fn candidates_first(&mut self) {
        let ready: Vec<PluginId> = self
            .candidacies()
            .filter(|(_, entry, _)| self.all_synced(entry))
            .map(|(id, ..)| id)
            .collect();
        for id in ready {
            let entry = self.plugins.get_mut(&id);
            if let Some(candidacy) = entry.and_then(|entry| entry.candidacy.as_mut()) {
                candidacy.first = true;
            }
        }
    }

    /// Moves each candidate as far as it may go now.
    pub(super) fn advance_candidates(&mut self, now: Time) {
        let candidates: Vec<PluginId> = self.candidacies().map(|(id, ..)| id).collect();
        for id in candidates {
            while let Some(next) = self.next_stage(now, id) {
                let entry = self.plugins.get_mut(&id);
                let Some(candidacy) = entry.and_then(|entry| entry.candidacy.as_mut()) else {
                    break;
                };
                match next {
                    Stage::Rehearsing(watches) => candidacy.begin(watches),
                    Stage::Waiting | Stage::CatchingUp(_) | Stage::TakingOver { .. } => {
                        candidacy.stage = next;
                    }
                }
            }
        }
    }

    fn next_stage(&self, now: Time, candidate: PluginId) -> Option<Stage> {
        let entry = self.plugins.get(&candidate)?;
        let candidacy = entry.candidacy.as_ref()?;
        if candidacy.refused || entry.running.is_some() {
            return None;
        }
        match &candidacy.stage {
            Stage::Waiting => self
                .all_synced(entry)
                .then(|| Stage::Rehearsing(pending(entry))),
            Stage::Rehearsing(left) if !candidacy.told => {
                // Its watches are all optional, and none has synced so far. What it would
                // write of nothing is no reason to replace the old one's outputs.
                let pending = pending(entry);
                (left.is_empty() && !pending.is_empty()).then_some(Stage::Rehearsing(pending))
            }
            Stage::Rehearsing(_) => {
                let ready = self.ready_to_catch_up(entry, candidacy)?;
                (ready <= now).then(|| Stage::CatchingUp(pending(entry)))
            }
            Stage::CatchingUp(left) => left
                .is_disjoint(&pending(entry))
                .then_some(Stage::TakingOver { asked: false }),
            Stage::TakingOver { .. } => None,
        }
    }

    /// When the old one can be stopped for the candidate; `None`: something has to happen
    /// before.
    fn ready_to_catch_up(&self, entry: &PluginEntry, candidacy: &Candidacy) -> Option<Time> {
        let Stage::Rehearsing(left) = &candidacy.stage else {
            return None;
        };
        let old = self.plugins.get(&candidacy.of);
        let old_runs = old.is_some_and(|old| old.running.is_some());
        let pending = pending(entry);
        let told = candidacy.told && left.is_disjoint(&pending);
        if candidacy.refused || entry.running.is_some() || !told || old_runs {
            return None;
        }
        // What failed a moment ago is not tried while the old one waits.
        let watches = entry.subscriptions.iter().enumerate();
        let waiting = watches.filter(|(watch, _)| pending.contains(watch));
        let last = waiting
            .map(|(_, subscription)| subscription.not_before)
            .max();
        Some(last.map_or(entry.not_before, |last| last.max(entry.not_before)))
    }

    /// When candidates go on that wait for nothing but time.
    pub(super) fn next_stages(&self) -> impl Iterator<Item = Time> {
        self.candidacies()
            .filter_map(|(_, entry, candidacy)| self.ready_to_catch_up(entry, candidacy))
    }
}

/// The watches of which there is something to tell.
fn pending(entry: &PluginEntry) -> BTreeSet<usize> {
    let watches = entry.subscriptions.iter().enumerate();
    let pending =
        |(watch, subscription): (usize, &Subscription)| subscription.pending().map(|_| watch);
    watches.filter_map(pending).collect()
}
