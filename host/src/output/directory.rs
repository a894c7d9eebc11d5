//! Outputs as files below one directory, which this host alone writes.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Committed, Debt, Mark, Occupancy, SinkError, begin,
    claim::{Claim, ClaimError, Leftovers},
    mark,
    staging::{self, Staging},
};
use crate::{leader::Tenure, plugin::Outputs};

/// Files below one directory.
#[derive(Debug)]
pub struct DirectorySink {
    root: PathBuf,
    /// `None`: it is claimed for each commit.
    claim: Option<Arc<Claim>>,
    /// The time of leading in which it was searched for what killed hosts have left: no other
    /// process has written there since.
    searched: Option<Tenure>,
    hooked: bool,
}

impl DirectorySink {
    /// Makes the directory if it is missing and tries to write: a wrong path is found
    /// at start and not at the first callback. [`Occupancy::Alone`] locks it until
    /// the sink is dropped, and removes temporary files of a killed host. Sinks of one
    /// process may share a directory. With `hooked`, it keeps a file in the directory
    /// while a hook is due.
    ///
    /// # Errors
    /// [`SinkError::Directory`]; [`SinkError::InUse`].
    pub fn open(root: &Path, occupancy: Occupancy, hooked: bool) -> Result<Self, SinkError> {
        make(root)?;
        let claim = match occupancy {
            Occupancy::Alone => Some(claim(root, Leftovers::Go)?),
            Occupancy::InTurns => None,
        };
        staging::probe(root).map_err(|source| directory_error(root, source))?;
        Ok(Self {
            root: root.to_owned(),
            claim,
            searched: None,
            hooked,
        })
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes every changed output to a temporary file beside its place and syncs
    /// it; only when all are safely on disk, renames them. Each rename is atomic, so
    /// a file is the old one or the new one, never a part. A directory that was
    /// deleted is made again, with the outputs of this commit alone.
    ///
    /// With a `tenure`, it must last when everything is on disk, before the first
    /// rename. In a directory that is written [in turns](Occupancy::InTurns) it is the
    /// lock that keeps two commits apart: a process that is paused in the middle of
    /// its renames keeps the next leader waiting, and one that is paused before them
    /// asks when it wakes.
    ///
    /// # Errors
    /// [`SinkError`]. Everything is as it was then, except after
    /// [`SinkError::Partial`].
    pub fn commit(
        &mut self,
        outputs: Outputs,
        tenure: Option<&Tenure>,
    ) -> Result<Committed, SinkError> {
        let _turn = match &mut self.claim {
            Some(held) if held.is_at(&self.root) => None,
            Some(held) => {
                tracing::warn!(
                    directory = %self.root.display(),
                    "the output directory was deleted or replaced while the host ran"
                );
                make(&self.root)?;
                *held = claim(&self.root, Leftovers::Go)?;
                None
            }
            None => {
                make(&self.root)?;
                let leftovers = match tenure.is_some() && self.searched.as_ref() == tenure {
                    true => Leftovers::Stay,
                    false => Leftovers::Go,
                };
                let turn = claim(&self.root, leftovers)?;
                self.searched = tenure.cloned();
                Some(turn)
            }
        };
        let names = match self.hooked {
            true => outputs.keys().cloned().collect(),
            false => BTreeSet::new(),
        };
        let staged = Staging::write(&self.root, outputs)?;
        let _commit = begin(tenure)?;
        if !self.hooked {
            let changed = staged.place()?;
            return Ok(Committed {
                changed,
                debt: None,
            });
        }
        if staged.is_empty() {
            let debt = mark::read(&self.root)?.map(|token| Debt::new(&token, names));
            return Ok(Committed {
                changed: Vec::new(),
                debt,
            });
        }
        let token = mark::token();
        mark::write(&self.root, &token)?;
        let changed = staged.place()?;
        let names = changed.iter().map(|changed| changed.name.clone()).collect();
        let debt = Some(Debt::new(&token, names));
        Ok(Committed { changed, debt })
    }

    pub(super) fn mark(&self) -> Mark {
        Mark::File(self.root.clone())
    }
}

fn make(root: &Path) -> Result<(), SinkError> {
    fs::create_dir_all(root).map_err(|error| match fs::symlink_metadata(root) {
        Ok(found) if !found.is_dir() => directory_error(
            root,
            io::Error::new(
                io::ErrorKind::NotADirectory,
                format!("it is {}, no directory", staging::kind(found.file_type())),
            ),
        ),
        _ => directory_error(root, error),
    })
}

/// The directory for this process alone, until the answer is dropped.
pub(super) fn claim(root: &Path, leftovers: Leftovers) -> Result<Arc<Claim>, SinkError> {
    Claim::take(root, leftovers).map_err(|error| match error {
        ClaimError::InUse => SinkError::InUse {
            path: root.to_owned(),
        },
        ClaimError::Io(error) => directory_error(root, error),
    })
}

fn directory_error(root: &Path, source: io::Error) -> SinkError {
    SinkError::Directory {
        path: root.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::{
        error::Error,
        os::unix::{
            fs::{PermissionsExt, symlink},
            net::UnixListener,
        },
        sync::Mutex,
    };

    use super::*;
    use crate::{
        leader::tests::{leading, lose},
        output::Changed,
        plugin::OutputName,
    };

    /// A child that is being started keeps locks that are released meanwhile.
    static STARTS_OR_RELEASES: Mutex<()> = Mutex::new(());

    fn outputs(files: &[(&str, &str)]) -> Outputs {
        files
            .iter()
            .map(|(name, text)| (OutputName::parse(name).unwrap(), text.as_bytes().to_vec()))
            .collect()
    }

    fn names(changed: &[Changed]) -> Vec<&str> {
        changed.iter().map(|c| c.name.as_str()).collect()
    }

    #[test]
    fn o2_only_changed_files_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink =
            DirectorySink::open(&dir.path().join("out"), Occupancy::Alone, false).unwrap();
        let both = outputs(&[("a.cfg", "one"), ("certs/x.pem", "pem")]);
        assert_eq!(
            names(&sink.commit(both.clone(), None).unwrap().changed),
            ["a.cfg", "certs/x.pem"]
        );
        assert_eq!(sink.commit(both, None).unwrap(), Committed::default());
        let changed = sink
            .commit(outputs(&[("a.cfg", "two"), ("certs/x.pem", "pem")]), None)
            .unwrap()
            .changed;
        assert_eq!(names(&changed), ["a.cfg"]);
        assert_eq!(changed[0].before.as_deref(), Some(&b"one"[..]));
        assert_eq!(
            fs::read_to_string(dir.path().join("out/a.cfg")).unwrap(),
            "two"
        );
    }

    fn entries(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    /// Commits a change of `a` together with `blocked`, expects the sentence, and
    /// that nothing changed.
    fn check_refused(dir: &Path, blocked: &str, sentence: &str) {
        let mut sink = DirectorySink::open(dir, Occupancy::Alone, false).unwrap();
        sink.commit(outputs(&[("a", "old")]), None).unwrap();
        let before = entries(dir);
        let new = [("a", "new"), ("new/b", "x"), (blocked, "x")];
        let error = sink.commit(outputs(&new), None).unwrap_err().to_string();
        assert!(error.ends_with(sentence), "{error}");
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "old");
        assert_eq!(entries(dir), before, "nothing new stays");
    }

    #[test]
    fn o1_a_commit_with_one_blocked_output_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("w")).unwrap();
        fs::write(at("x"), "mine").unwrap();
        let _listening = UnixListener::bind(at("y")).unwrap();
        check_refused(dir.path(), "w", "/w is a directory, no regular file");
        check_refused(dir.path(), "x/z", "/x is a regular file, no directory");
        check_refused(dir.path(), "y", "/y is a socket, no regular file");
        assert_eq!(fs::read_to_string(at("x")).unwrap(), "mine");
    }

    #[test]
    fn o1_a_fifo_in_the_way_is_named_and_not_read() {
        let _alone = STARTS_OR_RELEASES.lock();
        let dir = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(dir.path().join("pipe"))
            .status()
            .unwrap();
        assert!(made.success());
        check_refused(dir.path(), "pipe", "/pipe is a FIFO, no regular file");
    }

    #[test]
    fn o1_a_symlink_in_an_outputs_place_is_replaced_and_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::write(&outside, "secret").unwrap();
        let link = dir.path().join("a");
        symlink(outside.path(), &link).unwrap();
        let mut sink = DirectorySink::open(dir.path(), Occupancy::Alone, false).unwrap();
        let committed = sink.commit(outputs(&[("a", "new")]), None);
        let changed = committed.unwrap().changed;
        assert_eq!(changed[0].before, None);
        assert_eq!(fs::read_to_string(&outside).unwrap(), "secret");
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
        assert_eq!(fs::read_to_string(&link).unwrap(), "new");
    }

    #[test]
    fn o2_a_replaced_file_keeps_its_mode_and_a_new_one_is_as_plainly_created() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, bits) in [("key", 0o600), ("tool", 0o4755)] {
            fs::write(at(name), "old").unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(bits)).unwrap();
        }
        fs::write(at("plain"), "").unwrap();
        let mut sink = DirectorySink::open(dir.path(), Occupancy::Alone, false).unwrap();
        sink.commit(
            outputs(&[("fresh", "x"), ("key", "x"), ("tool", "x")]),
            None,
        )
        .unwrap();
        assert_eq!(mode(&at("key")), 0o600);
        assert_eq!(mode(&at("tool")), 0o755, "never set-user-ID");
        assert_eq!(mode(&at("fresh")), mode(&at("plain")));
    }

    #[test]
    fn o1_a_symlink_below_the_directory_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let mut sink = DirectorySink::open(dir.path(), Occupancy::Alone, false).unwrap();
        symlink(outside.path(), dir.path().join("link")).unwrap();
        let refused = sink.commit(outputs(&[("link/x", "1")]), None);
        assert!(
            matches!(refused, Err(SinkError::Symlink { .. })),
            "{refused:?}"
        );
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn o2_leftovers_of_a_killed_host_are_removed_at_start_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("certs")).unwrap();
        let kept = [
            ".haptic-notes",
            ".haptic-tmp-0123456789abcde",
            ".haptic-tmp-0123456789abcdefg",
            ".haptic-tmp-0123456789abcde~",
        ];
        for name in kept {
            fs::write(dir.path().join(name), "mine").unwrap();
        }
        for name in [
            ".haptic-tmp-0123456789abcdeF",
            "certs/.haptic-tmp-0123456789ABCDEF",
        ] {
            fs::write(dir.path().join(name), "half").unwrap();
        }
        DirectorySink::open(dir.path(), Occupancy::Alone, false).unwrap();
        let mut expected: Vec<&str> = kept.to_vec();
        expected.push("certs");
        expected.sort_unstable();
        assert_eq!(entries(dir.path()), expected);
        assert_eq!(entries(&dir.path().join("certs")), [""; 0]);
    }

    #[test]
    fn o2_staged_files_are_what_the_next_start_would_remove() {
        let dir = tempfile::tempdir().unwrap();
        let staging = Staging::write(dir.path(), outputs(&[("a/b", "x")])).unwrap();
        let staged = entries(&dir.path().join("a"));
        assert_eq!(staged.len(), 1);
        assert!(staging::is_temporary(staged[0].as_ref()), "{staged:?}");
        drop(staging);
        assert_eq!(entries(dir.path()), [""; 0]);
    }

    #[test]
    fn o2_a_directory_that_another_host_holds_is_refused_and_left_alone() {
        let _alone = STARTS_OR_RELEASES.lock();
        let above = tempfile::tempdir().unwrap();
        let dir = above.path().join("out");
        fs::create_dir(&dir).unwrap();
        let staged = ".haptic-tmp-0123456789abcdef";
        fs::write(dir.join(staged), "half").unwrap();
        // Locks are per opened file: this one is as good as another process's.
        let other = fs::File::open(&dir).unwrap();
        other.lock().unwrap();
        let error = DirectorySink::open(&dir, Occupancy::Alone, false).unwrap_err();
        assert!(
            error.to_string().contains("another host writes there"),
            "{error}"
        );
        // Nor does a host on the directory above touch what is staged here.
        let _above = DirectorySink::open(above.path(), Occupancy::Alone, false);
        assert_eq!(entries(&dir), [staged]);
        drop(other);
        let _sink = DirectorySink::open(&dir, Occupancy::Alone, false).unwrap();
        let again = fs::File::open(&dir).unwrap();
        assert!(again.try_lock().is_err(), "the sink holds the lock");
    }

    #[test]
    fn o2_plugins_of_one_host_may_share_a_directory() {
        let _alone = STARTS_OR_RELEASES.lock();
        let dir = tempfile::tempdir().unwrap();
        let mut first = DirectorySink::open(dir.path(), Occupancy::Alone, false).unwrap();
        let mut second = DirectorySink::open(dir.path(), Occupancy::Alone, false).unwrap();
        first.commit(outputs(&[("a", "1")]), None).unwrap();
        second.commit(outputs(&[("b", "2")]), None).unwrap();
        drop(first);
        let other = fs::File::open(dir.path()).unwrap();
        assert!(other.try_lock().is_err(), "the second still holds it");
        drop(second);
        assert!(other.try_lock().is_ok());
    }

    #[test]
    fn o2_a_deleted_output_directory_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("out");
        let mut sink = DirectorySink::open(&root, Occupancy::Alone, false).unwrap();
        sink.commit(outputs(&[("a", "1")]), None).unwrap();
        fs::remove_dir_all(&root).unwrap();
        let committed = sink.commit(outputs(&[("a", "1")]), None);
        let changed = committed.unwrap().changed;
        assert_eq!(changed[0].before, None);
        assert_eq!(entries(&root), ["a"]);
        let other = fs::File::open(&root).unwrap();
        assert!(other.try_lock().is_err(), "and locked again");
    }

    #[test]
    fn o2_an_output_directory_that_is_no_directory_is_refused_at_start() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let dangling = dir.path().join("dangling");
        symlink("nowhere", &dangling).unwrap();
        for (path, sentence) in [
            (&file, "it is a regular file, no directory"),
            (&dangling, "it is a symbolic link, no directory"),
        ] {
            let error = DirectorySink::open(path, Occupancy::Alone, false).unwrap_err();
            assert!(matches!(error, SinkError::Directory { .. }), "{error:?}");
            assert_eq!(error.source().unwrap().to_string(), sentence);
        }
    }

    #[test]
    fn o2_errors_do_not_show_the_names_of_temporary_files() {
        let dir = tempfile::tempdir().unwrap();
        let shown = staging::probe(&dir.path().join("missing")).unwrap_err();
        assert_eq!(shown.raw_os_error(), Some(2), "{shown}");
    }

    #[tokio::test]
    async fn o2_the_directory_remembers_that_a_hook_is_due_until_it_has_run() {
        let dir = tempfile::tempdir().unwrap();
        let open = || DirectorySink::open(dir.path(), Occupancy::Alone, true).unwrap();
        let mark = ".haptic-on-output";
        assert!(OutputName::parse(mark).is_err(), "no output has its name");
        let mut first = open();
        let files = outputs(&[("a", "1"), ("b", "1")]);
        let debt = first.commit(files.clone(), None).unwrap().debt.unwrap();
        assert_eq!(debt.names().len(), 2);
        assert_eq!(entries(dir.path()), [mark, "a", "b"]);
        // The host is killed; the next one renders the same.
        drop(first);
        let mut second = open();
        let found = second.commit(files.clone(), None).unwrap();
        assert_eq!(found.changed, []);
        assert_eq!(found.debt.as_ref(), Some(&debt));
        // A newer commit owes its own run, which the older one's end does not settle.
        let newer = second.commit(outputs(&[("a", "2")]), None).unwrap();
        let newer = newer.debt.unwrap();
        second.mark().clear(debt.token()).await.unwrap();
        assert_eq!(entries(dir.path()), [mark, "a", "b"]);
        second.mark().clear(newer.token()).await.unwrap();
        assert_eq!(entries(dir.path()), ["a", "b"]);
        let unchanged = second.commit(outputs(&[("a", "2")]), None).unwrap();
        assert_eq!(unchanged, Committed::default());
    }

    #[test]
    fn o2_a_commit_that_fails_owes_no_hook() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        let mut sink = DirectorySink::open(dir.path(), Occupancy::Alone, true).unwrap();
        sink.commit(outputs(&[("a", "1"), ("b", "1")]), None)
            .unwrap_err();
        assert_eq!(entries(dir.path()), ["b"]);
    }

    #[test]
    fn l3_what_was_staged_when_leadership_ended_is_not_renamed_into_place() {
        let dir = tempfile::tempdir().unwrap();
        let leadership = leading();
        let mut sink = DirectorySink::open(dir.path(), Occupancy::InTurns, false).unwrap();
        let tenure = leadership.tenure().unwrap();
        sink.commit(outputs(&[("a", "1")]), Some(&tenure)).unwrap();
        lose(&leadership);
        let lost = sink.commit(outputs(&[("a", "2"), ("new/b", "2")]), Some(&tenure));
        assert!(matches!(lost, Err(SinkError::NotLeading)), "{lost:?}");
        assert_eq!(entries(dir.path()), ["a"]);
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "1");
    }

    #[test]
    fn l3_a_directory_that_is_written_in_turns_is_free_between_two_commits() {
        let _alone = STARTS_OR_RELEASES.lock();
        let dir = tempfile::tempdir().unwrap();
        let tenure = leading().tenure().unwrap();
        let mut sink = DirectorySink::open(dir.path(), Occupancy::InTurns, false).unwrap();
        sink.commit(outputs(&[("a", "1")]), Some(&tenure)).unwrap();
        // Another process commits: it may start meanwhile, and has to wait.
        let other = fs::File::open(dir.path()).unwrap();
        other.try_lock().unwrap();
        DirectorySink::open(dir.path(), Occupancy::InTurns, false).unwrap();
        let refused = sink.commit(outputs(&[("a", "2")]), Some(&tenure));
        assert!(
            matches!(refused, Err(SinkError::InUse { .. })),
            "{refused:?}"
        );
        drop(other);
        sink.commit(outputs(&[("a", "2")]), Some(&tenure)).unwrap();
    }
}
